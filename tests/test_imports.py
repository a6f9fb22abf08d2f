"""The floors of the package: imports go down, never up."""

from __future__ import annotations

import ast

import pytest

import circuitflow as cf
from support.floors import FLOORS, PACKAGE, floor_of, imports

FORBIDDEN = {
    "text": {"pydantic", "numpy", "networkx", "typer", "rich"},
    "errors": {"pydantic", "numpy", "networkx", "typer", "rich"},
    "arguments": {"pydantic", "numpy", "networkx", "typer", "rich"},
    "document": {"networkx", "typer", "rich"},
    "gates": {"numpy", "networkx", "typer", "rich"},
    "graph": {"typer", "rich"},
    "interpreter": {"pydantic", "typer", "rich"},
    "transforms": {"pydantic", "networkx", "typer", "rich"},
    "engines": {"pydantic", "networkx", "typer", "rich"},
    "executor": {"pydantic", "networkx", "typer", "rich"},
    "export": {"pydantic", "networkx", "typer", "rich"},
    "authoring": {"networkx", "typer", "rich"},
    "explanations": {"pydantic", "networkx", "typer", "rich"},
    "pictures": {"pydantic", "networkx", "typer", "rich"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in FLOORS)


def upward(path):
    """The imports of a module that go up a floor, or to what its floor must not know."""
    floor = floor_of(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "circuitflow" and rest.partition(".")[0] in FLOORS:
            if FLOORS.index(rest.partition(".")[0]) > FLOORS.index(floor):
                yield name
        elif top in FORBIDDEN.get(floor, ()) or (top == "circuitflow" and floor != "cli"):
            yield name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_import_goes_up(path):
    assert list(upward(path)) == []


def test_every_module_is_on_a_floor():
    assert {floor_of(path) for path in MODULES} == set(FLOORS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "errors.py", "arguments.py",
                                                            "text.py",
                                                          "executor.py"}


def test_an_upward_import_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("support.floors.PACKAGE", tmp_path)
    (tmp_path / "gates").mkdir()
    module = tmp_path / "gates" / "bad.py"
    module.write_text("import numpy as np\nfrom circuitflow.graph.circuit import Circuit\nfrom circuitflow.errors "
                      "import Fault\n")
    assert list(upward(module)) == ["numpy", "circuitflow.graph.circuit.Circuit"]


def test_the_package_offers_what_it_lists():
    names = {name for exported in cf._EXPORTS.values() for name in exported}
    assert set(cf.__all__) == names
    assert names <= set(dir(cf))
    for name in cf.__all__:
        assert getattr(cf, name).__doc__ if callable(getattr(cf, name)) else getattr(cf, name)
    with pytest.raises(AttributeError, match="module 'circuitflow' has no attribute 'nothing'"):
        cf.nothing  # noqa: B018


def test_the_types_that_a_checker_sees_are_those_exported():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert {node.module: tuple(sorted(name.name for name in node.names)) for node in block.body} == {
        module: tuple(sorted(names)) for module, names in cf._EXPORTS.items()}


def test_every_error_is_in_the_tree_of_the_docstring():
    import circuitflow.errors as errors

    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert f" {name}" in errors.__doc__
            assert issubclass(value, cf.CircuitflowError)
