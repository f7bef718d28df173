"""A comparison from embedding files to a model file: joins `store`, `evaluation` and `model`.

Imports the parts; imported by `commands`.
"""
