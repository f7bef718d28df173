"""Fold by fold: tuning inside the training rows, calibration, scores of the test rows.

In reading order: `problems` (what is learned), `tuning` (one fold), `label_shuffling` and
`retrained` (its controls), `pieces` (what is worked on once), `keys` (what decides it), `cost`
(what it takes), `cross_validation` (all of them), `learning_curve`; where they are worked on is one
of the `places`: `side_by_side` in this process, or a `ray_run` on other machines. Imports `heads`,
`statistics` and `study`; imported by `outcome` and `final_model`.
"""
