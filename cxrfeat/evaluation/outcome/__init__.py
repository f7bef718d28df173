"""What the folds found: `compared_study` is asked; it computes each answer when it is asked for.

`out_of_fold` holds what the answers come from, one module has each of them. `saved_run` reads a run
again from its folder. Imports all of `evaluation` but `final_model`; imported by `commands`,
`comparison` and `reporting`.
"""
