"""Metrics by name: which way is better, and the function of scikit-learn that computes them."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

from engines.errors import BadInput


class ScoreError(ValueError):
    """A score that is no finite number: the trial failed, whatever it returned."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of (y_true, y_pred). `function` is `"module:name"`, loaded on first use."""

    name: str
    maximize: bool
    function: str
    summary: str

    @property
    def direction(self) -> str:
        """`maximize` or `minimize`, Optuna's words."""
        return "maximize" if self.maximize else "minimize"

    def score(self, y_true: Any, y_pred: Any) -> float:
        """The metric of two arrays of shape (rows,). Raises ScoreError if it is not finite."""
        module, _, name = self.function.partition(":")
        function = getattr(importlib.import_module(module), name)
        return finite(function(y_true, y_pred))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("r2", True, "sklearn.metrics:r2_score", "part of the variance explained"),
        Metric("rmse", False, "sklearn.metrics:root_mean_squared_error", "root mean squared error"),
        Metric("mae", False, "sklearn.metrics:mean_absolute_error", "mean absolute error"),
        Metric("mse", False, "sklearn.metrics:mean_squared_error", "mean squared error"),
        Metric(
            "mape",
            False,
            "sklearn.metrics:mean_absolute_percentage_error",
            "mean absolute error as a part of the true value",
        ),
    )
}


def find_metric(name: str) -> Metric:
    """The metric that `name` names (`r2_score` is `r2`). Raises BadInput with the known names."""
    metric = METRICS.get(name.lower().removesuffix("_score"))
    if metric is None:
        raise BadInput(f"No metric `{name}`: one of {', '.join(METRICS)}.")
    return metric


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
