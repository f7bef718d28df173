"""The classifiers: a registry, each with a fast way along its grid.

In reading order: `standardised_fold` (what heads share), `task` (what they are asked), `head` (what
one is), the ways along the grids (`linear` with `cells`, `linear_solver` and `discriminant`,
`kernels`, `boosting`), `linear_estimators` (what is saved of the linear ones), `imported`,
`registry`. Imports `study` and `statistics`; imported by `validation`, `outcome` and `final_model`.
"""
