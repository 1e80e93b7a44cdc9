"""A metric of a person's own: any function of true and predicted values that gives one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.futures import came
from engines.data.measures import labels
from engines.data.resampling import Draws, Floats, Whole
from engines.data.scoring import CLASSIFICATION, FORECAST, Metric, ScoreError, finite
from engines.errors import one_line

Function = Callable[[Any, Any], Any]


def own_metric(
    name: str,
    function: Function,
    *,
    maximize: bool = True,
    task: str,
    classes: Sequence[str] = (),
) -> Metric:
    """The metric that `function(y_true, y_pred)` computes, for rows of one task.

    For a classification the function is given labels, as they were given to us: whole numbers
    where all labels are, else text; for a forecast values of shape (rows, steps). What it raises,
    and what is no finite number, fails the trial: ScoreError.
    """
    names = _labels(classes)

    def formula(y: Floats, predicted: Floats, draws: Draws) -> Floats:
        true, said = y, predicted
        if task == CLASSIFICATION:
            true, said = names[y.astype(np.int64)], names[labels(predicted)]
        elif task == FORECAST:
            true = came(y)
        if isinstance(draws, Whole):
            return np.array([_value(name, function, true, said)])
        values = []
        for chunk in draws.weights():
            for times in chunk:
                rows = np.repeat(np.arange(len(y)), times.astype(np.int64))
                values.append(_or_nan(name, function, true[rows], said[rows]))
        return np.array(values)

    return Metric(name, maximize, (task,), "a function of one's own", formula=formula)


def _labels(classes: Sequence[str]) -> npt.NDArray[Any]:
    try:
        return np.array([int(label) for label in classes])
    except ValueError:
        return np.array(classes)


def _value(name: str, function: Function, true: Any, said: Any) -> float:
    """What the function says. It scores baselines too, before any trial: no worker dies of it."""
    try:
        return finite(function(true, said))
    except ScoreError:
        raise
    except (Exception, SystemExit) as error:  # the border: a person's code
        word = name.partition("@")[0]  # without the mark of its code
        raise ScoreError(f"{word}: {type(error).__name__}: {one_line(error)}") from error


def _or_nan(name: str, function: Function, true: Any, said: Any) -> float:
    """The value on some resample, which may lack what the function needs."""
    try:
        return _value(name, function, true, said)
    except ScoreError:
        return float("nan")
