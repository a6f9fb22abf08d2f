"""Fits the parameters of a circuit to data.

`Parameters` makes one vector of the free parameters, `Data` binds columns to inputs, and a `Problem` is the function of
the vector that is minimised, with its exact derivatives. Minimisers know these three alone.
"""
