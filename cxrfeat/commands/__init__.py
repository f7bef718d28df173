"""One module for each command: it wires the parts together and returns a value to print."""
