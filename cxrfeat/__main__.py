"""``python -m cxrfeat`` is the command line, too."""

from cxrfeat.cli import main

if __name__ == "__main__":
    main()
