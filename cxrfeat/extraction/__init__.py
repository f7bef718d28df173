"""From images to rows of a file: what is lacking, reading ahead, networks, writing.

Imports the parts; imported by `commands`, `prediction` and `reporting`.
"""
