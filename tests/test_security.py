"""SECURITY.md, sentence by sentence."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

import circuitflow as cf
from circuitflow.document import files, tensors
from circuitflow.document.files import ValueFaultError, beside
from circuitflow.document.model import TensorFile
from support.documents import circuit, document, faults
from support.slices import alike
from support.suite import ROOT

POSIX = pytest.mark.skipif(sys.platform != "linux", reason="links, pipes and descriptors as Linux has them")
INNER = {"circuitflow": "1.0", "nodes": [{"id": "a", "gate": "input", "value": 1}], "outputs": ["a"]}


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "inside"
    (inside / "below").mkdir(parents=True)
    for place in (inside, inside / "below", tmp_path):
        save_file({"W": np.ones((2, 3))}, place / "w.safetensors")
        (place / "c.json").write_text(json.dumps(INNER))
    return inside


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tensor(name, **more):
    return document({"id": "x", "gate": "input", "value": {"file": name, "tensor": "W", **more}})


def subcircuit(name, **more):
    return document({"id": "f", "gate": "call", "circuit": "a"}, circuits={"a": {"file": name, **more}})


def test_every_section_of_the_contract_is_here():
    headings = re.findall(r"^## (.*)$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert headings == ["Loading a document", "Bounds", "What is shown", "What is written", "What is not promised",
                        "To report a hole"]


# Files ----------------------------------------------------------------------------------------------------------------

AUDITED = """
import json, os, sys
events = []
def hook(name, arguments):
    if name == "open" and isinstance(arguments[0], (str, bytes, int)):
        events.append(["open", str(arguments[0]), arguments[1]])
    elif name.split(".")[0] in ("socket", "subprocess", "urllib", "ftplib", "pickle", "marshal") or name in (
            "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove", "os.rename", "os.mkdir", "os.rmdir",
            "os.link", "os.symlink", "os.chmod", "os.truncate", "exec", "compile", "import"):
        events.append([name, str(arguments[0])[:200], None])
import circuitflow as cf
# Once, so that what is imported on the way is there.
cf.Executor(cf.load(sys.argv[2])).run()
sys.addaudithook(hook)
try:
    cf.Executor(cf.load(sys.argv[1])).run()
except cf.CircuitflowError:
    pass
seen = list(events)
print(json.dumps(seen))
"""


def audited(path, warm):
    """What loading and running a document does, as an audit hook sees it."""
    done = subprocess.run([sys.executable, "-c", AUDITED, str(path), str(warm)], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@POSIX
def test_it_opens_the_document_and_the_files_that_it_names_and_no_other_file(folder):
    (folder / "main.json").write_text(document(
        {"id": "x", "gate": "input", "value": {"file": "below/w.safetensors", "tensor": "W"}},
        {"id": "f", "gate": "call", "circuit": "a"},
        {"id": "g", "gate": "reduce_sum", "inputs": ["x"]}, circuits={"a": {"file": "c.json"}}, outputs=["f", "g"],
        circuitflow="1.1", fit={"loss": "g", "data": {"file": "data.csv"}}))
    (folder / "data.csv").write_text("x\n1\n")
    events = audited(folder / "main.json", folder / "main.json")
    opened = [name for kind, name, _ in events if kind == "open"]
    allowed = re.compile(rf"{folder}/main\.json|{folder}|below|w\.safetensors|c\.json|\d+|/(proc/self|dev)/fd/\d+")
    assert [name for name in opened if not allowed.fullmatch(name)] == []
    assert {kind for kind, *_ in events} <= {"open"}
    assert all(mode in (None, "r", "rb") for kind, _, mode in events if kind == "open")


NAMES = ["/etc/passwd", "../w.safetensors", "below/../../w.safetensors", "./../w.safetensors", "C:\\w.safetensors",
         "c:w.safetensors", "\\\\host\\share\\w",
         "//host/share/w", "http://example.invalid/w.safetensors", "file:///etc/passwd", "w.safetensors\0",
         "w\n.safetensors", "", ".", "..", "below", "below/",
         "~/w.safetensors", "$HOME/w", "below\\w.safetensors", "w.safetensors\u202e", "nowhere.safetensors", "a" * 5000,
         "x/" * 3000 + "w", "//w.safetensors", "CON", "w.safetensors:stream"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:30])
@pytest.mark.parametrize("write", [tensor, subcircuit], ids=["tensor", "subcircuit"])
def test_those_lie_beside_or_below_the_document(folder, name, write):
    (message,) = faults(write(name), folder=folder)
    assert re.search("is not allowed: expected a relative path|no such file beside the document", message)
    assert message.isprintable()


@POSIX
@pytest.mark.parametrize("write", [tensor, subcircuit], ids=["tensor", "subcircuit"])
def test_no_link_leads_out_and_those_that_stay_are_followed(folder, write):
    name = "w.safetensors" if write is tensor else "c.json"
    (folder / "out").symlink_to(folder.parent / name)
    (folder / "up").symlink_to(folder.parent)
    (folder / "chain").symlink_to("out")
    (folder / "loop").symlink_to("loop")
    (folder / "stays").symlink_to(f"below/{name}")
    (folder / "side").symlink_to("below")
    os.link(folder.parent / name, folder / "hard")
    for link in ("out", f"up/{name}", "chain"):
        (message,) = faults(write(link), folder=folder)
        assert message.endswith("is not allowed: a link leads out of the document's folder")
    (message,) = faults(write("hard"), folder=folder)
    assert message.endswith("'hard' is not allowed: the file has 2 hard links, so it may belong elsewhere; copy it")
    (message,) = faults(write("loop"), folder=folder)
    assert message.endswith("'loop': no such file beside the document")
    for link in ("stays", f"side/{name}"):
        assert faults(write(link), folder=folder) == []


@POSIX
def test_a_file_or_folder_that_is_exchanged_meanwhile_is_refused(folder, monkeypatch):
    """Between resolving the path and opening it, and between opening and reading."""
    descend = files._descend

    def exchanged(root, parts):
        (folder / "below").rename(folder / "aside")
        (folder / "below").symlink_to(folder.parent)
        return descend(root, parts)

    monkeypatch.setattr(files, "_descend", exchanged)
    with pytest.raises(ValueFaultError, match="no such file"), beside(folder, "below/w.safetensors"):
        pass
    monkeypatch.undo()
    with beside(folder, "w.safetensors") as opened:
        (folder / "w.safetensors").unlink()
        (folder / "w.safetensors").symlink_to("/etc/passwd")
        monkeypatch.setattr(tensors, "beside", lambda folder, name: nullcontext(opened))
        found = tensors.TensorFiles().tensor(folder, TensorFile(file="w.safetensors", tensor="W"))
        assert found.load().tolist() == [[1, 1, 1], [1, 1, 1]]


@POSIX
def test_a_race_of_links_never_shows_what_is_outside(folder):
    save_file({"W": np.full((2, 3), 666.0)}, folder.parent / "secret.safetensors")
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            (folder / "t").symlink_to(folder.parent / "secret.safetensors")
            (folder / "t").rename(folder / "r")
            save_file({"W": np.ones((2, 3))}, folder / "t")
            (folder / "t").rename(folder / "r")

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        found = set()
        attempts = 0
        while attempts < 500 or 1.0 not in found:
            attempts += 1
            try:
                found.add(float(cf.loads(tensor("r"), folder=folder).values["x"][0, 0]))
            except cf.DocumentError as error:
                found.add(str(error).rpartition(": ")[2][:20])
    finally:
        stop.set()
        thread.join()
    assert 1.0 in found
    assert 666.0 not in found


@POSIX
@pytest.mark.parametrize("write", [tensor, subcircuit], ids=["tensor", "subcircuit"])
def test_a_device_a_pipe_a_socket_or_a_folder_is_refused_and_never_opened(tmp_path, write, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    (tmp_path / "folder").mkdir()
    names = ["pipe", "socket", "folder"]
    try:
        os.mknod(tmp_path / "zero", 0o600 | 0o020000, os.makedev(1, 5))
        names.append("zero")
    except PermissionError:
        pass
    real, opened = os.open, []
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(str(path)) or real(path, *rest, **more))
    monkeypatch.setattr(os, "supports_dir_fd", {os.open})
    for name in names:
        (message,) = faults(write(name), folder=tmp_path)
        assert message.endswith(f"'{name}': no such file beside the document")
    assert not set(opened) & set(names)
    listening.close()


def test_each_file_is_opened_and_its_digest_taken_once_and_equal_tensors_are_one(folder, monkeypatch):
    digest = sha256((folder / "w.safetensors").read_bytes())
    opened, digested = [], []
    monkeypatch.setattr(safetensors, "safe_open", lambda *given, open=safetensors.safe_open,
                        **more: opened.append(given) or open(*given, **more))
    monkeypatch.setattr(hashlib, "file_digest", lambda *given, digest=hashlib.file_digest: digested.append(given)
                        or digest(*given))
    value = {"file": "w.safetensors", "tensor": "W", "sha256": digest}
    subject = cf.loads(document(*({"id": f"w{i}", "gate": "parameter", "value": value} for i in range(50)),
                                upstream={"w49": value}), folder=folder)
    assert len(opened) == len(digested) == 1
    assert subject.values["w0"] is subject.values["w49"] is subject.upstream["w49"]
    assert not subject.values["w0"].flags.writeable


def test_a_file_of_subcircuits_is_read_once_whoever_pins_it(folder):
    digest, wrong = sha256((folder / "c.json").read_bytes()), "0" * 64
    circuits = {"a": {"file": "c.json", "sha256": wrong}, "b": {"file": "c.json"},
                "c": {"file": "c.json", "sha256": digest}, "d": {"file": "c.json", "sha256": wrong}}
    assert faults(document("x = 1", circuits=circuits), folder=folder) == [
        f"circuit '{name}': 'c.json' has the SHA-256 digest {digest}; expected {wrong}" for name in "ad"]
    (folder / "main.json").write_text(document("x = 1", circuits={"self": {"file": "main.json", "sha256": wrong}}))
    with pytest.raises(cf.DocumentError, match="circuit 'self': 'main.json' has the SHA-256 digest"):
        cf.load(folder / "main.json")


def test_a_digest_refuses_any_other_contents(folder):
    for write, name in ((tensor, "w.safetensors"), (subcircuit, "c.json")):
        digest = sha256((folder / name).read_bytes())
        assert faults(write(name, sha256=digest), folder=folder) == []
        assert faults(write(name, sha256=digest.upper()), folder=folder) == []
        wrong = "0" * 64
        (message,) = faults(write(name, sha256=wrong), folder=folder)
        assert message.endswith(f"'{name}' has the SHA-256 digest {digest}; expected {wrong}")
        assert faults(write(name, sha256="xyz"),
                      folder=folder)[0].endswith("'sha256' is \"xyz\"; expected a SHA-256 digest, 64 hexadecimal "
                                                 "digits")


def crafted(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("contents", [
    b"", b"\x80\x04\x95", b"PK\x03\x04" + bytes(100), b"\x93NUMPY\x01\x00" + bytes(100), (2**63).to_bytes(8, "little"),
    (10**9).to_bytes(8, "little") + b"{}", crafted(b"{"),
    crafted({"W": {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    crafted({"W": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}, bytes(8)),
    crafted({"W": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
             "V": {"dtype": "F64", "shape": [1], "data_offsets": [4, 12]}}, bytes(12)),
    crafted({"W": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
             "V": {"dtype": "F64", "shape": [1], "data_offsets": [16, 24]}}, bytes(24)),
    crafted({"W": {"dtype": "F64", "shape": [2**62, 4], "data_offsets": [0, 8]}}, bytes(8)),
    crafted({"W": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}}, bytes(8)),
    crafted({"W": {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]}}, bytes(8)),
    crafted({"W": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, bytes(16)),
    crafted(b'{"W": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}, "W": {"dtype": "F64", "shape": [1], '
            b'"data_offsets": [0, 8]}}', bytes(8)),
], ids=["empty", "pickle", "zip", "npy", "endless header", "large header", "half a header", "too few bytes",
        "beyond the end", "overlap", "hole", "overflow", "negative",
        "backward", "trailing", "twice"])
def test_tensors_are_read_from_sound_safetensors_files_alone(tmp_path, contents):
    (tmp_path / "w.safetensors").write_bytes(contents)
    try:
        (message,) = faults(tensor("w.safetensors"), folder=tmp_path)
    except ValueError:
        assert b'"W": {' in contents  # a key that stands twice: the library takes one of the two, which are equal
        return
    assert message == "node 'x': 'w.safetensors' is not a safetensors file"


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "C64", "X\x1b[31m"])
def test_dtypes_that_circuitflow_does_not_have_are_refused(tmp_path, dtype):
    (tmp_path / "w.safetensors").write_bytes(crafted({"W": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]}},
                                                     bytes(4)))
    (message,) = faults(tensor("w.safetensors"), folder=tmp_path)
    assert message.isprintable()
    assert "expected one of" in message or "is not a safetensors file" in message


@POSIX
def test_what_turns_out_to_be_no_file_once_it_is_open_is_refused(folder, monkeypatch):
    read, write = os.pipe()
    monkeypatch.setattr(files, "_descend", lambda root, parts: read)
    assert faults(tensor("w.safetensors"), folder=folder)[0].endswith("no such file beside the document")
    os.close(write)


@POSIX
def test_without_a_way_to_a_descriptor_the_file_itself_is_read(folder, monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert cf.loads(tensor("w.safetensors"), folder=folder).values["x"].shape == (2, 3)


def test_where_folders_cannot_be_opened_files_are_opened_by_their_path(folder, monkeypatch):
    monkeypatch.setattr(os, "supports_dir_fd", set())
    assert cf.loads(tensor("below/w.safetensors"), folder=folder).values["x"].shape == (2, 3)
    assert "no such file" in faults(tensor("nowhere"), folder=folder)[0]


def test_it_runs_no_code_of_the_document(tmp_path):
    evil = "__import__('os').system('touch " + str(tmp_path / "evil") + "')"
    texts = [document({"id": "x", "gate": "input", "value": 1, "label": evil, "description": evil,
                       "metadata": {evil: evil}}, "f = exp(x)", name=evil, description=evil),
             document({"id": "x", "gate": "input", "value": [1, 2]},
                      {"id": "f", "gate": "einsum", "inputs": ["x"], "equation": evil}),
             document({"id": "x", "gate": "input", "value": 1}, {"id": "f", "gate": evil, "inputs": ["x"]}),
             document({"id": "x", "gate": "input", "value": {"random": evil, "shape": [1], "seed": 0}}),
             document({"id": "x", "gate": "input", "value": 1, "__class__": evil, "__reduce__": evil,
                       "py/object": evil})]
    for text in texts:
        try:
            subject = cf.loads(text)
        except cf.DocumentError:
            continue
        result = cf.Executor(subject).run()
        cf.Executor(subject).compile()()
        exec(compile(cf.to_python(subject), "export", "exec"), {"__name__": "exported"})
        for form in ("svg", "html", "dot", "mmd"):
            cf.draw(result, form)
        cf.explain(result, "html")
    assert not (tmp_path / "evil").exists()


# Limits ---------------------------------------------------------------------------------------------------------------

OVER = [
    ({"document_bytes": 20}, lambda: document("x = 1"),
     "is larger than 20 bytes, the largest document that is read (limit document_bytes)"),
    ({"nodes": 2}, lambda: document("x = 1", "y = neg(x)", "f = neg(y)"),
     "the circuit has 3 nodes once every call is expanded; at most 2 are allowed (limit nodes)"),
    ({"nesting": 1}, lambda: document("x = 1", circuits={"a": {**INNER_BODY, "circuits": {"b": INNER_BODY}}}),
     "circuit 'b': subcircuits nest more than 1 deep (limit nesting)"),
    ({"nesting": 1}, lambda: document("x = 1", {"id": "f", "gate": "call", "circuit": "a", "inputs": ["x"]}, circuits={
        "a": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "call", "circuit": "b", "inputs": ["x"]}],
              "outputs": ["y"]}, "b": INNER_BODY}),
     "node 'f': calls nest more than 1 deep (limit nesting)"),
    ({"digits": 5}, lambda: document('x = 1234567'),
     "node 'x': a number of 7 digits; at most 5 are read (limit digits)"),
    ({"digits": 5}, lambda: document('x = 0.1234567'),
     "node 'x': a number of 9 digits; at most 5 are read (limit digits)"),
    ({"text": 50}, lambda: document({"id": "x", "gate": "input", "label": "a" * 51}),
     "node 'x': a text of 51 characters; at most 50 are read (limit text)"),
    ({"text": 50}, lambda: document("x = 1", metadata={"k" * 60: 1}),
     "a text of 60 characters; at most 50 are read (limit text)"),
    ({"tensor_bytes": 100}, lambda: document({"id": "x", "gate": "input", "value": {"data": 0, "shape": [13]}}),
     "node 'x': a float64 tensor of shape (13,) takes 104 bytes; at most 100 bytes are allowed (limit tensor_bytes)"),
    ({"tensor_bytes": 2**20},
     lambda: document({"id": "x", "gate": "input", "value": {"random": "normal", "shape": [10**6, 10**6], "seed": 0}}),
     "node 'x': a float64 tensor of shape (1000000, 1000000) takes 7451 GiB; at most 1 MiB are allowed (limit "
     "tensor_bytes)"),
    ({"tensor_bytes": 2**10},
     lambda: document("x = [1, 2]", {"id": "f", "gate": "expand", "inputs": ["x"], "shape": [10**12, 2]}),
     "node 'f': a float64 tensor of shape (1000000000000, 2) takes 1.49e+04 GiB; at most 1 KiB are allowed (limit "
     "tensor_bytes)"),
    ({"run_bytes": 300}, lambda: document({"id": "x", "gate": "input", "value": {"data": 0, "shape": [13]}},
                                          "y = neg(x)", "z = neg(y)", "f = reduce_sum(z)"),
     "node 'z': with a float64 tensor of shape (13,) the values so far take 312 bytes; at most 300 bytes are allowed "
     "(limit run_bytes)"),
    ({"run_bytes": 150}, lambda: document({"id": "x", "gate": "input", "value": {"data": 0, "shape": [13]}},
                                          {"id": "y", "gate": "input", "value": {"data": 0, "shape": [13]}}),
     "node 'y': with a float64 tensor of shape (13,) the values so far take 208 bytes; at most 150 bytes are allowed "
     "(limit run_bytes)"),
]
INNER_BODY = {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"]}


@pytest.mark.parametrize(("limits", "write", "message"), OVER,
                         ids=[f"{next(iter(limits))}-{i}" for i, (limits, *_) in enumerate(OVER)])
def test_what_is_over_a_limit_is_refused_with_node_figure_and_limit(tmp_path, limits, write, message):
    path = tmp_path / "c.json"
    path.write_text(write())
    cf.load(path) if "tensor_bytes" not in limits or limits["tensor_bytes"] == 100 else None
    with pytest.raises(cf.DocumentError) as error:
        cf.load(path, limits=cf.Limits(**limits))
    assert [fault.message for fault in error.value.faults] == [message]
    ((name, number),) = limits.items()
    done = subprocess.run([sys.executable, "-m", "circuitflow", "run", str(path), "--limit", f"{name}={number}"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_named_dimensions_are_counted_when_they_have_sizes():
    subject = circuit({"id": "x", "gate": "input", "shape": ["n"]}, "y = neg(x)", "z = neg(y)", "f = reduce_sum(z)",
                      limits=cf.Limits(run_bytes=10_000))
    cf.Executor(subject).run({"x": np.zeros(500)})
    with pytest.raises(cf.InputError, match=r"node 'z': with a float64 tensor of shape \(1000,\) the values so far "
                                            r"take 15.62 KiB; at most 9.766 KiB are allowed"):
        cf.Executor(subject).run({"x": np.zeros(1000)})


def test_a_gradient_document_keeps_the_limits_of_its_circuit():
    subject = circuit("x = 1", *(f"y{i} = tanh({'x' if not i else f'y{i - 1}'})" for i in range(50)),
                      limits=cf.Limits(nodes=100))
    with pytest.raises(cf.DocumentError, match="at most 100 are allowed \\(limit nodes\\)"):
        cf.gradient(subject)


@pytest.mark.parametrize("value", [{"data": 0, "shape": [10**12]}, {"random": "normal", "shape": [10**12], "seed": 0}])
def test_an_upstream_gradient_is_within_the_limits_too(value):
    assert faults(document({"id": "x", "gate": "input", "shape": ["n"]}, upstream={"x": value})) == [
        "upstream 'x': a float64 tensor of shape (1000000000000,) takes 7451 GiB; at most 4 GiB are allowed (limit "
        "tensor_bytes)"]
    assert faults(document("x = 1", upstream={"x": value})) == ["upstream 'x': it is float64 (1000000000000,); "
                                                                "expected float64 (), as the output"]


def test_upstream_gradients_are_counted_all_together_before_the_first_is_made(monkeypatch):
    monkeypatch.setattr(np, "full", lambda *given: pytest.fail("one was made"))
    names = [f"x{i}" for i in range(20)]
    nodes = [{"id": name, "gate": "input", "shape": ["n"]} for name in names]
    assert faults(document(*nodes, outputs=names,
                           upstream={name: {"data": 0, "shape": [2**29]} for name in names})) == [
        "upstream 'x16': with a float64 tensor of shape (536870912,) the values so far take 68 GiB; at most 64 GiB are "
        "allowed (limit run_bytes)"]


def test_tensors_of_files_are_counted_all_together_before_the_first_is_read(folder, monkeypatch):
    monkeypatch.setattr(tensors._Open, "load", lambda *given: pytest.fail("one was read"))
    nodes = [{"id": f"w{i}", "gate": "parameter", "value": {"file": "w.safetensors", "tensor": "W"}} for i in range(3)]
    assert faults(document(*nodes), folder=folder, limits=cf.Limits(run_bytes=100)) == [
        "node 'w2': with a float64 tensor of shape (2, 3) the values so far take 144 bytes; at most 100 bytes are "
        "allowed (limit run_bytes)"]


def sparse(path, start, size):
    """A file that says it is large and takes no room."""
    path.write_bytes(start)
    os.truncate(path, size)


@POSIX
def test_headers_of_tensor_files_are_counted_all_together_before_one_is_parsed(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).write_bytes(crafted(b'{"W": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}' + b" "
                                              * 939, bytes(8)))
    (tmp_path / "c").write_bytes(crafted(b"{" + b" " * 599))
    sparse(tmp_path / "sparse", (10**12).to_bytes(8, "little"), 10**12 + 8)
    nodes = [{"id": f"x{i}", "gate": "input", "value": {"file": name, "tensor": "W"}} for i, name in enumerate("aaaab")]
    assert faults(document(*nodes), folder=tmp_path, limits=cf.Limits(header_bytes=2000)) == []
    assert faults(document(*nodes), folder=tmp_path, limits=cf.Limits(header_bytes=1999)) == [
        "node 'x4': with 'b', the headers of tensor files take 1.953 KiB; at most 1.952 KiB are read (limit "
        "header_bytes)"]
    assert faults(tensor("sparse"), folder=tmp_path) == [
        "node 'x': with 'sparse', the headers of tensor files take 931.3 GiB; at most 16 MiB are read (limit "
        "header_bytes)"]
    # What turns out to be none is parsed again for every node that names it, so it counts for each.
    nodes = [{"id": f"x{i}", "gate": "input", "value": {"file": "c", "tensor": "W"}} for i in range(4)]
    assert faults(document(*nodes), folder=tmp_path, limits=cf.Limits(header_bytes=2000)) == [
        *(f"node 'x{i}': 'c' is not a safetensors file" for i in range(3)),
        "node 'x3': with 'c', the headers of tensor files take 2.344 KiB; at most 1.953 KiB are read (limit "
        "header_bytes)"]


@POSIX
def test_files_that_digests_are_taken_of_are_counted_all_together(tmp_path):
    (tmp_path / "w").write_bytes(crafted(b"{}" + b" " * 990))
    sparse(tmp_path / "sparse", b"", 10**13)
    pinned = {"tensor": "W", "sha256": "0" * 64}
    nodes = [{"id": f"x{i}", "gate": "input", "value": {"file": "w", **pinned}} for i in range(3)]
    found = faults(document(*nodes), folder=tmp_path, limits=cf.Limits(run_bytes=2000))
    assert found[2] == ("node 'x2': with 'w', digests of 2.93 KiB are to be taken; at most 1.953 KiB are read for them "
                        "(limit run_bytes)")
    assert faults(tensor("sparse", sha256="0" * 64), folder=tmp_path) == [
        "node 'x': with 'sparse', digests of 9313 GiB are to be taken; at most 64 GiB are read for them (limit "
        "run_bytes)"]
    assert "is larger than 1000 bytes" in faults(subcircuit("sparse"), folder=tmp_path,
                                                 limits=cf.Limits(document_bytes=1000))[-1]
    assert "has the SHA-256 digest" in faults(subcircuit("sparse", sha256="0" * 64), folder=tmp_path,
                                              limits=cf.Limits(document_bytes=1000))[0]


def test_only_so_many_misspelt_tensors_are_looked_for(folder):
    nodes = [{"id": f"x{i}", "gate": "input", "value": {"file": "w.safetensors", "tensor": "WW"}} for i in range(150)]
    assert sum("did you mean 'W'?" in fault for fault in faults(document(*nodes), folder=folder)) == 100


def test_limits_are_whole_numbers_with_names():
    with pytest.raises(cf.InputError, match="limit nodes is 0; expected a whole number, 1 or more"):
        cf.Limits(nodes=0)
    with pytest.raises(cf.InputError, match="there is no limit 'node'; did you mean 'nodes'"):
        cf.Limits.of(node=1)
    assert cf.Limits.of(nodes=7) == cf.Limits(nodes=7)
    with pytest.raises(cf.InputError, match="limit nodes is true"):
        cf.Limits(nodes=True)
    with pytest.raises(cf.InputError, match="limit digits is 5000; Python reads numbers of at most 4300"):
        cf.Limits(digits=5000)
    with pytest.raises(cf.InputError, match="limit nesting is 101; at most 100, because Python's own calls nest with "
                                            "each level"):
        cf.Limits(nesting=101)
    for arguments, message in [("node=3", "there is no limit 'node'; did you mean 'nodes'?; there are document_bytes, "
                                          "header_bytes"), ("nodes", "--limit nodes: expected NAME=N, such as"),
                               ("nodes=-1", "--limit nodes=-1: expected"), ("nodes=0", "limit nodes is 0")]:
        done = subprocess.run([sys.executable, "-m", "circuitflow", "run", "circuits/product.json", "--limit",
                               arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr


@pytest.mark.parametrize("text", [
    '{"k": "' + "a" * 200 + '"}', '{"k": "' + '\\"' * 100 + '"}', '{"k": "' + "1" * 200 + '"}',
    '{"' + "k" * 200 + '": 1}', '{"k": "' + "\\\\" * 100 + '", "l": "x"}',
])
def test_texts_are_measured_however_they_are_written(text):
    from circuitflow.document.faults import Faults, Source
    from circuitflow.document.limits import Limits
    from circuitflow.document.reading import parse_json

    collected = Faults()
    parse_json(Source("t", text, None, Limits(text=100)), text, collected)
    with pytest.raises(cf.DocumentError, match="characters; at most 100 are read \\(limit text\\)"):
        collected.raise_if_any()
    for harmless in (text.replace("a" * 150, "").replace("1" * 150,
                                                         "").replace("k" * 150,
                                                                     "").replace('\\"' * 80,
                                                                                 "").replace("\\\\" * 80, ""),
                     json.dumps([1.5] * 200), json.dumps(["ab"] * 100)):
        collected = Faults()
        parse_json(Source("t", harmless, None, Limits(text=100)), harmless, collected)
        collected.raise_if_any()


# Numbers --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("written", "dtype", "kept"), [
    ("9007199254740992", "float64", 2.0**53), ("9007199254740993", "float64", None),
    ("9007199254740994", "float64", 2.0**53 + 2), ("-0", "float64", -0.0), ("-0.0", "float64", -0.0),
    ("5e-324", "float64", 5e-324), ("2e-324", "float64", None), ("1e-400", "float64", None),
    ("-1e-999999999", "float64", None), ("0e-400", "float64", 0.0), ("0.000", "float64", 0.0),
    ("1e400", "float64", None), ("1e999999999", "float64", None),
    ("1.7976931348623157e308", "float64", 1.7976931348623157e308),
    ("2.2250738585072011e-308", "float64", 2.2250738585072011e-308),
    ("16777217", "float32", None), ("16777216", "float32", 2.0**24), ("1e-46", "float32", None),
    ("1e-45", "float32", float(np.float32(1e-45))), ("1e39", "float32", None),
    ("2049", "float16", None), ("2048", "float16", 2048.0), ("65504", "float16", 65504.0), ("70000", "float16", None),
    ("true", "float64", None), ("1", "bool", None), ("1.0", "int64", 1),
    ("1.5", "int64", None), ("9223372036854775807", "int64", 2**63 - 1), ("9223372036854775808", "int64", None),
    ("-1", "uint8", None), ("255", "uint8", 255), ("256", "uint8", None),
    ("9223372036854775809", "uint64", 2**63 + 1), ('"NaN"', "int64", None),
])
def test_numbers_are_kept_exactly_or_refused(written, dtype, kept):
    text = (f'{{"circuitflow": "1.0", "nodes": [{{"id": "x", "gate": "input", "value": {written}, "dtype": "{dtype}"}}'
            '], "outputs": ["x"]}')
    if kept is None:
        assert len(faults(text)) == 1
        return
    found = cf.loads(text).values["x"]
    assert found.dtype == dtype
    assert found == kept
    assert np.signbit(float(found)) == np.signbit(float(kept))


# Writing --------------------------------------------------------------------------------------------------------------



@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one_whole(tmp_path):
    """Twenty here; `python tests/support/kills.py 200` kills as often as one likes."""
    from support.kills import kill_while_writing

    assert kill_while_writing(tmp_path / "out", 20) == []


@POSIX
def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
    import resource

    target = tmp_path / "out"
    target.write_text("old")
    code = ("import resource, signal, sys\nfrom pathlib import Path\nfrom circuitflow.document.output import write\n"
            "from circuitflow.errors import InputError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try:\n    write(Path(sys.argv[1]), 'x' * 100_000)\nexcept InputError as error:\n    print(error)\n")
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)
    assert done.stdout == f"'{target}' cannot be written: File too large; the file is as it was\n"
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    assert resource  # which other systems do not have


def test_a_system_that_opens_no_folders_is_written_to_all_the_same(tmp_path, monkeypatch):
    from circuitflow.document.output import write

    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    write(tmp_path / "out", "new")
    assert (tmp_path / "out").read_text() == "new"


@POSIX
def test_what_is_written_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    from circuitflow.document.output import write

    events = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *arguments, real=real, name=name: events.append(
            (name, os.path.basename(os.readlink(f"/proc/self/fd/{arguments[0]}")) if name == "fsync"
             else arguments[1].name)) or real(*arguments))
    write(tmp_path / "out", "new")
    assert [name for name, _ in events] == ["fsync", "replace", "fsync"]
    assert events[0][1].endswith("(deleted)")  # it has no name yet
    assert events[1:] == [("replace", "out"), ("fsync", tmp_path.name)]


@POSIX
def test_a_new_file_has_the_rights_that_files_have_and_an_old_one_keeps_its_own(tmp_path):
    from circuitflow.document.output import write

    mask = os.umask(0o027)
    try:
        write(tmp_path / "new", "x")
        (tmp_path / "old").write_text("y")
        (tmp_path / "old").chmod(0o600)
        write(tmp_path / "old", "z")
    finally:
        os.umask(mask)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o600


def test_what_goes_wrong_with_something_else_is_raised_as_it_is(tmp_path):
    from circuitflow.document.output import writer

    (tmp_path / "out").write_text("old")
    with pytest.raises(FileNotFoundError, match="nowhere"):  # noqa: PT012, SIM117
        with writer(tmp_path / "out") as file:
            file.write(b"half")
            (tmp_path / "nowhere").read_text()
    assert (tmp_path / "out").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


# The same every time --------------------------------------------------------------------------------------------------

RUN = """
import sys, hashlib, numpy as np, circuitflow as cf
result = cf.Executor(cf.load(sys.argv[1])).run()
parts = [f"{k}{np.asarray(v).tobytes()}" for found in (result.values, result.gradients) for k, v in found.items()]
print(hashlib.sha256("".join(parts).encode()).hexdigest())
"""


def digest(result):
    import hashlib

    return hashlib.sha256("".join(f"{k}{np.asarray(v).tobytes()}" for found in (result.values, result.gradients) for k,
                                  v in found.items()).encode()).hexdigest()


@pytest.mark.sliced(name=alike)
@pytest.mark.parametrize("name", ["mlp", "conv_net", "attention", "rnn", "hessian_of_staged", "newton_step"])
def test_threads_and_processes_and_runs_give_the_same_bits(name):
    path = ROOT / f"circuits/{name}.json"
    executor = cf.Executor(cf.load(path))
    compiled = executor.compile(engine="staged")
    found, values = [], []

    def work():
        for _ in range(5):
            found.append(digest(executor.run()))
            value, gradients = compiled()
            values.append(str((value, gradients)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    processes = [subprocess.Popen([sys.executable, "-c", RUN, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
                 for _ in range(2)]
    found += [process.communicate()[0].strip() for process in processes]
    assert len(set(found)) == 1
    assert len(found) == 12
    assert len(set(values)) == 1
