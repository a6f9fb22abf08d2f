"""What a careful reader would notice of a training run, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from circuitflow.fitting.findings import of_scales
from circuitflow.fitting.loss_findings import of_bounds
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.stochastic import Trained
from circuitflow.text import listing

FALLING = 0.01
"""The part of its whole fall that a loss must still fall over the last fifth of the epochs to count as falling."""

WORSE = 0.1
"""The part of its lowest value by which a validation loss must have risen since to count as risen."""


def of_training(trained: Trained, parameters: Parameters, x: Vector, *, validates: bool) -> Iterator[str]:
    """All that is to be said of a run; `validates` if the values are those of its best epoch."""
    state = trained.state
    if not trained.is_complete:
        yield f"{trained.status}; the values are those of an unfinished run"
    if state.skipped:
        yield (f"{state.skipped} of {state.step} steps changed nothing, because a number was not finite; "
               "on_nan=\"raise\" says at which node and row")
    losses = [record["validation_loss" if validates else "loss"] for record in state.history]
    yield from _of_fall(losses, "validation loss" if validates else "loss")
    if validates and trained.is_complete:
        yield from _of_rise(losses, int(state.best.get("epoch", 0)))
    yield from of_bounds(parameters, x, (x > parameters.lower) & (x < parameters.upper))
    yield from _of_norms(state.gradient_norms)


def _of_fall(losses: Sequence[float], what: str) -> Iterator[str]:
    """A loss that still falls at the end: by the medians of the last fifth of the epochs and the fifth before."""
    count = max(len(losses) // 5, 1)
    if len(losses) < 3 or not np.isfinite(losses).all():
        return
    before, last = (float(np.median(part)) for part in (losses[-2 * count:-count], losses[-count:]))
    if before - last > FALLING * (losses[0] - last) > 0:
        during = "epoch" if count == 1 else f"{count} epochs"
        yield (f"the {what} still falls at the end, from {before:.4g} to {last:.4g} in the last {during}; train for "
               "longer")


def _of_rise(losses: Sequence[float], best: int) -> Iterator[str]:
    """A validation loss that rose since the epoch whose values are kept."""
    if best and losses[-1] - losses[best - 1] > WORSE * abs(losses[best - 1]):
        yield (f"the validation loss was best after epoch {best} of {len(losses)}, {losses[best - 1]:.4g}, and rose to "
               f"{losses[-1]:.4g}: the circuit learns the rows by heart; the values are those of epoch {best}")


def _of_norms(norms: Mapping[str, float]) -> Iterator[str]:
    """Gradients that are 0 throughout, or of very different sizes."""
    if still := [name for name, norm in norms.items() if norm == 0]:
        one = len(still) == 1
        yield (f"the gradient on {'parameter' if one else 'parameters'} {listing(still)} was 0 at every step: "
               f"{'it' if one else 'they'} did not move; is a gate before the loss dead, or flat?")
    yield from of_scales("the loss changes", list(norms), np.array(list(norms.values())))
