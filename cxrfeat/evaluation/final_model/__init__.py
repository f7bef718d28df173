"""The model that is saved: fitted on all its rows, as one linear function, and its surroundings.

Imports `validation`, `heads`, `study`; imported by `commands`, `comparison` and `prediction`.
"""
