"""Operators that are compositions of gates, or gates whose attributes differ: how each is written."""
