"""Tables: rows of text or of Arrow columns, read exactly or refused by row and column.

`opening.open_table` opens a file of any format; `opening.refuse_damage` goes around it. The `Reader` that it returns
has the `names` of the columns. `reader.Selection` says which of them are read, in which dtype, and under which name;
`Reader.batches` then gives one `Batch` after the other. A batch has at most `reader.ROWS` rows of text, `opening.BATCH`
rows of Parquet, or one record batch of Arrow, so memory is bounded.
"""
