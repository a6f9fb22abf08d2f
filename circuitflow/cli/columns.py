"""Matches columns to inputs, strictly by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import circuitflow as cf
from circuitflow.errors import InputError
from circuitflow.gates.shapes import show
from circuitflow.tables.reader import Selection
from circuitflow.text import duplicate, listing, nearest, printable


def match_columns(circuit: cf.Circuit, names: Sequence[str], requirements: Collection[str], fixed: Collection[str],
                  keep: Sequence[str], table: str, *, defaults: bool) -> tuple[Selection, str]:
    """The columns to read, and a note on the others, or "".

    Blanks around the name of a column do not count. `requirements` are the sources that the question needs; those that
    are `fixed` have the same value in every row. With `defaults`, an input without a column has the document's value.

    Raises:
        InputError: an input has no column and no value, or is not a scalar; a column stands twice, or is missing.
    """
    names = [name.strip() for name in names]
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        positions.setdefault(name, position)
    sources = {name: node for name, node in circuit.nodes.items() if node.is_argument}
    matches = [name for name in sources if name in positions and name not in fixed]
    contents = f"its columns are {listing(names)}" if names else "it has none"
    for name in matches:
        if shape := sources[name].types[0].shape:
            raise InputError(f"{table}: column '{name}' has one number in each row, and input '{name}' has shape "
                             f"{show(shape)}; write the circuit for one example, with a scalar input for each column, "
                             f"or give '{name}' by --set, the same for every row")
    missing = [name for name in requirements if name in sources and name not in positions and name not in fixed
               and not ((defaults or sources[name].kind == "parameter") and name in circuit.values)]
    if missing:
        inputs = f"input{'s' * (len(missing) > 1)} {listing(missing)}"
        default = ", or the document's by --defaults" if all(name in circuit.values for name in missing) else ""
        raise InputError(f"{table}: there is no column for {inputs}{nearest(missing[0], names)}; {contents}; give the "
                         f"same value for every row by --set {missing[0]}=…{default}")
    if not matches and (columns := [name for name in sources if name in positions]):
        have = "have" if len(columns) > 1 else "has"
        raise InputError(f"{table}: no column is read, since {listing(columns)} {have} the same value in every row; "
                         "leave out --set for one")
    if not matches:
        raise InputError(f"{table}: no column has the name of an input; {contents}, the inputs are "
                         f"{listing(sources) or 'none'}")
    for name in keep:
        if name not in positions:
            raise InputError(f"{table}: there is no column '{printable(name, 60)}' to keep{nearest(name, names)}; "
                             f"{contents}")
    uses = {*matches, *keep}
    if (twice := duplicate(name for name in names if name in uses)) is not None:
        raise InputError(f"{table}: column '{printable(twice, 60)}' stands twice; rename one of the two")
    selection = Selection({name: (positions[name], sources[name].types[0].dtype) for name in matches},
                          [positions[name] for name in keep])
    unread = [name for name in positions if name not in uses]
    free = [name for name in sources if name not in positions and name not in fixed]
    words = [_with_nearest(name, free, fixed) for name in unread[:12]]
    return selection, ", ".join([*words, f"and {len(unread) - 12} more"] if len(unread) > 12 else words)


def _with_nearest(name: str, free: Sequence[str], fixed: Collection[str]) -> str:
    label = f"'{printable(name, 60)}'"
    if name in fixed:
        return f"{label} (its value is given)"
    return label + (f" ({clause[2:]})" if (clause := nearest(name, free)) else "")
