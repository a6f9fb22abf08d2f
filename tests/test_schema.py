"""The JSON Schemas: current, and right about every document there is."""

from __future__ import annotations

import json

import jsonschema
import pytest

from circuitflow.cli.schema import Which, text
from circuitflow.gates import GATES
from conftest import ROOT

SCHEMA = json.loads((ROOT / "schemas/circuit.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
BROKEN = sorted((ROOT / "circuits/broken").glob("*.json"))

# What takes more than a schema to see: the text itself, references, shapes, values, files.
BEYOND_A_SCHEMA = {
    "axis_out_of_range", "bad_escape", "binary", "boolean_for_a_number", "broadcast", "broadcast_bomb",
    "byte_order_mark", "call_operands", "call_outputs", "call_shapes", "circuit_file_absolute", "circuit_file_folder",
    "circuit_file_hostile", "circuit_file_outside", "comment", "control_character", "cycle",
    "dangling_output", "dangling_source", "dangling_target", "data_and_shape", "declared_shape", "deep_metadata",
    "deep_value", "digits_beyond_python", "doubled_edges", "duplicate_circuit", "duplicate_id", "duplicate_key", "duplicate_keys_below",
    "edge_into_input", "edges_and_inputs", "einsum_injection", "empty", "endless_exponent", "endless_fraction",
    "exponential", "fault_in_file", "file_absolute", "file_backslash", "file_digest", "file_drive", "file_empty",
    "file_folder", "file_home", "file_hostile", "file_in_itself", "file_missing", "file_nul", "file_of_proc",
    "file_outside", "file_share", "file_up_and_down", "file_url", "files_in_a_circle", "files_in_a_circle_back",
    "float_indices", "fractional_integer", "gap_between_ports", "inexact_integer", "infinity_token", "invalid_utf8",
    "lone_low_surrogate", "lone_surrogate", "many_digits", "matmul_shapes", "minus_infinity_token", "missing_comma",
    "mixed_dtypes", "mixed_ports", "mutual_recursion", "named_dimensions", "nan_token", "nested_too_deep",
    "no_such_output", "not_safetensors", "nul_byte", "one_hot_bomb", "outer_bomb", "output_twice",
    "overflowing_number", "overlong_utf8", "pad_bomb", "port_twice", "ragged", "recursion", "reshape",
    "scan_of_itself", "self_loop", "shape_empty_and_endless", "shape_overflowing", "single_quotes",
    "size_of_too_many_factors", "size_of_too_many_terms", "size_with_too_large_a_factor", "ten_gigabytes", "tensor_name_hostile",
    "tile_bomb", "too_few_operands", "too_many_operands", "trailing_comma", "trailing_garbage", "two_documents",
    "unclosed", "underflow", "underflow_float32", "unknown_circuit", "unknown_port",
    "upstream_of_another_shape", "upstream_of_too_much", "upstream_shape", "upstream_unknown", "utf16", "utf16_big_endian", "utf32", "value_hostile", "where_number",
}


@pytest.mark.parametrize(("which", "file"), [(Which.DOCUMENT, "circuit"), (Which.RUN, "run")])
def test_schemas_are_current(which, file):
    assert (ROOT / f"schemas/{file}.schema.json").read_text() == text(which)
    jsonschema.Draft202012Validator.check_schema(json.loads(text(which)))


@pytest.mark.parametrize("file", sorted((ROOT / "circuits").glob("*.json")), ids=lambda file: file.stem)
def test_every_example_is_valid_and_names_the_schema(file):
    document = json.loads(file.read_text())
    VALIDATOR.validate(document)
    assert (file.parent / document["$schema"]).resolve() == ROOT / "schemas/circuit.schema.json"


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_every_broken_document_that_a_schema_can_see_is_refused(file):
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        assert file.stem in BEYOND_A_SCHEMA
        return
    assert VALIDATOR.is_valid(document) == (file.stem in BEYOND_A_SCHEMA)


def node(**keys):
    return {"circuitflow": "1.0", "nodes": [keys], "outputs": ["f"]}


@pytest.mark.parametrize(("keys", "valid"), [
    ({"gate": "reduce_sum", "axis": 1, "keepdims": True}, True),
    ({"gate": "reduce_sum", "axis": [0, 1]}, True),
    ({"gate": "reduce_sum", "axes": 1}, False),
    ({"gate": "reduce_sum", "axis": "1"}, False),
    ({"gate": "reduce_sum", "inputs": {"x": "y.z"}, "label": "a", "metadata": {"b": []}}, True),
    ({"gate": "max", "ties": "last"}, False),
    ({"gate": "reshape"}, False),
    ({"gate": "add", "value": 3}, False),
    ({"gate": "input", "value": [[1, "NaN"]], "shape": ["batch", 2]}, True),
    ({"gate": "input", "shape": [1.5]}, False),
    ({"gate": "parameter", "value": {"random": "he_normal", "shape": [2, 2], "seed": 0}}, True),
    ({"gate": "parameter", "value": {"random": "he", "shape": [2, 2], "seed": 0}}, False),
    ({"gate": "parameter", "value": {"file": "w.safetensors", "tensor": "W"}}, True),
    ({"gate": "parameter"}, False),
    ({"gate": "call", "circuit": "a", "inputs": ["x"]}, True),
    ({"gate": "call", "inputs": ["x"]}, False),
    ({"gate": "nothing"}, False),
])
def test_an_editor_marks_what_is_wrong_in_a_node(keys, valid):
    assert VALIDATOR.is_valid(node(id="f", **keys)) == valid


def test_an_editor_completes_gate_names_and_attributes():
    definitions = SCHEMA["$defs"]
    names = definitions["Node"]["properties"]["gate"]["enum"]
    assert names == ["input", "parameter", "constant", "call", "checkpoint", "scan", "if", *GATES]
    reached = {rule["if"]["properties"]["gate"]["const"]: definitions[rule["then"]["$ref"].rpartition("/")[2]]
               for rule in definitions["Node"]["allOf"]}
    assert list(reached) == names
    for name, gate in GATES.items():
        assert reached[name]["description"].startswith(gate.formula)
        assert set(gate.attributes.model_fields) <= set(reached[name]["properties"])
