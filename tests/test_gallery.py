"""The circuits in `circuits/classics/`: their sources' numbers, closed forms, and the page on them."""

from __future__ import annotations

import json
import math
import re
import runpy
from decimal import Decimal
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest
from mpmath import mp
from scipy.stats import norm

import circuitflow as cf
from support.suite import ROOT

FILES = sorted((ROOT / "circuits/classics").glob("*.json"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
GALLERY = runpy.run_path(str(ROOT / "docs/gallery.py"))
UNITS = {"lstm": 1.5}
"""Gomez calculates with rounded numbers: rounded to his digits, ours may differ by one in the last."""


def run(name, **inputs):
    return GALLERY["run"](name, **inputs)


def agrees(number, printed, units=0.5):
    """Whether a number is the printed one, to so many units of its last digit."""
    unit = 10.0 ** Decimal(printed).as_tuple().exponent
    return abs(float(number) - float(printed)) <= units * unit * (1 + 1e-9)


@every_file
def test_a_classic_is_in_canonical_layout_checks_and_says_where_it_comes_from(file):
    circuit = cf.load(file)
    assert circuit.name == file.stem
    assert cf.dumps(circuit) == file.read_text(encoding="utf-8")
    about = circuit.document.metadata
    assert set(about) - {"printed"} == {"title", "source", "question"}
    assert set(about["source"]) == {"author", "title", "year", "url"}
    assert about["source"]["url"].startswith(("https://", "urn:isbn:"))
    report = cf.check(circuit)
    assert report.ok
    assert not report.unused


def test_the_schema_takes_every_classic():
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "schemas/circuit.schema.json").read_text()))
    for file in FILES:
        schema.validate(json.loads(file.read_text(encoding="utf-8")))


@every_file
def test_a_classic_gives_the_numbers_that_its_source_prints(file):
    printed = cf.load(file).document.metadata.get("printed", {})
    result = run(file.stem)
    for kind in {"values", "gradients"} & set(printed):
        for node, figures in printed[kind].items():
            found = np.ravel(getattr(result, kind)[node])
            for number, figure in zip(found, figures if isinstance(figures, list) else [figures], strict=True):
                assert agrees(number, figure, UNITS.get(file.stem, 0.5)), (node, number, figure)


def test_mazur_s_weights_after_a_step():
    result = run("mazur")
    printed = ["0.149780716", "0.19956143", "0.24975114", "0.29950229", "0.35891648", "0.408666186", "0.511301270",
               "0.561370121"]
    for i, figure in enumerate(printed, 1):
        assert agrees(result.values[f"w{i}"] - 0.5 * result.gradients[f"w{i}"], figure)
    by = {c.target: c.value for c in result.contributions if c.source == "h1/out"}
    assert agrees(by["o1/i1"], "0.055399425")
    assert agrees(by["o2/i1"], "-0.019049119", units=1)  # his factors are rounded


def test_baydin_s_two_contributions_to_each_input():
    by = {(c.source, c.target): c.value for c in run("baydin").contributions}
    assert (by["x1", "v1"], by["x1", "v2"], by["x2", "v2"]) == (0.5, 5, 2)
    assert agrees(by["x2", "v3"], "-0.284")


def test_losses_pull_on_scores_by_their_closed_forms():
    result = run("softmax_loss")
    p = np.exp(result.values["scores"]) / np.exp(result.values["scores"]).sum()
    np.testing.assert_allclose(result.gradients["scores"], p - [0, 0, 1], rtol=1e-14)
    scores = [3.2, 1.5, 4.0]
    result = run("svm_loss", scores=scores, y=1)
    assert result.outputs["L"] == pytest.approx((3.2 - 1.5 + 1) + (4.0 - 1.5 + 1))
    assert result.gradients["scores"].tolist() == [1, -2, 1]


def test_batch_normalization_has_the_gradient_of_the_paper():
    result = run("batch_normalization")
    x, upstream, n = result.values["x"], np.array([1.0, 0, 0]), 3
    inverse = 1 / math.sqrt(x.var() + 1e-5)
    xhat, g = (x - x.mean()) * inverse, 2 * upstream
    np.testing.assert_allclose(result.outputs["out"], 2 * xhat + 1, rtol=1e-14)
    np.testing.assert_allclose(result.gradients["x"], inverse / n * (n * g - g.sum() - xhat * (g @ xhat)), rtol=1e-13)
    assert result.gradients["gamma"] == pytest.approx(upstream @ xhat)


def test_rosenbrock_s_derivatives():
    result = run("rosenbrock")
    np.testing.assert_allclose([result.gradients["x"], result.gradients["y"]], [-215.6, -88], rtol=1e-14)
    hessian = GALLERY["hessian"]
    np.testing.assert_allclose(hessian("rosenbrock", ["x", "y"]), [[1330, 480], [480, 200]], rtol=1e-14)
    np.testing.assert_allclose(hessian("rosenbrock", ["x", "y"], x=1, y=1), [[802, -400], [-400, 200]], rtol=1e-14)


@pytest.mark.parametrize(("M", "e"), [(5, 0.1), (70, 0.6)])
def test_kepler_s_equation_is_solved_and_its_gradient_is_that_of_the_implicit_function(M, e):
    result = run("kepler", M=M, e=e)
    E = mp.findroot(lambda E: E - e * mp.sin(E) - mp.radians(M), mp.radians(M))
    assert result.outputs["E"] == pytest.approx(float(mp.degrees(E)), rel=1e-14)
    assert result.gradients["M"] == pytest.approx(float(1 / (1 - e * mp.cos(E))), rel=1e-13)
    assert result.gradients["e"] == pytest.approx(float(mp.degrees(mp.sin(E) / (1 - e * mp.cos(E)))), rel=1e-13)


def test_the_pendulum_follows_jacobi_s_elliptic_function():
    """sin(θ/2) = k cd(ω t) with k = sin(θ0/2); ten steps of order 4 come within 1e-4."""
    def angle(theta0):
        k = mp.sin(theta0 / 2)
        return 2 * mp.asin(k * mp.ellipfun("cd", mp.sqrt(mp.mpf(9.81) / 0.994) * 0.5, m=k**2))

    result = run("pendulum")
    assert float(result.outputs["theta"]) == pytest.approx(float(angle(mp.pi / 2)), abs=1e-4)
    assert result.gradients["theta0"] == pytest.approx(float(mp.diff(angle, mp.pi / 2)), abs=1e-3)
    halved = run("pendulum", h=np.full(20, 0.025))
    errors = [abs(float(r.outputs["theta"] - angle(mp.pi / 2))) for r in (result, halved)]
    assert 12 < errors[0] / errors[1] < 20  # of order 4, half the step leaves a sixteenth


def test_lenses_by_matrices_of_rays():
    result = run("lenses")
    def lens(f): return np.array([[1, 0], [-1 / f, 1]])
    def gap(d): return np.array([[1, d], [0, 1]])
    system = lens(50) @ gap(230) @ lens(6) @ gap(6.2)
    image = -system[0, 1] / system[1, 1]  # where height does not depend on the angle
    assert result.outputs["image"] == pytest.approx(image, rel=1e-11)
    m = (gap(image) @ system)[0, 0]
    assert result.values["stack.next_m"] == pytest.approx(m, rel=1e-11)
    assert result.gradients["object"] == pytest.approx(-m * m, rel=1e-10)


def test_the_pid_loop_and_its_gradient_by_complex_steps():
    def cost(kp, ki, kd):
        y, total, before, squares = 0.0, 0.0, 1.0, 0.0
        for _ in range(40):
            e = 1 - y
            total, squares = total + e * 0.1, squares + e * e
            y, before = y + 0.1 * (kp * e + ki * total + kd * (e - before) / 0.1 - y), e
        return squares / 40

    result = run("pid")
    gains = np.array([2, 1, 0.1], dtype=complex)
    assert result.outputs["J"] == pytest.approx(cost(*gains).real, rel=1e-14)
    for i, gain in enumerate(("kp", "ki", "kd")):
        assert result.gradients[gain] == pytest.approx(cost(*(gains + 1e-30j * np.eye(3)[i])).imag / 1e-30, rel=1e-12)


def test_the_kalman_filter_is_the_weighted_mean_of_all():
    result = run("kalman")
    weight = 1 / 225 + 10 / 25
    mean = (60 / 225 + result.values["z"].sum() / 25) / weight
    assert result.outputs["filter.x_next"] == pytest.approx(mean, rel=1e-14)
    np.testing.assert_allclose(result.gradients["z"], 1 / 25 / weight, rtol=1e-13)
    assert result.gradients["x"] == pytest.approx(1 / 225 / weight, rel=1e-13)


def test_the_mixture_is_most_likely_where_em_comes_to_rest():
    result = run("gaussian_mixture")
    y = result.values["y"]
    mu1, v1, mu2, v2, pi = (float(result.values[name]) for name in ("mu1", "v1", "mu2", "v2", "pi"))

    def densities():
        return (1 - pi) * norm.pdf(y, mu1, math.sqrt(v1)), pi * norm.pdf(y, mu2, math.sqrt(v2))

    assert result.outputs["l"] == pytest.approx(np.log(sum(densities())).sum(), rel=1e-13)
    for _ in range(300):
        first, second = densities()
        share = second / (first + second)
        mu1, mu2, pi = np.average(y, weights=1 - share), np.average(y, weights=share), share.mean()
        v1, v2 = np.average((y - mu1) ** 2, weights=1 - share), np.average((y - mu2) ** 2, weights=share)
    here = {"mu1": mu1, "v1": v1, "mu2": mu2, "v2": v2, "pi": pi}
    gradients = run("gaussian_mixture", **here).gradients
    assert max(abs(gradients[name]) for name in here) < 1e-9
    listed = ", ".join(f"{name} = {x:.3f}" for name, x in here.items())
    assert listed in GALLERY["ANSWERS"]["gaussian_mixture"](result)


def test_black_and_scholes_s_greeks():
    S, K, r, sigma, T = 49, 50, 0.05, 0.2, 0.3846
    d1 = (math.log(S / K) + (r + sigma**2 / 2) * T) / (sigma * math.sqrt(T))
    d2, discount = d1 - sigma * math.sqrt(T), math.exp(-r * T)
    result = run("black_scholes")
    assert result.outputs["C"] == pytest.approx(S * norm.cdf(d1) - K * discount * norm.cdf(d2), rel=1e-13)
    theta = -S * norm.pdf(d1) * sigma / (2 * math.sqrt(T)) - r * K * discount * norm.cdf(d2)
    greeks = {"S": norm.cdf(d1), "sigma": S * math.sqrt(T) * norm.pdf(d1), "r": K * T * discount * norm.cdf(d2),
              "T": -theta, "K": -discount * norm.cdf(d2)}
    for name, greek in greeks.items():
        assert result.gradients[name] == pytest.approx(greek, rel=1e-12)
    gamma = GALLERY["hessian"]("black_scholes", ["S"])[0, 0]
    assert gamma == pytest.approx(norm.pdf(d1) / (S * sigma * math.sqrt(T)), rel=1e-12)
    assert agrees(-result.gradients["T"], "-4.31")
    assert agrees(gamma, "0.066")


def test_the_page_has_every_classic_and_is_current():
    assert set(GALLERY["ANSWERS"]) == {file.stem for file in FILES}
    assert GALLERY["page"]() == (ROOT / "docs/gallery.md").read_text(encoding="utf-8")


@every_file
def test_a_picture_is_what_the_script_draws(file):
    """All but places, which depend on the fonts of the machine, and last digits, which depend on its libraries."""
    pytest.importorskip("pygraphviz")

    def rounded(number):
        x = float(number[0])
        return f"{x:.6g}" if abs(x) > 1e-12 else "0"

    def parts(svg):
        return [(e.tag, e.get("id"), e.get("class"), e.get("fill"),
                 re.sub(r"-?\d+\.?\d*(e[-+]?\d+)?", rounded, e.text or "").strip()) for e in ET.fromstring(svg).iter()]

    name, folder = file.stem, ROOT / "docs/gallery"
    assert parts((folder / f"{name}.svg").read_bytes()) == parts(GALLERY["picture"](name))
    if inside := GALLERY["PARTS"].get(name):
        assert parts((folder / f"{name}_{inside}.svg").read_bytes()) == parts(GALLERY["picture_of_part"](name))
