"""A fit that is interrupted goes on to the bits of one that nobody disturbed; a folder of another fit is refused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal

import numpy as np
import pytest
from safetensors.numpy import save

import circuitflow as cf
from circuitflow.cli.fit_progress import FitProgress
from circuitflow.fitting import checkpoint as checkpoints
from circuitflow.fitting import stochastic
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.loss import Loss
from circuitflow.fitting.squares import SumOfSquares
from support.suite import ROOT

DECAY = cf.load(ROOT / "circuits/decay.json")
VALLEY = cf.new("f = (1 - x)**2 + 100 * (y - x**2)**2; c = 1.5 - x - y", {"x": -1.2, "y": 1.0},
                parameters=["x", "y"], outputs=["f", "c"])
ROWS = {"x": np.linspace(-1, 1, 40), "t": np.linspace(-1, 1, 40)**3}
NET = cf.new("f = (w * tanh(v * x) - t)**2", {"w": 0.5, "v": 0.3, "x": 0.0, "t": 0.0}, parameters=["w", "v"])
BOX = {"x": (-2.0, 2.0), "y": (-2.0, 2.0)}
FITS = {
    "squares": lambda **more: cf.fit(DECAY, **more),
    "robust": lambda **more: cf.fit(DECAY, method={"name": "trf", "loss": "soft_l1"}, **more),
    "loss": lambda **more: cf.fit(VALLEY, loss="f", **more),
    "starts": lambda **more: cf.fit(VALLEY, loss="f", starts=4, bounds=BOX, **more),
    "constraints": lambda **more: cf.fit(VALLEY, loss="f", constraints={"c": "nonnegative"}, **more),
    "search": lambda **more: cf.fit(VALLEY, loss="f", method={"name": "differential_evolution", "maxiter": 5},
                                    bounds=BOX, **more),
}


def outcome(fit, **more):
    """What a fit found, and what it told on the way, to compare bit by bit."""
    told = []
    result = fit(callback=lambda step: told.append((*step[:4], step.x.tobytes())), **more)
    return json.dumps(result.to_dict()), result.x.tobytes(), result.steps, told


@pytest.mark.parametrize("name", FITS)
def test_a_journal_that_is_cut_anywhere_leads_to_the_same_bits(name, tmp_path, monkeypatch):
    undisturbed = outcome(FITS[name])
    whole = tmp_path / "whole"
    assert outcome(FITS[name], checkpoint=whole) == undisturbed
    journal = (whole / "journal").read_bytes()
    draw = random.Random(name)
    for cut in [0, 5, *(draw.randrange(len(journal)) for _ in range(6)), len(journal) - 1]:
        folder = tmp_path / str(cut)
        shutil.copytree(whole, folder)
        (folder / "journal").write_bytes(journal[:cut])
        assert outcome(FITS[name], checkpoint=folder) == undisturbed, cut
        assert (folder / "journal").read_bytes() == journal, cut
    for kind, method in ((SumOfSquares, "_reduce"), (SumOfSquares, "_bend"), (Loss, "_sweep"), (Loss, "_bend")):
        monkeypatch.setattr(kind, method, None)  # which none of it needs again
    assert outcome(FITS[name], checkpoint=whole) == undisturbed


def test_a_fit_in_which_the_callback_raises_goes_on(tmp_path):
    class StopError(Exception):
        pass

    def stop(step):
        if step.number == 5:
            raise StopError
    with pytest.raises(StopError):
        cf.fit(DECAY, checkpoint=tmp_path, callback=stop)
    computed = []
    reduce = SumOfSquares._reduce

    def counted(self, x):
        computed.append(x)
        return reduce(self, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SumOfSquares, "_reduce", counted)
        assert outcome(FITS["squares"], checkpoint=tmp_path) == outcome(FITS["squares"])
    assert 0 < len(computed) < cf.fit(DECAY).evaluations + len(computed) // 2 + 1


def test_a_record_that_is_torn_at_any_byte_is_dropped(tmp_path):
    path = tmp_path / "journal"

    def ask(number):
        with Journal(path) as journal:
            return [journal.recall([bytes([i])], [(), (2,)], lambda i=i: (i, [i, -i]))[1].tolist()
                    for i in range(number)]
    ask(2)
    two = path.read_bytes()
    ask(3)
    three = path.read_bytes()
    for cut in range(len(two), len(three)):
        path.write_bytes(three[:cut])
        with Journal(path):
            pass
        assert path.read_bytes() == two, cut
    for place in range(len(two), len(three)):
        damaged = bytearray(three)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert ask(3) == [[0, 0], [1, -1], [2, -2]]
        assert path.read_bytes() == three


@pytest.mark.parametrize(("more", "words"), [
    ({"max_evaluations": 50}, r"max_evaluations is null there and 50 here"),
    ({"start": {"a": 0.25}}, r"start is null there and \{\"a\": 0.25\} here"),
    ({"engine": "interpreter"}, r'engine is "auto" there and "interpreter" here'),
    ({"columns": {"t": "signal", "y": "time"}}, "columns is .* there and .* here"),
    ({"data": {"time": [0.0, 1, 2, 3, 4], "signal": [3.0, 2, 1, 1, 1]}}, "data is [0-9a-f]{64} there and [0-9a-f]{64}"),
])
def test_another_fit_is_refused_with_what_differs(tmp_path, more, words):
    cf.fit(DECAY, checkpoint=tmp_path)
    with pytest.raises(cf.InputError, match=rf"^checkpoint: '.*' belongs to another fit: .*{words}.*; fit the same "
                                            "again, or give a new folder$"):
        cf.fit(DECAY, checkpoint=tmp_path, **more)


def test_another_document_or_version_is_refused(tmp_path, monkeypatch):
    cf.fit(DECAY, checkpoint=tmp_path)
    document = json.loads(cf.dumps(DECAY))
    next(node for node in document["nodes"] if node["id"] == "c")["max"] = 5
    with pytest.raises(cf.InputError, match="document is [0-9a-f]{64} there"):
        cf.fit(cf.loads(json.dumps(document)), DECAY.definition.source.folder / "decay.csv", checkpoint=tmp_path)
    monkeypatch.setattr(checkpoints, "version", lambda package: "99")
    with pytest.raises(cf.InputError, match="version of .* and 99 here"):
        cf.fit(DECAY, checkpoint=tmp_path)


def put(path, text):
    def prepare(folder):
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return prepare


def link(folder):
    (folder / "journal").unlink()
    (folder / "journal").symlink_to(folder.parent / "precious")


@pytest.mark.parametrize(("prepare", "words"), [
    (put("notes.txt", "mine"), "holds 'notes.txt', which no fit wrote"),
    (put("a\x1b[31m", ""), r"holds 'a\\x1b\[31m', which no fit wrote"),
    (link, "holds 'journal', which no fit wrote"),
    (lambda folder: (folder / "fit.json").unlink(), "has no 'fit.json'"),
    (put("fit.json", "[" * 100_000), "has a 'fit.json' that no fit wrote"),
    (put("fit.json", '{"document": 3}'), "has a 'fit.json' that no fit wrote"),
    (put("fit.json", '{"document": "\\u001b[31m"}'), r"document is \\x1b\[31m there"),
    (put("fit.json", b" " * 2**21), "has a 'fit.json' that no fit wrote"),
    (put("journal", "text of another kind"), "is no journal"),
], ids=range(9))
def test_a_folder_that_no_fit_wrote_is_refused_and_left_alone(tmp_path, prepare, words):
    folder, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_text("kept")
    cf.fit(DECAY, checkpoint=folder)
    prepare(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(cf.InputError, match=words):
        cf.fit(DECAY, checkpoint=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert precious.read_text() == "kept"


def test_an_answer_that_no_fit_wrote_is_refused(tmp_path):
    cf.fit(DECAY, checkpoint=tmp_path)
    path = tmp_path / "journal"
    for arrays in ({"0": np.zeros(7)}, {"0": np.zeros((), np.float32)}, {}):
        path.unlink()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("circuitflow.fitting.journal.save", lambda _, arrays=arrays: save(arrays))
            with contextlib.suppress(cf.InputError):
                cf.fit(DECAY, checkpoint=tmp_path)
        with pytest.raises(cf.InputError, match="has an answer that no fit wrote; give a new folder"):
            cf.fit(DECAY, checkpoint=tmp_path)


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(cf.InputError, match="cannot be used: .*; give a folder"):
            cf.fit(DECAY, checkpoint=path)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_disk_that_is_full_loses_nothing(tmp_path):
    """A limit on the size of files stands for it."""
    undisturbed = outcome(FITS["squares"])
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, limits[1]))
        with pytest.raises(cf.InputError, match="cannot be read and written: File too large; what was "):
            cf.fit(DECAY, checkpoint=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert 2_000 < (tmp_path / "journal").stat().st_size <= 3_000
    assert outcome(FITS["squares"], checkpoint=tmp_path) == undisturbed


@pytest.mark.parametrize(("place", "function", "code", "words"), [
    ("journal.os", "fsync", errno.ENOSPC, "cannot be read and written: No space left on device; what was computed "),
    ("checkpoint.fcntl", "flock", errno.ENOLCK, "cannot be locked: No locks available; give a folder on another ")])
def test_what_a_system_refuses_is_said_in_words(tmp_path, monkeypatch, place, function, code, words):
    cf.fit(DECAY, checkpoint=tmp_path)

    def refuse(*_):
        raise OSError(code, os.strerror(code))
    monkeypatch.setattr(f"circuitflow.fitting.{place}.{function}", refuse)
    with pytest.raises(cf.InputError, match=words):
        cf.fit(DECAY, checkpoint=tmp_path)


def test_two_fits_do_not_share_a_folder(tmp_path):
    def again(step):
        with pytest.raises(cf.InputError, match="another fit is using"):
            cf.fit(DECAY, checkpoint=tmp_path)
    cf.fit(DECAY, checkpoint=tmp_path, callback=again)


# Training ---------------------------------------------------------------------------------------------------------


def train(**more):
    return cf.fit(NET, ROWS, loss="f", method={"name": "adam", "learning_rate": 0.05, "average": 0.9}, epochs=4,
                  batch_size=9, validation=0.25, seed=3, **more)


def bits(result):
    return json.dumps([result.to_dict(), result.history, result.metrics]), result.x.tobytes()


def test_a_training_that_was_refused_leaves_its_folder_to_the_next(tmp_path, monkeypatch):
    """As where another version is installed after the first try, which computed nothing."""
    def refuse(*arguments, **options):
        raise cf.InputError("refused")

    with monkeypatch.context() as patch:
        patch.setattr("circuitflow.fitting.fit_training.train", refuse)
        patch.setattr(checkpoints, "version", lambda _: "0")
        with pytest.raises(cf.InputError, match="refused"):
            train(checkpoint=tmp_path)
    assert (tmp_path / "fit.json").exists()
    assert bits(train(checkpoint=tmp_path)) == bits(train())


@pytest.mark.long
def test_a_training_that_is_interrupted_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    pytest.importorskip("optax")
    undisturbed = bits(train())

    class StopError(Exception):
        pass

    for interval in (0.0, 1e9):  # a state is kept at every step, or only because the callback raises
        monkeypatch.setattr(stochastic, "INTERVAL", interval)
        folder, seen = tmp_path / str(interval), []
        for last in (1, 6, 11):
            def stop(progress, last=last, seen=seen):
                seen.append(progress.step)
                if progress.step == last:
                    raise StopError
            with pytest.raises(StopError):
                train(checkpoint=folder, callback=stop)
        assert bits(train(checkpoint=folder)) == undisturbed
        assert sorted(set(seen)) == list(range(1, 12))
        assert bits(train(checkpoint=folder, callback=seen.clear)) == undisturbed


@pytest.mark.parametrize("prepare", [
    put("state.safetensors", b""), put("state.safetensors", save({"x": np.zeros(2)})),
    put("state.safetensors", save({"x": np.zeros(2)}, {"circuitflow": "{}", "dtypes": "{}"})),
    put("state.safetensors", save({"x": np.zeros(2)}, {"circuitflow": "[" * 9999, "dtypes": "{}"})),
    put("state.safetensors", save({"x": np.zeros(2)}, {"circuitflow": json.dumps(
        {"step": -1, "epoch": 0, "position": 0, "skipped": 0, "sums": {}, "gradient_norms": {}, "history": [],
         "best": {}}), "dtypes": "{}"})),
    put("state.safetensors", save({"x": np.zeros(2)}, {"circuitflow": json.dumps(
        {"step": 1, "epoch": 0, "position": 0, "skipped": 0, "sums": {}, "gradient_norms": {}, "history": [{}],
         "best": {}}), "dtypes": "{}"})),
], ids=range(6))
def test_a_state_that_no_training_wrote_is_refused(tmp_path, prepare):
    pytest.importorskip("optax")
    train(checkpoint=tmp_path)
    prepare(tmp_path)
    with pytest.raises(cf.InputError, match="is damaged, or was written by no training; give a new folder"):
        train(checkpoint=tmp_path)


def test_a_state_that_a_disk_has_damaged_is_refused(tmp_path):
    pytest.importorskip("optax")
    train(checkpoint=tmp_path)
    path = tmp_path / "state.safetensors"
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    for place in (begin, begin + 11, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(cf.InputError, match="is damaged"):
            train(checkpoint=tmp_path)


# The command ------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_after_the_step_and_the_same_command_goes_on(circuitflow, tmp_path, monkeypatch):
    for name in ("decay.json", "decay.csv"):
        shutil.copy(ROOT / "circuits" / name, tmp_path)
    command = ["fit", str(tmp_path / "decay.json"), "-o", str(tmp_path / "out.json"), "--history",
               str(tmp_path / "steps.csv")]
    assert circuitflow(*command).status == 0
    undisturbed = [(tmp_path / name).read_bytes() for name in ("out.json", "steps.csv")]
    command += ["--checkpoint", str(tmp_path / "run")]
    told = FitProgress.__call__

    def press(self, step):
        if step.number == 4:
            self._interrupt()  # as the handler of SIGINT does
        told(self, step)
    with monkeypatch.context() as patch:
        patch.setattr(FitProgress, "__call__", press)
        shown = circuitflow(*command)
    assert shown.status == 130
    assert shown.err.endswith("no document is written\nto go on from there, give the same command\n")
    assert circuitflow(*command).status == 0
    assert [(tmp_path / name).read_bytes() for name in ("out.json", "steps.csv")] == undisturbed
    shown = circuitflow(*command, "--max", "c=9")
    assert shown.status == 2
    assert "belongs to another fit: document is " in shown.err


@pytest.mark.long
def test_a_history_of_training_has_all_epochs_wherever_it_was_interrupted(circuitflow, tmp_path, monkeypatch):
    pytest.importorskip("optax")
    for name in ("spiral.json", "spiral.csv"):
        shutil.copy(ROOT / "circuits" / name, tmp_path)
    out = tmp_path / "epochs.csv"
    command = ["fit", str(tmp_path / "spiral.json"), "--epochs", "4", "--history", str(out)]
    circuitflow(*command)
    whole = out.read_bytes()
    command += ["--checkpoint", str(tmp_path / "run")]
    told = FitProgress.__call__
    for last in (5, 11):
        def press(self, step, last=last):
            if step.step == last:
                self._interrupt()
            told(self, step)
        with monkeypatch.context() as patch:
            patch.setattr(FitProgress, "__call__", press)
            assert circuitflow(*command).status == 130
        assert whole.startswith(out.read_bytes())
    for _ in range(2):  # the second time, nothing is left to do
        circuitflow(*command)
        assert out.read_bytes() == whole
