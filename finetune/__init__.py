"""Adapts a local language model on records of the library."""
