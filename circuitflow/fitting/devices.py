"""Where a training computes: on one device, or on all devices of all processes, which share the rows of every batch.

All devices have the whole of the parameters, of the optimiser's state and of a table in memory. A step is the same
function as on one device. XLA has every device compute a share of the rows, and adds up what is summed over rows;
where shares are not equal, it leaves out what fills the last ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import import_module
from typing import Any

import numpy as np

from circuitflow.engines.placing import ALL, place_of
from circuitflow.errors import InputError
from circuitflow.text import listing


class Devices:
    """The devices of a training.

    Attributes:
        words: which they are, as far as bits depend on them; None for JAX's own choice.
        is_first: whether this process keeps the state: the only one, or the first that has some of the devices.
    """

    def __init__(self, device: Any = None) -> None:
        """Find them.

        Args:
            device: "cpu", "gpu", "all", a JAX device, or None for JAX's own choice.

        Raises:
            InputError: there is no such device.
        """
        self._jax: Any = import_module("jax")
        self._rows: Any = None
        self._processes = 1
        if isinstance(device, str) and device == ALL:
            devices, self._processes = self._jax.devices(), self._jax.process_count()
            mesh, spec = self._jax.sharding.Mesh(np.array(devices), ("rows",)), self._jax.sharding.PartitionSpec
            self._whole, self._rows = (self._jax.sharding.NamedSharding(mesh, spec(*axes)) for axes in ((), ("rows",)))
            self.words: str | None = f"{len(devices)} × {devices[0].device_kind}, processes: {self._processes}"
        else:
            self._whole = place_of(device, over_rows=True).device
            self.words = None if device is None else self._whole.device_kind
        self.is_first = self._processes == 1 or self._jax.process_index() == 0

    def put(self, array: Any) -> Any:
        """An array on the device, or the whole of it on each."""
        if self._rows is None:
            return self._jax.device_put(array, self._whole)
        return self._jax.make_array_from_callback(array.shape, self._whole, lambda whole: array)

    def compiled(self, function: Callable[..., Any], **options: Any) -> Any:
        """The function, compiled; all devices have the whole of what it gives. The options are those of `jax.jit`."""
        return self._jax.jit(function, **options, **({} if self._rows is None else {"out_shardings": self._whole}))

    def shared(self, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        """Columns of a batch, traced, of which every device has its share of the rows."""
        if self._rows is None:
            return columns
        return {name: self._jax.lax.with_sharding_constraint(x, self._rows) for name, x in columns.items()}

    def of_first(self, value: Any) -> Any:
        """What the first process gives here, in every process."""
        if self._processes == 1:
            return value
        words = np.frombuffer(pickle.dumps(value), np.uint8)
        send = import_module("jax.experimental.multihost_utils").broadcast_one_to_all
        size = int(send(np.int32(len(words))))
        return pickle.loads(np.asarray(send(np.resize(words, size))).tobytes())  # noqa: S301  # of this program

    def agree(self, identity: Callable[[], Mapping[str, str]]) -> None:
        """Have all processes compare what they fit, as texts by name.

        Raises:
            InputError: they differ; every process raises it.
        """
        if self._processes == 1:
            return
        texts = identity()
        digests = np.array([[*sha256(text.encode()).digest()] for text in texts.values()], np.uint8)
        gathered = np.asarray(import_module("jax.experimental.multihost_utils").process_allgather(digests))
        same = (gathered == gathered[0]).all(axis=(0, 2))
        if differing := [name for name, is_same in zip(texts, same, strict=True) if not is_same]:
            raise InputError(f"the processes of jax.distributed do not fit the same: {listing(differing)} differ; give "
                             "every process the same circuit, data and options")
