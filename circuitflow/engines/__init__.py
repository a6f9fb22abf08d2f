"""How a circuit is run fast: straight-line code, blocks of rows, a tape, XLA."""
