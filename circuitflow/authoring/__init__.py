"""Circuits written without counting braces: as Python, as NumPy functions, as expressions."""
