"""The page that computes, in a real browser: what it shows after every move is what Python computes."""

from __future__ import annotations

import functools
import json
import re

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.pictures import whys
from circuitflow.pictures.drawing import picture
from circuitflow.pictures.living import living
from support.browser import CHROMIUM, NO_CHROMIUM, opener
from support.commands import golden
from support.documents import document
from support.hostile import HOSTILE
from support.suite import ROOT

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
EXAMPLES = sorted([*(ROOT / "circuits").glob("*.json"), *(ROOT / "circuits/classics").glob("*.json")])


@pytest.fixture
def opened(browser, tmp_path):
    with opener(browser, tmp_path) as open_:
        yield lambda subject, fragment="", **options: open_(
            drawn(subject) if isinstance(subject, str) else cf.draw(subject, "html"), fragment, **options)


def run(name, values=None, **options):
    return cf.Executor(cf.load(ROOT / f"circuits/{name}.json")).run(values or {}, **options)


@functools.cache
def drawn(name):
    """The page of an example, drawn once for all tests."""
    return cf.draw(run(name), "html")


def read(page):
    """The numbers of all slots and the model, from the code of the page itself."""
    return page.page.evaluate("""() => {
        const {model, wires, nodes} = JSON.parse(document.getElementById("data").textContent);
        return {model, wires, nodes};
    }""")


def assert_shows(page, result):
    """Every wire of the page has the numbers of a result."""
    page.frame()
    wires = read(page)["wires"]
    parts = page.page.evaluate("""() => JSON.parse(document.getElementById("data").textContent).parts""")
    drawn = dict(zip(wires, picture(result).wires, strict=True))
    for key, texts in page.shown().items():
        link = drawn[key]
        assert parts[key][0] == ["wire", link.of or link.name]
        assert list(texts) == [mark.text if mark else "" for mark in (link.value, link.gradient)], (key, link)


def field(page, name):
    return page.page.get_by_label(name, exact=True).and_(page.page.locator("input[type=text]"))


def test_values_and_gradients_follow_a_field_and_a_slider(opened):
    page = opened("staged")
    field(page, "x").fill("0.75")
    assert_shows(page, run("staged", {"x": 0.75}))
    page.page.get_by_label("y, slider").fill("2")
    assert_shows(page, run("staged", {"x": 0.75, "y": 2.0}))
    result = run("staged", {"x": 0.75, "y": 2.0})
    for name in ("x", "y", "sigx", "xpysqr", "f"):
        told = page.told(page.vertex(name))
        for word, expected in (("value", result.values[name]), ("gradient", result.gradients[name])):
            assert abs(float(told[word]) - expected) <= 4 * np.spacing(abs(expected)), name


def test_the_numbers_of_a_large_picture_follow_where_they_are_seen(opened):
    """The others follow when moves have settled, or when they are seen."""
    result = cf.Executor(cf.loads(document("x = 0.5", *(f"g{i} = neg({f'g{i - 1}' if i else 'x'})" for i in range(200)),
                                           outputs=["g199"]))).run()
    page = opened(result)
    old = page.shown()
    seen = set(page.page.evaluate("""() => {
        const frame = document.querySelector("#picture").getBoundingClientRect();
        return [...document.querySelectorAll(".wire")].filter((wire) => {
            const box = wire.getBoundingClientRect();
            return box.left < frame.right && box.right > frame.left && box.top < frame.bottom && box.bottom > frame.top;
        }).map((wire) => wire.id);
    }"""))
    assert 3 < len(seen) < 100 < len(old)

    def moved():
        return {key for key, (value, _) in page.shown().items() if value == old[key][0].replace("0.50", "1.00")}
    page.page.evaluate("() => { window.setTimeout = () => 0; }")  # nothing settles
    field(page, "x").fill("1")
    page.frame()
    assert seen <= moved()
    assert len(moved()) < 100
    page.page.get_by_role("button", name="Fit").click()
    assert len(moved()) == len(old)
    page.assert_quiet()


def test_what_is_no_number_changes_nothing(opened):
    page = opened("staged")
    for text in ("", "abc", "1e999", "0x10", "NaN", "1,5", "alert(1)"):
        field(page, "x").fill(text)
        assert_shows(page, run("staged"))
        assert field(page, "x").get_attribute("aria-invalid") == "true"
    field(page, "x").fill("1e-3")
    assert field(page, "x").get_attribute("aria-invalid") == "false"
    assert_shows(page, run("staged", {"x": 1e-3}))


def test_a_gate_is_set_by_hand_and_set_free(opened):
    """It is as if the gate were an input: compare with the circuit that is cut there."""
    page = opened("staged")
    page.page.locator(f"#{page.vertex('den')}").click()
    page.page.get_by_label("Set den by hand").check()
    page.page.get_by_label("den", exact=True).fill("0.5")
    page.frame()
    cut = json.loads((ROOT / "circuits/staged.json").read_text())
    cut["nodes"] = [{"id": "den", "gate": "input", "value": 0.5} if node["id"] == "den" else node
                    for node in cut["nodes"]]
    result = cf.Executor(cf.loads(json.dumps(cut))).run()
    for name in ("num", "invden", "f", "sigy", "x", "y"):
        assert float(page.told(page.vertex(name))["value"]) == result.values[name]
        expected = result.gradients[name]
        assert abs(float(page.told(page.vertex(name))["gradient"]) - expected) <= 4 * np.spacing(abs(expected))
    assert float(page.told(page.vertex("xpysqr"))["gradient"]) == 0
    assert page.page.locator(".held").count() == 1
    page.page.locator(f"#{page.vertex('den')}").click()
    page.page.get_by_label("Set den by hand").uncheck()
    assert_shows(page, run("staged"))


def test_a_page_says_why_a_gradient_is_wrong(opened):
    """As `Result.why` does, at the values that the page begins with."""
    circuit = cf.loads(document({"id": "w", "gate": "parameter", "value": [800, -900]}, "x = 3", "a = mul(w, x)",
                                "b = sigmoid(a)", "s = reduce_sum(b)", "k = 2", "f = mul(s, k)"))
    result = cf.Executor(circuit).run()
    page = opened(result)
    summaries = page.page.locator(".why summary")
    assert summaries.all_inner_texts() == ["Why the gradient is zero"] * 2
    for name in "wx":
        row = page.page.get_by_role("group", name=name, exact=True)
        row.locator("summary").click()
        assert row.locator(".why pre").inner_text() == str(result.why(name))
    field(page, "x").fill("0.001")
    page.frame()
    assert summaries.all_inner_texts() == ["Why the gradient was zero at first"] * 2
    page.page.get_by_role("button", name="Reset").click()
    page.frame()
    assert summaries.first.inner_text() == "Why the gradient is zero"


def test_a_page_looks_into_no_more_gradients_than_take_seconds():
    names = [f"x{i}" for i in range(whys.MOST + 2)]
    many = cf.loads(document(*(f"{name} = -1" for name in names), *(f"y{name} = relu({name})" for name in names),
                             {"id": "f", "gate": "add", "inputs": [f"y{name}" for name in names]}))
    assert len(whys.whys(cf.Executor(many).run())) == whys.MOST

    def over(length):
        """A scan of three gates and their two sources at every position, whose gradients are all 0."""
        cell = {"nodes": [{"id": "h", "gate": "input"}, {"id": "x", "gate": "input"},
                          {"id": "a", "gate": "add", "inputs": ["h", "x"]}, {"id": "b", "gate": "neg", "inputs": ["a"]},
                          {"id": "c", "gate": "sign", "inputs": ["b"]}], "outputs": ["c"]}
        xs = {"id": "xs", "gate": "input", "shape": ["n"], "value": [1.0] * length}
        return cf.Executor(cf.loads(document(
            "h = 1", xs, {"id": "s", "gate": "scan", "circuit": "cell", "carry": {"h": "c"}, "over": ["x"],
                          "inputs": ["h", "xs"]}, circuits={"cell": cell}))).run()
    assert [len(whys.whys(over(length))) for length in (20, 1100, 2100)] == [2, 1, 0]


def test_the_keyboard_sets_a_gate(opened):
    page = opened("staged")
    gate = page.page.locator(f"#{page.vertex('num')}")
    gate.focus()
    for key in ("Enter", "Space", "Tab"):
        page.press(key)
    page.page.keyboard.type("0.5")
    page.press("Escape")
    page.frame()
    assert float(page.told(page.vertex("num"))["value"]) == 0.5
    assert gate.evaluate("(gate) => gate === document.activeElement")


def test_upstream_gradients_choose_the_output(opened):
    circuit = cf.loads(document("x = 2", "y = 3", "f = mul(x, y)", "g = add(x, y)", outputs=["f", "g"]))
    page = opened(cf.Executor(circuit).run())
    page.page.get_by_role("button", name="The gradient of g alone").click()
    page.frame()
    assert float(page.told(page.vertex("x"))["gradient"]) == 1
    page.page.get_by_label("upstream gradient on f", exact=True).fill("10")
    page.frame()
    assert float(page.told(page.vertex("x"))["gradient"]) == 31


def test_the_walk_works_at_the_new_values(opened):
    page = opened("staged")
    field(page, "x").fill("1")
    field(page, "y").blur()
    explained = re.sub(" +", " ", cf.explain(run("staged", {"x": 1.0}), "text"))
    page.page.locator("#first").click()
    for _ in range(22):
        page.page.locator("#next").click()
        for line in page.page.locator("#told .code").all_inner_texts():
            if "fork" not in page.step():  # a sum stands as a remark there
                assert re.sub(" +", " ", line.partition("  #")[0]) in explained, line
    page.page.locator("#back").click()
    page.page.locator("#step").fill("14")
    formula = page.page.locator("#told math").text_content()
    result = run("staged", {"x": 1.0})
    assert f"{result.values['invden']:.6g}" in formula
    assert formula.endswith(f"{result.gradients['den']:.6g}".replace("-", "−"))
    bars = page.page.evaluate("""() => [...document.querySelectorAll("#told mover")].map((e) =>
        getComputedStyle(e.firstElementChild).borderTopStyle)""")
    assert set(bars) == {"solid"}


def test_the_sum_at_a_fork_is_shown_as_a_sum(opened):
    page = opened("fork")
    field(page, "y").fill("-7")
    page.frame()
    assert page.page.locator("#told math").text_content().endswith("=1+(−7)=−6")


def test_a_link_reproduces_the_state(opened):
    page = opened("sigmoid_neuron")
    field(page, "w0").fill("0.1")
    page.page.locator(f"#{page.vertex('dot')}").click()
    page.page.get_by_label("Set dot by hand").check()
    page.page.get_by_label("dot", exact=True).fill("0.25")
    page.page.get_by_label("upstream gradient on f", exact=True).fill("3")
    page.page.get_by_label("w1 is frozen").check()
    page.page.locator("#step").fill("11")
    page.until("location.hash.includes('step=11') && location.hash.includes('freeze')")
    fragment = page.page.evaluate("location.hash")
    assert fragment == "#v.w0=0.1&set.dot=0.25&up.f=3&step=11&freeze=w1"
    other = opened("sigmoid_neuron", fragment)
    for one in (page, other):
        one.frame()
    assert other.shown() == page.shown()
    assert other.step() == page.step()
    assert other.page.get_by_label("w1 is frozen").is_checked()


def test_a_hostile_fragment_does_nothing(opened):
    page = opened("staged")
    for fragment in ("#v.x=alert(1)&set.f=<script>&up.f=NaN&step=-1&freeze=constructor",
                     "#v.__proto__=1&v.constructor=2&x", "#v.x=1e999&v.y=&set.nothing=3&step=99999999",
                     f"#v.x={'9' * 200_000}", "#%E0%A4%A&v.x=%", "#step=%3Cb%3E"):
        page.again(fragment)
        assert_shows(page, run("staged"))
        assert page.page.evaluate("Object.prototype.polluted === undefined && ({}).x === undefined")


def test_a_fragment_of_a_tensor_fits_it_or_does_nothing(opened):
    page = opened("matrix_product")
    for fragment in ("#v.W=b!!!", "#v.W=bAAAA", "#v.W=999:1", "#v.W=-1:1", "#v.W=0:x", "#v.W=0.5:1"):
        page.again(fragment)
        assert field(page, "W").input_value().startswith("1.764")
    page.again("#v.W=0:2.5,3:-1")
    assert field(page, "W").input_value() == "2.5"


def test_the_document_is_copied_with_the_new_values(opened):
    page = opened("staged", permissions=["clipboard-read", "clipboard-write"])
    copied = lambda: page.page.evaluate("navigator.clipboard.readText()")  # noqa: E731
    page.page.get_by_role("button", name="Copy as JSON").click()
    page.page.get_by_text("Copied the document").wait_for()
    assert cf.loads(copied()) == cf.load(ROOT / "circuits/staged.json")
    field(page, "x").fill("0.1")
    page.page.get_by_role("button", name="Copy as JSON").click()
    page.until("navigator.clipboard.readText().then((text) => text.includes('0.1'))")
    moved = cf.loads(copied())
    assert moved == cf.load(ROOT / "circuits/staged.json").with_values({"x": 0.1})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_opens_moves_and_plays(opened, path):
    """What it shows at first is what was drawn; a move changes it; a reset brings it back; a descent runs."""
    result = cf.Executor(cf.load(path)).run()
    page = opened(result)
    page.frame()
    assert page.page.locator("#inputs").is_visible()
    before = page.shown()
    assert_shows(page, result)
    slider = page.page.locator("#sources input[type=range]").first
    slider.evaluate("(e) => { e.value = Number(e.min) + 0.7 * (e.max - e.min); e.dispatchEvent(new Event('input')); }")
    page.frame()
    page.page.locator("#first").click()
    page.page.locator("#next").click()
    page.page.locator("#last").click()
    page.page.evaluate("for (const id of ['curve', 'descent']) document.getElementById(id).open = true")
    if page.page.locator("#descent").is_visible() and page.page.locator("#descent-step").is_enabled():
        page.page.locator("#descent-step").click()
        page.page.locator("#descent-play").click()
        page.until("Number(document.getElementById('time').value) > 1 || "
                                    "document.getElementById('descent-play').textContent === 'Play'")
    page.page.evaluate("for (const id of ['curve', 'descent']) document.getElementById(id).open = false")
    page.page.get_by_role("button", name="Reset").click()
    page.frame()
    assert page.shown() == before


def outline(page):
    """The picture and the panels as text: what is where, what can be done, what is shown, what stands out."""
    page.frame()
    return page.page.evaluate("""() => {
        const lines = [];
        const name = (e) => e.getAttribute("aria-label") ?? e.labels?.[0]?.textContent.trim() ?? "";
        for (const e of document.querySelectorAll("#told p, #picture .node, #picture .wire, #panels h2, #panels input, "
            + "#panels select, #panels button, #panels .head, #panels .chart text, #panels p, #slice, "
            + "#detail dd, #detail .tip")) {
            // The words of the slice follow how much of it is sampled.
            if (!e.checkVisibility() || e.classList.contains("unseen") || e.id === "slice-words") continue;
            const state = e.matches("[type=checkbox]") ? (e.checked ? "on" : "off")
                : e.matches("input, select") ? e.value : "";
            // The numbers of a label follow a moment later.
            const told = e.matches(".node, .wire, input, select, canvas") ? name(e).split(/\\n|, (?:value|in the)/)[0]
                : "";
            const text = e.matches(".wire") ? [...e.querySelectorAll("tspan")].filter((t) =>
                getComputedStyle(t).visibility === "visible").map((t) => t.textContent.trim()).join(" ")
                : e.matches(".node, input, select, canvas") ? "" : e.textContent.trim();
            const marks = ["now", "chosen", "held"].filter((mark) => e.classList.contains(mark)).join(" ");
            lines.push([e.localName, e.id, marks, told, state, text].filter(Boolean).join(" | "));
        }
        return lines.join("\\n").replace(/-?\\d+\\.\\d{7,}(e-?\\d+)?/g, (x) => Number(x).toPrecision(6)) + "\\n";
    }""")


def move(page):
    field(page, "w0").fill("0.5")


def hold(page):
    page.page.locator(f"#{page.vertex('dot')}").click()
    page.page.get_by_label("Set dot by hand").check()
    page.page.get_by_label("dot", exact=True).fill("0.25")


def descend(page):
    page.page.evaluate("document.getElementById('descent').open = true")
    for _ in range(3):
        page.page.locator("#descent-step").click()
        page.frame()


def walk(page):
    page.page.locator("#step").fill("16")


@pytest.mark.parametrize("act", [None, move, hold, descend, walk], ids=lambda act: act.__name__ if act else "start")
def test_the_states_of_a_page_are_those_on_record(opened, act):
    """What the page shows as text. Pixels differ between machines by their fonts, and a reader of a difference sees a
    number or a mark in this one."""
    page = opened("sigmoid_neuron")
    if act:
        act(page)
    golden(f"page_{act.__name__ if act else 'start'}.txt", outline(page))


def test_gradient_descent_is_that_of_torch_and_goes_back_in_time(opened):
    """The steps of SGD with momentum, computed again here."""
    page = opened("sigmoid_neuron")
    page.page.evaluate("document.getElementById('descent').open = true")
    page.page.locator("#rate").fill("0.5")
    page.page.locator("#momentum").fill("0.9")
    circuit, names = cf.load(ROOT / "circuits/sigmoid_neuron.json"), ("w0", "w1", "w2")
    values = {name: float(run("sigmoid_neuron").values[name]) for name in names}
    velocity, losses, path = dict.fromkeys(names, 0.0), [], []
    for _ in range(4):
        result = cf.Executor(circuit).run(values)
        losses.append(float(result.outputs["f"]))
        path.append(dict(values))
        for name in names:
            velocity[name] = 0.9 * velocity[name] + float(result.gradients[name])
            values[name] -= 0.5 * velocity[name]
    for _ in range(4):
        page.page.locator("#descent-step").click()
        page.frame()
    for name in names:
        assert float(field(page, name).input_value()) == pytest.approx(values[name], rel=1e-12)
    assert page.page.locator("#time-count").inner_text() == "step 4"
    page.page.locator("#time").fill("2")
    page.frame()
    for name in names:
        assert float(field(page, name).input_value()) == pytest.approx(path[2][name], rel=1e-12)
    assert page.page.locator("#loss .curve").count() == 1
    page.page.locator("#descent-step").click()
    page.frame()
    assert page.page.locator("#time-count").inner_text() == "step 3"


def test_frozen_and_bounded_parameters(opened):
    text = document({"id": "a", "gate": "parameter", "value": 1, "min": 0.95, "max": 2},
                    {"id": "b", "gate": "parameter", "value": 2, "frozen": True},
                    {"id": "c", "gate": "parameter", "value": 3}, "p = mul(a, b)", "f = mul(p, c)", circuitflow="1.1")
    page = opened(cf.Executor(cf.loads(text)).run())
    page.page.evaluate("document.getElementById('descent').open = true")
    assert page.page.get_by_label("b is frozen").is_checked()
    page.page.locator("#descent-step").click()
    page.frame()
    values = [float(field(page, name).input_value()) for name in "abc"]
    assert values == [0.95, 2, pytest.approx(2.8, rel=1e-12)]
    assert page.page.get_by_label("a, slider").get_attribute("min") == "0.95"
    assert page.page.get_by_label("a, slider").get_attribute("max") == "2"


def test_the_curve_its_tangent_and_the_slice(opened):
    page = opened("staged")
    page.page.evaluate("for (const id of ['curve', 'descent']) document.getElementById(id).open = true")
    page.page.locator("#curve-value .tangent").wait_for()
    page.page.locator("#curve-slope .curve").wait_for()
    page.until("document.getElementById('slice-words').textContent.includes('across x from')")
    page.until("""() => {
        const {width, height} = document.getElementById("slice");
        // The browser warns of a canvas on a screen that is read again and again.
        const copy = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
        copy.drawImage(document.getElementById("slice"), 0, 0);
        const {data} = copy.getImageData(0, 0, width, height);
        return new Set(new Uint32Array(data.buffer)).size > 4;
    }""")
    field(page, "x").fill("-2")
    page.frame()
    assert_shows(page, run("staged", {"x": -2.0}))  # sampling leaves nothing behind


def test_a_large_tensor_is_a_map_and_a_small_one_has_fields(opened):
    page = opened("mlp")
    assert page.page.get_by_role("application", name="W1, a heat map of 784 rows and 128 columns").count() == 1
    page.page.get_by_label("label, row 0, column 1").fill("2")
    page.press("Enter")
    page.frame()
    moved = run("mlp", {"label": [3, 2]})
    assert float(page.told(page.vertex("loss"))["value"]) == pytest.approx(float(moved.values["loss"]), rel=1e-12)
    page.page.get_by_label("label, row 0, column 1").fill("12")  # there is no such class
    page.press("Enter")
    page.page.get_by_text("These values cannot be computed").wait_for()
    assert page.page.locator("#message").inner_text()


def test_a_heat_map_is_edited_by_keyboard_alone(opened):
    page = opened("mlp")
    page.page.get_by_role("application", name="W1, a heat map").focus()
    step = page.page.locator("#count").inner_text()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowUp", "End",
                "Home", "ArrowLeft", "ArrowRight"):
        page.press(key)
    assert page.page.get_by_text("W1[1, 1]", exact=True).count() == 1
    page.press("PageUp")
    page.press("PageDown")
    page.press("ArrowUp")
    assert page.page.get_by_text("W1[9, 1]", exact=True).get_attribute("role") == "status"
    page.page.keyboard.type("-2.5")
    page.press("Enter")
    page.press("ArrowRight")
    assert page.page.get_by_text("W1[9, 2]", exact=True).count() == 1
    assert page.page.locator("#count").inner_text() == step  # the arrow keys are the map's
    moved = np.array(run("mlp").values["W1"])
    moved[9, 1] = -2.5
    expected = run("mlp", {"W1": moved}).values["loss"]
    page.frame()
    assert float(page.told(page.vertex("loss"))["value"]) == pytest.approx(float(expected), rel=1e-12)


def test_up_and_down_lead_from_field_to_field_of_a_small_tensor(opened):
    page = opened("matrix_product")
    page.page.get_by_label("W, row 0, column 1").focus()
    for key, row in (("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", 0)):
        page.press(key)
        assert page.page.evaluate("document.activeElement.ariaLabel") == f"W, row {row}, column 1"


def test_what_javascript_cannot_have_is_replayed(opened):
    big = document({"id": "n", "gate": "constant", "value": 2**60, "dtype": "int64"}, {"id": "x", "gate": "input",
                   "value": 2}, "m = neg(n)", "y = cast_like(m, x)", "f = mul(x, y)")
    page = opened(cf.Executor(cf.loads(big)).run())
    assert "This page replays one run" in page.page.locator("header").inner_text()
    assert not page.page.locator("#inputs").is_visible()
    page.press("Home")
    page.press("ArrowRight")
    assert page.page.locator("#told").inner_text().startswith("forward pass")


def test_dark_follows_the_system_until_a_reader_chooses(opened):
    ground = lambda page: page.page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light, dark = opened("staged", color_scheme="light"), opened("staged", color_scheme="dark")
    assert (ground(light), ground(dark)) == ("rgb(255, 255, 255)", "rgb(20, 24, 29)")
    for page, expected in ((light, "rgb(20, 24, 29)"), (dark, "rgb(255, 255, 255)")):
        page.page.get_by_role("button", name="Dark").click()
        assert ground(page) == expected
    dark.page.get_by_role("button", name="Dark").click()
    dark.page.emulate_media(media="print")
    assert ground(dark) == "rgb(255, 255, 255)"
    assert not dark.page.locator("#inputs").is_visible()
    assert dark.page.locator("#picture > svg").is_visible()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (npm ci in web/)")
@pytest.mark.parametrize(("name", "scheme", "width"), [
    ("staged", "light", 1200), ("mlp", "dark", 1200), ("sigmoid_neuron", "light", 400)])
def test_axe_finds_no_fault(opened, name, scheme, width):
    page = opened(name, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.page.locator(".node.gate").first.click()
    page.page.evaluate("for (const id of ['curve', 'descent']) document.getElementById(id).open = true")
    page.frame()
    page.page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    found = page.page.evaluate("axe.run().then(({violations}) => violations.map(({id, nodes}) => "
                               "[id, nodes.map(({html}) => html)]))")
    assert found == []


def test_hostile_text_runs_nothing(opened):
    hostile = [*HOSTILE, "</script><script>alert(1)</script>", "\u2028alert(1)//", "`${alert(1)}`", '"});alert(1);({"',
               "*/alert(1)/*", "<!--<script>"]
    text = document(*({"id": f"x{i}", "gate": "parameter", "value": 1, "label": text, "description": text}
                      for i, text in enumerate(hostile)),
                    {"id": "f", "gate": "add", "inputs": [f"x{i}" for i in range(len(hostile))], "label": hostile[0]},
                    name=hostile[0], description="\n".join(hostile), metadata={text: text for text in hostile})
    page = opened(cf.Executor(cf.loads(text)).run(), "#v.x0=4")
    page.page.evaluate("for (const id of ['curve', 'descent']) document.getElementById(id).open = true")
    page.page.locator("#descent-step").click()
    page.frame()
    assert float(field(page, "x0").input_value()) == 3.9
    assert page.page.locator("script").count() == 2


def test_an_integer_stays_within_its_dtype(opened):
    text = document({"id": "n", "gate": "input", "value": 3, "dtype": "int8"},
                    {"id": "v", "gate": "input", "value": [1, 2], "dtype": "uint8"},
                    {"id": "x", "gate": "parameter", "value": 2.0}, "c = cast_like(n, x)", "w = cast_like(v, x)",
                    "m = mul(c, x)", "s = reduce_sum(w)", "f = mul(m, s)")
    circuit = cf.loads(text)
    page = opened(cf.Executor(circuit).run())
    for name, typed in (("n", "128"), ("n", "-129"), ("n", "1.5"), ("v", "-1"), ("v", "256")):
        field(page, name).fill(typed)
        assert field(page, name).get_attribute("aria-invalid") == "true", typed
    assert_shows(page, cf.Executor(circuit).run())
    field(page, "n").fill("-128")
    field(page, "v").fill("255")
    assert_shows(page, cf.Executor(circuit).run({"n": -128, "v": [255, 2]}))
    slider = page.page.get_by_label("v, slider")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("0", "255")


def test_a_huge_number_leaves_no_useless_slider(opened):
    page = opened("staged")
    slider = page.page.get_by_label("x, slider")
    field(page, "x").fill("1e308")
    page.frame()
    assert (float(slider.input_value()), float(slider.get_attribute("max"))) == (1e308, 1e308)
    field(page, "x").fill("3")
    page.frame()
    assert (float(slider.input_value()), float(slider.get_attribute("max"))) == (3, 10)


def test_a_lost_descent_says_so_and_one_that_cannot_move_stops(opened):
    text = document({"id": "x", "gate": "parameter", "value": 5.0}, "a = mul(x, x)", "f = mul(a, a)")
    page = opened(cf.Executor(cf.loads(text)).run())
    page.page.evaluate("document.getElementById('descent').open = true")
    page.page.locator("#descent-play").click()
    page.page.get_by_label("x is frozen").check()
    page.page.get_by_text("Nothing moves").wait_for()
    assert page.page.locator("#descent-play").inner_text() == "Play"
    page.page.get_by_label("x is frozen").uncheck()
    page.page.locator("#rate").fill("10")
    page.page.locator("#descent-play").click()
    page.page.get_by_text("The descent stops: f = ").wait_for()
    assert page.page.locator("#descent-play").inner_text() == "Play"


def test_on_a_phone_the_picture_can_be_read_and_the_walk_takes_it_along(opened):
    page = opened("sigmoid_neuron", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)

    def seen(name):
        return page.page.evaluate("""(key) => {
            const box = document.getElementById(key).getBoundingClientRect();
            return box.left >= 0 && box.right <= innerWidth;
        }""", page.vertex(name))

    scale = page.page.evaluate("document.querySelector('#picture > svg').getScreenCTM().a")
    assert scale >= 0.85
    for name in ("w0x0", "dot", "f"):
        while name not in page.page.locator("#told > p:not(.phase)").first.inner_text().split(" =")[0].split():
            page.page.locator("#back").tap()
        assert seen(name), name
    page.page.locator("#whole").tap()
    assert seen("w0x0")
    assert seen("f")


def test_names_of_every_kind_are_names_of_the_code(opened):
    names = ["constructor", "toString", "value", "outputs", "inputs", "eval", "arguments", "x_is_set", "Math", "exp",
             "circuitflowModule", "a0", "b0", "a1", "Object", "parameters", "shape", "const"]
    text = document(*(f"{name} = {i}" for i, name in enumerate(names)), f"s = add({', '.join(names)})", "t = tanh(s)",
                    "f = sigmoid(t)")
    circuit = cf.loads(text)
    page = opened(cf.Executor(circuit).run())
    field(page, "Math").fill("-150")
    assert_shows(page, cf.Executor(circuit).run({"Math": -150.0}))


def test_a_gate_brings_little_code():
    """With the names of the document it would be 1,300 bytes here."""
    text = document("x = 0.5", "y = 2", *(f"a_gate_with_a_name_{i} = {gate}" for i, gate in enumerate(
        ["mul(x, y)", *(f"{('tanh', 'sigmoid')[i % 2]}(a_gate_with_a_name_{i})" for i in range(999))])))
    assert len(living(cf.Executor(cf.loads(text)).run()).code) < 200_000
