"""The classifiers: a registry, each with a fast way along its grid.

Imports `study` and `statistics`; imported by `validation`, `outcome` and `final_model`.
"""
