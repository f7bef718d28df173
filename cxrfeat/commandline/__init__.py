"""What the command line takes and how it ends; `cxrfeat.cli` alone imports it.

`panels` groups options in ``--help``, `options` declares those that several commands take,
`running` says how a command ends; then one module for each group of commands.
"""
