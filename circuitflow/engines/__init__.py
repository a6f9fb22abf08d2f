"""Runs circuits fast: as straight-line code, in blocks of rows, on a tape, under XLA."""
