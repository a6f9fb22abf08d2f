"""The blocks of the guide for other programs: each is run where its program is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from support.pages import PROGRAMS, imports_program
from support.suite import ROOT

PAGE = (ROOT / "docs/guides/batches_of_others.md").read_text(encoding="utf-8")
FIRST, *OTHERS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_every_program_has_its_block():
    assert imports_program(FIRST) is None
    assert sorted(map(imports_program, OTHERS)) == sorted(PROGRAMS)


@pytest.mark.parametrize("block", OTHERS, ids=imports_program)
def test_a_program_takes_the_function(block, tmp_path):
    program = imports_program(block)
    pytest.importorskip(program, reason=f"{program} is not installed")
    if program == "pyspark" and not shutil.which("java"):
        pytest.skip("Spark needs Java")
    lines = "".join(f"    {line}\n" for line in block.splitlines())
    (tmp_path / "script.py").write_text(f"{FIRST}\nif __name__ == '__main__':\n{lines}")
    (tmp_path / "circuits").symlink_to(ROOT / "circuits")
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "script.py"], cwd=tmp_path,
                          capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr
