"""Compare extractors: what is compared, with which heads, how sure the answer is.

The only folder that imports scikit-learn and xgboost, beside `cxrfeat.estimators`. Imports plain
data only; imported by what several commands share, and by commands. To read, each folder importing
only those before it: `study` (images, labels, folds), `statistics` (metrics, intervals, tests),
`heads`, `validation` (fold by fold), then `outcome` (what was found) and `final_model` (what is
saved).
"""
