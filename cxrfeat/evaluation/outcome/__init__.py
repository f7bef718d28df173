"""What the folds found: tables, findings, and the run read again from its folder.

Imports all of `evaluation` but `final_model`; imported by `commands` and `reporting`.
"""
