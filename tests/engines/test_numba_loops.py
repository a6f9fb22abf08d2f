"""Loops of machine code, and the blocks of rows that they run on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from circuitflow.engines import columns, machine_code
from circuitflow.engines.columns import in_blocks
from circuitflow.engines.numba_loops import jitted
from support.suite import GUARD, ROOT

ROWS = 1000


@pytest.fixture(params=[1, 2, 5])
def cores(request, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(request.param), raising=False)
    monkeypatch.setattr(columns, "_threads", columns.cache(columns._threads.__wrapped__))
    return request.param


def done(rows, block):
    parts = []
    in_blocks(parts.append, rows, block)
    return sorted((part.start, part.stop) for part in parts)


@pytest.mark.parametrize(("rows", "block"), [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 3)])
def test_every_row_is_in_one_block_whatever_the_number_of_threads(rows, block, cores):
    assert done(rows, block) == [(start, start + block) for start in range(0, rows, block)]


def test_blocks_run_at_once(cores):
    """A block that waits for the next ones is passed by them."""
    together = threading.Barrier(min(cores, 3))
    in_blocks(lambda part: together.wait(GUARD), 3 if cores > 2 else cores, 1)


def test_a_call_from_within_a_block_waits_for_nobody(cores):
    count = []
    in_blocks(lambda part: in_blocks(lambda inner: in_blocks(count.append, 4, 1), 4, 1), 8, 1)
    assert len(count) == 8 * 4 * 4


def test_nothing_runs_any_more_after_an_error(cores):
    """The error is that of the first block at fault; blocks that had begun are over, the last ones never begin."""
    running, begun = set(), set()

    def work(part):
        running.add(part.start)
        begun.add(part.start)
        threading.Event().wait(0.001)
        try:
            if part.start >= 10:
                raise ValueError(part.start)
        finally:
            running.discard(part.start)

    with pytest.raises(ValueError, match="^10$"):
        in_blocks(work, ROWS, 1)
    assert not running
    assert len(begun) < ROWS / 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads")
def test_nothing_runs_any_more_after_an_interrupt(cores):
    running, main = set(), threading.main_thread().ident
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work(part):
        running.add(part.start)
        if part.start == 3:
            signal.pthread_kill(main, signal.SIGINT)
        threading.Event().wait(0.002)
        running.discard(part.start)

    try:
        with pytest.raises(KeyboardInterrupt):
            in_blocks(work, ROWS, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(running) <= 1  # the block that was interrupted itself


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads")
@pytest.mark.parametrize("cores", [2], indirect=True)
def test_an_interrupt_of_the_waiting_does_not_end_it(cores):
    main, over, both = threading.main_thread(), [], threading.Barrier(2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work(part):
        both.wait(GUARD)
        if threading.current_thread() is not main:
            threading.Event().wait(0.1)
            signal.pthread_kill(main.ident, signal.SIGINT)
            threading.Event().wait(0.1)
            over.append(part)

    try:
        with pytest.raises(KeyboardInterrupt):
            in_blocks(work, 2, 1)
        assert len(over) == 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_numbers_do_not_depend_on_the_number_of_threads(monkeypatch):
    import circuitflow as cf

    vmap = cf.Executor(cf.load(ROOT / "circuits/staged.json"), thresholds=cf.Thresholds(column_rows=1000)).vmap()
    x, y = np.random.RandomState(0).standard_normal((2, 23_457))
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, count=count: range(count), raising=False)
        monkeypatch.setattr(columns, "_threads", columns.cache(columns._threads.__wrapped__))
        value, gradients = vmap(x=x, y=y)
        found.append(np.stack([value, *gradients.values()]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_no_array_is_kept_after_a_call(cores):
    import weakref

    array = np.empty(ROWS)
    gone = weakref.ref(array)

    def work(part, array=array):
        array[part] = 0

    in_blocks(work, ROWS, 1)
    del array, work
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_fork_has_threads_of_its_own(cores):
    together = threading.Barrier(min(cores, 2))
    done(100, 1)
    child = os.fork()
    if not child:
        signal.alarm(GUARD)
        in_blocks(lambda part: together.wait(), min(cores, 2), 1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_without_a_thread_to_be_had_the_caller_does_it_alone(monkeypatch):
    def full(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4), raising=False)
    monkeypatch.setattr(columns, "_threads", columns.cache(columns._threads.__wrapped__))
    monkeypatch.setattr(threading.Thread, "start", full)
    assert len(done(100, 1)) == 100


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty folder for machine code, and no function compiled."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    jitted.cache_clear()
    yield tmp_path / "circuitflow"
    jitted.cache_clear()


def loop_of(count):
    """A loop that reads so many columns and fills in one more, an exponential among them."""
    names = [*(f"c{i}" for i in range(count)), *(f"r{i}" for i in range(count + 1))]
    squares = " + ".join(f"x{i} * x{i}" for i in range(count))
    return jitted("\n".join([
        f"def loop(rows, {', '.join(names)}):", "    for i in range(rows):",
        *(f"        x{i} = get(c{i}, i)" for i in range(count)),
        f"        s = 1.0 / (1.0 + exp(-({squares})))",
        "        put(r0, 0, i, s)", *(f"        put(r{i + 1}, {i + 1}, i, s * x{i})" for i in range(count))]),
                  over_rows=True)


@pytest.mark.parametrize("count", [1, 4, pytest.param(20, marks=pytest.mark.long)])
def test_rows_are_computed_several_at_once(count, kept):
    """However many columns there are; those that lie at odd addresses give the same numbers."""
    loop = loop_of(count)
    given, results = np.random.RandomState(0).standard_normal((count, ROWS)), np.empty((count + 1, ROWS))
    loop(ROWS, *given, *results)
    s = 1 / (1 + np.exp(-(given**2).sum(axis=0)))
    np.testing.assert_allclose(results, [s, *(s * given)], rtol=1e-14)
    (text,) = loop.inspect_llvm().values()
    assert re.search(r"fdiv <\d+ x double>", text)
    odd = [np.frombuffer(b"x" + column.tobytes(), np.float64, offset=1) for column in given]
    found = np.empty((count + 1, ROWS))
    loop(ROWS, *odd, *found)
    np.testing.assert_array_equal(found, results)


TEXT = "def loop(n, numbers):\n    for i in range(n):\n        numbers[i] = exp(numbers[i]) + 1.0"


def run(text=TEXT):
    """Compile as a new process would, and call; whether the machine code was there already."""
    jitted.cache_clear()
    loop, numbers = jitted(text), np.zeros(3)
    loop(3, numbers)
    np.testing.assert_array_equal(numbers, [2, 2, 2])
    return bool(loop.stats.cache_hits)


def files(folder):
    return sorted(folder.glob("*.nbc"))


def test_machine_code_is_kept(kept):
    assert [run(), run(), run()] == [False, True, True]
    (file,) = files(kept)
    assert kept.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    os.utime(file, (1, 1))
    assert run()
    assert file.stat().st_mtime > 1e9  # of the last use
    jitted(add_one)(np.zeros(3))
    assert len(files(kept)) == 2


def add_one(numbers):
    for i in range(len(numbers)):
        numbers[i] += 1


def cut(file):
    file.write_bytes(file.read_bytes()[:1000])


def empty(file):
    file.write_bytes(b"")


def longer(file):
    file.write_bytes(file.read_bytes() + b"x")


def wrong(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def foreign(file):
    file.write_bytes(os.urandom(5000))


def folder_in_its_place(file):
    file.unlink()
    file.mkdir()


def of_another(file):
    """Sound, but not what it should be: a pickle of something else."""
    machine_code.write(file.name, b"\x80\x04K\x01.")


DAMAGES = [cut, empty, longer, wrong, foreign, folder_in_its_place, of_another]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_made_anew(damage, kept):
    run()
    (file,) = files(kept)
    damage(file)
    assert not run()
    if damage is not folder_in_its_place:
        assert run()
        assert files(kept) == [file]


def no_folder(kept):
    kept.parent.joinpath("circuitflow").write_text("")


def open_to_others(kept):
    kept.mkdir()
    kept.chmod(0o777)


@pytest.mark.parametrize("spoil", [no_folder, open_to_others])
def test_where_nothing_can_be_kept_nothing_is(spoil, kept, caplog):
    spoil(kept)
    with caplog.at_level("DEBUG", "circuitflow"):
        assert [run(), run()] == [False, False]
    assert any(message.startswith("machine code is not kept: ") for message in caplog.messages)
    assert files(kept) == []


@pytest.mark.parametrize("what", ["folder", "file", "owner"])
def test_what_others_can_write_is_not_read(what, kept, monkeypatch):
    """For reading it runs it: a pickle."""
    run()
    (file,) = files(kept)
    match what:
        case "folder":
            kept.chmod(0o720)
        case "file":
            file.chmod(0o602)
        case "owner":
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert machine_code.read(file.name) is None
    assert not run()


def test_machine_code_goes_with_all_it_was_made_from(kept, monkeypatch):
    import numba

    run()
    assert not run(TEXT + " + 0.0")
    jitted(TEXT, over_rows=True)(3, np.zeros(3))  # where exp is another function
    assert len(files(kept)) == 3
    with monkeypatch.context() as patch:
        patch.setattr(numba, "__version__", "0.0")
        assert not run()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version", "3")
        assert not run()
    with monkeypatch.context() as patch:
        patch.setattr(type(jitted(TEXT).targetctx.codegen()), "magic_tuple", lambda self: ("another processor",))
        assert not run()
    with monkeypatch.context() as patch:
        patch.setattr(machine_code, "getsource", lambda module: "another text")
        assert not run()
    assert len(files(kept)) == 7
    assert run()


@pytest.mark.parametrize("what", ["NullCache", "getsource"])
def test_a_numba_that_has_changed_is_used_without_a_cache(what, kept, monkeypatch, caplog):
    import numba.core.caching

    with caplog.at_level("DEBUG", "circuitflow"):
        if what == "NullCache":
            monkeypatch.delattr(numba.core.caching, "NullCache")
        else:
            monkeypatch.delattr(machine_code, "getsource")
        assert not run()
    assert caplog.messages[0].startswith("machine code is not kept: ")


def test_the_oldest_files_make_room(kept, monkeypatch):
    monkeypatch.setattr(machine_code, "LIMIT", 100)
    for i in range(4):
        machine_code.write(f"{i}.nbc", b"x" * 8)  # 40 with the digest
        os.utime(kept / f"{i}.nbc", (i + 1, i + 1))
        machine_code.read("0.nbc")  # which is then the last used
    assert [file.name for file in files(kept)] == ["0.nbc", "3.nbc"]


def test_two_processes_write_at_once(kept):
    """And all of them read at once; what is read is whole."""
    code = ("import sys, os; from circuitflow.engines import machine_code\n"
            "for i in range(300):\n"
            "    machine_code.write('a.nbc', os.urandom(1) * 100_000)\n"
            "    data = machine_code.read('a.nbc')\n"
            "    assert len(data) == 100_000 and len(set(data)) == 1")
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [process.wait(GUARD) for process in started] == [0, 0, 0]
    assert [file.name for file in files(kept)] == ["a.nbc"]


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    found = {}
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        found[platform] = machine_code.folder().relative_to(tmp_path).as_posix()
    assert found == {"linux": ".cache/circuitflow", "darwin": "Library/Caches/circuitflow",
                     "win32": "AppData/Local/circuitflow/Cache"}
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert machine_code.folder() == tmp_path / ".cache/circuitflow"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert machine_code.folder() == tmp_path / "x/circuitflow"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "n"))
    assert machine_code.folder() == tmp_path / "n/circuitflow"
