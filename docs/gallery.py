"""Writes docs/gallery.md and its pictures from the circuits in circuits/classics: `python docs/gallery.py`.

Title, source, printed numbers and question stand in the metadata of each circuit. The answers are computed here.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import circuitflow as cf

DOCS = Path(__file__).parent
CLASSICS = DOCS.parent / "circuits" / "classics"
NOTES = ["product", "patterns", "fork", "square", "sigmoid_neuron", "sigmoid_neuron_fused", "staged", "matrix_product"]
"""The circuits of the Stanford notes, which lie in `circuits/`."""

PARTS = {"kepler": "newton", "kalman": "step", "lenses": "lens", "lstm": "cell", "pendulum": "step", "pid": "step"}
"""The subcircuits that have a picture of their own, by circuit."""

BEGINNING = """\
# Gallery

Small circuits from books, papers and lecture notes. Each has its source, the numbers that the source prints beside the
computed ones, and a question that a gradient answers. To run one, to explain it, or to walk through it:

    circuitflow run circuits/classics/olah.json
    circuitflow explain circuits/classics/olah.json
    circuitflow draw circuits/classics/olah.json -o olah.html

On every wire the value stands above, in green, and the gradient below, in red. `python docs/gallery.py` writes this
page and its pictures."""

STANFORD = """\
## The Stanford notes

Andrej Karpathy, [CS231n, Backpropagation, Intuitions](https://cs231n.github.io/optimization-2/), 2015.

![a neuron with two inputs](sigmoid_neuron.light.svg)
"""


def value(number: Any, digits: int = 4) -> str:
    """A number, or the numbers of a vector, to a few significant digits; rounding errors are 0."""
    numbers = [f"{0.0 if abs(x) < 1e-12 else x:.{digits}g}" for x in np.ravel(number)]
    return numbers[0] if np.ndim(number) == 0 else f"({', '.join(numbers)})"


def lines(text: str) -> list[str]:
    """A paragraph in lines of 120 characters."""
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def run(name: str, **inputs: Any) -> cf.Result:
    """Values and gradients of a classic circuit."""
    return cf.Executor(cf.load(CLASSICS / f"{name}.json")).run(inputs)


def hessian(name: str, wrt: list[str], **inputs: Any) -> np.ndarray:
    """The matrix of second derivatives of a classic circuit."""
    second = cf.hessian(cf.load(CLASSICS / f"{name}.json"), wrt=wrt)
    return np.reshape([float(x) for x in cf.Executor(second).run(inputs, wrt=[]).outputs.values()], (len(wrt), -1))


def olah(result: cf.Result) -> str:
    by = {c.target: c.value for c in result.contributions if c.source == "b"}
    slope = result.gradients["b"]
    return (f"{value(by['c'])} by c, {value(by['d'])} by d. The slope is their sum, {value(slope)}: raise b by 0.01, "
            f"and e rises by about {value(slope / 100)}.")


def baydin(result: cf.Result) -> str:
    gradient = np.array([result.gradients["x1"], result.gradients["x2"]])
    steepest = np.linalg.norm(gradient)
    return (f"Along the gradient, {value(gradient)}. A step of length 0.01 in that direction, "
            f"{value(gradient / steepest, 3)}, raises f by about {value(steepest / 100)}.")


def mazur(result: cf.Result) -> str:
    weights = {f"w{i}": result.values[f"w{i}"] - 0.5 * result.gradients[f"w{i}"] for i in range(1, 9)}
    error = run("mazur", **weights).outputs["E"]
    return (f"{', '.join(f'{name} = {value(weight, 8)}' for name, weight in weights.items())}, as he prints them. The "
            f"error falls from {value(result.outputs['E'], 9)} to {value(error, 9)}. He prints 0.291027924, which "
            "differs in the seventh digit.")


def softmax_loss(result: cf.Result) -> str:
    pull = result.gradients["scores"]
    return (f"The gradient is {value(pull, 3)}: the probabilities, less 1 for the right class. That score must rise, "
            "and the others must fall, mostly the second. The gradient adds up to "
            f"{value(pull.sum())}: a common shift of all scores changes nothing.")


def svm_loss(result: cf.Result) -> str:
    return (f"The gradient is {value(result.gradients['scores'])}. The first class is far enough behind and gets none. "
            "The second is pushed down as strongly as the right class is pulled up.")


def batch_normalization(result: cf.Result) -> str:
    slope = result.gradients["x"]
    return (f"No. The gradient {value(slope, 3)} adds up to {value(slope.sum())}, so a common shift changes nothing. "
            f"Times xhat it adds up to {value(slope @ result.values['xhat'], 2)}: stretching changes nothing either, "
            "apart from the effect of eps.")


def lstm(result: cf.Result) -> str:
    gradient, gate = result.gradients["t1/next_state"][0], result.values["t1/f"][0]
    return (f"The state of the second step has the gradient {value(gradient)}. The forget gate f = {value(gate, 3)} "
            f"passes {value(gradient * gate)} of it on. From state to state a gradient is multiplied by f alone, so it "
            "fades slowly where f is near 1.")


def rosenbrock(result: cf.Result) -> str:
    curvature = hessian("rosenbrock", ["x", "y"], x=1, y=1)
    along, across = np.linalg.eigvalsh(curvature)
    return (f"The Hessian there has the rows {value(curvature[0])} and {value(curvature[1])}. Its curvatures are "
            f"{value(along)} along the valley and {value(across)} across, {value(across / along)} times as much. So "
            f"the gradient, {value([result.gradients[x] for x in 'xy'])} at the starting point, hardly ever points "
            "along the valley. `circuitflow run circuits/classics/rosenbrock.json --hessian --set x=1 --set y=1` "
            "prints the Hessian.")


def kepler(result: cf.Result) -> str:
    guess = next(c.value for c in result.contributions if (c.target, c.port) == ("E_rad", "E"))
    return (f"By {value(result.gradients['M'], 7)}, which is 1 / (1 - e cos E): near the sun a planet is fast. The "
            f"first guess does not count: Newton's method forgets it, and the gradient on it is {value(guess)}.")


def pendulum(result: cf.Result) -> str:
    small = run("pendulum", theta0=0.01).gradients["theta0"]
    return ("Yes. After half a second a small swing is at the bottom, wherever it began: from 0.01 rad the gradient on "
            f"theta0 is {small:.5f}. From 90° it is {value(result.gradients['theta0'])}: the wider the "
            "swing, the later it is there.")


def lenses(result: cf.Result) -> str:
    slope, m = result.gradients["object"], result.values["stack.next_m"]
    return (f"By {value(-slope / 1000)} mm. The slope, {value(slope, 5)}, is minus the square of the magnification, "
            f"{value(m)}. That is why a microscope is focused by a fine screw.")


def pid(result: cf.Result) -> str:
    changes = {gain: result.gradients[gain] * result.values[gain] / 100 for gain in ("kp", "ki", "kd")}
    best = min(changes, key=lambda gain: changes[gain])
    listed = ", ".join(f"{value(change, 2)} for {gain}" for gain, change in changes.items())
    return (f"{best}. The cost is {value(result.outputs['J'], 3)}. A hundredth of the gain times its gradient is "
            f"{listed}.")


def kalman(result: cf.Result) -> str:
    weights, first = result.gradients["z"], result.gradients["x"]
    return (f"Each of the ten measurements counts {value(weights.min(), 3)}, the first guess {value(first, 3)}; "
            f"together {value(weights.sum() + first)}. The filter sees one measurement at a time, "
            "and still ends at the weighted mean.")


def gaussian_mixture(result: cf.Result) -> str:
    names = ["mu1", "v1", "mu2", "v2", "pi"]
    place = np.array([result.values[name] for name in names])
    for _ in range(6):  # of Newton's method: more change nothing
        here = dict(zip(names, place, strict=True))
        gradients = run("gaussian_mixture", **here).gradients
        place = place - np.linalg.solve(hessian("gaussian_mixture", names, **here), [gradients[name] for name in names])
    listed = ", ".join(f"{name} = {x:.3f}" for name, x in zip(names, place, strict=True))
    return (f"Not quite: the gradient is {value([result.gradients[name] for name in names], 2)}, not 0. The book's "
            f"table ends at the twentieth iteration. Newton's method goes on to {listed}.")


def black_scholes(result: cf.Result) -> str:
    delta, vega, rho = (result.gradients[name] for name in ("S", "sigma", "r"))
    gamma, theta = hessian("black_scholes", ["S"])[0, 0], -result.gradients["T"]
    return (f"delta = {value(delta, 3)} shares, the gradient on S. All of it comes by the product of S and N1; what S "
            f"sends through d adds up to 0. The other greeks are derivatives too: vega = {value(vega, 3)}, rho = "
            f"{value(rho, 3)}, theta = {value(theta, 3)} (minus the gradient on T), and gamma = "
            f"{value(gamma, 2)}, the second derivative in S.")


ANSWERS: dict[str, Callable[[cf.Result], str]] = {answer.__name__: answer for answer in (
    olah, baydin, mazur, softmax_loss, svm_loss, batch_normalization, lstm, rosenbrock, kepler, pendulum, lenses, pid,
    kalman, gaussian_mixture, black_scholes)}
"""The answers by circuit, in the order of the page: from the notes of teachers to the sciences."""


def figures(result: cf.Result, printed: dict[str, Any]) -> Iterator[str]:
    """A table of the printed numbers and those of a run, to three digits more."""
    columns = ("values", "gradients")
    nodes = dict.fromkeys(node for column in columns for node in printed.get(column, ()))
    kept = [column for column in columns if column in printed]
    yield "| node | " + " | ".join(f"{column[:-1]}, printed | computed" for column in kept) + " |"
    yield "|---|" + "---|---|" * len(kept)
    for node in nodes:
        cells = [f"`{node}`"]
        for column in kept:
            numbers = printed[column].get(node, [])
            numbers = numbers if isinstance(numbers, list) else [numbers]
            computed = np.ravel(getattr(result, column)[node]) if numbers else []
            cells += [", ".join(numbers), ", ".join(value(x, len(text.lstrip("-0.").replace(".", "")) + 3)
                                                    for x, text in zip(computed, numbers, strict=True))]
        yield f"| {' | '.join(cells)} |"
    if "note" in printed:
        yield from ["", *lines(printed["note"])]


def section(name: str) -> Iterator[str]:
    """The lines of one circuit."""
    document = json.loads((CLASSICS / f"{name}.json").read_text(encoding="utf-8"))
    about, source = document["metadata"], document["metadata"]["source"]
    result = run(name)
    title = f"[{source['title']}]({source['url']})" if source["url"].startswith("https") else source["title"]
    yield from [f"## {about['title']}", "",
                *lines(f"[{name}.json](../circuits/classics/{name}.json): {document['description']}"), "",
                *lines(f"{source['author']}, {title}, {source['year']}."), "",
                f"![{about['title']}](gallery/{name}.svg)", ""]
    if part := PARTS.get(name):
        yield from [*lines(f"Inside, `{part}`: {document['circuits'][part]['description']}"), "",
                    f"![{part}](gallery/{name}_{part}.svg)", ""]
    if "printed" in about:
        yield from [*figures(result, about["printed"]), ""]
    yield from [*lines(f"**{about['question']}** {ANSWERS[name](result)}"), ""]


def notes() -> Iterator[str]:
    """The lines on the circuits of the Stanford notes."""
    yield from [STANFORD, "| circuit | |", "|---|---|"]
    for name in NOTES:
        description = cf.load(CLASSICS.parent / f"{name}.json").document.description
        yield f"| [{name}](../circuits/{name}.json) | {description} |"


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([BEGINNING, "", *notes(), "", *(line for name in ANSWERS for line in section(name))])


def picture(name: str) -> bytes:
    """The picture of a classic circuit, its calls closed, as SVG."""
    return cf.draw(run(name), depth=0)


def picture_of_part(name: str) -> bytes:
    """The picture of a subcircuit, without values."""
    circuits = json.loads((CLASSICS / f"{name}.json").read_text(encoding="utf-8"))["circuits"]
    body = circuits.pop(PARTS[name])
    text = json.dumps({"circuitflow": "1.0", **body, **({"circuits": circuits} if circuits else {})})
    return cf.draw(cf.loads(text), depth=0)


if __name__ == "__main__":
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")
    (DOCS / "gallery").mkdir(exist_ok=True)
    for circuit in ANSWERS:
        (DOCS / "gallery" / f"{circuit}.svg").write_bytes(picture(circuit))
    for circuit, inside in PARTS.items():
        (DOCS / "gallery" / f"{circuit}_{inside}.svg").write_bytes(picture_of_part(circuit))
