"""Refuses JAX in a process that was forked from one in which it ran: a fork does not have JAX's threads, and hangs."""

from __future__ import annotations

import os
import sys
from typing import Any

from circuitflow.errors import InputError

_runs = False
"""Whether JAX ran at the last fork."""

_is_cut_off = False
"""Whether this process is a fork of one in which JAX ran."""


def refuse_fork() -> None:
    """Refuse to use JAX in a process that was forked from one in which JAX ran.

    Raises:
        InputError: this process was forked from one in which JAX ran.
    """
    if _is_cut_off:
        raise InputError("the engine jax hangs in this process, which was forked from one in which JAX ran; start "
                         "processes by spawn or forkserver, as with multiprocessing.get_context('spawn')")


def _before_fork() -> None:
    global _runs
    bridge: Any = sys.modules.get("jax._src.xla_bridge")
    try:
        _runs = bridge is not None and bridge.backends_are_initialized()
    except AttributeError:  # a version of JAX that does not tell
        _runs = True


def _in_child() -> None:
    global _is_cut_off
    _is_cut_off = _is_cut_off or _runs


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
