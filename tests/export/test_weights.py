"""The reader of safetensors files in C: it reads what files say, and never leaves the memory that it is given."""

from __future__ import annotations

import json
import random
import struct
import subprocess

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load, save

import circuitflow as cf
from circuitflow.export.c.exporting import export
from support.c_programs import compile_c, needs_gcc
from support.commands import circuitflow  # noqa: F401
from support.documents import circuit
from support.suite import GUARD

pytestmark = needs_gcc

WEIGHTS = {"w": np.arange(6.0).reshape(2, 3) / 7, "b": np.float64(0.5), "h": np.array([1.5, -2.0], np.float32),
           "n": np.array([-3, 2**40]), "t": np.array([True, False, True]), "k": np.array([200, 7], np.uint8)}
NODES = [{"id": name, "gate": "parameter", "value": x.tolist(), "dtype": x.dtype.name} for name, x in WEIGHTS.items()]
MAIN = """#include <stdio.h>
#include <stdlib.h>
#include "m.h"
int main(void)
{
    uint64_t size;
    while (fread(&size, 8, 1, stdin) == 1) {
        unsigned char *bytes = (unsigned char *)malloc(size ? size : 1);
        m_parameters p;
        int status;
        memset(&p, 255, sizeof p);
        if (fread(bytes, 1, size, stdin) != size) {
            return 1;
        }
        status = m_read_parameters(bytes, size, &p);
        printf("%d ", status);
        for (size_t i = 0; i < sizeof p; i++) {
            printf("%02x", ((unsigned char *)&p)[i]);
        }
        printf("\\n");
        free(bytes);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Reads files by a program with sanitizers, each in memory of just its size: a status and parameters for each."""
    folder = tmp_path_factory.mktemp("reader")
    exported = export(circuit(*NODES, "f = reduce_sum(w)"), name="m", weights_beside=True)
    (folder / "m.h").write_text(exported.header)
    program = compile_c(folder, MAIN, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                        f"-I{folder}")
    layout = np.dtype([(name, WEIGHTS[name].dtype, WEIGHTS[name].shape) for name in WEIGHTS], align=True)

    def run(files):
        done = subprocess.run([program], input=b"".join(struct.pack("<Q", len(x)) + x for x in files), check=False,
                              capture_output=True, timeout=GUARD)
        assert done.returncode == 0, done.stderr.decode()[:3000]
        results = []
        for line in done.stdout.decode().splitlines():
            status, content = line.split()
            content = bytes.fromhex(content)
            record = np.frombuffer(content, layout)[0]
            results.append((int(status), {name: np.array(record[name]) for name in WEIGHTS},
                            content.count(b"\xff") == len(content)))
        assert len(results) == len(files)
        return results

    return run


def file(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_it_reads_what_a_file_says(read):
    """Also one with other types of floats, and with blanks, metadata and other tensors."""
    others = {**WEIGHTS, "w": WEIGHTS["w"].astype(np.float32), "b": np.float32(0.5), "h": WEIGHTS["h"].astype(float)}
    files = [save({name: np.asarray(x) for name, x in weights.items()}, metadata) for weights, metadata in (
        (WEIGHTS, None), (others, {"a": 'quote " and \\', "ü": "}"}), ({**WEIGHTS, "more": np.zeros((2, 0))}, {}))]
    length = int.from_bytes(files[0][:8], "little")
    header = json.dumps(json.loads(files[0][8 : 8 + length]), indent=3).encode() + b"  "
    files.append(file(header, files[0][8 + length :]))
    for (status, found, _), weights in zip(read(files), [WEIGHTS, others, WEIGHTS, WEIGHTS], strict=True):
        assert status == 0
        assert all(np.array_equal(found[name], np.asarray(x).astype(WEIGHTS[name].dtype))
                   for name, x in weights.items())


WHOLE = {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}


@pytest.mark.parametrize(("content", "expected"), [
    (b"", -1), (b"\x01" * 7, -1), (struct.pack("<Q", 2**64 - 1), -1), (file(b""), -1), (file(b"[]"), -1),
    (file(b"{}"), 1), (file(b"{} x"), -1), (file(b"{},"), -1), (file(b'{"w'), -1), (file(b'{"w\\'), -1),
    (file({"x": {**WHOLE, "data_offsets": [0, 9]}}), -1), (file({"x": {**WHOLE, "data_offsets": [8, 0]}}), -1),
    (file({"x": {**WHOLE, "data_offsets": [2**63, 2**63 + 8]}}), -1), (file({"x": {**WHOLE, "shape": [2**70]}}), -1),
    (file({"x": {**WHOLE, "data_offsets": [0]}}), -1), (file({"x": {**WHOLE, "data_offsets": [0, 8, 8]}}), -1),
    (file({"x": {"dtype": "F64", "shape": []}}), -1), (file({"x": {**WHOLE, "more": 1}}), -1), (file({"x": 1}), -1),
    (file({"__metadata__": {"a": 1}}), -1), (file({"x": {**WHOLE, "shape": [-1]}}), -1),
    (file(b'{"x":{"dtype":"F64","dtype":"F64","shape":[],"data_offsets":[0,8]}}'), -1),
    (file({"w": WHOLE}), 1), (file({"w": {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48]}}, b"\0" * 48), 2),
    (file({"w": {"dtype": "I64", "shape": [2, 3], "data_offsets": [0, 48]}}, b"\0" * 48), 1),
    (file({"w": {"dtype": "F64", "shape": [3, 2], "data_offsets": [0, 48]}}, b"\0" * 48), 1),
    (file({"w": {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 40]}}, b"\0" * 48), 1),
    (file(b'{"w":{"dtype":"F64","shape":[2,3],"data_offsets":[0,48]},'
          b'"w":{"dtype":"F64","shape":[2,3],"data_offsets":[0,48]}}', b"\0" * 48), -1)])
def test_it_refuses_other_files_and_leaves_the_parameters_alone(content, expected, read):
    ((status, _, untouched),) = read([content])
    assert (status, untouched) == (expected, True)


def test_mutated_files_never_lead_out_of_memory(read):
    """Where the package safetensors reads such a file too, the numbers are the same."""
    sound = save({name: np.asarray(x) for name, x in WEIGHTS.items()}, {"a": "b"})
    length, source, files = int.from_bytes(sound[:8], "little"), random.Random(11), []
    parts = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"9" * 20, b" ", b'"w"', b'"F32"']
    for _ in range(3000):
        content = bytearray(sound)
        for _ in range(source.randint(1, 3)):
            at = source.randrange(8 + length) if source.random() < 0.6 else source.randrange(len(content))
            match source.randrange(4):
                case 0:
                    content[at] = source.randrange(256)
                case 1:
                    del content[at : at + source.randint(1, 9)]
                case 2:
                    content[at:at] = source.choice(parts)
                case 3:
                    content[at] ^= 1 << source.randrange(8)
            if source.random() < 0.7 and len(content) > 8:  # a length of the header that is right
                content[:8] = struct.pack("<Q", max(0, length + len(content) - len(sound)))
        files.append(bytes(content))
    both = 0
    for content, (status, found, untouched) in zip(files, read(files), strict=True):
        assert untouched or status == 0
        try:
            expected = load(content) if status == 0 else {}
        except (SafetensorError, ValueError, KeyError, TypeError):
            continue
        both += status == 0
        assert all(np.array_equal(found[name], expected[name].astype(found[name].dtype), equal_nan=name in "wbh")
                   for name in expected if name in found)
    assert both > 40


def test_the_command_writes_the_file_beside_the_program(tmp_path, circuitflow):  # noqa: F811
    for _ in range(2):
        done = circuitflow("export", "circuits/rnn.json", "--to", "c", "--weights-beside", "--dtype", "float32", "-o",
                           str(tmp_path / "rnn.c"))
        assert (done.status, done.out, done.err) == (0, "", "")
    subject = cf.load("circuits/rnn.json")
    weights = load((tmp_path / "rnn.safetensors").read_bytes())
    assert {name: x.tolist() for name, x in weights.items()} == {
        name: np.asarray(subject.values[name], np.float32).tolist() for name, node in subject.nodes.items()
        if node.kind == "parameter"}
    header = (tmp_path / "rnn.h").read_text()
    assert "rnn_default_parameters" not in header
    assert "int rnn_read_parameters(const unsigned char *bytes, uint64_t size, rnn_parameters *parameters);" in header
    (tmp_path / "rnn.safetensors").write_bytes(b"of the user")
    done = circuitflow("export", "circuits/rnn.json", "--to", "c", "--weights-beside", "-o", str(tmp_path / "rnn.c"))
    assert (done.status, (tmp_path / "rnn.safetensors").read_bytes()) == (2, b"of the user")
    for arguments, message in {("circuits/rnn.json",): "weights beside a program need a file for it; name one with -o",
                               ("circuits/staged.json", "-o", str(tmp_path / "s.c")): "the circuit has none; leave out "
                               }.items():
        done = circuitflow("export", *arguments, "--to", "c", "--weights-beside")
        assert (done.status, message in done.err) == (2, True), done.err


def test_a_parameter_without_numbers_gives_no_warning(tmp_path):
    subject = circuit({"id": "w", "gate": "parameter", "value": {"data": [], "shape": [0, 2]}},
                      {"id": "b", "gate": "parameter", "value": 2}, "s = reduce_sum(w)", "f = add(s, b)")
    text = cf.to_c(subject, name="m", weights_beside=True)
    compile_c(tmp_path, f"{text}int main(void)\n{{\n    return 0;\n}}\n", "-O0", "-Wno-unused-function")
