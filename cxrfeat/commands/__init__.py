"""One module for each command and nothing else: options, result, the order of the steps.

Imports every folder below; only `demo` runs other commands. Imported by the command line, and by
`cxrfeat` as its functions.
"""
