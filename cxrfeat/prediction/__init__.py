"""A saved model on images: its extractors opened again, its answers, where they come from.

Imports `extraction` and the parts; imported by `commands`.
"""
