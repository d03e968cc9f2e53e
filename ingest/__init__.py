"""Sources in, a searchable library out; knows no language model."""
