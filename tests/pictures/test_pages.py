"""The pages that `draw` and `explain` write, in a real browser, from a file, under their own policy."""

from __future__ import annotations

import json
import re

import pytest

import circuitflow as cf
from circuitflow.pictures.marks import brief
from support.browser import CHROMIUM, NO_CHROMIUM, opener
from support.documents import document
from support.hostile import HOSTILE
from support.suite import ROOT

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)


@pytest.fixture
def opened(browser, tmp_path):
    with opener(browser, tmp_path) as open_:
        yield lambda content, **options: open_(content if isinstance(content, bytes) else content.encode(), **options)


def staged():
    return cf.Executor(cf.load(ROOT / "circuits/staged.json")).run()


def test_the_whole_sweep_is_there_at_first_and_its_numbers_are_those_of_run(opened):
    result = staged()
    page = opened(cf.draw(result, "html"))
    shown = page.shown()
    made = cf.draw(result, "html").decode()
    data = json.loads(re.search(r'(?s)id="data">(.*?)</script>', made)[1])
    wires = {key: dict(told) for key, told in data["parts"].items() if key.startswith("w")}
    assert set(shown) == set(wires)
    for key, (value, gradient) in shown.items():
        told = wires[key]
        of = told["wire"]
        if value:
            assert float(page.told(key)["value"]) == result.values[of]
            assert value == brief(result.values[of])
        if gradient:
            assert gradient == brief(float(page.told(key)["gradient"]))
    assert {float(page.told(key)["gradient"]) for key, t in wires.items() if t["wire"] == "x"} == {
        float(c.value) for c in result.contributions if c.source == "x"} | {float(result.gradients["x"])}
    assert page.page.locator("#count").inner_text() == "22 of 22"


def test_steps_go_forward_and_back_gate_by_gate(opened):
    page = opened(cf.draw(staged(), "html"))
    page.press("Home")
    assert set(map(tuple, page.shown().values())) == {("", "")}
    assert page.step() == "before the forward pass"
    told, states = [], []
    for _ in range(22):
        page.press("ArrowRight")
        told.append(page.step())
        states.append(page.shown())
    assert told[0] == "forward pass\nx = 3  # input"
    assert told[3] == "forward pass\nsigy = sigmoid(y) = 0.0179862"
    assert told[10] == "forward pass\nf = num * invden = 1.54564"
    assert all(not gradient for value, gradient in states[10].values())
    assert told[11] == "reverse sweep\ndf = 1  # the upstream gradient"
    assert told[12].startswith("reverse sweep\nf = num * invden: mul sends each operand the gradient times all other "
                               "operands\ndnum = df * invden = 0.512144\n")
    assert told[19] == "reverse sweep, a fork\nx forks: its contributions add up.\ndx = 2.05957"
    before, after = states[18], states[19]
    assert {key for key in after if after[key] != before[key]} == {"w1"}  # the stem of x, and nothing else
    assert (before["w1"], after["w1"]) == (["3.00", ""], ["3.00", "2.06"])
    for state in states[-2::-1]:
        page.press("ArrowLeft")
        assert page.shown() == state
    page.press("End")
    assert page.shown() == states[-1]


def test_buttons_slider_and_play(opened):
    page = opened(cf.draw(staged(), "html"))
    page.page.get_by_role("button", name="First step").click()
    assert page.page.locator("#count").inner_text() == "0 of 22"
    page.page.get_by_role("button", name="One step on").click()
    page.page.get_by_role("button", name="One step on").click()
    page.page.get_by_role("button", name="One step back").click()
    assert page.page.locator("#count").inner_text() == "1 of 22"
    page.page.locator("#step").fill("5")
    assert page.page.locator("#count").inner_text() == "5 of 22"
    page.page.get_by_role("button", name="Play").click()
    page.page.get_by_text("7 of 22", exact=True).wait_for()
    page.page.get_by_role("button", name="Pause").click()
    page.page.get_by_role("button", name="Last step").click()
    assert page.page.locator("#count").inner_text() == "22 of 22"


def test_the_gate_of_a_step_is_marked(opened):
    page = opened(cf.draw(staged(), "html"))
    page.press("Home")
    for _ in range(4):
        page.press("ArrowRight")
    assert page.page.locator(".now title").text_content().startswith("sigy = sigmoid(y)")


def test_pointing_and_the_tab_key_tell_the_number_the_rule_and_the_json(opened):
    result = staged()
    page = opened(cf.draw(result, "html"))
    gate = page.page.locator(".node.gate", has_text="1/x")
    gate.hover()
    detail = page.page.locator("#detail").inner_text()
    for part in ("invden = reciprocal(den)", "reciprocal scales its gradient by minus the square of its output",
                 repr(float(result.values["invden"])),
                 repr(float(result.gradients["invden"])), '{"id": "invden", "gate": "reciprocal", "inputs": ["den"]}'):
        assert part in detail
    page.page.locator("#w1").hover()
    assert page.page.locator("#detail").inner_text().split("\n") == ["wire", "x", "value", "3.0", "gradient",
                                                                     repr(float(result.gradients["x"]))]
    page.page.locator("#whole").focus()
    page.press("Tab")
    focused = page.page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("x: input, value 3.0, gradient 2.0595")
    assert page.page.evaluate("document.activeElement.getAttribute('role')") == "img"


def test_a_tensor_is_told_with_all_of_its_numbers(opened):
    result = cf.Executor(cf.load(ROOT / "circuits/matrix_product.json")).run()
    page = opened(cf.draw(result, "html"))
    for name in ("W", "X", "D"):
        key = page.page.evaluate("(name) => [...document.querySelectorAll('.node:not(.wire):not(.output)')].find("
                                 "(n) => n.querySelector('title')?.textContent.startsWith(name)).id", name)
        page.page.locator(f"#{key}").focus()
        told = page.page.locator("#detail").inner_text()
        numbers = [float(number) for number in re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", told)]
        for x in (*result.values[name].ravel(), *result.gradients[name].ravel()):
            assert any(abs(float(x) - number) <= 2e-15 * abs(number) for number in numbers), (name, x)
        label = page.page.locator(f"#{key}").get_attribute("aria-label")
        assert len(label) < 400


def test_pan_and_zoom(opened):
    page = opened(cf.draw(staged(), "html"))
    box = lambda: [float(x) for x in page.page.locator("#picture > svg").get_attribute("viewBox").split()]  # noqa: E731
    whole = box()
    page.press("+")
    assert box()[2] < whole[2]
    page.press("0")
    assert box() == whole
    page.page.mouse.move(500, 500)
    page.page.mouse.wheel(0, -100)
    assert box()[2] < whole[2]
    before = box()
    page.page.mouse.down()
    page.page.mouse.move(560, 520, steps=3)
    page.page.mouse.up()
    assert box()[0] < before[0]
    assert box()[2] == before[2]
    page.page.get_by_role("button", name="Fit the whole picture").click()
    assert box() == whole


def test_a_tensor_comes_and_goes_with_its_strip(opened):
    page = opened(cf.draw(cf.Executor(cf.load(ROOT / "circuits/matrix_product.json")).run(), "html"))
    visible = """() => [...document.querySelectorAll("polygon.value, polygon.gradient")]
        .filter((e) => getComputedStyle(e).visibility === "visible").length"""
    everything = page.page.evaluate(visible)
    assert everything == 48
    page.press("Home")
    assert page.page.evaluate(visible) == 0


@pytest.mark.sliced(path=lambda path: "scan" in path.read_text())
@pytest.mark.parametrize("path", sorted((ROOT / "circuits").glob("*.json")), ids=lambda path: path.stem)
def test_every_circuit_has_a_page_whose_last_step_is_the_whole_picture(opened, path):
    result = cf.Executor(cf.load(path)).run()
    for depth in (0, None):
        page = opened(cf.draw(result, "html", theme="dark", depth=depth))
        whole = page.shown()
        page.press("Home")
        assert not any(value or gradient for value, gradient in page.shown().values())
        page.press("End")
        assert page.shown() == whole
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth && "
                                  "document.documentElement.scrollHeight <= innerHeight")


def test_structures_and_overviews_have_no_steps(opened):
    chain = cf.loads(document("x0 = 1", *(f"x{i + 1} = tanh(x{i})" for i in range(400))))
    for subject in (cf.load(ROOT / "circuits/staged.json"), cf.Executor(chain).run()):
        page = opened(cf.draw(subject, "html"))
        assert page.page.locator("#walk").count() == 0
        page.page.locator("#n1").hover()
        assert page.page.locator("#detail dl").count() == 1


def test_a_page_fits_a_phone(opened):
    page = opened(cf.draw(staged(), "html"), has_touch=True)
    page.page.set_viewport_size({"width": 400, "height": 800})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_policy_lets_nothing_in(opened):
    page = opened(cf.draw(staged(), "html"))
    failures = []
    page.page.on("requestfailed", lambda request: failures.append((request.url, request.failure)))
    page.page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.evil = 1";
        document.body.append(script);
        const image = new Image();
        image.src = "https://example.invalid/x.png";
        document.body.append(image);
        fetch("https://example.invalid/").catch(() => 0);
    }""")
    while page.page.evaluate("window.evil") is None and len(page.complaints) < 3:
        page.page.wait_for_timeout(50)
    assert page.page.evaluate("window.evil") is None
    assert sum("Content Security Policy" in complaint or "content security policy" in complaint.lower()
               for complaint in page.complaints) >= 3
    assert all(failure == "csp" for _, failure in failures)
    assert {url for url in page.requests if not url.startswith("file:")} <= {url for url, _ in failures}
    page.complaints.clear()
    del page.requests[1:]


@pytest.mark.sliced(hostile=lambda text: "<" in text)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_shown_and_nothing_else(opened, hostile):
    text = document({"id": "x", "gate": "input", "value": 1, "label": hostile},
                    {"id": "f", "gate": "neg", "inputs": ["x"], "label": hostile, "metadata": {"k": hostile}},
                    name=hostile, description=hostile)
    result = cf.Executor(cf.loads(text)).run()
    page = opened(cf.draw(result, "html"))
    page.page.locator("#n2").hover()
    assert '"gate": "neg"' in page.page.locator("#detail").inner_text()
    tags = page.page.evaluate("() => [...new Set([...document.querySelectorAll('body *')].map((e) => "
                              "e.localName))].sort()")
    assert set(tags) <= set("header h1 h2 h3 p div span b button label input output section main aside script pre code "
                            "dl dt dd details summary select option canvas svg title desc g path polygon ellipse text "
                            "tspan rect math mrow mover mi mo mn".split())
    told = opened(cf.explain(result, "html"))
    tags = told.page.evaluate("() => [...new Set([...document.querySelectorAll('body *')].map((e) => "
                              "e.localName))].sort()")
    assert set(tags) <= set("main h1 h2 h3 p table tbody tr th td span ul li math mrow mi mo mn mtext mover".split())


def test_an_explanation_shows_formulas_that_the_browser_draws(opened):
    shown = opened(cf.explain(cf.Executor(cf.load(ROOT / "circuits/staged.json")).run(), "html"))
    heights = shown.page.evaluate("""() => Object.fromEntries([...document.querySelectorAll("[title]")].map((e) => [
        e.title, e.querySelector("math").getBoundingClientRect().height]))""")
    assert heights["num = x + sigy"] > 5
    assert heights["invden = 1 / den"] > 1.3 * heights["num = x + sigy"]
    bars = shown.page.evaluate("""() => [...document.querySelectorAll("mover")].map((e) =>
        getComputedStyle(e.firstElementChild).borderTopStyle)""")
    assert bars
    assert set(bars) == {"solid"}
