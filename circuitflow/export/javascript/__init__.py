"""Circuits as JavaScript: modules with values and gradients, for browsers, Node and Deno."""
