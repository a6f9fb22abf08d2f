"""Text of a document as comments of code."""

from __future__ import annotations

from circuitflow.text import own_version, printable

MARK = "Written by circuitflow"
"""What files of code say of themselves, near their beginning."""


def origin() -> str:
    """The mark of this version."""
    return f"{MARK} {plain(own_version())}"


def plain(text: str, limit: int = 1000) -> str:
    """Text that may stand in a comment: letters of ASCII that neither end it nor begin another.

    What has another meaning for some compiler or for a page around the code, such as a backslash, the question marks of
    trigraphs or a tag, is taken apart or stands as its number.
    """
    shown = printable(text, limit).replace("\\", "<U+005C>").replace("</", "< /").replace("<!", "< !")
    shown = shown if shown.isascii() else "".join(c if c.isascii() else f"<U+{ord(c):04X}>" for c in shown)
    return shown.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("??", "? ?").strip("*/ ")
