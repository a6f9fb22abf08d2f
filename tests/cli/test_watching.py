"""`--watch`: real processes, real files, every way to save."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from queue import Queue

import pytest
import typer

from circuitflow.cli import watching
from circuitflow.cli.arguments import Options
from circuitflow.errors import DocumentError
from support.suite import GUARD, ROOT

pytest.importorskip("watchfiles", reason="the extra watch brings it")
WATCHED = ["run", "check", "explain", "draw", "why"]


class Process:
    """A command that watches; what it prints comes line by line."""

    def __init__(self, folder, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
             "from circuitflow.cli import main; main()", *arguments, "--watch"], cwd=folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"})
        self.threads = []
        self.out, self.err = self._queue(self.process.stdout), self._queue(self.process.stderr)

    def _queue(self, stream):
        queue = Queue()

        def read():
            with stream:
                for line in stream:
                    queue.put(line)

        self.threads.append(threading.Thread(target=read))
        self.threads[-1].start()
        return queue

    def output(self):
        """The outputs that the next run gives."""
        return json.loads(self.out.get(timeout=GUARD))["outputs"]

    def until(self, outputs):
        """Wait for a run that gives these outputs; an earlier one may have seen the save before."""
        while self.output() != outputs:
            pass

    def fault(self):
        return self.err.get(timeout=GUARD)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(GUARD)


@pytest.fixture
def start(tmp_path):
    started = []

    def call(*arguments):
        started.append(Process(tmp_path, *arguments))
        return started[-1]

    yield call
    for each in started:
        each.process.kill()
        each.process.wait(GUARD)
        for thread in each.threads:
            thread.join(GUARD)


def text(x, gate="neg"):
    return json.dumps({"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": x},
                                                       {"id": "f", "gate": gate, "inputs": ["x"]}], "outputs": ["f"]})


def replace(path, content):
    """As many editors save: a new file takes the place of the old one."""
    beside = path.with_name("saved~")
    beside.write_text(content)
    os.replace(beside, path)


def test_every_save_is_a_run_until_ctrl_c(tmp_path, start):
    path = tmp_path / "c.json"
    path.write_text(text(1))
    process = start("run", "c.json", "--json")
    assert process.output() == {"f": -1}
    path.write_text(text(2))
    process.until({"f": -2})
    replace(path, text(3))
    process.until({"f": -3})
    for x in range(10, 20):  # in quick succession: the last one counts
        replace(path, text(x))
    process.until({"f": -19})
    path.write_text("{")
    assert process.fault().startswith("c.json:1:")
    path.write_text(text(4))
    process.until({"f": -4})
    path.unlink()
    while process.fault() != "c.json: no such file\n":
        pass
    path.write_text(text(5))
    process.until({"f": -5})
    assert process.end() == 130


def test_files_that_the_document_names_are_watched(tmp_path, start):
    (tmp_path / "parts").mkdir()
    part = tmp_path / "parts" / "part.json"
    part.write_text(text(0))
    (tmp_path / "value.json").write_text("1")
    (tmp_path / "c.json").write_text(json.dumps({
        "circuitflow": "1.0", "circuits": {"part": {"file": "parts/part.json"}}, "outputs": ["f"],
        "nodes": [{"id": "x", "gate": "input"}, {"id": "f", "gate": "call", "circuit": "part", "inputs": ["x"]}]}))
    process = start("run", "c.json", "--json", "--set", "x=value.json")
    assert process.output() == {"f": -1}
    replace(part, text(0, "identity"))
    process.until({"f": 1})
    (tmp_path / "value.json").write_text("7")
    process.until({"f": 7})
    assert process.end() == 130


@pytest.mark.parametrize("before", [None, "{"], ids=["missing", "not valid"])
def test_files_that_a_document_names_before_it_is_valid_are_watched(tmp_path, before):
    path, part, values = tmp_path / "c.json", tmp_path / "part.json", tmp_path / "values.safetensors"
    path.write_text(json.dumps({
        "circuitflow": "1.0", "circuits": {"part": {"file": "part.json"}, "out": {"file": "../out.json"}},
        "nodes": [{"id": "x", "gate": "input", "value": {"file": "values.safetensors", "tensor": "x"}}],
        "outputs": ["x"]}))
    if before is not None:
        part.write_text(before)
    options = watching._Watched(file=str(path), assignments=[], of=[], wrt=[], upstream=[], dims=[], limit=[])
    with pytest.raises(DocumentError):
        options.request()
    assert {str(path), str(part), str(values)} <= options.files
    assert not [name for name in options.files if ".." in name]


@pytest.mark.parametrize("known", [True, False], ids=["named from the start", "named by a save"])
def test_a_save_right_after_a_file_was_read_is_seen(tmp_path, monkeypatch, known):
    part, path = tmp_path / "part.json", tmp_path / "c.json"
    part.write_text(text(0))
    whole = json.dumps({"circuitflow": "1.0", "circuits": {"part": {"file": "part.json"}}, "outputs": ["f"],
                        "nodes": [{"id": "x", "gate": "input", "value": 1},
                                  {"id": "f", "gate": "call", "circuit": "part", "inputs": ["x"]}]})
    path.write_text(whole if known else text(1))

    def wait(*_, **__):
        yield set()
        raise AssertionError("the save is not seen")

    monkeypatch.setattr("watchfiles.watch", wait)
    values = []

    def command(options):
        request = options.request()
        values.append(request.run(forward=True).outputs["f"].item())
        if values[-1] > 0:
            raise KeyboardInterrupt
        if request.circuit.files:
            replace(part, text(0, "identity"))
        else:
            replace(path, whole)

    options = Options(file=str(path), assignments=[], of=[], wrt=[], upstream=[], dims=[], limit=[])
    with pytest.raises(typer.Exit):
        watching._go_on(command, options, {})
    assert values == [-1.0] * (1 if known else 2) + [1.0]


@pytest.mark.parametrize("command", WATCHED)
def test_standard_input_is_no_file_to_watch(circuitflow, command):
    outcome = circuitflow(command, "-", "--watch", stdin=text(1))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == ("error: --watch waits for saves of a file, and standard input is none; name a file, or "
                           "leave out --watch\n")


def test_the_extra_is_named_where_it_is_missing(circuitflow, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    outcome = circuitflow("run", "circuits/product.json", "--watch")
    assert (outcome.status, outcome.err) == (2, "error: --watch needs `pip install 'circuitflow[watch]'`\n")


def test_a_folder_that_is_gone_is_watched_from_above(tmp_path):
    assert watching._folders([f"{tmp_path}/a/b/c.json"]) == {str(tmp_path)}
