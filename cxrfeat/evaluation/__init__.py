"""Compare extractors: folds, heads, tuning, metrics.

The only place that imports scikit-learn and xgboost, beside `cxrfeat.estimators`.
"""
