"""A large scalar circuit as rows of one table, run by a loop in machine code."""
