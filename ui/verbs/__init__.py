"""The verbs of the command line, by what they work on; each parses, calls one function, and prints what it gives."""
