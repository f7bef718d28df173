"""The folder of a run: its files, its page, and a page that may leave the house.

Imports `extraction` and the parts; imported by `commands`.
"""
