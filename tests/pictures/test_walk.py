"""The SVG that plays the sweep: by its file, and in a real browser at moments of its own clock."""

from __future__ import annotations

import json
import re
import shutil
from xml.etree import ElementTree as ET

import pytest

import circuitflow as cf
from support.documents import document
from support.hostile import HOSTILE
from support.suite import GUARD, ROOT

SVG = "{http://www.w3.org/2000/svg}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(autouse=True)
def _graphviz():
    pytest.importorskip("pygraphviz")


def staged():
    return cf.Executor(cf.load(ROOT / "circuits/staged.json")).run()


def steps(result):
    """The steps of the page, sources as one."""
    data = json.loads(re.search(r'(?s)id="data">(.*?)</script>', cf.draw(result, "html").decode())[1])["steps"]
    sources = [step for step in data if step["lines"][0]["remark"] in ("input", "constant", "parameter")]
    first = {"values": [key for step in sources for key in step["values"]]}
    return [first, *(step for step in data if step not in sources)]


def test_at_rest_it_is_the_picture():
    """A program that plays no style sheets shows everything, and none of the lines that tell the steps."""
    walk, still = (ET.fromstring(cf.draw(staged(), walk=walk)) for walk in (True, False))
    for line in walk.findall(f"{SVG}text"):
        assert line.get("opacity") == "0"
    graphs = [[(e.tag, e.text, e.get("id"), e.get("points"), e.get("fill"), e.get("stroke"), e.get("opacity"))
               for e in root.find(f"{SVG}g").iter()] for root in (walk, still)]
    assert graphs[0] == graphs[1]
    assert walk.find(f"{SVG}title").text == still.find(f"{SVG}title").text == "staged"
    assert cf.draw(staged(), walk=True) == cf.draw(staged(), walk=True)


@pytest.mark.parametrize("evil", ["]]>", HOSTILE[18], "</style><script>alert(1)</script>"])
def test_hostile_text_stays_text(evil):
    circuit = cf.loads(document("x = 2", "f = neg(x)", name=evil, description=evil))
    root = ET.fromstring(cf.draw(cf.Executor(circuit).run(), walk=True))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "style", "title", "desc", "rect", "g", "path", "polygon", "polyline", "ellipse", "text", "tspan"}
    assert not re.search(r"url|import|alert", root.find(f"{SVG}style").text)


@pytest.mark.parametrize(("subject", "arguments", "message"), [
    (staged, {"form": "png"}, "there is no form 'png' of a walk; there are svg"),
    (lambda: cf.load(ROOT / "circuits/staged.json"), {}, "there is nothing to walk through: a walk needs values")])
def test_what_cannot_be_walked_through_is_refused(subject, arguments, message):
    with pytest.raises(cf.CircuitflowError) as caught:
        cf.draw(subject(), walk=True, **arguments)
    assert str(caught.value).startswith(message)


def test_the_command_plays_what_the_function_does(circuitflow, tmp_path):
    path = tmp_path / "walk.svg"
    assert circuitflow("draw", "circuits/staged.json", "--walk", "--theme", "dark", "-o", str(path)).status == 0
    assert path.read_bytes() == cf.draw(staged(), theme="dark", walk=True)
    outcome = circuitflow("draw", "circuits/staged.json", "--walk", "--no-values")
    assert (outcome.status, outcome.err.partition(":")[0]) == (2, "error")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
def test_values_appear_forward_and_gradients_backward(tmp_path):
    from playwright.sync_api import sync_playwright

    result = staged()
    path = tmp_path / "walk.svg"
    path.write_bytes(cf.draw(result, walk=True))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"],
                                             timeout=GUARD * 1000)
        page = browser.new_page()
        page.goto(path.as_uri())

        def shown(seconds):
            return page.evaluate("""(seconds) => {
                for (const animation of document.getAnimations()) {
                    animation.pause();
                    animation.currentTime = 1000 * seconds;
                }
                const marks = [];
                for (const wire of document.querySelectorAll(".wire"))
                    for (const kind of ["value", "gradient"])
                        for (const mark of wire.querySelectorAll("tspan." + kind))
                            if (getComputedStyle(mark).fillOpacity === "1") marks.push(`${kind}s ${wire.id}`);
                const visible = (e) => getComputedStyle(e).opacity === "1";
                return {marks, lines: [...document.querySelectorAll("svg > text")].filter(visible)
                    .map((e) => e.textContent)};
            }""", seconds)

        wires = ET.fromstring(cf.draw(result)).findall(f"{SVG}g/{SVG}g")
        there = {f"{span.get('class')}s {wire.get('id')}" for wire in wires
                 for span in wire.iter(f"{SVG}tspan") if span.get("class") in ("value", "gradient")}
        everything = set()
        for i, step in enumerate(steps(result)):
            now = shown(0.8 + i + 0.5)
            everything |= {f"{kind} {key}" for kind in ("values", "gradients") for key in step.get(kind, [])}
            assert set(now["marks"]) == everything & there, i
            assert len(now["lines"]) == 1
            if i:
                assert now["lines"][0].startswith(step["phase"])
        assert shown(0.5) == {"marks": [], "lines": []}
        assert set(shown(0.8 + i + 2)["marks"]) == there
        assert shown(0.8 + i + 2)["lines"] == []
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate("document.getAnimations().length") == 0
        assert set(shown(0)["marks"]) == there
        assert shown(0)["lines"] == []
        browser.close()
