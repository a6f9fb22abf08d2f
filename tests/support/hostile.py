"""Texts that mean something to whatever shows them, if it lets them."""

from __future__ import annotations

HOSTILE = [
    "<script>alert(1)</script>", "</title><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!-- -->", "]]>",
    "&lt;b&gt; &amp;",
    "\"quotes\" 'single' `back`", '"]; evil [label="x', "\\N\\G\\E\\l\\\"", "<B>bold</B>", "n1 -> n2; subgraph x {",
    "end\n  x --> y", "[link](javascript:alert(1)) ![x](y)", "| a | b |\n|---|", "# heading\n\n- item",
    "%%{init: {}}%%", "#quot;#35;", "$x$ `code`",
    "\x1b[31mred\x1b]0;title\x07", "\x00\x01\x7f\x9b31m", "line\nbreak\r\n\ttab\u2028\u2029",
    "\u202eright to left\u2066\u200f", "zero\u200b\u200d\ufeffwidth",
    "x" * 10_000, "<" * 10_000, "\\" * 50, "{{script}}{{data}}",
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"), "日本語 العربية 🙂",
]


def sort_of(text: str) -> tuple[bool, ...]:
    """A key of slices: whether a text has tags, quotes, lines and what is not shown, and whether it is long."""
    return "<" in text, '"' in text, "\n" in text, text.isprintable(), len(text) > 100


HOSTILE_NAMES = ["class", "None", "print", "lambda", "exp", "type", "numbers", "interpret", "inputs", "buffers",
                 "__import__", "v0", "f0", "k0", "inf", "nan", "float", "marker_q", "unused0", "engine", "upstream",
                 "others", "self"]
"""Names of nodes that would mean something in a program."""
