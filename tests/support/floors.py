"""The floors of the package, and what its modules import."""

from __future__ import annotations

import ast

from support.suite import ROOT

FLOORS = ["text", "errors", "arguments", "document", "gates", "graph", "interpreter", "transforms", "engines",
          "executor", "tables", "rows", "fitting", "authoring", "onnx", "export", "explanations", "pictures", "lsp",
          "cli"]
PACKAGE = ROOT / "circuitflow"


def floor_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)
