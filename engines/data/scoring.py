"""Metrics by name: which way is better, what they are defined for, and what counts as a score.

Names and directions are known without NumPy; the numbers are computed by `measures`, intervals
and comparisons by `confidence`, both loaded on first use.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from engines.errors import BadInput

if TYPE_CHECKING:
    from engines.data.confidence import beats, interval, selection_interval
    from engines.data.measures import Formula, check_predictions

__all__ = [
    "FIT_TIME",
    "METRICS",
    "Metric",
    "ScoreError",
    "beats",
    "check_predictions",
    "default_metric",
    "find_metric",
    "find_metrics",
    "finite",
    "interval",
    "metric_names",
    "selection_interval",
    "selection_score",
]

REGRESSION, CLASSIFICATION = "regression", "classification"
FORECAST, TRADING = "forecast", "trading"
_LATER = {
    "beats": "engines.data.confidence",
    "interval": "engines.data.confidence",
    "selection_interval": "engines.data.confidence",
    "check_predictions": "engines.data.measures",
}


def __getattr__(name: str) -> Any:
    """What needs NumPy, loaded when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


class ScoreError(ValueError):
    """A score that is no finite number: the trial failed, whatever it returned."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of true and predicted values.

    tasks: where it applies. pooled: computed once on the validation rows of all folds together,
    because its mean over folds says something else. undefined: when it has no value, and what
    to use instead. formula: what computes it; None for those that `measures` knows by name.
    """

    name: str
    maximize: bool
    tasks: tuple[str, ...]
    summary: str
    pooled: bool = False
    undefined: str = ""
    formula: Formula | None = None

    @property
    def direction(self) -> str:
        """`maximize` or `minimize`, Optuna's words."""
        return "maximize" if self.maximize else "minimize"

    def score(self, y_true: Any, predicted: Any) -> float:
        """The metric of true values of shape (rows,).

        predicted: for regression (rows,). For classification (rows, k), the probability or the
        share of votes of each class code 0..k-1; metrics of labels take the largest of a row,
        the lowest code on ties. For forecasts (rows, horizon), with y_true of shape
        (rows, horizon + 3) as in `engines.data.futures`. Raises ScoreError if a prediction or the
        metric is not finite, or if the metric is not defined on these rows; ValueError for shapes
        that don't fit.
        """
        from engines.data.measures import score

        return score(self, y_true, predicted)


def _regression(name: str, maximize: bool, summary: str, undefined: str = "") -> Metric:
    return Metric(name, maximize, (REGRESSION, FORECAST), summary, undefined=undefined)


def _forecast(name: str, maximize: bool, summary: str, undefined: str) -> Metric:
    return Metric(name, maximize, (FORECAST,), summary, undefined=undefined)


def _classification(
    name: str, maximize: bool, summary: str, undefined: str = "", pooled: bool = False
) -> Metric:
    return Metric(name, maximize, (CLASSIFICATION,), summary, pooled, undefined)


def _trading(name: str, summary: str, undefined: str = "") -> Metric:
    return Metric(name, True, (TRADING,), summary, undefined=undefined)


METRICS = {
    metric.name: metric
    for metric in (
        _regression(
            "r2",
            True,
            "part of the variance explained",
            "the target is the same in all scored rows; use rmse or mae",
        ),
        _regression("rmse", False, "root mean squared error"),
        _regression("mae", False, "mean absolute error"),
        _regression("mse", False, "mean squared error"),
        _regression(
            "mape",
            False,
            "mean absolute error as a part of the true value",
            "the target is 0 in some scored rows; use mae",
        ),
        _regression("pinball", False, "quantile loss of the median (alpha 0.5): half of mae"),
        _forecast(
            "mase",
            False,
            "mean absolute error in units of the naive forecast's in training",
            "the target does not change in training; use mae",
        ),
        _forecast(
            "directional_accuracy",
            True,
            "part of the steps whose rise or fall from the last known value is right",
            "the target does not change in the scored rows; use mae",
        ),
        _classification("accuracy", True, "part of the rows whose class is right"),
        _classification("balanced_accuracy", True, "mean over classes of the part found"),
        _classification(
            "f1", True, "F1 of the second of two classes, or the mean over more than two"
        ),
        _classification(
            "roc_auc",
            True,
            "area under the ROC curve; one class against the rest, mean, for more than two",
            "all scored rows are of one class; use accuracy or log_loss",
            pooled=True,
        ),
        _classification("log_loss", False, "mean negative logarithm of the true class's share"),
        # Computed from the returns of a policy, see `engines.data.earnings`.
        _trading("sharpe_ratio", "mean return over its deviation, a year"),
        _trading("sortino_ratio", "mean return over that of losing bars, a year", "no bar lost"),
        _trading("calmar_ratio", "growth a year over the deepest drawdown", "there is no drawdown"),
        _trading("total_return", "what became of the money over all bars"),
        _trading("max_drawdown", "the deepest fall from a peak, below 0"),
    )
}


FIT_TIME = Metric(
    "fit_time",
    False,
    (REGRESSION, CLASSIFICATION, FORECAST),
    "seconds of training a fold on one core",
)
"""Says nothing of predictions, so it only stands beside a metric that does."""

MOST_METRICS = 3


def default_metric(task: str) -> str:
    """The metric of a task when none is named. Raises KeyError for a task without one."""
    return {
        REGRESSION: "r2",
        CLASSIFICATION: "accuracy",
        FORECAST: "mase",
        TRADING: "sharpe_ratio",
    }[task]


def metric_names(task: str | None = None) -> list[str]:
    """What may be typed behind --metric for a task, or for any: ours, then other packages'."""
    from engines.data.scorers import scorers

    own = [m.name for m in METRICS.values() if task is None or task in m.tasks]
    return own + [s.name for s, _ in scorers().values() if task is None or task in s.tasks]


def find_metric(name: str, task: str | None = None) -> Metric:
    """The metric that `name` names (`r2_score` is `r2`), if it fits `task` or no task is given.

    Raises BadInput with the metrics that would do.
    """
    fitting = metric_names(task)
    metric = METRICS.get(name.lower().removesuffix("_score"))
    if metric is None and name.lower() in fitting:
        raise BadInput(f"--metric {name} is a package's: it stands alone, for rows of a table.")
    if metric is None:
        raise BadInput(f"No metric `{name}`: one of {', '.join(fitting)}.")
    if metric.name not in fitting:
        raise BadInput(f"--metric {metric.name} can't score {task}: one of {', '.join(fitting)}.")
    return metric


def find_metrics(names: str, task: str | None = None) -> tuple[Metric, ...]:
    """The metrics that `names` names, with commas between them; the first is the main one.

    Raises BadInput as `find_metric` does, for more than `MOST_METRICS`, for one that is named
    twice, and for `fit_time` where it does not fit: first, or where agents trade.
    """
    words = [word.strip() for word in names.split(",")]
    if words[0].lower() == FIT_TIME.name:
        example = default_metric(task) if task is not None else "accuracy"
        raise BadInput(
            f"--metric {FIT_TIME.name} says nothing of predictions: name a metric that does before "
            f"it, such as {example},{FIT_TIME.name}."
        )
    if task == TRADING and FIT_TIME.name in map(str.lower, words):
        raise BadInput(f"--metric {FIT_TIME.name} is not for agents: all train for as many steps.")
    found = tuple(
        FIT_TIME if word.lower() == FIT_TIME.name else find_metric(word, task) for word in words
    )
    if len(set(found)) < len(found):
        raise BadInput(f"--metric {names} names one of them twice.")
    if len(found) > MOST_METRICS:
        raise BadInput(f"--metric {names}: at most {MOST_METRICS} at once.")
    return found


def selection_score(metric: Metric, parts: Sequence[tuple[Any, Any]]) -> float:
    """The score of a trial from (y, predicted) of each fold's validation rows.

    The mean over the folds, or for a pooled metric its value on all rows together. Raises
    ScoreError as `Metric.score` does, ValueError without parts.
    """
    if not parts:
        raise ValueError("`parts` must hold at least one fold")
    if not metric.pooled:
        return finite(fmean(metric.score(y, predicted) for y, predicted in parts))
    import numpy as np

    y, predicted = (np.concatenate(side) for side in zip(*parts, strict=True))
    return metric.score(y, predicted)


def finite(value: object) -> float:
    """`value` as a float. Raises ScoreError for NaN, infinity, None, text, or anything else."""
    # float() takes text and buffers too, and NumPy's text and truth values look like numbers.
    kind = type(value)
    is_number = hasattr(kind, "__float__") or hasattr(kind, "__index__")
    if not is_number or isinstance(value, str | bytes) or kind.__name__ in ("bool", "bool_"):
        raise ScoreError(f"the score must be a number, got {_shown(value)}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ScoreError(f"the score must be a number, got {_shown(value)}") from None
    if not math.isfinite(number):
        raise ScoreError(f"the score is {number}, not a finite number")
    return number


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:40]}{'...' if len(text) > 40 else ''}"
