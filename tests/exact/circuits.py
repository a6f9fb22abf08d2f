"""The circuits of the corpus, and the documents that must be refused."""

from __future__ import annotations

from typing import Any

Case = tuple[str, dict[str, Any], dict[str, Any]]


def source(name: str, *shape: Any, gate: str = "input", **more: Any) -> dict[str, Any]:
    return {"id": name, "gate": gate, **({"shape": list(shape)} if shape else {}), **more}


def node(text: str, **attributes: Any) -> dict[str, Any]:
    """`f = mul(x, y)` as a node."""
    name, _, right = text.partition(" = ")
    gate, _, rest = right.rstrip(")").partition("(")
    return {"id": name, "gate": gate, "inputs": rest.split(", "), **attributes}


def document(*nodes: dict[str, Any], outputs: tuple[str, ...] = ("f",), **more: Any) -> dict[str, Any]:
    return {"circuitflow": "1.0", "nodes": list(nodes), "outputs": list(outputs), **more}


def unit(name: str, gate: str, inputs: dict[str, str], **attributes: Any) -> dict[str, Any]:
    return {"id": name, "gate": gate, **attributes, "inputs": inputs}


NEURON = document(source("x"), source("w"), source("b", value=0.5), node("dot = mul(w, x)"), node("sum = add(dot, b)"),
                  node("out = sigmoid(sum)"), outputs=("out",))
CELL = document(source("h"), source("x"), source("w"), node("wx = mul(w, x)"), node("s = add(h, wx)"),
                node("after = tanh(s)"), node("seen = mul(after, x)"), outputs=("after", "seen"))
ROW = document(source("h", 2), source("x", 2), node("p = mul(h, x)"), node("after = sin(p)"), outputs=("after",))
UP = document(source("x"), node("y = exp(x)"), outputs=("y",))
DOWN = document(source("x"), node("y = square(x)"), outputs=("y",))
BLOCK = document(source("a"), source("b"), node("p = mul(a, b)"), node("q = tanh(p)"), node("out = mul(q, a)"),
                 outputs=("out",))
TWO = document(source("x"), node("s = sin(x)"), node("c = cos(x)"), outputs=("s", "c"))

CIRCUITS: list[Case] = [
    ("a fork", document(source("x"), node("a = square(x)"), node("b = mul(a, x)"), node("f = add(a, b)")), {"x": 1.5}),
    ("one operand twice", document(source("x"), node("f = mul(x, x)")), {"x": -0.75}),
    ("the same edge three times", document(source("x", 2), node("f = add(x, x, x)")), {"x": [1.0, -2.0]}),
    ("edges with ports", {"circuitflow": "1.0", "nodes": [source("x"), source("y"), {"id": "f", "gate": "div"}],
                          "edges": [{"source": "x", "target": "f", "port": "y"},
                                    {"source": "y", "target": "f", "port": "x"}], "outputs": ["f"]},
     {"x": 4.0, "y": 3.0}),
    ("the staged example of the notes", document(
        source("x"), source("y"), node("sigy = sigmoid(y)"), node("num = add(x, sigy)"), node("sigx = sigmoid(x)"),
        node("xpy = add(x, y)"), node("xpysqr = square(xpy)"), node("den = add(sigx, xpysqr)"),
        node("f = div(num, den)")), {"x": 3.0, "y": -4.0}),
    ("a parameter and a constant", document(
        source("x", 3), source("w", gate="parameter", value=[0.5, -1.0, 2.0]), source("c", gate="constant", value=2.5),
        node("p = mul(w, x)"), node("q = mul(p, c)"), node("f = reduce_sum(q)")), {"x": [1.0, 2.0, -0.5]}),
    ("a default that is replaced", document(source("x", value=1), source("y", value=2), node("f = atan2(x, y)")),
     {"y": -0.5}),
    ("two outputs, one fed by the other", document(
        source("x"), node("g = exp(x)"), node("f = mul(g, x)"), outputs=("g", "f")), {"x": 0.25}),
    ("named dimensions", document(
        source("x", "n", 2), source("w", gate="parameter", value=[1.5, -0.5]), node("z = matmul(x, w)"),
        node("y = softplus(z)"), node("f = reduce_mean(y)")), {"x": [[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]}),
    ("what is stopped", document(
        source("x"), node("a = square(x)"), node("s = stop_gradient(a)"), node("f = mul(s, x)")), {"x": 3.0}),
    ("a mask that selects", document(
        source("x", 3), source("zero", gate="constant", value=0), node("m = greater(x, zero)"), node("l = exp(x)"),
        node("y = where(m, l, x)"), node("f = reduce_sum(y)")), {"x": [0.5, -1.0, 2.0]}),
    ("broadcasting and sums", document(
        source("x", 2, 3), source("b", 3), source("c"), node("y = add(x, b)"), node("z = mul(y, c)"),
        node("f = reduce_sum_square(z)")), {"x": [[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]], "b": [1.0, -1.0, 0.5],
                                            "c": 0.75}),
    ("a call", document(
        source("x"), source("w"), unit("n", "call", {"x": "x", "w": "w"}, circuit="neuron"), node("f = mul(n, x)"),
        circuits={"neuron": NEURON}), {"x": 1.0, "w": -0.5}),
    ("two calls in a row", document(
        source("x"), source("w"), source("b"), unit("n", "call", {"x": "x", "w": "w", "b": "b"}, circuit="neuron"),
        unit("f", "call", {"x": "n", "w": "w"}, circuit="neuron"), circuits={"neuron": NEURON}),
     {"x": 1.0, "w": -0.5, "b": 0.25}),
    ("a call with two outputs", document(
        source("x"), unit("t", "call", {"x": "x"}, circuit="two"), node("f = mul(t.s, t.c)"), circuits={"two": TWO}),
     {"x": 0.75}),
    ("a scan", document(
        source("h"), source("x", 3), source("w"),
        unit("f", "scan", {"h": "h", "x": "x", "w": "w"}, circuit="cell", carry={"h": "after"}, over=["x"]),
        outputs=("f.after", "f.seen"), circuits={"cell": CELL}), {"h": 0.5, "x": [1.0, -0.5, 2.0], "w": 0.75}),
    ("a scan from the end", document(
        source("h"), source("x", 3), source("w"),
        unit("f", "scan", {"h": "h", "x": "x", "w": "w"}, circuit="cell", carry={"h": "after"}, over=["x"],
             reverse=True), outputs=("f.after", "f.seen"), circuits={"cell": CELL}),
     {"h": 0.5, "x": [1.0, -0.5, 2.0], "w": 0.75}),
    ("a scan that keeps every second carry", document(
        source("h", 2), source("x", 5, 2),
        unit("f", "scan", {"h": "h", "x": "x"}, circuit="row", carry={"h": "after"}, over=["x"], cache=2),
        circuits={"row": ROW}),
     {"h": [0.5, 1.0], "x": [[1.0, 2.0], [0.5, -1.0], [1.5, 0.25], [2.0, 1.0], [-1.0, 0.5]]}),
    ("a branch that is taken", document(
        source("x"), source("y"), node("c = less(x, y)"),
        unit("u", "if", {"condition": "c", "x": "x"}, then="up", **{"else": "down"}), node("f = mul(u, y)"),
        circuits={"up": UP, "down": DOWN}), {"x": 0.5, "y": 1.0}),
    ("a branch that is not taken", document(
        source("x"), source("y"), node("c = less(x, y)"),
        unit("u", "if", {"condition": "c", "x": "x"}, then="up", **{"else": "down"}), node("f = mul(u, y)"),
        circuits={"up": UP, "down": DOWN}), {"x": 1.5, "y": 1.0}),
    ("a checkpoint", document(
        source("a"), source("b"), unit("k", "checkpoint", {"a": "a", "b": "b"}, circuit="block"),
        node("f = mul(k, b)"), circuits={"block": BLOCK}), {"a": 0.5, "b": 1.25}),
    ("a layer and its loss", document(
        source("x", 2, 3), source("labels", 2, dtype="int64"),
        source("w", gate="parameter", value=[[0.5, -1.0], [1.0, 0.25], [-0.75, 0.5]]),
        source("b", gate="parameter", value=[0.125, -0.25]), node("z = matmul(x, w)"), node("a = add(z, b)"),
        node("h = tanh(a)"), node("f = softmax_cross_entropy_loss(h, labels)")),
     {"x": [[1.0, 0.5, -1.0], [2.0, -0.5, 0.25]], "labels": [1, 0]}),
]

X = source("x")
FAULTS: list[tuple[str, Any, list[str], str]] = [
    ("a circle", document(X, node("a = add(x, b)"), node("b = exp(a)"), outputs=("b",)), ["a", "b"],
     "a depends on b, which depends on a"),
    ("one id twice", document(X, node("f = exp(x)"), node("f = sin(x)")), ["f"], "an id names one node"),
    ("no such gate", document(X, node("f = expp(x)")), ["f"], "the catalogue has no gate of this name"),
    ("no such node", document(X, node("f = exp(y)")), ["f"], "an operand names a node or an output of one"),
    ("no such output", document(X, outputs=("g",)), ["g"], "an output names a node or an output of one"),
    ("an operand too many", document(X, node("f = exp(x, x)")), ["f"], "exp has one operand"),
    ("an operand too few", document(X, node("f = div(x)")), ["f"], "div has two operands"),
    ("shapes that do not broadcast", document(source("x", 2), source("y", 3), node("f = add(x, y)")), ["f"],
     "2 is not 3"),
    ("inner sizes that differ", document(source("x", 2, 3), source("y", 2, 3), node("f = matmul(x, y)")), ["f"],
     "3 is not 2"),
    ("an attribute that no gate has", document(X, node("f = exp(x)", base=2)), ["f"], "exp has no attributes"),
    ("an attribute of the wrong kind", document(source("x", 2), node("f = softmax(x)", axis="last")), ["f"],
     "axis is an integer"),
    ("an axis out of range", document(source("x", 2), node("f = reduce_sum(x)", axis=1)), ["f"],
     "the operand has one axis"),
    ("kinds of numbers that mix", document(X, source("n", dtype="int64"), node("f = add(x, n)")), ["f"],
     "cast turns one into the other"),
    ("a constant without a value", document(source("c", gate="constant"), node("f = exp(c)")), ["c"],
     "nothing gives a constant its value later"),
    ("lists of unequal lengths", document(source("x", value=[[1, 2], [3]]), node("f = exp(x)")), ["x"],
     "no array has rows of unequal lengths"),
    ("a call of nothing", document(X, unit("f", "call", {"x": "x"}, circuit="nothing")), ["f"],
     "no subcircuit has this name"),
    ("a circuit that calls itself", document(
        X, unit("f", "call", {"x": "x"}, circuit="me"),
        circuits={"me": document(X, unit("f", "call", {"x": "x"}, circuit="me"))}), ["f"], "the calls would not end"),
    ("a key that nothing reads", document(X, {**node("f = exp(x)"), "lable": "f"}), ["f"],
     "exp has no attribute lable"),
    ("a version of later", {**document(X, node("f = exp(x)")), "circuitflow": "9.0"}, [], "this format is 1.0"),
]
"""Name, document, the nodes that must be named, and why it is refused."""
