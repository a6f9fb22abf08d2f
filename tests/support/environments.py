"""Runs commands in odd environments, a forked process each: `python tests/support/environments.py < cases.json`.

A case says what a process is started with. What is printed is a list of exit statuses; the process ends as Python ends.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

import numba

NOBODY = 65534


def start(case: dict) -> None:
    """In a process of its own: bring about the environment, run the command, end."""
    os.chdir(case["folder"])
    os.environ.update(case.get("environment", {}))
    names = [case.get("stdin", os.devnull), case["stdout"], case["stderr"]]
    for number, name in enumerate(names):
        opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY, 0o666)
        os.dup2(opened, number)
        os.close(opened)
    os.closerange(3, 100)
    if case.get("gone"):
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
    for number in case.get("closed", ()):
        os.close(number)
    if case.get("nobody") and os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.umask(0o022)
    for number, name in enumerate(("stdin", "stdout", "stderr")):  # as Python begins
        mode = "w" if number else "r"
        stream = None if number in case.get("closed", ()) else open(number, mode, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["circuitflow", *case["arguments"]]
    from circuitflow.cli import main
    main()


def finish(case: dict) -> int:
    """The exit status, as Python makes it."""
    try:
        start(case)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        if sys.stderr is not None:
            traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BaseException:
            status = 120
    return status


if __name__ == "__main__":
    cases = json.load(sys.stdin)
    import circuitflow  # noqa: F401
    from circuitflow.cli.main import COMMANDS
    for command in COMMANDS:
        importlib.import_module(f"circuitflow.cli.{command}")
    for module in ("email.parser", "importlib.metadata", "pyarrow.csv", "pyarrow.parquet", "rich.console", "rich.table",
                   "scipy.optimize", "circuitflow.engines.staged.floats", "circuitflow.engines.staged.rows",
                   "circuitflow.fitting.fit", "circuitflow.interpreter.check", "circuitflow.rows.tables"):
        importlib.import_module(module)
    numba.njit(lambda: 0)()  # the first call imports most of numba
    found = []
    for case in cases:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 121
            try:
                code = finish(case)
            finally:
                os._exit(code)
        found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(found))
