"""The classifiers: a registry, each with a fast way along its grid.

In reading order: `standardised_fold` (what heads share) with `neighbours`, `task` (what heads are
asked), `head` (what one is), the ways along the grids: `linear` with `cells`, `linear_solver` and
`discriminant`, `kernels`, `boosting`; `linear_estimators` and others (what is saved), `principal`
(any of them on principal components), `imported`, `registry`. Imports `study` and `statistics`;
imported by `validation`, `outcome` and `final_model`.
"""
