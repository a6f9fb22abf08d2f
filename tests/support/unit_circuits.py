"""Documents with scans, choices and checkpoints."""

from __future__ import annotations

from support.documents import circuit

UNITS = {"circuitflow": "1.0", "circuits": {
    "cell": {"nodes": [{"id": "s", "gate": "input"}, {"id": "x", "gate": "input"}, {"id": "w", "gate": "input"},
                       {"id": "sw", "gate": "mul", "inputs": ["s", "w"]},
                       {"id": "t", "gate": "add", "inputs": ["sw", "x"]},
                       {"id": "y", "gate": "tanh", "inputs": ["t"]}], "outputs": ["t", "y"]},
    "up": {"nodes": [{"id": "x", "gate": "input"}, {"id": "f", "gate": "exp", "inputs": ["x"]}], "outputs": ["f"]},
    "down": {"nodes": [{"id": "x", "gate": "input"}, {"id": "f", "gate": "sinh", "inputs": ["x"]}], "outputs": ["f"]}},
    "nodes": [
        {"id": "a", "gate": "input", "value": 0.3}, {"id": "w", "gate": "parameter", "value": 0.5},
        {"id": "xs", "gate": "input", "value": [1.0, 2.0, -0.7]},
        {"id": "out", "gate": "scan", "circuit": "cell", "carry": {"s": "t"}, "over": ["x"], "reverse": True,
         "inputs": {"s": "a", "x": "xs", "w": "w"}},
        {"id": "c", "gate": "greater", "inputs": ["a", "w"]},
        {"id": "e", "gate": "if", "then": "up", "else": "down", "inputs": {"condition": "c", "x": "out.t"}},
        {"id": "k", "gate": "checkpoint", "circuit": "down", "inputs": {"x": "e"}}],
    "outputs": ["k", "out.y"], "upstream": {"out.y": [0.5, 1.0, 2.0]}}

_SWAP = {"nodes": [{"id": "p", "gate": "input", "shape": [2]}, {"id": "q", "gate": "input", "shape": [2]},
                  {"id": "x", "gate": "input", "shape": [2]}, {"id": "m", "gate": "add", "inputs": ["q", "x"]},
                  {"id": "n", "gate": "identity", "inputs": ["p"]}], "outputs": ["m", "n"]}
SWAPPED = {"circuitflow": "1.0", "circuits": {"swap": _SWAP}, "nodes": [
    {"id": "p", "gate": "input", "value": [1.0, 2.0]}, {"id": "q", "gate": "input", "value": [5.0, -3.0]},
    {"id": "xs", "gate": "input", "value": [[1.0, 0.5], [0.25, 2.0], [3.0, 4.0]]},
    {"id": "s", "gate": "scan", "circuit": "swap", "carry": {"p": "m", "q": "n"}, "over": ["x"],
     "inputs": {"p": "p", "q": "q", "x": "xs"}},
    {"id": "f", "gate": "mul", "inputs": ["s.m", "s.n"]}, {"id": "g", "gate": "reduce_sum", "inputs": ["f"]}],
    "outputs": ["g"]}
"""A scan of vectors whose carries are swapped."""


LINEAR = circuit("x = 2.0", {"id": "w", "gate": "parameter", "value": [1.0, -3.0]}, "f = mul(w, x)", "g = add(x, x)",
                 outputs=["f", "g"], upstream={"f": [1.0, 0.5]})
"""Gradients that read little of the circuit, or nothing."""

NESTED = {"circuitflow": "1.0", "circuits": {
    "cell": {"nodes": [{"id": "s", "gate": "input"}, {"id": "x", "gate": "input"},
                       {"id": "sx", "gate": "mul", "inputs": ["s", "x"]},
                       {"id": "t", "gate": "tanh", "inputs": ["sx"]}], "outputs": ["t"]},
    "up": UNITS["circuits"]["up"], "down": UNITS["circuits"]["down"],
    "row": {"nodes": [{"id": "s", "gate": "input"}, {"id": "r", "gate": "input"},
                      {"id": "xs", "gate": "input", "shape": [2]}, {"id": "zero", "gate": "constant", "value": 0.0},
                      {"id": "c", "gate": "greater", "inputs": ["s", "zero"]},
                      {"id": "inner", "gate": "scan", "circuit": "cell", "carry": {"s": "t"}, "over": ["x"],
                       "inputs": {"s": "r", "x": "xs"}},
                      {"id": "e", "gate": "if", "then": "up", "else": "down",
                       "inputs": {"condition": "c", "x": "inner"}},
                      {"id": "after", "gate": "sub", "inputs": ["e", "s"]}], "outputs": ["after"]}},
    "nodes": [
        {"id": "n", "gate": "input", "value": -0.5}, {"id": "x", "gate": "input",
                                                      "value": [[1.0, 0.5], [0.25, 2.0], [3.0, -4.0]]},
        {"id": "out", "gate": "scan", "circuit": "row", "carry": {"s": "after"}, "over": ["xs"],
         "inputs": {"s": "n", "r": "n", "xs": "x"}}],
    "outputs": ["out"]}
"""A scan and a choice in a scan."""
