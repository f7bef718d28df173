"""One module for each command and nothing else: options, result, the order of the steps.

Imports every part below; imported by the command line, and by `cxrfeat` as its functions.
"""
