"""Circuits whose names and texts try to mean something in code."""

from __future__ import annotations

import json

import circuitflow as cf

TRAPS = ["</script><!--", "*/ int evil; /*", "/*/", "*\\\n/", "??/\n*/", "*??/\n/", "// \\", "\\u002a/",
         "\"; #include <evil>", "%d%n", "/**//**/", "* /*/ /", "\u2028*/", "*\u200b/", "??????????????????",
         "**************************************************/", "#define main evil"]
"""Texts that try to end a comment."""


def hostile_circuit(names, texts):
    """A sum of sines and sigmoids of inputs with these names, with texts as labels and descriptions."""
    nodes = [{"id": name, "gate": "input", "value": 0.5 + i, "label": texts[i % len(texts)],
              "description": texts[(i + 1) % len(texts)]} for i, name in enumerate(names)]
    nodes += [{"id": f"{name}s", "gate": ("sin", "sigmoid")[i % 2], "inputs": [name],
               "description": texts[i % len(texts)]} for i, name in enumerate(names)]
    return cf.loads(json.dumps({
        "circuitflow": "1.0", "name": texts[0][:50], "description": "".join(texts), "nodes": [
            *nodes, {"id": "f", "gate": "add", "inputs": [f"{name}s" for name in names]}], "outputs": ["f"]}))
