"""The floors of the package: imports go down, never up."""

from __future__ import annotations

import ast
import itertools
import sys
from pathlib import Path

import networkx as nx
import pytest

import circuitflow as cf
from circuitflow.cli import main
from circuitflow.interpreter.passes import reverse_sweep
from support.floors import FLOORS, PACKAGE, floor_of, imports
from support.suite import ROOT

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
    "tables": {"pydantic", "networkx", "typer", "rich"},
    "rows": {"pydantic", "networkx", "typer", "rich"},
    "fitting": {"networkx", "typer", "rich"},
    "authoring": {"networkx", "typer", "rich"},
    "onnx": {"pydantic", "networkx", "typer", "rich"},
    "export": {"pydantic", "networkx", "typer", "rich"},
    "explanations": {"pydantic", "networkx", "typer", "rich"},
    "pictures": {"pydantic", "networkx", "typer", "rich"},
    "lsp": {"networkx", "typer", "rich"},
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


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


def test_no_imports_go_in_a_circle():
    """Those inside of functions, and those for a type checker alone, count too."""
    names = {".".join(("circuitflow", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
             for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in FLOORS}
    graph = nx.DiGraph((name, imported) for name, path in names.items() for used in imports(path)
                       for imported in [used if used in names else used.rpartition(".")[0]] if imported in names)
    assert graph.number_of_edges() > len(names)
    assert list(nx.simple_cycles(graph)) == []


def test_a_run_enters_few_modules_on_its_way_to_the_sweep(monkeypatch, capsys):
    entered = []

    def note(frame, event, _):
        if event == "call" and frame.f_code is reverse_sweep.__code__ and not entered:
            while frame is not None:
                path = Path(frame.f_code.co_filename)
                if PACKAGE in path.parents:
                    entered.append(path.relative_to(PACKAGE).as_posix())
                frame = frame.f_back

    monkeypatch.setattr(sys, "argv", ["circuitflow", "run", str(ROOT / "circuits/staged.json")])
    sys.setprofile(note)
    try:
        main()
    except SystemExit as end:
        assert not end.code
    finally:
        sys.setprofile(None)
    walk = [module for module, _ in itertools.groupby(entered)]
    assert walk[0] == "interpreter/passes.py"
    assert len(walk) <= 6
    assert len(set(walk)) == len(walk)
    assert "f = 1.54564" in capsys.readouterr().out
