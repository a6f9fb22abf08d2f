"""Pictures of a fit, by matplotlib: the curve with its band, predictions beside observations, residuals, losses."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from circuitflow.errors import MissingExtraError
from circuitflow.fitting.outcome import Step
from circuitflow.fitting.plots_of_training import draw_training, set_log
from circuitflow.fitting.result import FitResult
from circuitflow.text import printable

PLOTS = ("svg", "png", "pdf", "html")
"""The forms of a picture."""

POINTS = 5_000
"""The most rows that are drawn; of more, every n-th."""

GRID = 300
"""The points of a curve."""

_STYLE: Any = {"text.parse_math": False, "svg.hashsalt": "circuitflow", "font.size": 10.0, "axes.grid": True,
          "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
_CURVE, _POINT, _FAINT = "#1f5fa8", "#333333", "#9dbfe3"


def plot(result: FitResult, steps: Sequence[Step], form: str) -> bytes:
    """A picture of a fit.

    Residuals that compare a prediction of one scalar column with what was observed have the curve with its 95 %
    confidence band, and the residuals below. Predictions of several columns are drawn beside what was observed. A
    training run has its losses and metrics by epoch and, for classes, the confusion matrix. Without any of these, the
    objective is drawn by step. Text of the document and the data is drawn as it is, without markup.

    Args:
        result: the fit.
        steps: its steps.
        form: one of `PLOTS`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plots need `pip install 'circuitflow[plot]'`") from None
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # letters that the font lacks are drawn as boxes
        figure = Figure(figsize=(7.0, 5.5), layout="constrained")
        if result.history:
            draw_training(result, figure)
        elif result.compares is None:
            _draw_steps(figure.subplots(), steps)
        elif (name := _only_column(result)) is not None:
            _draw_curve(result, name, *_two(figure))
        else:
            _draw_agreement(result, *_two(figure))
        figure.suptitle(printable(result.model.name, 60))
        file = io.BytesIO()
        image = "svg" if form == "html" else form
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[image]
        figure.savefig(file, format=image, dpi=150, metadata=metadata)
    return _page(result, file.getvalue()) if form == "html" else file.getvalue()


def _two(figure: Any) -> Any:
    return figure.subplots(2, 1, height_ratios=(3, 1))


def _page(result: FitResult, svg: bytes) -> bytes:
    """One page that loads nothing: the picture in it is an image, whose scripts no browser runs."""
    name = html.escape(printable(result.model.name, 60))
    picture = base64.b64encode(svg).decode()
    return (f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
            f'content="default-src \'none\'; img-src data:; style-src \'unsafe-inline\'">\n<title>{name}</title>\n'
            f'<style>body {{ font: 15px system-ui, sans-serif; margin: 2em auto; max-width: 60em }} '
            f'img {{ width: 100% }} pre {{ overflow-x: auto }}</style>\n<h1>{name}</h1>\n'
            f'<img alt="The fit" src="data:image/svg+xml;base64,{picture}">\n'
            f'<pre>{html.escape(result.summary())}</pre>\n</html>\n').encode()


def _only_column(result: FitResult) -> str | None:
    """The input that is a column of scalars and the only one that the prediction depends on; None otherwise."""
    assert result.compares is not None  # noqa: S101
    output = result.model.find(result.compares.predicted)
    needed = result.model.needed({output.node} if output is not None else set())
    columns = [name for name in result.data.columns if name in needed]
    if len(columns) != 1:
        return None
    depth = len(result.model.nodes[columns[0]].types[0].shape)
    return columns[0] if depth == bool(result.data.batch) else None


def _column(result: FitResult, name: str) -> Any:
    return np.concatenate([block.columns[name] for block in result.data.blocks()])


def _pairs(result: FitResult) -> tuple[Any, Any]:
    """What was predicted and what was observed, as vectors."""
    assert result.compares is not None  # noqa: S101
    predicted, observed = (np.asarray(result.predict(of=of)) for of in result.compares)
    predicted, observed = np.broadcast_arrays(predicted, observed)
    return predicted.ravel(), observed.ravel()


def _thinned(count: int) -> slice:
    return slice(None, None, max(-(-count // POINTS), 1))


def _draw_curve(result: FitResult, name: str, above: Any, below: Any) -> None:
    assert result.compares is not None  # noqa: S101
    x, (predicted, observed) = _column(result, name), _pairs(result)
    grid = np.linspace(x.min(), x.max(), GRID)
    title = result.data.columns[name]
    rows = {**result.data.fixed, title: grid}
    columns = {name: title}
    curve = result.predict(rows, columns=columns)
    few = _thinned(x.size)
    above.plot(x[few], observed[few], "o", color=_POINT, markersize=4, label=_observed(few))
    if result.covariance is not None and result.goodness is not None and result.goodness.degrees_of_freedom > 0:
        width = student.ppf(0.975, result.goodness.degrees_of_freedom) * result.error_of(data=rows, columns=columns)
        if np.isfinite(width).all():
            above.fill_between(grid, curve - width, curve + width, color=_FAINT, alpha=0.6, linewidth=0,
                               label="95 % confidence band")
    above.plot(grid, curve, color=_CURVE, label=printable(result.compares.predicted, 40))
    above.set_ylabel(_title(result, result.compares.observed))
    above.legend(loc="best", frameon=False)
    below.axhline(0, color=_CURVE, linewidth=1)
    below.plot(x[few], (observed - predicted)[few], "o", color=_POINT, markersize=3)
    below.set_ylabel("residual")
    below.set_xlabel(printable(title, 60))
    below.sharex(above)


def _draw_agreement(result: FitResult, above: Any, below: Any) -> None:
    assert result.compares is not None  # noqa: S101
    predicted, observed = _pairs(result)
    few = _thinned(predicted.size)
    ends = [min(predicted.min(), observed.min()), max(predicted.max(), observed.max())]
    above.plot(ends, ends, color=_CURVE, linewidth=1, label="predicted = observed")
    above.plot(predicted[few], observed[few], "o", color=_POINT, markersize=3, label=_observed(few))
    above.set_ylabel(_title(result, result.compares.observed))
    above.legend(loc="best", frameon=False)
    below.axhline(0, color=_CURVE, linewidth=1)
    below.plot(predicted[few], (observed - predicted)[few], "o", color=_POINT, markersize=3)
    below.set_ylabel("residual")
    below.set_xlabel(f"{printable(result.compares.predicted, 40)}, predicted")


def _draw_steps(axes: Any, steps: Sequence[Step]) -> None:
    objective = [step.objective for step in steps]
    axes.plot([step.evaluations for step in steps], objective, "o-", color=_CURVE, markersize=3)
    if objective and min(objective) > 0:
        set_log(axes)
    axes.set_xlabel("passes over the data")
    axes.set_ylabel("objective")


def _title(result: FitResult, node: str) -> str:
    return printable(result.data.columns.get(node, node), 40)


def _observed(few: slice) -> str:
    return "observed" if few.step == 1 else f"observed, every {few.step}th row"
