"""Pictures: what stands on every wire, that nothing overlaps or is cut off, and that no text becomes anything else."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree as ET

import numpy as np
import pygraphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.pictures import dot, drawing, graphviz, mermaid
from circuitflow.pictures.detail import detail
from circuitflow.pictures.drawing import picture
from circuitflow.pictures.marks import brief, every, full, value_mark
from circuitflow.pictures.overview import overview
from circuitflow.pictures.picture import Kind, Mark
from circuitflow.pictures.theme import THEMES
from circuitflow.text import printable
from support.documents import circuit, document
from support.hostile import HOSTILE, sort_of
from support.slices import few
from support.suite import ROOT

SVG = "{http://www.w3.org/2000/svg}"
CIRCUITS = sorted((ROOT / "circuits").glob("*.json"))
every_circuit = pytest.mark.parametrize("path", CIRCUITS, ids=lambda path: path.stem)


def run(path, **options):
    return cf.Executor(cf.load(path)).run(**options)


def on_wires(made):
    """(from, to, value, gradient) of every wire, vertices by their first line; a fork is a dot."""
    names = {v.key: v.lines[0] if v.lines else "•" for v in made.vertices}
    return [(names[w.source], names[w.target], w.value.text if w.value else "", w.gradient.text if w.gradient else "")
            for w in made.wires]


def parsed(content):
    return ET.fromstring(content)


# What stands on the wires ---------------------------------------------------------------------------------------------

def test_the_neuron_has_the_numbers_of_the_classic_figure_where_they_belong():
    made = picture(run(ROOT / "circuits/sigmoid_neuron.json"))
    assert on_wires(made) == [
        ("w0", "*", "2.00", "-0.20"), ("x0", "*", "-1.00", "0.39"), ("w1", "*", "-3.00", "-0.39"),
        ("x1", "*", "-2.00", "-0.59"),
        ("w2", "+", "-3.00", "0.20"), ("*", "+", "-2.00", "0.20"), ("*", "+", "6.00", "0.20"),
        ("+", "+", "4.00", "0.20"),
        ("+", "-", "1.00", "0.20"), ("-", "exp", "-1.00", "-0.20"), ("exp", "+", "0.37", "-0.53"),
        ("one", "+", "1.00", ""),
        ("+", "1/x", "1.37", "-0.53"), ("1/x", "f", "0.73", "1.00")]


def test_at_a_fork_the_stem_has_the_sum_and_each_branch_its_contribution():
    made = picture(run(ROOT / "circuits/fork.json"))
    assert on_wires(made) == [("x", "•", "3.00", "-3.00"), ("•", "*", "", "-4.00"), ("•", "+", "", "1.00"),
                              ("y", "*", "-4.00", "3.00"),
                              ("*", "+", "-12.00", "1.00"), ("+", "f", "-9.00", "1.00")]
    assert [(w.of, w.edges) for w in made.wires[:3]] == [("x", ()), ("x", (("xy", 0),)), ("x", (("f", 1),))]


def test_an_output_that_is_also_read_forks_with_its_upstream_gradient():
    made = picture(cf.Executor(circuit("x = 3", "q = neg(x)", "f = exp(q)",
                                       outputs=["q", "f"])).run(upstream={"q": 5.0}))
    assert ("•", "q", "", "5.00") in on_wires(made)
    assert ("-", "•", "-3.00", "5.05") in on_wires(made)


def test_values_only_and_no_values():
    executor = cf.Executor(cf.load(ROOT / "circuits/mlp.json"))
    assert all(not gradient for *_, gradient in on_wires(picture(executor.forward())))
    structure = on_wires(picture(executor.circuit))
    assert ("image", "@", "(batch, 784)", "") in structure
    assert ("CE", "loss", "", "") in structure


def test_a_tensor_shows_shape_norm_and_some_of_its_elements():
    value = value_mark(np.array([[3.0, -4.0], [0.0, 0.0]]))
    assert (value.text, value.strip) == ("(2, 2)", (0.75, -1.0, 0.0, 0.0))
    assert value.full == "float64 (2, 2), -4 to 3, norm 5: [3, -4, 0, 0]"
    assert value_mark(np.array([[3.0, -4.0], [0.0, 0.0]]), is_gradient=True).text == "‖·‖ 5.00"
    assert value_mark(np.zeros((2, 3))).strip == (0.0,) * 6
    assert value_mark(np.zeros((0, 3))) == Mark("(0, 3)", (), "float64 (0, 3), empty")
    assert value_mark(np.array([1.0, -2.0])).text == "[1.00, -2.00]"
    assert value_mark(np.array([[np.inf, np.nan, 1.0]])).strip == (1.0, 0.0, pytest.approx(0.0))
    assert len(value_mark(np.arange(1000.0)).strip) == 8
    assert value_mark(np.arange(1000.0)).strip[-1] == 1.0
    assert full(np.arange(100)).endswith("[0, 1, 2, 3, 4, 5, …]")


def test_every_number_is_told_in_full():
    array = np.random.RandomState(0).standard_normal((3, 5))
    first, _, numbers = every(array).partition("\n")
    assert first == full(array).partition(": ")[0]
    assert json.loads(numbers) == array.tolist()
    assert every(np.float32(0.1)) == repr(float(np.float32(0.1)))
    assert every(np.zeros((0, 3))) == "float64 (0, 3), empty"
    assert every(np.array([True])) == "bool (1,), 1 to 1, norm 1\n[True]"
    lines = every(np.zeros((300, 40))).splitlines()
    assert (len(lines), lines[-1]) == (27, " … 275 more rows")
    assert every(np.zeros(5000)).endswith(", … 4,000 more]")
    assert every(np.zeros((2, 5000))).endswith(", … 4,000 more],\n … 1 more rows")


@pytest.mark.parametrize(("x", "text"), [
    (0.0, "0.00"), (-0.0, "0.00"), (1.0, "1.00"), (0.7310585, "0.73"), (-0.0357615, "-0.036"), (0.0995, "0.10"),
    (0.099, "0.099"),
    (1234.5, "1234.50"), (1e5, "1.0e+05"), (0.00094, "9.4e-04"), (0.001, "0.001"), (np.inf, "∞"), (-np.inf, "-∞"),
    (np.nan, "NaN"),
    (np.bool_(True), "true"), (False, "false"), (np.int64(3), "3"), (-7, "-7"), (12345678, "1.2e+07"),
    (np.float32(0.1), "0.10"),
])
def test_numbers_in_short(x, text):
    assert brief(x) == text


# Calls ----------------------------------------------------------------------------------------------------------------

def test_calls_are_drawn_open_or_closed():
    result = run(ROOT / "circuits/neuron_layer.json")
    opened, closed = picture(result), picture(result, depth=0)
    assert [(g.title, g.parent) for g in opened.groups] == [("h1: neuron", ""), ("h2: neuron", ""), ("h3: neuron", "")]
    assert closed.groups == []
    assert [v.lines for v in closed.vertices if v.kind
            == Kind.CIRCUIT] == [("h1", "neuron", "6 nodes"), ("h2", "neuron", "6 nodes"), ("h3", "neuron", "6 nodes")]
    wires = on_wires(closed)
    assert ("h1", "+", "0.73", "1.00") in wires
    assert ("w1", "h1", "[2.00, -3.00]", "[-0.20, -0.39]") in wires
    assert ("•", "h1", "", "[0.39, -0.59]") in wires


def test_calls_within_calls_nest_to_the_depth_asked_for():
    inner = {"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["x"]}],
             "outputs": ["y"]}
    outer = {"circuits": {"inner": {k: v for k, v in inner.items() if k != "circuitflow"}},
             "nodes": [{"id": "x", "gate": "input"}, {"id": "a", "gate": "call", "circuit": "inner", "inputs": ["x"]}],
             "outputs": ["a"]}
    result = cf.Executor(circuit("x = 1", {"id": "c", "gate": "call", "circuit": "outer", "inputs": ["x"]},
                                 circuits={"outer": outer})).run()
    titles = {depth: [(g.title, g.parent) for g in picture(result, depth).groups] for depth in (0, 1, 2, 9)}
    assert titles[0] == []
    assert titles[1] == [("c: outer", "")]
    assert titles[2] == titles[9] == [("c: outer", ""), ("a: inner", "g1")]
    assert [v.lines for v in picture(result, 1).vertices if v.kind == Kind.CIRCUIT] == [("a", "inner", "2 nodes")]


def test_nodes_that_apply_circuits_are_boxes_that_name_them():
    boxes = [v.lines for v in picture(run(ROOT / "circuits/rnn.json")).vertices if v.kind == Kind.CIRCUIT]
    assert boxes == [("run", "scan cell")]


def test_a_depth_that_nobody_could_read_is_refused():
    big = circuit("x0 = 1", *(f"x{i + 1} = neg(x{i})" for i in range(2100)))
    with pytest.raises(cf.InputError,
                       match="open to depth 0 the circuit has 2101 nodes and closed calls with 2101 wires, which "
                             "nobody "
                                            "could read: at most 2000 with 3000 wires are drawn one by one; ask for "
                                            "less depth, or leave it out for an overview"):
        picture(big, 0)


# Overviews ------------------------------------------------------------------------------------------------------------

def tangled(count, seed=0):
    random = np.random.RandomState(seed)
    nodes = [f"x{i} = {random.standard_normal():.3f}" for i in range(5)]
    ids = [f"x{i}" for i in range(5)]
    for i in range(count):
        gate = ("add", "mul", "tanh")[random.randint(3)]
        operands = [ids[-random.randint(1, min(40, len(ids)) + 1)] for _ in range(1 if gate == "tanh" else 2)]
        nodes.append(f"n{i} = {gate}({', '.join(operands)})")
        ids.append(f"n{i}")
    return circuit(*nodes, outputs=ids[-3:])


def test_a_large_circuit_is_an_overview_in_bands():
    big = tangled(2000)
    made = picture(cf.Executor(big).run())
    assert len(made.vertices) <= 10
    assert [w.target for w in made.wires] == [v.key for v in made.vertices[1:]]  # a chain, however tangled
    counted = sum(int(line.split()[0].replace(",", "")) for v in made.vertices[:-1] for line in v.lines[1:])
    assert counted == len(big.nodes)
    assert made.vertices[-1].lines == ("outputs", *big.outputs)
    assert made.notes == ("an overview of 2,005 nodes",)
    assert picture(tangled(500)).notes == ("an overview of 505 nodes; --depth draws them all",)


@settings(max_examples=few(20))
@given(st.integers(0, 10**6), st.integers(10, 120))
def test_what_crosses_a_boundary_is_what_is_read_beyond_it(seed, count):
    big = tangled(count, seed)
    result = cf.Executor(big).run()
    made = overview(big, result)
    levels = {}
    for name, node in big.nodes.items():
        levels[name] = 1 + max((levels[e.source] for e in node.operands), default=-1)
    last = 0
    for wire, vertex in zip(made.wires[:-1], made.vertices[:-2], strict=True):
        if vertex.lines[0] != "sources":
            last = int(vertex.lines[0].replace(",", "").split()[-1])
        below = {name for name in big.nodes if levels[name] <= last}
        read = {e.source for name, node in big.nodes.items() if name not in below
                for e in node.operands} | {o.node for o in big.outputs.values()}
        crossing = below & read
        assert wire.value.text.split()[0].replace(",", "") == str(len(crossing))
        norm = np.sqrt(sum(float(result.gradients[name])**2 for name in crossing if name in result.gradients))
        assert wire.gradient.full.endswith(repr(float(norm))) or float(wire.gradient.full.split()[-1]) == pytest.approx(
            norm)


def test_an_overview_counts_calls_by_the_circuit_that_they_apply():
    nodes = ["x = 1", *({"id": f"c{i}", "gate": "call", "circuit": "twice", "inputs": [f"c{i - 1}" if i else "x"]}
                        for i in range(400))]
    twice = {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "add", "inputs": ["x", "x"]}],
             "outputs": ["y"]}
    made = picture(circuit(*nodes, circuits={"twice": twice}))
    assert made.vertices[0].lines == ("sources", "1 input")
    assert made.vertices[1].lines[1] == "50 twice"
    assert made.wires[0].value.text == "1 value"
    assert made.wires[0].gradient is None


def test_kinds_and_outputs_beyond_a_few_are_counted():
    gates = ["neg", "exp", "tanh", "sin", "cos", "sqrt", "abs", "square", "sigmoid"]
    made = overview(circuit("x = 1", *(f"n{i} = {g}(x)" for i, g in enumerate(gates)),
                            outputs=[f"n{i}" for i in range(9)]), None)
    assert made.vertices[1].lines[-1] == "3 others"
    assert made.vertices[-1].lines[-1] == "3 others"


# Forms ----------------------------------------------------------------------------------------------------------------

def boxes(root):
    """What a picture draws, by id: the box around each vertex and the numbers of each wire."""
    found = {}
    for part in root.iter(f"{SVG}g"):
        if not part.get("class", "").startswith("node"):
            continue
        xs, ys = [], []
        for shape in part:
            if shape.get("cx"):
                xs += [float(shape.get("cx")) + s * float(shape.get("rx")) for s in (-1, 1)]
                ys += [float(shape.get("cy")) + s * float(shape.get("ry")) for s in (-1, 1)]
            for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", shape.get("points") or shape.get("d") or ""):
                xs.append(float(x))
                ys.append(float(y))
            if shape.tag == f"{SVG}text":
                size = float(shape.get("font-size"))
                width = 0.5 * size * len("".join(shape.itertext()))
                assert shape.get("text-anchor") == "middle"
                xs += [float(shape.get("x")) - width / 2, float(shape.get("x")) + width / 2]
                ys += [float(shape.get("y")) - 0.7 * size, float(shape.get("y")) + 0.2 * size]
        found[part.get("id")] = (min(xs), min(ys), max(xs), max(ys))
    return found


def overlap(a, b, slack=1.0):
    return a[0] + slack < b[2] and b[0] + slack < a[2] and a[1] + slack < b[3] and b[1] + slack < a[3]


@pytest.mark.sliced
@every_circuit
@pytest.mark.parametrize("theme", THEMES)
def test_nothing_overlaps_and_nothing_is_cut_off(path, theme):
    result = run(path)
    for depth in (0, 9):
        root = parsed(cf.draw(result, theme=theme, depth=depth))
        found = boxes(root)
        made = picture(result, depth)
        assert set(found) == {v.key for v in made.vertices} | {w.key for w in made.wires if w.value or w.gradient
                                                               or w.name}
        for (a, box), (b, other) in itertools.combinations(found.items(), 2):
            assert not overlap(box, other), (a, b)
        ground = root.find(f"{SVG}g/{SVG}polygon")
        xs, ys = zip(*((float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", ground.get("points"))),
                     strict=True)
        for box in found.values():
            assert min(xs) <= box[0]
            assert box[2] <= max(xs)
            assert min(ys) <= box[1]
            assert box[3] <= max(ys)


@every_circuit
def test_the_text_of_an_svg_is_text(path):
    result = run(path)
    made = picture(result)
    shown = ["".join(text.itertext()) for text in parsed(cf.draw(result)).iter(f"{SVG}text")]
    expected = [line for v in made.vertices for line in v.lines] + [g.title for g in made.groups]
    expected += [" ".join(x for x in (w.name, w.value.text if w.value else "") if x) for w in made.wires if w.value
                 or w.name]
    expected += [w.gradient.text for w in made.wires if w.gradient]
    assert Counter(shown) == Counter(expected)


@pytest.mark.sliced(path=lambda path: ("scan" in path.read_text(), path.stat().st_size > 1000))
@every_circuit
def test_every_form_is_written(path):
    result = run(path)
    assert cf.draw(result, "png").startswith(b"\x89PNG\r\n")
    assert cf.draw(result, "pdf", theme="dark").startswith(b"%PDF-1")
    assert cf.draw(result, "html").startswith(b"<!doctype html>")
    text = cf.draw(result, "dot").decode()
    graph = pygraphviz.AGraph(string=text)
    made = picture(result)
    assert set(graph.nodes()) == {v.key for v in made.vertices} | {w.key for w in made.wires if w.value or w.gradient
                                                                   or w.name}
    flowchart = cf.draw(result, "mmd").decode()
    assert flowchart.startswith("---\ntitle: ")
    assert len(re.findall(r"-->", flowchart)) == len(made.wires)


def test_pictures_are_the_same_every_time():
    result = run(ROOT / "circuits/neuron_layer.json")
    for form in ("svg", "dot", "mmd", "html"):
        assert cf.draw(result, form) == cf.draw(result, form)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055)**2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_stands_out_from_its_ground(theme):
    """By WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    for text in (theme.text, theme.faint, theme.value, theme.gradient, theme.changed):
        for ground in (theme.ground, theme.group):
            light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_shades_run_from_one_end_to_the_other():
    theme = THEMES["light"]
    assert [theme.shade(x) for x in (-1, 0, 1)] == [theme.negative, theme.zero, theme.positive]


def test_unknown_forms_and_themes_are_refused():
    subject = cf.load(ROOT / "circuits/product.json")
    with pytest.raises(cf.InputError,
                       match="there is no form 'jpg' of picture; did you mean 'png'\\?; there are svg, png, pdf, html, "
                             "dot, mmd"):
        cf.draw(subject, "jpg")
    with pytest.raises(cf.InputError, match="there is no theme 'drak'; did you mean 'dark'\\?; there are light, dark"):
        cf.draw(subject, theme="drak")


def test_without_pygraphviz_the_extra_is_named_and_text_forms_still_work(monkeypatch):
    subject = cf.load(ROOT / "circuits/product.json")
    monkeypatch.setattr(graphviz, "find_spec", lambda name: None)
    with pytest.raises(cf.MissingExtraError,
                       match="pictures are laid out by Graphviz: pip install 'circuitflow\\[draw\\]'; DOT and Mermaid "
                                                   "\\(-o FILE.dot, -o FILE.mmd\\) need nothing"):
        cf.draw(subject)
    assert cf.draw(subject, "dot").startswith(b"// product\ndigraph circuit {")
    assert cf.draw(subject, "mmd")


def test_what_graphviz_says_when_it_fails_is_told_in_one_line(monkeypatch):
    with pytest.raises(cf.CircuitflowError, match="^Graphviz could not draw the picture: "):
        graphviz.render("digraph {", "svg")


def test_drawing_imports_no_graphviz_into_this_process():
    code = ("import sys, circuitflow as cf\n"
            "cf.draw(cf.Executor(cf.load('circuits/product.json')).run())\n"
            "assert 'pygraphviz' not in sys.modules\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Hostile text ---------------------------------------------------------------------------------------------------------

def hostile_circuit(text):
    return cf.loads(document({"id": "x", "gate": "input", "value": 1, "label": text},
                             {"id": "y", "gate": "parameter", "value": 2, "label": text},
                             {"id": "f", "gate": "mul", "inputs": ["x", "y"], "label": text, "description": text,
                              "metadata": {"k": text}},
                             name=text, description=text))


def safe(text):
    """Whether every character is shown as itself."""
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.sliced(hostile=sort_of)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(hostile):
    result = cf.Executor(hostile_circuit(hostile)).run()
    plain = cf.Executor(hostile_circuit("plain")).run()
    svg = cf.draw(result).decode()
    assert safe(svg)
    root = parsed(svg)
    tags = [Counter("shape" if e.tag in (f"{SVG}path", f"{SVG}ellipse") else e.tag for e in tree.iter())
            for tree in (root, parsed(cf.draw(plain)))]
    assert tags[0] == tags[1]
    assert {e.tag for e in root.iter()} <= {SVG + t for t in "svg title desc g polygon path ellipse text tspan".split()}
    assert not any(name.startswith("on") or "href" in name for e in root.iter() for name in e.attrib)
    shown = ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]
    assert shown.count(printable(hostile, 40).strip() or shown[0]) == 3 or hostile.strip() != hostile

    text = cf.draw(result, "dot").decode()
    assert safe(text)
    graph, expected = pygraphviz.AGraph(string=text), pygraphviz.AGraph(string=cf.draw(plain, "dot").decode())
    assert set(graph.nodes()) == set(expected.nodes())
    assert set(graph.edges()) == set(expected.edges())
    for node in graph.nodes():
        assert set(dict(node.attr)) <= set("label shape style fillcolor penwidth height width margin id class tooltip "
                                           "fixedsize color".split())

    flowchart = cf.draw(result, "mmd").decode()
    assert safe(flowchart)
    assert len(flowchart.splitlines()) == len(cf.draw(plain, "mmd").decode().splitlines())
    assert re.sub(r'"[^"]*"', '""', flowchart) == re.sub(r'"[^"]*"', '""', cf.draw(plain, "mmd").decode())
    assert set(re.findall(r"[<>&`\[\]{}()|\\]",
                          "".join(re.findall(r'"([^"]*)"', flowchart)).replace("<br/>", ""))) == set()

    page = cf.draw(result, "html").decode()
    assert safe(page.replace("\t", ""))
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert "{{" not in re.sub(r'(?s)<script>.*?</script>|<script '
                              r'type="application/json".*?</script>|<title>.*?</title>|<h1[^>]*>.*?</h1>|<p>.*?</p>|'
                              r"<svg.*?</svg>", "", page)
    data = json.loads(re.search(r'(?s)<script type="application/json" id="data">(.*?)</script>', page)[1])
    assert data["parts"]


def test_text_is_escaped_by_one_function_for_each_destination():
    assert dot.dot_text('<a href="x">&\\N\u202e') == "&lt;a href=&quot;x&quot;&gt;&amp;&#92;&#92;N&#92;&#92;u202e"
    assert mermaid.mermaid_text('a "b" <c> #d; [e]') == "a #34;b#34; #60;c#62; #35;d#59; #91;e#93;"


# Scale ----------------------------------------------------------------------------------------------------------------

def test_drawing_needs_no_recursion_and_little_text_for_a_large_circuit():
    chain = circuit("x0 = 1", *(f"x{i + 1} = tanh(x{i})" for i in range(20_000)))
    made = picture(cf.Executor(chain).run())
    assert len(made.vertices) == 10
    assert len(cf.draw(chain, "svg")) < 50_000


def test_a_detailed_picture_of_many_nodes_keeps_the_order_of_the_document():
    made = detail(tangled(60), None, 0)
    nodes = [v.node for v in made.vertices if v.kind not in (Kind.OUTPUT, Kind.FORK)]
    assert nodes == list(tangled(60).nodes)


def test_the_forms_are_those_that_the_command_names():
    assert list(drawing.FORMS) == ["svg", "png", "pdf", "html", "dot", "mmd"]


# Notebooks ------------------------------------------------------------------------------------------------------------

NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import circuitflow as cf
circuit = cf.load("circuits/product.json")
result = cf.Executor(circuit).run()
for shown in (circuit, result):
    data, _ = shell.display_formatter.format(shown)
    print(sorted(data), data["text/plain"][:30])
    print(data["text/html"][:80])
    print(data["text/html"].count("<tr>"))
"""


def test_notebooks_show_the_picture_and_a_table():
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    circuit_kinds, circuit_html, circuit_rows, result_kinds, result_html, result_rows = done.stdout.splitlines()
    assert circuit_kinds.startswith("['text/html', 'text/plain'] <Circuit 'product': 5 nodes")
    assert circuit_html.startswith('<img alt="circuit product" src="data:image/svg+xml;base64,')
    assert circuit_rows == "0"
    assert result_kinds.startswith("['text/html', 'text/plain'] ")
    assert result_html.startswith('<img alt="circuit product"')
    assert result_rows == "6"


def test_notebooks_without_pygraphviz_show_tables(monkeypatch):
    from circuitflow.pictures import notebook

    monkeypatch.setattr(graphviz, "find_spec", lambda name: None)
    subject = hostile_circuit('<b>"x"')
    formula = '<math displaystyle="true"><mrow><mi>x</mi><mo>·</mo><mi>y</mi></mrow></math>'
    assert f"<tr><td>f</td><td>{formula}</td><td>float64 ()</td></tr>" in notebook.circuit_as_html(subject)
    assert f"<tr><td>f</td><td>{formula}</td><td>2</td><td>1</td></tr>" in notebook.result_as_html(
        cf.Executor(subject).run())
    assert "… 41 more" in notebook.circuit_as_html(circuit("x0 = 1", *(f"x{i + 1} = neg(x{i})" for i in range(100))))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_notebooks_show_hostile_text_as_text(hostile):
    from circuitflow.pictures.notebook import result_as_html

    html = result_as_html(cf.Executor(hostile_circuit(hostile)).run())
    assert safe(html)
    tags = "table tr th td math mrow mi mo mtext".split()
    assert set(re.findall(r"<(/?\w+)", html)) <= {"img", *tags, *(f"/{tag}" for tag in tags)}
    attributes = re.findall(r' ([\w-]+)="', html)
    assert set(attributes) <= {"alt", "src", "displaystyle"}
    assert html.count('"') == 2 * len(attributes)


def test_outside_of_notebooks_nothing_is_imported():
    code = ("import sys, circuitflow\n"
            "assert not [m for m in sys.modules if m.startswith(('circuitflow.', 'IPython', 'numpy'))]")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
