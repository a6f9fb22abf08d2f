"""Tables: rows of text or of Arrow columns, read exactly or refused by row and column."""
