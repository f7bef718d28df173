"""Fold by fold: tuning inside the training rows, calibration, scores of the test rows.

Imports `heads`, `statistics` and `study`; imported by `outcome` and `final_model`.
"""
