"""What is compared: a study, out of files that are joined by image; its labels; its folds.

In reading order: `study`, `mapping`, `alignment`, `enlarging`, `scorable_labels`, `folds`,
`design`. Imports nothing else of `evaluation`; imported by all of it.
"""
