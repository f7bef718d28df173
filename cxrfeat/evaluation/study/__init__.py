"""What is compared: embeddings joined by image, labels that can be scored, the folds.

Imports nothing else of `evaluation`; imported by all of it.
"""
