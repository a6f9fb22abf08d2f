"""Puts the example circuits, which lie beside the pages, into the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, *, config: Any) -> Files:
    """Add the circuits that the gallery links."""
    for path in sorted([*ROOT.glob("circuits/*.json"), *ROOT.glob("circuits/classics/*.json")]):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to circuits to those of the site."""
    return markdown.replace("](../circuits/", "](circuits/")
