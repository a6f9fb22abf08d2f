"""Completes the site: the example circuits, a page for each family of gates, and formulas.

The pages of gates are made of the rows of the table, with the picture and the numbers of each example: nothing of them
is kept in the repository. Formulas become MathML, which browsers show without a script or a font of ours.
"""

from __future__ import annotations

import functools
import html
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

import circuitflow as cf
from circuitflow.cli import kinds
from circuitflow.explanations import catalogue
from circuitflow.explanations.expressions import stage
from circuitflow.explanations.tex import formula
from circuitflow.gates import FAMILIES
from circuitflow.pictures.theme import THEMES
from circuitflow.text import number

ROOT = Path(__file__).parent.parent
LIGHT, DARK = THEMES["light"], THEMES["dark"]
COLOURS = {**{LIGHT.shade(i / 5000): DARK.shade(i / 5000) for i in range(-5000, 5001)},
           **dict(zip(LIGHT, DARK, strict=True)), LIGHT.ground: "#1e2129"}
"""What is dark for a light colour: shades of elements, colours of the theme, and the ground of the site."""


def on_config(config: Any) -> Any:
    """Put the pages of gates into the navigation."""
    pages = ["gates.md", *(f"gates/{family}.md" for family in FAMILIES), "gates/kinds_of_nodes.md"]
    for part in config.nav:
        if isinstance(part, dict) and "Reference" in part:
            part["Reference"] = [{"Gates": pages} if page == "gates.md" else page for page in part["Reference"]]
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the circuits that the pages link, and the pages of gates with their pictures."""
    for path in sorted([*ROOT.glob("circuits/*.json"), *ROOT.glob("circuits/classics/*.json")]):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted(ROOT.glob("docs/gallery/*.svg")):
        content = in_the_dark(path.read_text(encoding="utf-8"))
        files.append(File.generated(config, f"gallery/{path.stem}.dark.svg", content=content))
    for name, content in gate_files().items():
        files.append(File.generated(config, f"gates/{name}", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links to circuits to those of the site, and give each picture a dark twin.

    All gates on one page give way to an index of them.
    """
    if page.file.src_uri == "gates.md":
        return "\n".join(index())
    markdown = re.sub(r"!\[([^\]]*)\]\(([\w./]*?)(\.light)?\.svg\)",
                      r"![\1](\2\3.svg#only-light)\n![\1](\2.dark.svg#only-dark)", markdown)
    return markdown.replace("](../circuits/", "](circuits/")


def on_page_content(content: str, **_: Any) -> str:
    """Turn TeX into MathML."""
    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', mathml, content, flags=re.DOTALL)


def mathml(match: re.Match[str]) -> str:
    """A formula on a line of its own, or within one."""
    written: str = convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")
    written = re.sub(r"(?<!<msup>)(<mi>[a-z]{2,}</mi>)(?=<m[in])", r'\1<mspace width="0.167em"/>', written)  # ln x
    return written.replace("<math ", '<math displaystyle="true" ', 1)  # fractions that can be read


# The pages of gates ---------------------------------------------------------------------------------------------------


def index() -> Iterator[str]:
    """All gates in tables, each with a link."""
    yield "# Gates\n"
    yield (f"There are {len(cf.GATES)} gates in {len(FAMILIES)} families. Each has its formula, its backward rule, a "
           "picture and an example. In the rules, $g$ is the upstream gradient. What holds at ties, zeros and the ends "
           "of the range of floats is in [the conventions](conventions.md). `circuitflow gates` prints the same list, "
           "and `circuitflow gates arcsin` finds a gate by a name that it has elsewhere. What is no gate is one of the "
           "[kinds of nodes](gates/kinds_of_nodes.md).")
    for family, gates in FAMILIES.items():
        yield f"\n## {family.capitalize()}\n\n| gate | computes |\n|---|---|"
        for name, gate in gates.items():
            yield f"| [{name}](gates/{family}.md#{name}) | ${formula(gate)}$ |"


@functools.cache
def gate_files() -> dict[str, str]:
    """The pages of the families and the pictures of their gates, by name."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = dict(zip(cf.GATES, pool.map(picture, cf.GATES), strict=True))
    written = {f"{name}.{theme}.svg": svg for name, themes in pictures.items() for theme, svg in themes.items()}
    for family, gates in FAMILIES.items():
        written[f"{family}.md"] = "\n".join([f"# {family.capitalize()}", *(line for name in gates
                                                                           for line in section(name))])
    written["kinds_of_nodes.md"] = re.sub("^#", "", "\n".join(kinds.section()).strip(), flags=re.MULTILINE)
    return written


def run(name: str) -> cf.Result:
    """The run of a gate's example."""
    return cf.Executor(cf.loads(catalogue.example(name))).run()


def picture(name: str) -> dict[str, str]:
    """The picture of a gate's example, by theme."""
    light = cf.draw(run(name)).decode()
    return {"light": light, "dark": in_the_dark(light)}


def in_the_dark(svg: str) -> str:
    """A light picture in the colours of the dark theme."""
    return re.sub("#[0-9a-f]{6}", lambda match: COLOURS[match[0]], svg)


def section(name: str) -> Iterator[str]:
    """A gate on the page of its family."""
    yield from ["", f"## {name}", "", *catalogue.entry(name)]
    yield from catalogue.details("attribute", catalogue.attributes(cf.GATES[name]), "")
    yield ""
    for theme in ("light", "dark"):
        yield f"![an example of {name} as a circuit]({name}.{theme}.svg#only-{theme})"
    yield from ["", '??? example "The document of the picture, and its numbers"', "", "    ```json"]
    yield from (f"    {line}" for line in catalogue.example(name).splitlines())
    yield from ["    ```", "", "    | node | gate | value | gradient |", "    |---|---|---|---|"]
    result = run(name)
    for node in result.circuit.nodes.values():
        for output in node.names:
            gradient = number(result.gradients[output]) if output in result.gradients else ""
            cells = [output, stage(node, result.circuit.operand_names(node)), number(result.values[output]), gradient]
            yield f"    | {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Text in a table, as it is."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>" if text else ""
