#!/usr/bin/env python3
"""Builds a wheel and a source distribution, installs each without a network, and tries it outside of the checkout.

    python .ci/installed.py [PYTHON …]

It stands beside `.ci/run`, which calls it, and not in `tests/`: it needs a package index, once, for the wheels of the
dependencies, and it makes environments of its own. The Pythons are this one by default, or the commands named, such as
`python3.12 python3.13`; one that is not there is skipped, with a line that says so.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import sys
from importlib.metadata import distribution
from importlib.resources import files
import circuitflow as cf
assert sys.prefix in cf.__file__, f"{cf.__file__} is not the installed package"
assert distribution("circuitflow").version == cf.__version__ == sys.argv[1]
assert files("circuitflow").joinpath("py.typed").is_file(), "type checkers do not see the types"
value, gradients = cf.Executor(cf.load("circuits/product.json")).compile(wrt=["x", "y"])(x=-2.0, y=5.0)
assert value == -12 and gradients == {"x": -4, "y": -4}, (value, gradients)
"""


def main() -> None:
    """The program."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run([sys.executable, "-m", "build", "--outdir", str(work / "dist"), str(ROOT)])
        wheel, source = next(work.glob("dist/*.whl")), next(work.glob("dist/*.tar.gz"))
        version = re.search(r'^__version__ = "(.*)"$', (ROOT / "circuitflow/__init__.py").read_text(), re.MULTILINE)[1]
        assert wheel.name.startswith(f"circuitflow-{version}-"), wheel.name
        for name in sys.argv[1:] or [sys.executable]:
            if python := shutil.which(name):
                try_python(python, wheel, source, Path(tempfile.mkdtemp(dir=work)), version)
            else:
                print(f"{name}: skipped, this machine has no such program")


def try_python(python: str, wheel: Path, source: Path, work: Path, version: str) -> None:
    """Install the wheel and the source distribution, each in a fresh environment, and try both."""
    start = time.perf_counter()
    wheels = work / "wheels"
    tools = re.search(r'^requires = \["(.*)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    environments = {kind: work / kind for kind in ("wheel", "source")}
    for environment in environments.values():
        run([python, "-m", "venv", "--without-pip", str(environment)])
    run([*pip(environments["wheel"]), "download", "--quiet", "--dest", str(wheels), str(wheel), tools])
    (wheels / wheel.name).unlink()  # or the source distribution would not be what is installed
    for kind, path in (("wheel", wheel), ("source", source)):
        environment = environments[kind]
        run([*ALONE, *pip(environment), "install", "--quiet", "--no-compile", str(path)], **offline(wheels))
        outside = work / f"outside of {kind}"  # a space in a path shows what is not quoted
        outside.mkdir()
        run([*ALONE, program(environment), "examples", "--output", "circuits"], cwd=outside)
        assert (outside / "circuits/decay.csv").read_bytes() == (ROOT / "circuits/decay.csv").read_bytes()
        run([*ALONE, str(environment / "bin/python"), "-c", PROGRAM, version], cwd=outside)
        told = run([*ALONE, program(environment), "--version"], cwd=outside)
        assert told == f"circuitflow {version}\n", told
        told = run([*ALONE, program(environment), "run", "circuits/staged.json"], cwd=outside)
        assert "f = 1.54564" in told, told
    left, right = (next((environment / "lib").glob("python*")) / "site-packages/circuitflow"
                   for environment in environments.values())
    assert_same(filecmp.dircmp(left, right, ignore=["__pycache__"]))
    count = try_readme(environments["wheel"], work / "outside of wheel")
    release = run([python, "-c", "import platform; print(platform.python_version())"]).strip()
    print(f"Python {release}: wheel and source distribution install offline, {count} commands of README.md run "
          f"({time.perf_counter() - start:.0f} s)")


def try_readme(environment: Path, outside: Path) -> int:
    """Run the commands of README.md on the copied examples; what needs an extra says which, as README.md does."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?: {4}|\$ )((?:circuitflow|printf) .*)$", readme, re.MULTILINE)
    lines += re.findall(r"`(?:pip [^`]* && )?(circuitflow [a-z]+ [^`]*)`", readme)
    lines += re.findall(r"^ {4}pip .* && (circuitflow .*)$", readme, re.MULTILINE)
    count = 0
    for line in lines:
        if "circuits/broken/" in line:  # those stay in the checkout
            continue
        result = subprocess.run([*ALONE, "sh", "-c", line], cwd=outside, capture_output=True, text=True, check=False,
                                env=clean() | {"PATH": f"{environment}/bin{os.pathsep}{os.environ['PATH']}"})
        extra = re.search(r"pip install 'circuitflow\[(\w+)\]'", result.stderr)
        if extra:
            assert f"pip install -e '.[{extra[1]}]'" in readme, f"{line}: README.md does not name the extra {extra[1]}"
        else:
            assert result.returncode == 0, (line, result.stdout, result.stderr)
            count += 1
    assert count > 5, count
    return count


def assert_same(comparison: filecmp.dircmp[str]) -> None:
    """Assert that two folders hold the same files."""
    differences = [*comparison.left_only, *comparison.right_only, *comparison.diff_files]
    assert not differences, (comparison.left, differences)
    for folder in comparison.subdirs.values():
        assert_same(folder)


def pip(environment: Path) -> list[str]:
    """The pip of this Python, at work in an environment, which then needs none of its own."""
    return [sys.executable, "-m", "pip", "--python", str(environment)]


def program(environment: Path) -> str:
    return str(environment / "bin/circuitflow")


def clean() -> dict[str, str]:
    """The environment without what leads back to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def offline(wheels: Path) -> dict[str, dict[str, str]]:
    """The environment for a pip that knows a folder of wheels and nothing else."""
    names = {name: value for name, value in clean().items() if not name.startswith("PIP_")}
    return {"env": names | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels),
                            "PIP_DISABLE_PIP_VERSION_CHECK": "1"}}


def run(command: list[str], **rest: object) -> str:
    """What a command prints; it must succeed."""
    result = subprocess.run(command, **{"env": clean(), **rest}, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{command} failed:\n{result.stdout}\n{result.stderr}")
    return result.stdout


def without_network() -> list[str]:
    """The words before a command that take the network from it; none where the system forbids that."""
    words = ["unshare", "--map-root-user", "--net"]
    has = shutil.which(words[0]) and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode
    return words if has else []


ALONE = without_network()

if __name__ == "__main__":
    main()
