"""The project's own files: its top level, its changelog, its workflow, its hooks, and what its pages name."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest

import circuitflow as cf
from circuitflow.cli.main import COMMANDS
from circuitflow.document.base import READABLE
from support.slices import alike
from support.suite import GUARD, ROOT

# CITATION.cff is where GitHub, Zenodo and reference managers look for it.
TOP = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "benchmarks",
       "circuitflow", "circuits", "docs", "mkdocs.yml", "pyproject.toml", "schemas", "tests", "web"}
MADE = {"build", "dist", "__pycache__", "circuitflow.egg-info"}
PAGES = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md",
         *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))
           if path.name not in ("gates.md", "conventions.md"))]
PROJECT, TOOLS = map(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")).get, ("project", "tool"))
TOWNCRIER = TOOLS["towncrier"]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
HOOKS = [dict(re.findall(r"^[- ] (\w+): (.*)$", hook, re.MULTILINE)) for hook in
         re.split(r"^(?=- id:)", (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]]


def test_the_top_level_is_tidy():
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - MADE == TOP


def test_tests_import_what_the_extra_test_installs():
    """A package that only a developer's machine has fails elsewhere: a test asks for it by `importorskip`."""
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    installed = {re.match(r"[\w-]+", line)[0].lower().replace("-", "_") for line in requirements}
    installed |= {"circuitflow", "benchmarks", "torch"}  # torch: support/libraries.py skips what needs it
    paths = list((ROOT / "tests").rglob("*.py"))
    own = {path.stem for path in paths} | {path.parent.name for path in paths}
    for path in [path for path in paths if "fuzz" not in path.parts]:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                     [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else [])
            for top in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                assert top.lower() in installed or f'importorskip("{top}' in text, f"{path}:{node.lineno} imports {top}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text):
        target = "".join(link)
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target
    for name in re.findall(r"\bcf\.([A-Za-z_]\w*)", text):
        assert name in cf.__all__, name
    for name in re.findall(r"`circuitflow ([a-z]+)", text):
        assert name in COMMANDS, name


def test_the_changelog_keeps_its_form():
    """As https://keepachangelog.com/en/1.1.0/ has it: the newest version first, changes by kind."""
    versions = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", CHANGELOG, re.MULTILINE)
    assert versions
    assert all(bool(date) == (name != "Unreleased") for name, date in versions)
    for part in re.split(r"^## .*$", CHANGELOG, flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert headings == [kind for kind in KINDS if kind in headings]


def test_every_change_has_the_name_that_a_release_collects():
    assert [kind["name"] for kind in TOWNCRIER["type"]] == KINDS
    assert [kind["directory"] for kind in TOWNCRIER["type"]] == [kind.lower() for kind in KINDS]
    for path in (ROOT / TOWNCRIER["directory"]).iterdir():
        if path.name != ".gitkeep":
            assert re.fullmatch(rf"(\+[a-z0-9_]+|\d+)\.({'|'.join(KINDS).lower()})\.md", path.name), path.name
            text = path.read_text(encoding="utf-8")
            assert re.match(r"[A-Z`]", text), path.name
            assert text.endswith(".\n"), path.name
            assert max(map(len, text.splitlines())) <= 130, path.name


def test_a_release_collects_the_changes(tmp_path):
    pytest.importorskip("towncrier", reason="the extra release collects changes")
    for name in ("pyproject.toml", TOWNCRIER["filename"]):
        shutil.copy(ROOT / name, tmp_path)
    changes = tmp_path / TOWNCRIER["directory"]
    changes.mkdir(parents=True)
    for name, text in {"+a_b.fixed.md": "A fix.", "12.added.md": "One thing.\nIn two lines.", "+c.added.md": "More."
                       }.items():
        (changes / name).write_text(text + "\n")
    subprocess.run([sys.executable, "-m", "towncrier", "build", "--keep", "--version", "9.8.7", "--date", "2030-01-02"],
                   cwd=tmp_path, check=True, capture_output=True, timeout=GUARD)
    text = (tmp_path / TOWNCRIER["filename"]).read_text(encoding="utf-8")
    new = """## [9.8.7] - 2030-01-02

### Added

- One thing.
  In two lines.
- More.

### Fixed

- A fix.
"""
    before, marker, after = CHANGELOG.partition(TOWNCRIER["start_string"])
    assert re.sub(r"\n{3,}", "\n\n", text) == f"{before}{marker}\n{new}{after}"


def test_the_citation_names_this_version():
    """Its keys are those of https://github.com/citation-file-format/citation-file-format, version 1.2.0."""
    yaml = pytest.importorskip("yaml", reason="the extra docs brings it")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.pop("cff-version") == "1.2.0"
    assert citation.pop("type") == "software"
    assert citation.pop("version") == cf.__version__
    assert citation.pop("license") == PROJECT["license"]
    assert citation.pop("title") == PROJECT["name"]
    assert citation.pop("authors") == [{"name": "The circuitflow authors"}]
    keywords = citation.pop("keywords")
    assert len(set(keywords)) == len(keywords)
    assert set(citation) == {"abstract", "message"}
    assert all(isinstance(text, str) and text for text in [*citation.values(), *keywords])


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert TOOLS["hatch"]["version"] == {"path": "circuitflow/__init__.py"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", cf.__version__)


def test_a_source_distribution_has_the_whole_project():
    """Whoever packages it runs the tests from there."""
    assert {*TOOLS["hatch"]["build"]["targets"]["sdist"]["include"]} == {f"/{name}" for name in TOP}


def test_the_new_places_of_modules_are_there():
    rows = re.findall(r"^  \| (.*circuitflow.*) \| (.*) \|$", CHANGELOG, re.MULTILINE)
    assert len(rows) > 5
    for _, new in rows:
        for module in re.findall(r"`(circuitflow[\w.]+)`", new):
            assert import_module(module)


def test_the_policy_names_the_format_that_is_read():
    assert READABLE == ("1.0", "1.1")
    policy = (ROOT / "docs/stability.md").read_text(encoding="utf-8")
    assert "Format 1.0 is the first and is readable for ever" in policy


def test_the_workflow_runs_everything_on_the_versions_of_python_that_are_supported():
    assert re.findall(r"run: (.*)", WORKFLOW) == [".ci/run"]
    versions = re.search(r"python: \[(.*)\]", WORKFLOW)[1].replace('"', "").split(", ")
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert [version.split(".")[0] for version in versions] == ["3"] * len(versions)
    minors = [int(version.split(".")[1]) for version in versions]
    assert minors == list(range(minors[0], minors[0] + len(minors)))


def test_the_workflow_has_no_more_rights_than_it_needs():
    """Actions are pinned to commits, the token may read the contents and is not kept."""
    actions = re.findall(r"uses: (\S+)(.*)", WORKFLOW)
    assert actions
    for action, tag in actions:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r"  # v[\d.]+", tag)
    assert re.findall(r"^permissions:\n((?:  .*\n)+)", WORKFLOW, re.MULTILINE) == ["  contents: read\n"]
    assert "persist-credentials: false" in WORKFLOW
    assert "pull_request_target" not in WORKFLOW


def test_the_hooks_are_fmt_and_check():
    assert [(hook["id"], hook["name"]) for hook in HOOKS] == [("circuitflow-fmt", "circuitflow fmt --check"),
                                                             ("circuitflow-check", "circuitflow check")]
    assert all(hook["language"] == "python" for hook in HOOKS)


@pytest.mark.sliced(hook=alike)
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_takes_many_files_and_finds_the_wrong_one(hook, tmp_path):
    """pre-commit splits `entry` as a shell does, and puts the files behind it."""
    (tmp_path / "circuitflow").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m circuitflow "$@"\n')
    (tmp_path / "circuitflow").chmod(0o755)
    right = [str(ROOT / "circuits" / name) for name in ("product.json", "staged.json")]
    wrong = str(tmp_path / "wrong.json")
    shutil.copy(ROOT / "circuits/broken/missing_comma.json", wrong)

    def status(*files):
        program, *arguments = shlex.split(hook["entry"])
        assert program == "python"
        return subprocess.run([sys.executable, *arguments, *files], capture_output=True, timeout=GUARD, check=False,
                              env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}).returncode

    assert all(re.search(hook["files"], name) for name in ("circuits/a.json", "models/circuits/a.json"))
    assert status(*right) == 0
    assert status(right[0], wrong, right[1]) == 2
