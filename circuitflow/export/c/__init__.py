"""Circuits as C99: values and gradients, without dynamic memory."""
