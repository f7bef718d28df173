"""Fold by fold: tuning inside the training rows, calibration, scores of the test rows.

In reading order: `problems` (what is learned), `tuning` (one fold), `label_shuffling` and
`retrained` (its controls), `cross_validation` (all folds), `side_by_side` (where they are worked
on) and `ray_run` (on other machines), `learning_curve`. Imports `heads`, `statistics` and `study`;
imported by `outcome` and `final_model`.
"""
