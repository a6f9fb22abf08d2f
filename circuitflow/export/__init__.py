"""Circuits written as programs that run without circuitflow."""
