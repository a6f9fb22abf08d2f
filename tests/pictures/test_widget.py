"""The widget of notebooks: its Python side, and its JavaScript mounted as anywidget does it, in a real browser."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

import circuitflow as cf
from support.browser import CHROMIUM, NO_CHROMIUM, opener
from support.documents import document
from support.hostile import HOSTILE
from support.suite import ROOT

pytest.importorskip("anywidget", reason="the extra notebook brings it")
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"

NOTEBOOK = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>a notebook</title></head>
<body style="background: GROUND; color: gray"><main><h1>a notebook</h1></main>
<script type="application/json" id="states">STATES</script>
<script>
// A model as anywidget defines it: get, set, save_changes, on and off.
class Model {
  constructor(state) { this.state = state; this.listeners = {}; this.saved = []; }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    for (const act of this.listeners["change:" + name] ?? []) act();
  }
  save_changes() { this.saved.push(JSON.stringify(this.state._moves)); }
  on(event, act) { (this.listeners[event] ??= []).push(act); }
  off(event, act) { this.listeners[event] = (this.listeners[event] ?? []).filter((one) => one !== act); }
}
const models = [], elements = [], ends = [];
async function show(state) {
  const url = URL.createObjectURL(new Blob([state._esm], {type: "text/javascript"}));
  const {default: {render}} = await import(url);
  const model = new Model(state), el = document.createElement("div");
  document.querySelector("main").append(el);
  models.push(model);
  elements.push(el);
  ends.push(await render({model, el}));
}
const shadow = (i) => elements[i].firstElementChild.shadowRoot;
(async () => {
  for (const state of JSON.parse(document.getElementById("states").textContent)) await show(state);
})().then(() => { document.title = "shown"; }, (error) => { document.title = String(error); });
</script></body></html>"""


@pytest.fixture
def notebook(browser, tmp_path):
    """A function that shows widgets, or states of them as JSON, in a document."""
    with opener(browser, tmp_path) as open_:
        def show(*widgets, ground="white", **options):
            states = [widget if isinstance(widget, dict) else widget.get_state() for widget in widgets]
            text = json.dumps(states).replace("<", "\\u003c")
            page = open_(NOTEBOOK.replace("GROUND", ground).replace("STATES", text).encode(), **options)
            page.until("document.title !== 'a notebook'")
            assert page.page.title() == "shown"
            page.frame()
            return page

        yield show


def staged():
    return cf.load(ROOT / "circuits/staged.json")


def shown(page, i=0):
    """The value and the gradient on each wire of a widget, and what it says of outputs."""
    page.frame()
    return page.page.evaluate("""(i) => [...shadow(i).querySelectorAll(".wire tspan, #outputs .value")].map(
        (e) => e.textContent.trim())""", i)


def sent(page, i=0):
    """What a widget told its kernel last, once nothing more comes."""
    page.page.wait_for_timeout(120)
    return page.page.evaluate("(i) => JSON.parse(models[i].saved.at(-1) ?? 'null')", i)


def field(page, name, i=0):
    return page.page.locator("main > div").nth(i).get_by_label(name, exact=True).and_(
        page.page.locator("input[type=text]"))


def assert_like(widget, result):
    for mine, expected in ((widget.values, result.values), (widget.gradients, result.gradients)):
        assert mine.keys() == expected.keys()
        for name, value in expected.items():
            assert isinstance(mine[name], np.ndarray)
            assert mine[name].dtype == value.dtype
            np.testing.assert_array_almost_equal_nulp(mine[name], value, 4)


def test_values_from_python_give_values_and_gradients():
    circuit = staged()
    widget = cf.widget(circuit)
    assert_like(widget, cf.Executor(circuit).run())
    told = []
    widget.observe(lambda change: told.append((change["name"], float(widget.values["x"]), widget.gradients["x"])))
    widget.values = {"x": 0.5}
    result = cf.Executor(circuit).run({"x": 0.5})
    assert_like(widget, result)
    assert {name for name, *_ in told} >= {"values", "gradients"}
    assert {x for _, x, _ in told} == {0.5}  # every observer sees both sides of the change
    widget.values = {**widget.values, "y": 2}
    widget.upstream = {"f": 3.0}
    assert_like(widget, cf.Executor(circuit).run({"x": 0.5, "y": 2.0}, upstream={"f": 3.0}))
    assert widget.get_state()["_moves"] == {"values": {"x": 0.5, "y": 2.0}, "held": {}, "upstream": {"f": 3.0}}


def test_tensors_truth_values_and_what_json_has_no_number_for():
    text = document({"id": "W", "gate": "parameter", "value": [[1, 2], [3, 4]], "dtype": "float32"},
                    {"id": "b", "gate": "input", "value": True}, {"id": "x", "gate": "input", "value": 1.0},
                    {"id": "n", "gate": "input", "value": [1, 2], "dtype": "int8"},
                    "s = reduce_sum(W)", "y = cast_like(s, x)", "m = cast_like(n, x)", "k = reduce_sum(m)",
                    "g = where(b, x, y)", "f = mul(g, k)")
    circuit = cf.loads(text)
    widget = cf.widget(circuit, {"x": 2.0})
    given = {"W": np.array([[0.1, -0.0], [np.inf, 7]], "float32"), "b": False, "x": np.inf,
             "n": np.array([-128, 127], "int8")}
    widget.values = given
    other = cf.widget(circuit, {"x": 2.0})
    other.set_state({"_moves": json.loads(json.dumps(widget.get_state()["_moves"], allow_nan=False))})
    for one in (widget, other):
        result = cf.Executor(circuit).run(given)
        for name, value in result.values.items():
            np.testing.assert_array_equal(one.values[name], value)
            assert one.values[name].dtype == value.dtype
    assert np.signbit(other.values["W"][0, 1])
    given["W"][0, 0] = 9  # an array of the caller's stays the caller's
    assert widget.values["W"][0, 0] == np.float32(0.1)


def test_numbers_and_lists_take_the_dtype_of_the_circuit():
    v = {"id": "v", "gate": "input", "value": [1, 2], "dtype": "float32"}
    widget = cf.widget(cf.loads(document(v, "e = exp(v)", "f = reduce_sum(e)")))
    widget.values = {"v": [0.1, 3]}
    widget.held = {"e": (0.5, 2)}
    widget.upstream = {"f": 0.3}
    for shown, expected in ((widget.values["v"], [0.1, 3]), (widget.held["e"], [0.5, 2]), (widget.upstream["f"], 0.3)):
        np.testing.assert_array_equal(shown, np.array(expected, "float32"), strict=True)


def test_a_gate_is_held_by_python_as_if_it_were_an_input():
    widget = cf.widget(staged())
    widget.held = {"den": 0.5}
    cut = json.loads((ROOT / "circuits/staged.json").read_text())
    cut["nodes"] = [{"id": "den", "gate": "input", "value": 0.5} if node["id"] == "den" else node
                    for node in cut["nodes"]]
    result = cf.Executor(cf.loads(json.dumps(cut))).run()
    for name in ("num", "invden", "f", "sigy", "x", "y"):
        assert widget.values[name] == result.values[name]
        np.testing.assert_array_almost_equal_nulp(widget.gradients[name], result.gradients[name], 4)
    assert widget.gradients["xpysqr"] == 0
    widget.held = {}
    assert_like(widget, cf.Executor(staged()).run())


@pytest.mark.parametrize(("trait", "given", "words"), [
    ("values", 3, "expected a mapping"), ("values", None, "expected a mapping"), ("held", None, "expected a mapping"),
    ("upstream", None, "expected a mapping"), ("values", {"q": 1}, "'q' is no input or parameter"),
    ("values", {"f": 1.0}, "widget.held sets it"), ("values", {"x": [1, 2]}, "shape (2,); expected ()"),
    ("values", {"x": 1j}, "complex"), ("held", {"x": 1}, "'x' is no gate that can be set"),
    ("values", {"x": [[1], [2, 3]]}, "unequal lengths"), ("upstream", {"f": [1]}, "'f' has shape (1,); expected ()"),
    ("held", {"den": "a"}, "expected numbers"), ("upstream", {"g": 1}, "'g' is no output"),
    ("values", {3: 1.0}, "'3' is no input")])
def test_what_cannot_be_computed_is_refused_and_nothing_changes(trait, given, words):
    widget = cf.widget(staged())
    before = widget.values, widget.gradients, widget.held, widget.upstream, widget.get_state()["_moves"]
    with pytest.raises(cf.InputError, match=re.escape(words)):
        setattr(widget, trait, given)
    assert before == (widget.values, widget.gradients, widget.held, widget.upstream, widget.get_state()["_moves"])


@pytest.mark.parametrize("moves", [
    {"values": {"x": "abc"}, "held": {}, "upstream": {}}, {"values": {"nothing": 1}, "held": {}, "upstream": {}},
    {"values": {"x": [1]}, "held": {}, "upstream": {}}, {"values": 3, "held": {}, "upstream": {}}, {}])
def test_a_view_that_says_nonsense_is_refused(moves):
    widget = cf.widget(staged())
    before = widget.values
    with pytest.raises(cf.InputError):
        widget.set_state({"_moves": moves})
    assert widget.values == before


def test_mappings_and_arrays_are_replaced_and_never_changed():
    traitlets = pytest.importorskip("traitlets")
    widget = cf.widget(cf.load(ROOT / "circuits/matrix_product.json"))
    with pytest.raises(TypeError):
        widget.values["W"] = 3
    with pytest.raises(ValueError, match="read-only"):
        widget.values["W"][0, 0] = 3
    with pytest.raises(traitlets.TraitError):
        widget.gradients = {}


def test_without_anywidget_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.setattr("circuitflow.pictures.widget.find_spec", lambda name: None)
    with pytest.raises(cf.MissingExtraError, match=r"circuitflow\[notebook\]"):
        cf.widget(staged())


def test_what_javascript_cannot_have_is_refused():
    big = document({"id": "n", "gate": "constant", "value": 2**60, "dtype": "int64"}, {"id": "x", "gate": "input",
                   "value": 2}, "m = neg(n)", "y = cast_like(m, x)", "f = mul(x, y)")
    with pytest.raises(cf.InputError, match="JavaScript cannot"):
        cf.widget(cf.loads(big))


@in_chromium
def test_two_widgets_move_on_both_sides_and_do_not_disturb_each_other(notebook):
    circuit = staged()
    one, two = cf.widget(circuit), cf.widget(circuit)
    page = notebook(one, two)
    first = shown(page, 1)
    assert shown(page, 0) == first
    field(page, "x").fill("0.75")
    assert shown(page, 1) == first
    one.set_state({"_moves": sent(page)})
    assert_like(one, cf.Executor(circuit).run({"x": 0.75}))
    assert sent(page, 1) is None
    # What the page shows is what a widget shows that Python moved there.
    two.values = {"x": 0.75}
    page.page.evaluate("(moves) => models[1].set('_moves', moves)", two.get_state()["_moves"])
    assert shown(page, 1) == shown(page, 0) != first
    assert sent(page, 1) is None  # what came from the kernel does not go back to it
    # A gate set by hand, on either side.
    page.page.locator("main > div").nth(0).get_by_role("img", name=re.compile("^den = ")).click()
    page.page.get_by_label("Set den by hand").check()
    page.page.get_by_label("den", exact=True).fill("0.5")
    one.set_state({"_moves": sent(page)})
    assert one.held == {"den": 0.5}
    two.held = {"den": 0.5}
    page.page.evaluate("(moves) => models[1].set('_moves', moves)", two.get_state()["_moves"])
    assert shown(page, 1) == shown(page, 0)
    assert one.gradients["x"] == two.gradients["x"]
    two.held = {}
    page.page.evaluate("(moves) => models[1].set('_moves', moves)", two.get_state()["_moves"])
    assert shown(page, 1) != shown(page, 0)
    assert page.page.evaluate("shadow(1).querySelectorAll('.held').length") == 0
    # One is taken down: the other one goes on.
    page.page.evaluate("ends[0]()")
    assert page.page.evaluate("elements[0].childElementCount + models[0].listeners['change:_moves'].length") == 0
    two.values = {"x": 3.0}
    page.page.evaluate("(moves) => models[1].set('_moves', moves)", two.get_state()["_moves"])
    assert shown(page, 1) == first


@in_chromium
def test_tensors_cross_bit_by_bit(notebook):
    circuit = cf.load(ROOT / "circuits/matrix_product.json")
    widget = cf.widget(circuit)
    page = notebook(widget)
    field(page, "W").fill("-0.1")
    widget.set_state({"_moves": sent(page)})
    moved = np.array(cf.Executor(circuit).run().values["W"])
    moved.flat[0] = -0.1
    assert_like(widget, cf.Executor(circuit).run({"W": moved}))


@in_chromium
def test_exported_html_moves_without_a_kernel(notebook):
    """The state that `ipywidgets` and `nbconvert` write into HTML is all that it takes."""
    embed = pytest.importorskip("ipywidgets.embed")
    widget = cf.widget(staged())
    widget.values = {"y": 2.0}
    snippet = embed.embed_snippet(views=[widget], state=embed.dependency_state([widget]))
    embedded = re.search(r'(?s)<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', snippet)[1]
    states = [model["state"] for model in json.loads(embedded)["state"].values() if "_esm" in model["state"]]
    page = notebook(*states)
    field(page, "x").fill("0.75")
    expected = cf.widget(staged())
    expected.values = {"x": 0.75, "y": 2.0}
    moved = shown(page)
    assert moved == shown(notebook(expected))
    page.page.get_by_role("button", name="Reset").click()
    assert shown(page) == shown(notebook(cf.widget(staged()))) != moved


@in_chromium
def test_hostile_text_runs_nothing(notebook):
    hostile = [*HOSTILE, "</script><script>alert(1)</script>", "`${alert(1)}`", '"});alert(1);({"', "*/alert(1)/*"]
    text = document(*({"id": f"x{i}", "gate": "parameter", "value": 1, "label": text, "description": text}
                      for i, text in enumerate(hostile)),
                    {"id": "f", "gate": "add", "inputs": [f"x{i}" for i in range(len(hostile))], "label": hostile[0]},
                    name=hostile[0], description="\n".join(hostile), metadata={text: text for text in hostile})
    page = notebook(cf.widget(cf.loads(text)))
    field(page, "x0").fill("4")
    page.frame()
    tags = page.page.evaluate("[...new Set([...shadow(0).querySelectorAll('*')].map((e) => e.localName))]")
    assert set(tags) <= set("h1 h2 h3 p div span b button label input output code pre details summary dl dt dd "
                            "select option canvas svg title desc g path polygon ellipse text tspan rect math mrow "
                            "mover mi mo mn msub".split())
    assert page.page.evaluate("""[...shadow(0).querySelectorAll("*")].flatMap((e) => e.getAttributeNames())
        .filter((name) => name.startsWith("on") || name.endsWith("href") || name === "src")""") == []


@in_chromium
@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (npm ci in web/)")
def test_axe_finds_no_fault_in_two_widgets_and_they_take_the_look_of_the_notebook(notebook):
    page = notebook(cf.widget(staged()), cf.widget(staged()), ground="#111", color_scheme="light")
    assert page.page.evaluate("shadow(0).querySelector('.page').dataset.theme") == "dark"
    page.page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    found = page.page.evaluate("axe.run().then(({violations}) => violations.map(({id, nodes}) => "
                               "[id, nodes.map(({html}) => html)]))")
    assert found == []
