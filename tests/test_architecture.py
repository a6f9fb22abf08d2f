"""docs/architecture.md: its floors, its types and its picture are those of the package."""

from __future__ import annotations

import ast
import re
import runpy
from xml.etree import ElementTree as ET

import pytest

import circuitflow as cf
from support.floors import FLOORS, PACKAGE, floor_of, imports
from support.suite import ROOT

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
DRAWN = runpy.run_path(str(ROOT / "docs/architecture.py"))


def table(heading):
    """The rows of the table under a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return re.findall(r"^\| `([\w/]+)` \|", section[1], re.MULTILINE)


def modules(room):
    return [path for path in PACKAGE.rglob("*.py") if floor_of(path) == room]


def classes(room):
    return {node.name for path in modules(room) for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef)}


def test_the_floors_are_those_of_the_test_of_imports():
    assert table("The floors") == FLOORS


def test_the_central_types_are_classes():
    names = table("The central types")
    assert len(names) > 8
    assert set(names) <= set().union(*map(classes, FLOORS))


def test_the_folders_are_there():
    assert all((ROOT / folder).is_dir() for folder in table("Other folders"))


def test_a_wire_of_the_picture_goes_up_where_a_room_imports():
    for name, (room, part, inputs) in DRAWN["WAY"].items():
        assert name[0].islower() or name in classes(room)
        for module in re.findall(r"\w+", part):
            assert (PACKAGE / room / module).is_dir() or (PACKAGE / room / f"{module}.py").is_file(), (room, module)
        for source in inputs:
            below = DRAWN["WAY"].get(source, ({"bytes": room, "GATES": "gates"}.get(source),))[0]
            assert FLOORS.index(below) <= FLOORS.index(room)
            assert below == room or any(name.startswith(f"circuitflow.{below}.") for path in modules(room)
                                        for name in imports(path)), (below, room)


def test_the_picture_has_every_room_on_the_way():
    """The others are used by several rooms, end in a document, or are the program."""
    rooms = {room for room, _, _ in DRAWN["WAY"].values()} | {"gates"}
    assert set(FLOORS) - rooms == {"text", "errors", "arguments", "tables", "rows", "authoring", "onnx", "cli"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_what_the_command_draws(theme):
    """All but the places, which depend on the fonts of the machine."""
    pytest.importorskip("pygraphviz")

    def parts(svg):
        return [(e.tag, e.get("id"), e.get("class"), e.get("fill"), (e.text or "").strip())
                for e in ET.fromstring(svg).iter()]

    assert f'"architecture.{theme}.svg"' in PAGE
    assert parts((ROOT / f"docs/architecture.{theme}.svg").read_bytes()) == parts(cf.draw(DRAWN["way"](), theme=theme))
