"""A picture in the language of Graphviz."""

from __future__ import annotations

import html
from collections.abc import Iterator

from circuitflow.pictures.picture import Group, Kind, Link, Mark, Picture, Sign, Vertex
from circuitflow.pictures.theme import Theme
from circuitflow.text import printable

FONT = "Helvetica,Arial,sans-serif"

_ROUND = 4
"""Longest symbol in a circle, in characters; small text may be twice as long."""

_CIRCLE = "shape=circle, width=0.5, margin=0.02"
_PLAIN = 'shape=box, style=filled, fillcolor="none", penwidth=0, height=0.3, width=0.2, margin="0.05,0.03"'
_PILL = 'shape=box, style="rounded,filled", height=0.3, width=0.3, margin="0.08,0.03"'
_BLOCK = 'shape=box, style="rounded,filled", margin="0.15,0.1"'
_LOOKS = {Kind.INPUT: _PLAIN, Kind.CONSTANT: _PLAIN, Kind.OUTPUT: _PLAIN, Kind.PARAMETER: _PILL, Kind.PORT: _PILL,
          Kind.GATE: 'shape=box, style="rounded,filled", height=0.4, margin="0.12,0.04"', Kind.FORK:
          "shape=point, width=0.07", Kind.CIRCUIT: _BLOCK, Kind.BAND: _BLOCK}
_WORDS = {Kind.CONSTANT: "<I>{}</I>", Kind.OUTPUT: "<B>{}</B>", Kind.CIRCUIT: "<B>{}</B>", Kind.BAND: "<B>{}</B>"}


def dot_text(value: str, limit: int = 200) -> str:
    """Any text for an HTML-like label: printable, without markup or escapes of Graphviz."""
    return html.escape(printable(value, limit)).replace("\\", "&#92;&#92;")


def to_dot(picture: Picture, theme: Theme, *, dpi: int | None = None, room: int = 0) -> str:
    """The text of a DOT file; its positions come from Graphviz's `dot`. `room` is the least width of a number."""
    return "\n".join(_Dot(picture, theme, room).lines(f", dpi={dpi}" if dpi else "")) + "\n"


class _Dot:
    """A file under construction."""

    def __init__(self, picture: Picture, theme: Theme, room: int) -> None:
        self.picture, self.theme = picture, theme
        self.room = f' WIDTH="{room}"' if room else ""
        self.parents = {group.key: group.parent for group in picture.groups}
        self.group_of = {vertex.key: vertex.group for vertex in picture.vertices}

    def lines(self, more: str) -> Iterator[str]:
        t = self.theme
        inside: dict[str, list[str]] = {"": [], **{group.key: [] for group in self.picture.groups}}
        for vertex in self.picture.vertices:
            inside[vertex.group].append(self._vertex(vertex))
        edges = []
        forks = {vertex.key for vertex in self.picture.vertices if vertex.kind == Kind.FORK}
        for wire in self.picture.wires:
            if wire.value is None and wire.gradient is None and not wire.name:
                edges.append(self._edge(wire.source, wire.target, wire))
                continue
            inside[self._common(wire)].append(self._label(wire))
            edges.append(self._edge(wire.source, f"{wire.key}:w", wire, arrow=False))
            edges.append(self._edge(f"{wire.key}:e", wire.target, wire, arrow=wire.target not in forks))
        yield f"// {printable(self.picture.title, 100)}"
        yield "digraph circuit {"
        yield (f'  graph [rankdir=LR, bgcolor="{t.ground}", fontname="{FONT}", fontsize=12, fontcolor="{t.faint}", '
               f'nodesep=0.18, ranksep=0.22, pad=0.2, splines=true{more}]')
        yield (f'  node [fontname="{FONT}", fontsize=14, fontcolor="{t.text}", color="{t.line}", fillcolor="{t.gate}", '
               'style=filled, penwidth=1.2]')
        yield f'  edge [color="{t.line}", arrowsize=0.6, penwidth=1.2]'
        yield from self._body("", inside, "  ")
        yield from (f"  {edge}" for edge in edges)
        yield "}"

    def _body(self, key: str, inside: dict[str, list[str]], indent: str) -> Iterator[str]:
        yield from (indent + line for line in inside[key])
        for group in self.picture.groups:
            if group.parent == key:
                yield f"{indent}subgraph cluster_{group.key} {{"
                yield f"{indent}  {self._frame(group)}"
                yield from self._body(group.key, inside, indent + "  ")
                yield f"{indent}}}"

    def _frame(self, group: Group) -> str:
        t = self.theme
        return (f'graph [label=<{dot_text(group.title)}>, labeljust=l, style="rounded,filled", color="{t.line}", '
                f'fillcolor="{t.group}", margin=10, id="{group.key}", tooltip=" "]')

    def _common(self, wire: Link) -> str:
        """The innermost group around both ends of a wire."""
        around = [self.group_of[wire.source]]
        while around[-1]:
            around.append(self.parents[around[-1]])
        group = self.group_of[wire.target]
        while group not in around:
            group = self.parents[group]
        return group

    def _vertex(self, vertex: Vertex) -> str:
        t = self.theme
        first, *rest = vertex.lines or ("",)
        name = _WORDS.get(vertex.kind, "{}").format(dot_text(first, 40))
        small = "".join(f'<BR/><FONT POINT-SIZE="11" COLOR="{t.faint}">{dot_text(line)}</FONT>' for line in rest)
        looks = [_LOOKS[vertex.kind]]
        if vertex.kind == Kind.GATE and len(first) <= _ROUND and all(len(line) <= 2 * _ROUND for line in rest):
            looks = [_CIRCLE] + ["fixedsize=true"] * (not rest)
        if vertex.kind == Kind.FORK:
            looks.append(f'fillcolor="{t.line}"')
        if vertex.sign != Sign.SAME:
            looks.append(f'color="{self._pen(vertex.sign)}", penwidth=2.4')
        if vertex.sign == Sign.REMOVED:
            looks.append('style="filled,dashed"')
        return (f'{vertex.key} [label=<{name}{small}>, {", ".join(looks)}, id="{vertex.key}", class="{vertex.kind}", '
                f'tooltip="{_tip(vertex.tip)}"]')

    def _pen(self, sign: Sign) -> str:
        """The colour of a sign; without a difference, of lines."""
        colours: dict[str, str] = {**self.theme._asdict(), Sign.SAME: self.theme.line}
        return colours[sign]

    def _label(self, wire: Link) -> str:
        """The numbers of a wire, with as many rows above its line as below, so that the line is in the middle."""
        t = self.theme
        above = self._rows(wire.value, t.value, wire.name)
        below = self._rows(wire.gradient, t.gradient, "")[::-1]
        rows = max(len(above), len(below), 1)
        above = [_EMPTY] * (rows - len(above)) + above
        below += [_EMPTY] * (rows - len(below))
        line = f'<TR><TD HEIGHT="1" BGCOLOR="{t.line}"></TD></TR>'  # a rule (HR) would end short of its wire
        body = "".join(above) + line + "".join(below)
        tip = "\n".join(f"{word} {mark.full}" for word, mark in wire.marks)
        return (f'{wire.key} [shape=plain, style="", penwidth=0, id="{wire.key}", class="wire", '
                f'tooltip="{_tip(tip)}", label=<{_TABLE}>{body}</TABLE>>]')

    def _rows(self, mark: Mark | None, colour: str, name: str) -> list[str]:
        """The rows of a number, the one nearest to the wire last."""
        text = f'<FONT COLOR="{self.theme.faint}">{dot_text(name, 40)}</FONT>' if name else ""
        if mark is not None:
            text += ("&#160;" if name else "") + f'<FONT COLOR="{colour}">{dot_text(mark.text)}</FONT>'
        if not text:
            return []
        rows = [f'<TR><TD HEIGHT="17"{self.room}><FONT POINT-SIZE="12">&#160;{text}&#160;</FONT></TD></TR>']
        if mark is not None and mark.strip:
            cells = "".join(f'<TD FIXEDSIZE="TRUE" WIDTH="7" HEIGHT="7" BGCOLOR="{self.theme.shade(x)}"></TD>'
                            for x in mark.strip)
            rows.append(f'<TR><TD HEIGHT="11">{_TABLE} FIXEDSIZE="TRUE" WIDTH="{7 * len(mark.strip)}" HEIGHT="7">'
                        f'<TR>{cells}</TR></TABLE></TD></TR>')
        return rows

    def _edge(self, source: str, target: str, wire: Link, *, arrow: bool = True) -> str:
        look = [] if arrow else ["arrowhead=none"]
        if wire.sign != Sign.SAME:
            look.append(f'color="{self._pen(wire.sign)}"' + (", style=dashed" * (wire.sign == Sign.REMOVED)))
        look.append(f'class="{wire.key}", tooltip=" "')
        return f"{source} -> {target} [{', '.join(look)}]"


_TABLE = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"'
_EMPTY = '<TR><TD HEIGHT="17">&#160;</TD></TR>'


def _tip(tip: str) -> str:
    """Any text for a tooltip, where Graphviz reads escapes."""
    lines = (printable(line, 400).replace("\\", "\\\\").replace('"', '\\"') for line in tip.split("\n"))
    return "\\n".join(lines) or " "
