"""The colours of a picture.

Green and red are the bluish green and the vermilion of Okabe and Ito (2008), darkened or lightened until they stand
out from the ground by 4.5 to 1; a value is above its wire and a gradient below, so no meaning hangs on a hue.
"""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """Colours as #rrggbb: of the ground, of text and lines, of values and gradients, of changes.

    Attributes:
        negative, positive: the ends of the scale that tensors are drawn in; its middle is `zero`.
    """

    ground: str
    text: str
    faint: str
    line: str
    gate: str
    group: str
    value: str
    gradient: str
    negative: str
    zero: str
    positive: str
    added: str
    removed: str
    changed: str

    def shade(self, x: float) -> str:
        """The colour of an element between -1 and 1."""
        end = self.positive if x > 0 else self.negative
        parts = zip(_channels(self.zero), _channels(end), strict=True)
        return "#" + "".join(f"{round(a + (b - a) * min(abs(x), 1)):02x}" for a, b in parts)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


THEMES = {
    "light": Theme(ground="#ffffff", text="#1b1f24", faint="#5b6570", line="#8a939d", gate="#f4f6f8", group="#eef2f6",
                   value="#00724f", gradient="#b93a00", negative="#0072b2", zero="#f0f0f0", positive="#e69f00",
                   added="#00724f", removed="#b93a00", changed="#0063a6"),
    "dark": Theme(ground="#14181d", text="#e8ecf0", faint="#9aa5b1", line="#6b7682", gate="#222932", group="#1b2128",
                  value="#3ecf9d", gradient="#ff8f5c", negative="#56b4e9", zero="#2c333b", positive="#e69f00",
                  added="#3ecf9d", removed="#ff8f5c", changed="#6cb8ff"),
}
