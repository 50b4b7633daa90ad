"""The pure twins of the compiled modules: the same names, the same answers."""
