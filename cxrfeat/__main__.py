"""``python -m cxrfeat`` is the command line, too."""

from cxrfeat.cli import main

main()
