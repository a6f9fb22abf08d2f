"""A traced circuit as a program: lines of arrays, and the Python source that computes them."""
