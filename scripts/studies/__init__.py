"""Measurements of the tool itself; the scripts of the same names run them."""
