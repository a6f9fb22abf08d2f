"""An explanation as plain text, as Markdown, as a page of HTML, and as formulas alone."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

from circuitflow.arguments import checked, need_choice
from circuitflow.explanations.explanation import BACKWARD, MEANING, NOTE, Explanation, Stage, explanation, sections
from circuitflow.explanations.formulas import Symbols
from circuitflow.explanations.mathematics import to_latex, to_mathml
from circuitflow.explanations.mathml import inline
from circuitflow.explanations.terms import Term
from circuitflow.interpreter.result import Result
from circuitflow.text import printable


class ExplanationText(str):
    """The text of an explanation. A notebook shows it by its form."""

    __slots__ = ("form",)
    form: str

    def __new__(cls, text: str, form: str) -> Self:
        self = super().__new__(cls, text)
        self.form = form
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return ExplanationText, (str(self), self.form)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What IPython shows: a page in a frame of its own, in which no script runs."""
        forms = {"text": ("text/html", f"<pre>{html.escape(self)}</pre>"), "markdown": ("text/markdown", str(self)),
                 "html": ("text/html", f'<iframe sandbox width="100%" height="600" srcdoc="{html.escape(self)}">'
                                       "</iframe>"),
                 "latex": ("text/html", f"<pre>{html.escape(self)}</pre>"), "mathml": ("text/html", str(self))}
        return dict([("text/plain", str(self)), forms[self.form]])


@checked
def explain(result: Result, form: str = "text") -> str:
    """The staged computation of a run: forward lines, backward lines with each gate's rule in words, what it means.

    Args:
        result: of `Executor.run`, or of `Executor.forward` for the forward lines alone.
        form: "text", "markdown", "html" for a page of its own; or the formulas as "latex", for a document that loads
            amsmath, or as "mathml", one element `math`.

    Raises:
        InputError: there is no such form, or the result does not have the value of every node.
    """
    need_choice("form", form, FORMS, limit=20, of=" of explanation")
    return ExplanationText("\n".join(FORMS[form](explanation(result))) + "\n", form)


def to_text(content: Explanation) -> Iterator[str]:
    """The lines of plain text, for a terminal."""
    yield content.title
    if content.description:
        yield content.description
    parts = list(sections(content))
    stages = [stage for _, blocks in parts for block in blocks for stage in block.stages]
    left = _width((s.left for s in stages), 30)
    code = _width((s.right for s in stages), 50)
    for heading, blocks in parts:
        yield f"\n{heading}"
        for block in blocks:
            if block.heading:
                yield f"  {block.heading}"
                yield f"  · {block.words}"
            yield from _align(block.stages, "      " if block.heading else "  ", left, code)
    if content.meaning:
        yield f"\n{MEANING}"
        yield from (f"  {sentence}" for sentence in content.meaning)


def _width(texts: Iterable[str], most: int) -> int:
    return min(max(map(len, texts), default=0), most)


def _align(stages: Sequence[Stage], indent: str, left: int, code: int) -> Iterator[str]:
    for s in stages:
        right = f"{s.right:<{code}} = " if s.right else ""
        yield f"{indent}{s.left:<{left}} {s.sign:>2} {right}{s.value}" + (f"  # {s.remark}" if s.remark else "")


def to_markdown(content: Explanation) -> Iterator[str]:
    """The lines of Markdown, with tables of code."""
    yield f"# {markdown(content.title)}"
    if content.description:
        yield f"\n{markdown(content.description)}"
    for heading, blocks in sections(content):
        yield f"\n## {heading}"
        for block in blocks:
            yield f"\n### {markdown(block.heading)}\n\n{markdown(block.words)}.\n" if block.heading else ""
            yield from _table(block.stages)
    if content.meaning:
        yield f"\n## {MEANING}\n"
        yield from (f"- {markdown(sentence)}" for sentence in content.meaning)


def _table(stages: Sequence[Stage]) -> Iterator[str]:
    yield "| stage | value | |"
    yield "|---|---|---|"
    for s in stages:
        yield f"| {markdown(_code(s))} | {markdown(s.value)} | {markdown(s.remark)} |"


def _code(s: Stage) -> str:
    return f"{s.left} {s.sign} {s.right}" if s.right else s.left if s.sign == "=" else f"{s.left} {s.sign}"


def markdown(text: str) -> str:
    """Any text as Markdown: printable, with a backslash before every character that Markdown may read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&:@$-])", r"\\\1", printable(text, 10_000))


def to_html(content: Explanation) -> Iterator[str]:
    """The lines of a page of its own, without scripts; it loads nothing."""
    yield _HEAD.replace("TITLE", hypertext(content.title))
    yield f"<h1>{hypertext(content.title)}</h1>"
    if content.description:
        yield f"<p>{hypertext(content.description)}</p>"
    for heading, blocks in sections(content):
        yield f"<h2>{heading}</h2>"
        if heading == BACKWARD:
            yield f"<p>{hypertext(NOTE)}</p>"
        for block in blocks:
            if block.heading:
                equation = content.symbols.equation(block.names, "=", block.expression)
                yield f"<h3>{_formula(equation, block.heading)}</h3>\n<p>{hypertext(block.words)}.</p>"
            yield from _rows(block.stages, "gradient" if heading == BACKWARD else "value", content.symbols)
    if content.meaning:
        yield f"<h2>{MEANING}</h2>\n<ul>"
        yield from (f"<li>{hypertext(sentence)}</li>" for sentence in content.meaning)
        yield "</ul>"
    yield "</main>\n</html>"


def _rows(stages: Sequence[Stage], kind: str, symbols: Symbols) -> Iterator[str]:
    yield f'<table class="{kind}">\n<tr><th scope="col">stage</th><th scope="col">{kind}</th><th></th></tr>'
    for s in stages:
        formula = _formula(symbols.equation([s.left], s.sign, s.expression), _code(s))
        yield (f"<tr><td>{formula}</td><td>{hypertext(s.value)}</td>"
               f"<td>{hypertext(s.remark)}</td></tr>")
    yield "</table>"


def _formula(term: Term, code: str) -> str:
    """A formula that a pointer shows as code."""
    return f'<span title="{hypertext(code)}">{inline(term)}</span>'


def hypertext(text: str) -> str:
    """Any text as HTML: printable, without markup."""
    return html.escape(printable(text, 10_000))


def fingerprint(text: str) -> str:
    """The name of a script or a style in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE = """
:root { color-scheme: light dark; }
main { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: normal; opacity: .7; }
td, th { padding: .1rem 1.5rem .1rem 0; vertical-align: baseline; }
h3 { margin-bottom: 0; font-weight: normal; }
math { font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", "DejaVu Math TeX Gyre", math; }
mover > :first-child { border-top: thin solid; padding-top: .1em; }
mover > mo { display: none; }
mtd { text-align: left; }
p { margin: .2rem 0 .5rem; }
.value td:nth-child(2) { color: light-dark(#00724f, #3ecf9d); }
.gradient td:nth-child(2) { color: light-dark(#b93a00, #ff8f5c); }
"""
_HEAD = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src {fingerprint(_STYLE)}">
<meta name="viewport" content="width=device-width">
<title>TITLE</title>
<style>{_STYLE}</style>
<main>"""

FORMS: dict[str, Callable[[Explanation], Iterator[str]]] = {"text": to_text, "markdown": to_markdown, "html": to_html,
                                                              "latex": to_latex, "mathml": to_mathml}
