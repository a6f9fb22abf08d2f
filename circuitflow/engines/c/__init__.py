"""C of lowered circuits: how it spells lines, and the text of a file."""
