"""A circuit over the rows of a table: one question, answered for every row.

`task.RowTask` is the question with what is the same in every row. `matching.match_columns` finds the column of every
input. `answering.RowFunction` answers for one batch after the other. `mapping.map_batches` makes a function of record
batches of it, which other programs send to their processes. `summing.sum_rows` sums what it answers; `fixed_order` has
the order, for fits as well. `tables.TableRun` answers for the files of a table, `folders` writes a folder of results,
and `clusters` has the workers of a cluster do it.
"""
