"""Fits over a cluster: the bits of one process, whoever dies."""

from __future__ import annotations

import os

import dask
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from distributed import Client, LocalCluster

import circuitflow as cf
from circuitflow.fitting import data
from support import deadly_files

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills")
assert deadly_files  # which registers the file system

ROWS, SIZES = 3000, (1, 1000, 0, 640, 1359)


@pytest.fixture(scope="module")
def client():
    # Otherwise Dask gives up a worker that takes 15 seconds to start again.
    with (dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),
          LocalCluster(n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                       memory_limit=0, silence_logs=50) as cluster,
          Client(cluster, set_as_default=False) as made):
        yield made


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A folder of a table whose blocks lie across its files, by a URL that counts how often a worker opens one."""
    monkeypatch.setattr(data, "BLOCK_BYTES", 2**12)
    random = np.random.default_rng(0)
    t = random.uniform(0, 4, ROWS)
    table = pa.table({"t": t, "y": 2.5 * np.exp(-1.3 * t) + 0.5 + 0.01 * random.standard_normal(ROWS),
                      "s": random.uniform(1, 2, ROWS)})
    for name in ("rows", "opened"):
        (tmp_path / name).mkdir()
    for i, end in enumerate(np.cumsum(SIZES)):
        pa.parquet.write_table(table.slice(end - SIZES[i], SIZES[i]), tmp_path / f"rows/{i}.parquet",
                               row_group_size=300)
    return f"deadly://{tmp_path}/rows"


CIRCUIT = cf.new("f = a * exp(-k * t) + c; r = f - y; l = r * r", {"a": 2.0, "k": 1.0, "c": 0.0},
                 parameters=["a", "k", "c"])


def bits(result):
    errors = None if result.standard_errors is None else result.standard_errors.tobytes()
    return result.x.tobytes(), result.objective, errors, result.evaluations, result.warnings, result.rows


@pytest.mark.parametrize("arguments", [
    {"residuals": "r", "sigma": {"column": "s"}},
    {"residuals": "r", "method": {"name": "trf", "loss": "cauchy", "f_scale": 0.01}},
    {"loss": "l"},
    {"loss": "l", "method": "L-BFGS-B", "engine": "interpreter", "max_evaluations": 2},
], ids=["squares", "robust", "loss", "row by row"])
def test_a_fit_has_the_bits_of_one_process(rows, client, arguments):
    assert bits(cf.fit(CIRCUIT, rows, client=client, **arguments)) == bits(cf.fit(CIRCUIT, rows, **arguments))


def test_a_killed_worker_changes_no_bit(rows, client):
    folder = rows.removeprefix("deadly://")
    os.rename(f"{folder}/4.parquet", f"{folder}/4kills.parquet")
    before = set(client.nthreads())
    assert bits(cf.fit(CIRCUIT, rows, residuals="r", client=client)) == bits(cf.fit(CIRCUIT, rows, residuals="r"))
    assert set(client.nthreads()) != before


def test_a_checkpoint_goes_on_without_the_cluster(rows, client, tmp_path):
    steps = []
    arguments = {"residuals": "r", "checkpoint": tmp_path / "state"}
    cf.fit(CIRCUIT, rows, client=client, callback=lambda step: steps.append(step) or len(steps) == 2, **arguments)
    assert bits(cf.fit(CIRCUIT, rows, **arguments)) == bits(cf.fit(CIRCUIT, rows, residuals="r"))


def test_a_fault_is_that_of_one_process(rows, client):
    path = f"{rows.removeprefix('deadly://')}/3.parquet"
    columns = pa.parquet.read_table(path).to_pydict()
    columns["y"][400] = np.nan
    pa.parquet.write_table(pa.table(columns), path, row_group_size=300)
    with pytest.raises(cf.InputError, match=r"3\.parquet: row 401 \(row group 2\), column 'y': nan") as alone:
        cf.fit(CIRCUIT, rows, residuals="r")
    with pytest.raises(cf.InputError) as error:
        cf.fit(CIRCUIT, rows, residuals="r", client=client)
    assert str(error.value) == str(alone.value)


def test_what_a_cluster_does_not_fit_is_refused(rows, client):
    in_memory = {"t": [1.0], "y": [1.0]}
    batch = cf.new("r = a * t - y", {"a": 1.0}, shapes={"t": ["N"], "y": ["N"]}, parameters=["a"])
    for circuit, given, arguments, message in (
            (CIRCUIT, in_memory, {"residuals": "r"}, "a fit over a cluster reads tables in files, given as a path"),
            (batch, rows, {"residuals": "r"}, "a fit over a cluster takes a circuit of one row, and this one is of a "
             "batch, 'N'"),
            (CIRCUIT, rows, {"loss": "l", "method": "adam"}, "'client' goes with SciPy's methods")):
        with pytest.raises(cf.InputError, match=message):
            cf.fit(circuit, given, client=client, **arguments)
    with pytest.raises(cf.InputError, match=r"client is \"local\"; expected a distributed\.Client"):
        cf.fit(CIRCUIT, rows, residuals="r", client="local")
