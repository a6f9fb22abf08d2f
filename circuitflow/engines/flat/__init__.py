"""A traced circuit as loops over flat memory: one lowering, which languages without arrays print."""
