"""What a backbone is: which networks there are, how they are built, cut off and pooled.

Imported by `weights`, `runtimes` and what opens extractors; imports none of them.
"""
