"""Pages of odd circuits and for odd readers: long vectors, large integers, long words, paper, keys, small screens."""

from __future__ import annotations

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.pictures.drawing import picture
from support.browser import CHROMIUM, NO_CHROMIUM, opener
from support.documents import document
from support.suite import ROOT

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


@pytest.fixture
def opened(browser, tmp_path):
    with opener(browser, tmp_path) as open_:
        yield lambda circuit, **options: open_(cf.draw(cf.Executor(circuit).run(), "html"), **options)


def chain(count):
    return cf.loads(document("x0 = 1", *(f"x{i + 1} = tanh(x{i})" for i in range(count))))


@pytest.mark.parametrize("shape", [[100_000], [100_000, 1]], ids=str)
def test_a_long_vector_has_a_map(opened, shape):
    """A browser draws nothing on a canvas whose side is longer than it can."""
    x = {"id": "x", "gate": "input", "value": {"random": "uniform", "shape": shape, "seed": 1}}
    page = opened(cf.loads(document(x, "y = sin(x)", "s = reduce_sum(y)")))
    assert page.page.evaluate("""() => {
        const copy = new OffscreenCanvas(300, 100).getContext("2d", {willReadFrequently: true});
        copy.drawImage(document.querySelector("canvas.map"), 0, 0, 300, 100);
        return new Set(new Uint32Array(copy.getImageData(0, 0, 300, 100).data.buffer)).size;
    }""") > 100
    page.page.locator("canvas.map").focus()
    for key in ("End", "PageDown", "ArrowRight"):
        page.press(key)
    assert page.page.locator("#sources").get_by_role("status").inner_text().startswith("x[3486")


@pytest.mark.parametrize("value", [[2**53, 0], [0, -2**63]], ids=str)
def test_integers_that_javascript_lacks_are_replayed(opened, value):
    """A code that refuses them would leave dashes where Python has numbers."""
    circuit = cf.loads(document({"id": "x", "gate": "input", "value": value, "dtype": "int64"}, "y = flip(x)"))
    page = opened(circuit)
    assert "'x' has an integer beyond 2^53" in page.page.locator("#notes").inner_text()
    shown = page.shown()
    for wire in picture(cf.Executor(circuit).run()).wires:
        assert shown[wire.key][0] == wire.value.text


def test_a_document_with_any_number_that_can_be_typed_loads(opened):
    """A float32 has only its own numbers, and a large number is written so that it is no exact integer."""
    page = opened(cf.loads(document({"id": "x", "gate": "input", "value": 0.1, "dtype": "float32"}, "y = 2",
                                    {"id": "c", "gate": "cast", "inputs": ["x"], "dtype": "float64"}, "f = mul(c, y)")))
    page.page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")

    assert page.page.get_by_role("textbox", name="x", exact=True).input_value() == "0.1"

    def typed(name, text):
        field = page.page.get_by_role("textbox", name=name, exact=True)
        field.fill(text)
        page.page.get_by_role("button", name="Copy as JSON").click()
        values = cf.Executor(cf.loads(page.page.evaluate("window.copied"))).run().values
        return field.get_attribute("aria-invalid") == "false", float(values[name])
    assert typed("y", "123456789012345678901") == (True, 123456789012345678901.0)
    assert typed("y", "1e-320") == (True, 1e-320)
    assert typed("x", "16777217") == (True, 16777216)
    assert typed("x", "0.1") == (True, float(np.float32(0.1)))
    assert typed("x", "1e39") == typed("x", "1e-46") == (False, float(np.float32(0.1)))


def test_a_page_computes_in_the_frame_of_another(opened):
    """As in a viewer of files, whose frames have an address that no script may change."""
    circuit = chain(3)
    page = opened(circuit)
    page.page.evaluate("""(text) => {
        const frame = document.createElement("iframe");
        frame.setAttribute("sandbox", "allow-scripts");
        frame.srcdoc = text;
        document.body.replaceChildren(frame);
    }""", cf.draw(cf.Executor(circuit).run(), "html").decode())
    frame = page.page.frame_locator("iframe")
    frame.get_by_role("textbox", name="x0", exact=True).fill("0")
    frame.locator("#outputs").get_by_text("0.00").wait_for()
    page.page.wait_for_timeout(400)  # the address follows after 300 ms; at the end nothing may have complained


def test_words_without_a_space_fit_a_narrow_screen(opened):
    word = "onerror=alert(1)>" * 4
    circuit = cf.loads(document({"id": "x", "gate": "parameter", "value": 1, "label": word}, "f = neg(x)", name=word))
    page = opened(circuit, viewport={"width": 320, "height": 640})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.page.evaluate("""() => [...document.querySelectorAll("#sources *")].every((part) =>
        part.getBoundingClientRect().right <= 320)""")


def test_paper_has_the_whole_picture(opened):
    page = opened(chain(60))

    def box():
        return [float(x) for x in page.page.locator("#picture > svg").get_attribute("viewBox").split()]
    part = box()
    page.page.emulate_media(media="print")
    page.frame()
    assert box()[2] > 2 * part[2]
    page.page.emulate_media(media="screen")
    page.frame()
    assert box() == part


def test_the_tab_key_leads_beyond_what_is_shown(opened):
    page = opened(chain(60))
    page.page.locator("#n1").focus()
    for _ in range(60):
        page.press("Tab")
    assert page.page.evaluate("""() => {
        const part = document.activeElement.getBoundingClientRect();
        const frame = document.querySelector("#picture").getBoundingClientRect();
        return part.left >= frame.left && part.right <= frame.right && document.activeElement.matches("#picture .node");
    }""")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (npm ci in web)")
def test_an_open_box_has_no_accessibility_fault(opened):
    page = opened(chain(400))
    page.page.locator("#n3").focus()
    page.press("Enter")
    page.page.locator("#members").get_by_role("button").nth(2).click()
    page.page.evaluate(AXE.read_text())
    found = page.page.evaluate("axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html]))")
    assert found == []
