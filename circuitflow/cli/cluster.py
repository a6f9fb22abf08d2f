"""`--cluster`: the client of a cluster, or of one that is started here."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from circuitflow.cli.streams import pipes_are_errors
from circuitflow.cli.table import note
from circuitflow.engines.columns import cores
from circuitflow.errors import InputError, MissingExtraError
from circuitflow.rows.remote import need_workers
from circuitflow.text import printable

_CARE = 1000
"""Milliseconds between two looks at whether a worker has to be started."""

ANSWERS = 5
"""Seconds within which a scheduler answers; Dask's own default is 30."""

_LOCAL = re.compile(r"local(?::([1-9][0-9]{0,3}))?")


@contextmanager
def client_of(cluster: str | None) -> Iterator[Any]:
    """A client, which is closed at the end, and so is a cluster that is started here; None without a cluster.

    Args:
        cluster: "local" or "local:N", which starts N processes, one for each core by default; or the address of a
            scheduler.

    Raises:
        InputError: it is none of these, no scheduler answers, or it has no workers and none comes.
        MissingExtraError: distributed is not installed.
    """
    if cluster is None:
        yield None
        return
    local, shown = _LOCAL.fullmatch(cluster), f"--cluster {printable(cluster, 200)}"
    if not local and "://" not in cluster:
        raise InputError(f"{shown}: expected local, local:N, or the address of a scheduler such as tcp://host:8786")
    try:
        import distributed
    except ImportError:
        raise MissingExtraError(f"{shown} needs `pip install 'circuitflow[cluster]'`") from None
    for name in ("distributed", "distributed.client"):  # a failure is told once, in words of ours
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with pipes_are_errors(), _started(int(local[1] or cores())) if local else nullcontext(cluster) as scheduler:
        try:
            client = distributed.Client(scheduler, set_as_default=False, timeout=ANSWERS)
        except (OSError, ValueError, ImportError) as error:
            raise InputError(f"{shown}: no scheduler answers: {printable(str(error).partition(chr(10))[0])}") from None
        with client:
            need_workers(client, note)
            yield client


@contextmanager
def _started(workers: int) -> Iterator[Any]:
    """A cluster of processes of one thread each, which this machine alone reaches, and there this user alone."""
    from distributed import LocalCluster, Security, Status
    from tornado.ioloop import PeriodicCallback

    try:
        security = Security.temporary()
    except ImportError:
        raise MissingExtraError("--cluster local needs `pip install 'circuitflow[cluster]'`, for "
                                "cryptography") from None
    try:
        started = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1",
                               dashboard_address="127.0.0.1:0", memory_limit=0, security=security,
                               silence_logs=logging.CRITICAL)
    except (RuntimeError, OSError) as error:
        raise InputError(f"--cluster local: {workers} workers do not start: "
                         f"{printable(str(error.__cause__ or error))}") from None
    with started as cluster:
        def restart() -> None:
            """Start workers that Dask has given up: those that died while they started, or took long to start."""
            for name, worker in [*cluster.workers.items()]:
                if worker.status in (Status.failed, Status.closed):
                    del cluster.workers[name]
            cluster.scale(workers)

        again = PeriodicCallback(restart, _CARE)
        cluster.loop.add_callback(again.start)
        try:
            yield cluster
        finally:
            cluster.loop.add_callback(again.stop)
