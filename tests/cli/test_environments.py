"""What commands write, and what they say, whatever they are started with: every one that writes, every odd target."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import typer

import circuitflow as cf
from circuitflow.cli.main import COMMANDS
from circuitflow.document import output
from circuitflow.document.output import is_stream, write, writer
from circuitflow.onnx.exporting import to_onnx
from support.slices import alike, halves
from support.suite import GUARD, ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors, devices and owners as Linux has them")
STAGED = str(ROOT / "circuits/staged.json")
FIT = ["decay.json", "decay.csv"]  # which lie in the folder of every case
MODEL = "model.onnx"  # as this
AS_ROOT = os.getuid() == 0
IS_OPEN = not AS_ROOT or all(folder.stat().st_mode & 0o005 == 0o005 for path in (ROOT, Path(typer.__file__))
                             for folder in path.resolve().parents)
root_only = pytest.mark.skipif(not AS_ROOT,
                               reason="only root makes devices and gives files away (sudo python -m pytest)")

WRITERS = {
    "run": (["run", STAGED, "--table", "rows.csv", "--engine", "staged", "-o"], ".csv"),
    "run parquet": (["run", STAGED, "--table", "rows.csv", "--engine", "staged", "-o"], ".parquet"),
    "run arrow": (["run", STAGED, "--table", "rows.csv", "--engine", "staged", "-o"], ".arrow"),
    "fit": (["fit", FIT[0], "-o"], ".json"),
    "import": (["import", MODEL, "-o"], ".json"),
    "grad": (["grad", STAGED, "-o"], ".json"), "new": (["new", "f = x * y", "-o"], ".json"),
    "export": (["export", STAGED, "-o"], ".py"),
    "explain": (["explain", STAGED, "-o"], ".txt"), "why": (["why", STAGED, "-o"], ".txt"),
    "draw": (["draw", STAGED, "-o"], ".mmd"),
    "diff": (["diff", STAGED, STAGED, "-o"], ".dot"),
    "schema": (["schema", "-o"], ".json"), "fmt": (["fmt", "--write"], ".json"),
}
ROWS = "x,y\n1,2\n3,4\n"
LOOSE = '{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input"}], "outputs":    ["x"]}'


def test_every_command_that_writes_is_here():
    signatures = {name: inspect.signature(importlib.import_module(f"circuitflow.cli.{name}").command)
                  for name in COMMANDS}
    assert {name for name, signature in signatures.items()
            if {"output", "write"} & set(signature.parameters)} == {name.split()[0] for name in WRITERS}


@cache
def model():
    """An ONNX model of one product."""
    return to_onnx(cf.new("f = x * y", {"x": 1, "y": 2}), wrt=[])


class Cases:
    """Cases, each in a folder of its own, which run together."""

    def __init__(self, folder):
        self.folder, self.cases = folder, []

    def add(self, arguments, prepare=None, **more):
        folder = self.folder / f"{len(self.cases)}"
        folder.mkdir()
        (folder / "rows.csv").write_text(ROWS)
        for name in FIT:
            (folder / name).write_bytes((ROOT / "circuits" / name).read_bytes())
        (folder / MODEL).write_bytes(model())
        if prepare is not None:
            prepare(folder)
        report = self.folder / f"{len(self.cases)}"
        self.cases.append({"folder": str(folder), "arguments": arguments, "stdout": f"{report}.out",
                           "stderr": f"{report}.err", **more})
        return folder

    def run(self, *options):
        """For each case, its exit status, what it printed, and its errors; Python has these options."""
        done = subprocess.run([sys.executable, *options, "tests/support/environments.py"], cwd=ROOT,
                              input=json.dumps(self.cases).encode(), stdout=subprocess.PIPE, timeout=GUARD,
                              check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"})
        return [(status, *(Path(case[name]).read_bytes() if case[name].startswith(str(self.folder)) else b""
                           for name in ("stdout", "stderr")))
                for status, case in zip(json.loads(done.stdout), self.cases, strict=True)]


@pytest.fixture
def cases():
    """In a folder that any user reaches."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Cases(Path(folder))


def no_traceback(outcome, note):
    assert b"Traceback" not in outcome[2], (note, outcome[2].decode())
    assert outcome[0] in (0, 2), (note, outcome)
    assert (outcome[2] == b"") == (outcome[0] == 0), (note, outcome)
    assert outcome[2].count(b"\n") <= 1, (note, outcome)


# Standard streams -----------------------------------------------------------------------------------------------------

COMMAND_LINES = {
    "run": ["run", STAGED], "run -": ["run", "-"], "run --json": ["run", STAGED, "--json"],
    "run --table": ["run", STAGED, "--table", "rows.csv", "--engine", "staged"],
    "run --table -": ["run", STAGED, "--table", "-", "--engine", "staged"],
    "run -v": ["run", STAGED, "-v"], "check": ["check", STAGED], "explain": ["explain", STAGED],
    "why": ["why", STAGED], "fit": ["fit", FIT[0]], "import": ["import", MODEL],
    "draw": ["draw", STAGED, "-o", "/dev/fd/1"], "grad": ["grad", STAGED],
    "grad -o -": ["grad", STAGED, "-o", "-"], "grad -o /dev/stdout": ["grad", STAGED, "-o", "/dev/stdout"],
    "new": ["new", "f = x"], "new -": ["new", "-"], "new --set": ["new", "f = x", "--set", "x=1"],
    "export": ["export", STAGED], "diff": ["diff", STAGED, STAGED, "--json"], "fmt": ["fmt", STAGED],
    "examples": ["examples"], "examples olah": ["examples", "olah"],
    "gates": ["gates"], "schema": ["schema"], "lsp --help": ["lsp", "--help"],
    "--help": ["--help"], "--version": ["--version"],
    "run --set": ["run", STAGED, "--set", "x=1"],
}
STDIN = {"run -": STAGED, "run --table -": "rows.csv", "new -": "rows.txt"}
SPEAKING = {"run -v"}  # which says something where nothing is wrong


def test_every_command_stands_in_the_table():
    assert {name.split()[0] for name in COMMAND_LINES if not name.startswith("-")} == set(COMMANDS)


STREAMS = {"no input": {"closed": [0]}, "no output": {"closed": [1]}, "no errors": {"closed": [2]},
           "none": {"closed": [0, 1, 2]},
           "full output": {"stdout": "/dev/full"}, "full errors": {"stderr": "/dev/full"}, "gone": {"gone": True}}


@halves(COMMAND_LINES, STREAMS)
@pytest.mark.long
def test_closed_and_full_streams_and_a_folder_that_is_gone(cases, half):
    noted = []
    for name, streams in half:
        if (name, streams) == ("run --table -", "gone"):
            continue  # numba cannot be imported there
        given, environment = {"stdin": STDIN[name]} if name in STDIN else {}, STREAMS[streams]
        cases.add(COMMAND_LINES[name], lambda folder: (folder / "rows.txt").write_text("f = x"), **environment, **given)
        noted.append((name, environment))
    for (name, environment), outcome in zip(noted, cases.run(), strict=True):
        closed = environment.get("closed", ())
        no_output = 1 in closed or environment.get("stdout") == "/dev/full"
        fails = no_output or (0 in closed and name in STDIN) or (
            "gone" in environment and {"rows.csv", FIT[0], MODEL} & {*COMMAND_LINES[name]})
        note = (name, environment, outcome)
        assert outcome[0] == (2 if fails else 0), note
        assert b"Traceback" not in outcome[2], note
        if 2 not in closed and environment.get("stderr") is None and name not in SPEAKING:
            assert (outcome[2].count(b"\n"), outcome[2] != b"") == (bool(fails), bool(fails)), note
        if not fails:
            assert outcome[1], note


@pytest.mark.parametrize("closed",
                         [pytest.param(closed, marks=[] if closed in (2, 5) else pytest.mark.long,
                                       id=f"closed {closed:03b}")
                                    for closed in range(8)])
def test_closed_streams_of_a_process_that_starts(tmp_path, closed):
    """The same, of Python itself; a file that is written does not take the place of a stream."""
    redirections = " ".join(f"{n}{'>' if n else '<'}&-" for n in range(3) if 1 << n & closed)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": "1"}
    for arguments, status in ((["grad", STAGED, "-o", "out.json"], 0), (["grad", "nowhere.json"], 2),
                              (["grad", STAGED], 2 if 2 & closed else 0)):
        done = subprocess.run(["bash", "-c", f'"$@" {redirections}', "bash", sys.executable, "-m", "circuitflow",
                               *arguments], cwd=tmp_path, env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=GUARD)
        assert done.returncode == status, done.stderr
        assert done.stderr.count(b"\n") == (status == 2 and not 4 & closed), done.stderr
    assert cf.load(tmp_path / "out.json").name == "gradient_of_staged"


def test_a_document_is_utf_8_whatever_the_locale(cases):
    expression = ["new", "f = x", "--name", "é😀"]
    for name in ("latin-1", "ascii", "utf-8"):
        cases.add(expression, environment={"PYTHONIOENCODING": name})
    cases.add(["grad", "\udcff.json", "-o", "\udcfe.json"],
              lambda folder: shutil.copy(STAGED, os.fsencode(folder) + b"/\xff.json"))
    *texts, odd = cases.run()
    assert {json.loads(text.decode())["name"] for _, text, _ in texts} == {"é😀"}
    assert odd == (0, b"", b"")


# Targets --------------------------------------------------------------------------------------------------------------

OLD = LOOSE.encode()


def old(name, mode=0o644, owner=None):
    def prepare(folder):
        (folder / name).write_bytes(OLD)
        (folder / name).chmod(mode)
        if owner and AS_ROOT:
            os.chown(folder / name, *owner)
    return prepare


def elsewhere(name):
    def prepare(folder):
        (folder / "elsewhere").mkdir()
        old(f"elsewhere/{name}", 0o640)(folder)
        (folder / name).symlink_to(f"elsewhere/{name}")
    return prepare


def linked_to(target):
    return lambda name: lambda folder: (folder / name).symlink_to(target)


def device(minor):
    """A device of one's own, for a fault would replace it; as anybody but root, who can replace none, a link to that
    of all."""
    def at(name):
        if AS_ROOT:
            return lambda folder: os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        return linked_to({3: "/dev/null", 7: "/dev/full"}[minor])(name)
    return at


def unwritable(name):
    def prepare(folder):
        old(name)(folder)
        folder.chmod(0o555)
    return prepare


def in_a_folder_of_all(name):
    """An old file that others may write to."""
    def prepare(folder):
        folder.chmod(0o777)
        old(name, 0o666)(folder)
    return prepare


LONGEST = 255


def long(name, length=LONGEST):
    stem, _, ending = name.rpartition(".")
    return stem + "é" * ((length - len(name)) // 2) + "x" * ((length - len(name)) % 2) + f".{ending}"


TARGETS = {
    # name: how it is prepared, how the name is made, the exit status, what else is given
    "new": (lambda name: None, str, 0, {}),
    "old": (old, str, 0, {}),
    "private": (lambda name: old(name, 0o600), str, 0, {}),
    "another owner's": (lambda name: old(name, 0o640, (1000, 1001)), str, 0, {}),
    "link elsewhere": (elsewhere, str, 0, {}),
    "dangling link": (linked_to("there"), str, 0, {}),
    "loop": (lambda name: linked_to(name)(name), str, 2, {}),
    "folder": (lambda name: lambda folder: (folder / name).mkdir(), str, 2, {}),
    "socket": (lambda name: lambda folder: listen(folder, name), str, 2, {}),
    "no folder": (lambda name: None, lambda name: f"nowhere/{name}", 2, {}),
    "below a file": (lambda name: None, lambda name: f"rows.csv/{name}", 2, {}),
    "trailing slash": (lambda name: None, lambda name: f"{name}/", 2, {}),
    "255 bytes": (lambda name: old(long(name)), long, 0, {}),
    "256 bytes": (lambda name: None, lambda name: long(name, 256), 2, {}),
    "full device": (device(7), str, 2, {}),
    "null device": (device(3), str, 0, {}),
    "standard output": (linked_to("/dev/stdout"), str, 0, {}),
    "closed standard output": (linked_to("/dev/stdout"), str, 2, {"closed": [1]}),
    "descriptor that is not open": (linked_to("/dev/fd/77"), str, 2, {}),
    "folder that others write": (unwritable, str, 2, {"nobody": True}),
    "file of others": (in_a_folder_of_all, str, 0, {"nobody": True}),
    "read-only file": (lambda name: lambda folder: (folder.chmod(0o777), old(name, 0o444)(folder)), str, 2,
                       {"nobody": True}),
    "folder that is gone": (lambda name: None, str, 2, {"gone": True}),
}


def listen(folder, name):
    here = os.getcwd()
    os.chdir(folder)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name)
    os.chdir(here)


@halves(TARGETS, WRITERS)
def test_every_command_that_writes_on_every_target(cases, half):
    before = []
    for target, command in half:
        (prepare, renamed, _, more), (arguments, ending) = TARGETS[target], WRITERS[command]
        imports = command.startswith(("run", "fit", "import"))
        if (more.get("nobody") and (imports or not IS_OPEN)) or (target == "another owner's" and not AS_ROOT):
            continue  # packages may be where only this user can import them; only root gives files away
        name = f"out{ending}"
        folder = cases.add([*arguments, renamed(name)], prepare(name), **more)
        if command == "fmt" and target == "new":
            (folder / name).write_bytes(OLD)
        if command.startswith("run") and more.get("gone"):
            cases.cases[-1]["arguments"][3] = str(folder / "rows.csv")
        if command in ("fit", "import") and more.get("gone"):
            cases.cases[-1]["arguments"][1] = str(folder / arguments[1])
        before.append((target, command, folder, renamed(name), {path.name: path.lstat() for path in folder.iterdir()}))
    for (target, command, folder, name, had), outcome in zip(before, cases.run(), strict=True):
        status = TARGETS[target][2]
        note = (command, target, outcome)
        if command == "fmt" and target not in ("new", "old", "private", "another owner's", "link elsewhere",
                                               "255 bytes", "file of others", "read-only file",
                                               "folder that others write"):
            assert outcome[0] == 2, note  # it reads what it writes, and there is no document
            assert b"Traceback" not in outcome[2], note
            continue
        if target == "file of others" and AS_ROOT:  # the warning that the owner is another one now
            assert outcome[2].endswith(b"its group is 65534 now, not 0 and its owner is 65534 now, not 0\n"), note
            outcome = (*outcome[:2], b"")
        if target == "link elsewhere" and command == "fit":  # the document is written away from its data
            assert outcome[2].startswith(b"note: the data lie neither beside nor below the document"), note
            outcome = (*outcome[:2], b"")
        no_traceback(outcome, note)
        if target == "trailing slash" and command.startswith("run"):  # a folder of results
            assert outcome[0] == 0, note
            assert (folder / name / "_manifest.json").is_file(), note
            continue
        assert outcome[0] == status, note
        folder.chmod(0o755)
        assert [path.name for path in folder.rglob(".circuitflow*")] == [], note
        for path, was in had.items():
            assert stat.S_IFMT((folder / path).lstat().st_mode) == stat.S_IFMT(was.st_mode), note
            if stat.S_ISREG(was.st_mode) and target != "file of others":
                now = (folder / path).lstat()
                assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid), note
        place = folder / name
        if status == 2:
            assert not os.path.isfile(place) or place.read_bytes() in (OLD, b""), note
        elif target == "standard output":
            assert outcome[1], note
        elif target != "null device":
            assert place.read_bytes() not in (b"", OLD), note
            assert (outcome[1] == b"") == (command != "fit"), note  # a fit shows its table as well
        if target == "new" and command != "fmt":
            assert place.stat().st_mode & 0o777 == 0o644, note
        if target == "link elsewhere":
            assert (folder / "elsewhere" / name).stat().st_mode & 0o777 == 0o640, note


@root_only
def test_a_device_and_a_pipe_stay_what_they_are(cases):
    for arguments, ending in WRITERS.values():
        if arguments[0] != "fmt":
            cases.add([*arguments, f"out{ending}"], lambda folder,
                      ending=ending: os.mknod(folder / f"out{ending}", 0o666 | stat.S_IFCHR, os.makedev(1, 3)))
    assert [outcome[0] for outcome in cases.run()] == [0] * (len(WRITERS) - 1)
    for case in cases.cases:
        assert stat.S_ISCHR(os.stat(os.path.join(case["folder"], case["arguments"][-1])).st_mode)


def without_schema(content):
    """A document says where its schema is, if it lies in a folder."""
    return re.sub(rb'  "\$schema": ".*\n', b"", content)


@pytest.mark.long
def test_a_pipe_gets_what_a_file_gets(cases):
    got = {}

    def read(path):
        got[path] = path.read_bytes()

    readers = []
    for arguments, ending in WRITERS.values():
        if arguments[0] != "fmt":
            for name in (f"file{ending}", f"pipe{ending}"):
                folder = cases.add([*arguments, name])
                if name.startswith("pipe"):
                    os.mkfifo(folder / name)
                    readers.append(threading.Thread(target=read, args=(folder / name,), daemon=True))
                    readers[-1].start()
    assert {outcome[0] for outcome in cases.run()} == {0}
    for reader in readers:
        reader.join(GUARD)
    for file, pipe in zip(cases.cases[::2], cases.cases[1::2], strict=True):
        path = Path(pipe["folder"], pipe["arguments"][-1])
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert without_schema(got[path]) == without_schema(Path(file["folder"],
                                                                file["arguments"][-1]).read_bytes()) != b""


GATE_TABLE = "import circuitflow as cf\nTABLE = cf.GATES\n"


def test_what_is_read_is_not_replaced(cases):
    """By any of its names, and whichever option it is read by."""
    def prepare(folder):
        for name in ("circuit.json", "values.json", "one.json"):
            shutil.copy(STAGED, folder / name)
        (folder / "values.json").write_text('{"x": 1}')
        (folder / "one.json").write_text("1")
        (folder / "rows.csv").rename(folder / "out.csv")
        (folder / "inner.json").write_text(LOOSE)
        (folder / "outer.json").write_text('{"circuitflow": "1.0", "circuits": {"a": {"file": "inner.json"}}, "nodes": '
                                           '[{"id": "x", "gate": "input", "value": 1}, '
                                           '{"id": "f", "gate": "call", "circuit": "a", "inputs": ["x"]}], "outputs": '
                                           '["f"]}')
        (folder / "mine.py").write_text(GATE_TABLE)
        for name in ("circuit.json", "values.json", "one.json", "out.csv", "inner.json", "outer.json", "mine.py"):
            if name != "inner.json":  # a document reads no file that has other names too
                (folder / f"hard.{name}").hardlink_to(folder / name)
            (folder / f"soft.{name}").symlink_to(name)

    for change in (lambda name: name, lambda name: f"hard.{name}", lambda name: f"soft.{name}",
                   lambda name: f"./{name}"):
        one, circuit, values, table = (change(name) for name in ("one.json", "circuit.json", "values.json", "out.csv"))
        for command in ("grad", "explain", "export"):
            cases.add([command, "circuit.json", "-o", circuit], prepare)
            if change("") != "hard.":
                cases.add([command, "outer.json", "-o", change("inner.json")], prepare)
        for command in ("explain", "export"):
            cases.add([command, "circuit.json", "--inputs", "values.json", "-o", values], prepare)
            cases.add([command, "circuit.json", "--set", "x=one.json", "-o", one], prepare)
            cases.add([command, "circuit.json", "--upstream", "f=one.json", "-o", one], prepare)
        cases.add(["new", "f = x", "--set", "x=one.json", "-o", one], prepare)
        for command in (["grad", "circuit.json"], ["explain", "circuit.json"], ["export", "circuit.json"],
                        ["new", "f = x"], ["schema"]):
            cases.add([*command, "--gates", "mine:TABLE", "-o", change("mine.py")], prepare)
        cases.add(["run", "circuit.json", "--table", "out.csv", "-o", table], prepare)
        cases.add(["run", "circuit.json", "--table", "-", "-o", table], prepare, stdin="out.csv")
        cases.add(["run", "circuit.json", "--table", "out.csv"], prepare, stdout=table)
    for case, (status, out, err) in zip(cases.cases, cases.run(), strict=True):
        assert (status, out) == (2, b""), (case, err)
        assert err.endswith(b"are the same file; write to another one\n"), (case, err)
        assert Path(case["folder"], "out.csv").read_text() == ROWS
        assert Path(case["folder"], "circuit.json").read_bytes() == Path(STAGED).read_bytes()
        assert Path(case["folder"], "inner.json").read_text() == LOOSE
        assert Path(case["folder"], "mine.py").read_text() == GATE_TABLE


# What is kept ---------------------------------------------------------------------------------------------------------

def acl(*users):
    """An access control list as Linux keeps one: the owner, the users, the group, the mask and others."""
    entries = [(1, 6, -1), *((2, 4, user) for user in users), (4, 4, -1), (0x10, 4, -1), (0x20, 0, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def supports_attributes(path):
    try:
        os.setxattr(path, "user.colour", b"green")
        os.setxattr(path, "system.posix_acl_access", acl(1000))
    except OSError:
        pytest.skip("this file system has no extended attributes and access control lists (another TMPDIR may)")


def test_attributes_and_access_control_lists_are_kept(tmp_path, caplog):
    (tmp_path / "out").write_text("old")
    supports_attributes(tmp_path / "out")
    before = (tmp_path / "out").stat()
    write(tmp_path / "out", "new")
    after = (tmp_path / "out").stat()
    assert (tmp_path / "out").read_text() == "new"
    assert os.getxattr(tmp_path / "out", "user.colour") == b"green"
    assert os.getxattr(tmp_path / "out", "system.posix_acl_access") == acl(1000)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert caplog.records == []


def test_the_defaults_of_a_folder_are_not_those_of_an_old_file(tmp_path):
    """But those of a new one."""
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o600)
    (tmp_path / "probe").touch()
    supports_attributes(tmp_path / "probe")
    os.setxattr(tmp_path, "system.posix_acl_default", acl(1000))
    write(tmp_path / "old", "new")
    write(tmp_path / "new", "new")
    assert os.listxattr(tmp_path / "old") == []
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o600
    assert os.listxattr(tmp_path / "new") == ["system.posix_acl_access"]


def refused(*_):
    raise PermissionError(13, "Permission denied")


def test_what_cannot_be_kept_is_said(tmp_path, monkeypatch, caplog):
    path = tmp_path / "out"
    path.write_text("old")
    supports_attributes(path)
    path.chmod(0o666)
    (tmp_path / "other").hardlink_to(path)
    mine, real = path.stat(), os.stat

    def of_another(name, *rest, **more):
        found = real(name, *rest, **more)
        return os.stat_result((*found[:4], 4321, 1234, *found[6:])) if str(name) == str(path) else found

    monkeypatch.setattr(os, "stat", of_another)
    for name in ("fchown", "setxattr", "fchmod"):
        monkeypatch.setattr(os, name, refused)
    with caplog.at_level(logging.WARNING, "circuitflow"):
        write(path, "new")
    monkeypatch.undo()
    (record,) = caplog.records
    assert record.getMessage() == (f"'{path}' is written, but its group is {mine.st_gid} now, not 1234 and its owner "
                                   f"is {mine.st_uid} now, not 4321 and without its "
                                   "attributes user.colour, system.posix_acl_access and its mode is 600 now, not 666 "
                                   "and its other names (1 hard links) have the old contents")


def test_what_cannot_be_kept_is_said_by_the_program(tmp_path):
    (tmp_path / "out.json").write_text(LOOSE)
    (tmp_path / "other.json").hardlink_to(tmp_path / "out.json")
    done = subprocess.run([sys.executable, "-m", "circuitflow", "fmt", "--write", "out.json"], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, check=False, timeout=GUARD)
    assert (done.returncode, done.stdout,
            done.stderr) == (0, "", "'out.json' is written, but its other names (1 hard links) have the old contents\n")


def test_another_group_gets_no_rights_of_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(0o664)
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda name, *rest,
                        **more: os.stat_result((*(found := real(name, *rest, **more))[:5], 1234, *found[6:])))
    monkeypatch.setattr(os, "fchown", lambda *_: os.close(-1))
    write(path, "new")
    monkeypatch.undo()
    assert path.stat().st_mode & 0o777 == 0o644


def test_nobody_else_reads_what_is_not_complete(tmp_path):
    """It has no name."""
    (tmp_path / "out").write_text("old")
    with writer(tmp_path / "out") as file:
        file.write(b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_nor_where_files_have_names(tmp_path, monkeypatch, mode):
    monkeypatch.delattr(os, "O_TMPFILE")
    (tmp_path / "out").write_text("old")
    (tmp_path / "out").chmod(mode)
    with writer(tmp_path / "out") as file:
        file.write(b"new")
        (part,) = tmp_path.glob(".circuitflow.*.part")
        assert part.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == mode
    assert (tmp_path / "out").read_text() == "new"


def test_without_a_way_to_descriptors_files_have_names(tmp_path, monkeypatch):
    real = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda name: not str(name).startswith("/proc/") and real(name))
    with writer(tmp_path / "out") as file:
        file.write(b"new")
        assert len(list(tmp_path.glob(".circuitflow.*.part"))) == 1
    assert (tmp_path / "out").read_text() == "new"


def test_a_system_without_attributes_and_modes(tmp_path, monkeypatch):
    (tmp_path / "out").write_text("old")
    for name in ("listxattr", "fchmod"):
        monkeypatch.delattr(os, name)
    write(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"


# Signals --------------------------------------------------------------------------------------------------------------

NAMED = "import os; del os.O_TMPFILE; "


def started(folder, code="", ignored="USR2"):
    """A run over a table that has no end yet, once its file is begun."""
    (folder / "out.csv").write_text("old")
    # Under nohup this process ignores SIGHUP, and its children would too.
    code += "import signal; " + "".join(f"signal.signal(signal.SIG{name}, signal.SIG_DFL); " for name in ("TERM", "HUP")
                                        if name != ignored)
    process = subprocess.Popen(["bash", "-c", f'trap "" {ignored}; exec "$@"', "bash", sys.executable, "-c",
                                f"{code}from circuitflow.cli import main; main()", "run", STAGED,
                                "--table", "-", "--engine", "staged", "-o", "out.csv"], cwd=folder,
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})
    process.stdin.write(b"x,y\n")
    process.stdin.flush()
    os.set_blocking(process.stdin.fileno(), False)
    while not any(name.startswith(f"{folder}/") for name in descriptors(process.pid)):
        assert process.poll() is None
        with suppress(BlockingIOError):  # as many rows as it reads before it begins
            os.write(process.stdin.fileno(), b"1,2\n" * 1000)
        threading.Event().wait(0.002)
    os.set_blocking(process.stdin.fileno(), True)
    return process


def descriptors(process):
    """What the descriptors of a process lead to."""
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            yield os.readlink(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_leaves_nothing_unfinished(tmp_path, number):
    """And is obeyed at once, though the program waits for rows."""
    process = started(tmp_path)
    process.send_signal(number)
    assert process.wait(GUARD) == -number
    process.stdin.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_nor_where_files_have_names_that_a_signal_could_leave(tmp_path, number):
    process = started(tmp_path, NAMED)
    assert len(list(tmp_path.glob(".circuitflow.*.part"))) == 1
    process.send_signal(number)
    with suppress(BrokenPipeError):
        process.stdin.close()
    assert process.wait(GUARD) == -number
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


@pytest.mark.parametrize("code", ["", NAMED], ids=["without a name", "with a name"])
def test_a_signal_that_is_ignored_is_ignored(tmp_path, code):
    process = started(tmp_path, code, "HUP")
    process.send_signal(signal.SIGHUP)
    process.stdin.close()
    assert process.wait(GUARD) == 0
    assert (tmp_path / "out.csv").read_text().startswith("f,dx,dy\n")


def test_a_program_has_its_signals_back(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with writer(tmp_path / "out"):
        assert signal.getsignal(signal.SIGTERM) is output._end
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is before[1]
        with writer(tmp_path / "out"):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before[0])


def test_a_thread_writes_too(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    thread = threading.Thread(target=write, args=(tmp_path / "out", "new"))
    thread.start()
    thread.join()
    assert (tmp_path / "out").read_text() == "new"


def test_what_is_unfinished_is_that_of_this_process(tmp_path, monkeypatch):
    mine, parents, lost = tmp_path / "mine", tmp_path / "parents", tmp_path / "lost"
    mine.touch()
    parents.touch()
    monkeypatch.setattr(output, "_temporaries", {mine: os.getpid(), lost: os.getpid(), parents: os.getppid()})
    raised = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    before = signal.getsignal(signal.SIGTERM)
    output._end(signal.SIGTERM, None)
    signal.signal(signal.SIGTERM, before)
    assert (raised, list(tmp_path.iterdir())) == ([signal.SIGTERM], [parents])


# Streams --------------------------------------------------------------------------------------------------------------

def test_a_pipe_that_nothing_reads_from_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "PATIENCE", 0.01)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(cf.InputError, match="pipe' cannot be written: nothing reads from this pipe$"):
        write(tmp_path / "pipe", "new")
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(cf.InputError, match="pipe' cannot be written: Permission denied"):
        write(tmp_path / "pipe", "new")
    assert is_stream(tmp_path / "pipe")
    assert not is_stream(tmp_path / "nowhere")


def test_a_pipe_that_is_exchanged_for_a_file_is_not_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old")
    os.mkfifo(tmp_path / "pipe")
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda name, *rest,
                        **more: real(tmp_path / "pipe" if str(name).endswith("file") else name, *rest, **more))
    with pytest.raises(cf.InputError, match="it was exchanged meanwhile"):
        write(tmp_path / "file", "new")
    monkeypatch.undo()
    assert (tmp_path / "file").read_text() == "old"


def test_what_is_written_to_and_what_is_refused(tmp_path, monkeypatch):
    """In this process."""
    reads, writes = os.pipe()
    (tmp_path / "link").symlink_to(f"/dev/fd/{writes}")
    (tmp_path / "further").symlink_to(tmp_path / "link")
    for name in (f"/dev/fd/{writes}", f"/proc/self/fd/{writes}", tmp_path / "link", tmp_path / "further"):
        assert is_stream(name)
        write(name, "text\n")
        assert os.read(reads, 100) == b"text\n"
    os.close(writes)
    os.close(reads)
    os.mkfifo(tmp_path / "pipe")
    reads = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "pipe", b"bytes")
    assert os.read(reads, 100) == b"bytes"
    os.close(reads)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "new").symlink_to("target")
    write(tmp_path / "new", "x")
    assert (tmp_path / "target").read_text() == "x"
    listen(tmp_path, "socket")
    for name, reason in (("", "it names no file"), (f"{tmp_path}/new/", "it names no file"),
                         (tmp_path, "it is a folder; expected a file"),
                         (tmp_path / "loop", "Too many levels of symbolic links"),
                         (tmp_path / "socket", "it is a socket; expected a file"),
                         (f"/dev/fd/{writes}", "it is not open for that")):
        with pytest.raises(cf.InputError, match=f"cannot be written: {reason}"):
            write(name, "new")
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(cf.InputError, match="cannot be written: Is a directory"):
        write(f"/dev/fd/{folder}", "new")
    os.close(folder)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(cf.InputError, match="cannot be written: Permission denied; the file is as it was"):
        write(tmp_path / "target", "new")
    assert (tmp_path / "target").read_text() == "x"


@root_only
def test_a_block_device_is_refused(tmp_path):
    os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 255))
    with pytest.raises(cf.InputError, match="it is a block device; expected a file"):
        write(tmp_path / "disk", "new")


def test_what_is_appended_to_is_not_replaced(tmp_path):
    (tmp_path / "log").write_text("kept\n")
    done = subprocess.run(["bash", "-c", '"$@" >> log', "bash", sys.executable, "-m", "circuitflow", "grad", STAGED,
                           "-o", "/dev/stdout"], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=GUARD)
    assert done.returncode == 0
    first, rest = (tmp_path / "log").read_text().split("\n", 1)
    assert first == "kept"
    assert json.loads(rest)["name"] == "gradient_of_staged"


@pytest.mark.sliced(ending=alike)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow"])
def test_a_disk_that_gets_full_leaves_the_old_table(tmp_path, ending):
    (tmp_path / f"out{ending}").write_text("old")
    (tmp_path / "rows.csv").write_text("x,y\n" + "1,2\n" * 1000)
    code = ("import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
            "from circuitflow.cli import main\nmain()")
    done = subprocess.run([sys.executable, "-B", "-c", code, "run", STAGED, "--table", "rows.csv", "--engine", "staged",
                           "-o", f"out{ending}"], cwd=tmp_path, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False, timeout=GUARD)
    assert (done.returncode, done.stdout,
            done.stderr) == (2, "", f"error: 'out{ending}' cannot be written: File too large; the file is as it was\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out{ending}", "rows.csv"]
    assert (tmp_path / f"out{ending}").read_text() == "old"


def test_a_stream_says_its_name_once(tmp_path):
    full = output.Stream(os.open("/dev/full", os.O_WRONLY), "w", "the disk")
    with pytest.raises(cf.InputError, match="^the disk cannot be written: No space left on device$"):
        full.write(b"abc")
    assert full.has_failed
    assert full.write(b"abc") == 3
    full.close()
    with output.Stream(os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT), "r",
                       "the file") as closed, pytest.raises(cf.InputError,
                                                            match="^the file cannot be read: it is not open for that$"):
        closed.readall()
    (tmp_path / "x").write_bytes(b"ab" * 100_000)
    with output.Stream(os.open(tmp_path / "x", os.O_RDONLY), "r", "the file") as file:
        assert file.readall() == b"ab" * 100_000


def test_no_color_wins_over_force_color(cases):
    for environment in ({}, {"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, {"NO_COLOR": "1"}):
        cases.add(["run", STAGED], environment={"FORCE_COLOR": "", "NO_COLOR": "", **environment})
    assert [(status, b"\x1b" in out) for status, out, _ in cases.run()] == [(0, False), (0, True), (0, False),
                                                                            (0, False)]


@pytest.mark.long
def test_python_without_docstrings(cases):
    commands = [["new", "f = 2 * x", "-o", "new.json"], ["schema"], ["gates", "scan"], ["run", STAGED], ["--help"]]
    for arguments in commands:
        cases.add(arguments)
    assert [(status, errors) for status, _, errors in cases.run("-OO")] == [(0, b"")] * len(commands)
