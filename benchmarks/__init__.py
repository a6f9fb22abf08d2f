"""Measures circuitflow beside what a user would pick instead: `python -m benchmarks`, with the extra `bench`."""
