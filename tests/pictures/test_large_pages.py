"""The page of a large circuit, in a real browser: bands and closed calls that open, lists that find, and its limit."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.pictures import page as pages
from circuitflow.pictures.drawing import picture
from circuitflow.pictures.marks import brief
from support.browser import CHROMIUM, NO_CHROMIUM, opener
from support.documents import document

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
GATES = {"tanh": 1, "sin": 1, "add": 2, "mul": 2}


@pytest.fixture
def opened(browser, tmp_path):
    with opener(browser, tmp_path) as open_:
        yield lambda subject, **options: open_(
            subject if isinstance(subject, bytes) else cf.draw(subject, "html", **options))


@pytest.fixture(scope="module")
def large():
    """A circuit of 60 parameters and 400 gates, all of which an output needs."""
    chance = random.Random(3)
    nodes = [{"id": f"x{i}", "gate": "parameter", "value": round(chance.uniform(-1, 1), 3)} for i in range(60)]
    free = [node["id"] for node in nodes]
    for i in range(400):
        gate = chance.choice([*GATES])
        read = [free.pop(0) if len(free) > 1 else f"x{i % 60}" for _ in range(GATES[gate])]
        nodes.append({"id": f"g{i}", "gate": gate, "inputs": read})
        free += [f"g{i}"] * (2 if len(free) < 20 else 1)
    return cf.loads(document(*nodes, outputs=list(dict.fromkeys(free))))


@pytest.fixture(scope="module")
def drawn(large):
    """Its page, drawn once for all tests."""
    return cf.draw(cf.Executor(large).run(), "html")


def close(text, expected):
    """Whether a text says a number, but for last places of functions, which a deep circuit magnifies."""
    return float(text) == pytest.approx(float(expected), rel=1e-9, abs=1e-300, nan_ok=True)


def assert_shows(page, result):
    """Every wire between bands has the norm of its gradients, and tells ranges."""
    for wire in picture(result).wires[:-1]:
        told = page.told(wire.key)
        for word, mark in wire.marks:
            start, _, norm = told[word].rpartition(" ")
            assert start == mark.full.rpartition(" ")[0]
            assert close(norm, mark.full.rpartition(" ")[2])
        assert page.shown()[wire.key] == [wire.value.text, wire.gradient.text]


def find(page, among, text):
    page.page.get_by_label(f"find among {among}").fill(text)


def field(page, name):
    return page.page.get_by_role("textbox", name=name, exact=True)


def choose(page, key):
    page.page.locator(f"#{key}").focus()
    page.press("Enter")


def rows(page, place):
    return page.page.locator(f"{place} .source").all_inner_texts()


def test_an_overview_computes(opened, large, drawn):
    page = opened(drawn)
    assert_shows(page, cf.Executor(large).run())
    assert len(rows(page, "#sources")) == 12
    find(page, "inputs and parameters", "X4")
    assert [row.split()[0] for row in rows(page, "#sources")] == ["x4", *(f"x{i}" for i in range(40, 50))]
    field(page, "x4").fill("0.75")
    page.page.get_by_label("x45, slider").fill("-1.2")
    page.frame()
    moved = cf.Executor(large).run({"x4": 0.75, "x45": float(field(page, "x45").input_value())})
    assert_shows(page, moved)
    page.page.get_by_role("button", name="Reset").click()
    page.frame()
    assert_shows(page, cf.Executor(large).run())


def test_a_box_opens_and_its_nodes_are_live(opened, large, drawn):
    page = opened(drawn)
    vertices = picture(cf.Executor(large).run()).vertices
    for vertex in vertices[:-1]:
        choose(page, vertex.key)
        assert page.page.evaluate("document.activeElement.id") == "opened-title"
        assert page.page.locator("#opened-title").inner_text() == f"Nodes: {vertex.lines[0]}"
        assert f"of {len(vertex.members)} values" in page.page.locator("#members").inner_text()
    name = vertices[3].members[0]
    choose(page, vertices[3].key)
    page.page.locator("#members").get_by_role("button", name=name, exact=True).click()
    page.page.get_by_label(f"Set {name} by hand").check()
    field(page, name).fill("0.25")
    page.frame()
    cut = json.loads(json.dumps(large.document.model_dump(mode="json", exclude_unset=True, by_alias=True)))
    cut["nodes"] = [{"id": name, "gate": "input", "value": 0.25} if node["id"] == name else node
                    for node in cut["nodes"]]
    expected = cf.Executor(cf.loads(json.dumps(cut))).run()
    last = vertices[-2].members[-1]
    choose(page, vertices[-2].key)
    find(page, "values", last)
    shown = [row for row in rows(page, "#members") if row.split()[0] == last]
    assert shown[0].split()[-3:] == [brief(expected.values[last]), "gradient", brief(expected.gradients[last])]
    assert page.page.locator(".held").get_attribute("id") == vertices[3].key


def test_a_source_in_a_list_leads_to_its_slider(opened, drawn):
    page = opened(drawn)
    page.page.locator("#n1").click()
    find(page, "values", "x59")
    page.page.locator("#members").get_by_role("button", name="x59", exact=True).click()
    assert page.page.evaluate("document.activeElement.getAttribute('aria-label')") == "x59"
    page.page.get_by_label("show more values").wait_for(state="hidden")
    find(page, "values", "")
    page.page.get_by_label("show more values").click()
    assert len(rows(page, "#members")) == 24
    find(page, "values", "nothing is named so")
    assert rows(page, "#members") == []


def test_a_closed_call_opens(opened):
    twice = {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "add", "inputs": ["x", "x"]}],
             "outputs": ["y"]}
    call = {"id": "c", "gate": "call", "circuit": "twice", "inputs": ["x"]}
    circuit = cf.loads(document("x = 1.5", call, "f = neg(c)", circuits={"twice": twice}))
    page = opened(cf.Executor(circuit).run(), depth=0)
    field(page, "x").fill("4")
    page.page.locator(".circuit").click()
    assert [row.split() for row in rows(page, "#members")] == [
        ["c/x", "identity(x)", "4.00", "gradient", "-2.00"], ["c/y", "add(c/x,", "c/x)", "8.00", "gradient", "-1.00"]]
    page.page.locator(f"#{page.vertex('f')}").click()
    assert page.page.locator("#opened").is_hidden()


def test_beyond_its_limit_a_page_says_that_it_does_not_compute(opened, large, monkeypatch):
    result = cf.Executor(large).run()
    for name, most in (("VALUES", len(result.values) - 1), ("ELEMENTS", len(result.values) - 1)):
        with monkeypatch.context() as patch:
            patch.setattr(pages, name, most)
            page = opened(result)
        notes = page.page.locator("#notes").inner_text()
        assert "does not compute, because the circuit is too large: it has 460 values with 460 elements" in notes
        assert "circuitflow draw --set" in notes
        assert page.page.locator("#inputs").is_hidden()
        page.page.locator("#n2").click()
        assert page.page.locator("#opened").is_hidden()


def test_what_is_not_finite_is_said_as_in_python(opened):
    chain = (f"n{i} = neg({f'n{i - 1}' if i else 'x'})" for i in range(350))
    circuit = cf.loads(document("x = 1", *chain, "e = exp(n349)", "d = sub(e, e)", "s = tanh(n349)",
                                outputs=["d", "s"]))
    page = opened(cf.Executor(circuit).run())
    field(page, "x").fill("1000")
    page.frame()
    with np.errstate(all="ignore"):
        result = cf.Executor(circuit).run({"x": 1000.0})
    assert np.isnan(result.outputs["d"])
    assert_shows(page, result)
    choose(page, "n9")
    find(page, "values", "exp(n349)")
    assert rows(page, "#members")[0].split("\n")[:3] == ["e", "exp(n349)", "∞"]
