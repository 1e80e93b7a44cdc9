"""Baselines: rules that learn next to nothing, scored on the same rows as the models.

A model that does not beat them has found nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from engines.data.past import Past
from engines.data.scoring import (
    CLASSIFICATION,
    FORECAST,
    REGRESSION,
    Metric,
    ScoreError,
    selection_score,
)
from engines.data.snapshot import Snapshot
from engines.data.splits import Rows

Floats = npt.NDArray[np.float64]
Rule = Callable[[Snapshot, Rows], Floats]
"""(data, rows that train) -> what is predicted for every row of the data, as y is shaped; for
classes (rows, k) shares."""


def class_shares(codes: Floats, k: int) -> Floats:
    """(k,) the part of each class 0..k-1 among the rows."""
    return np.bincount(codes.astype(np.int64), minlength=k) / len(codes)


def _everywhere(value: npt.ArrayLike, data: Snapshot) -> Floats:
    value = np.asarray(value, dtype=np.float64)
    return np.broadcast_to(value, (len(data.y), *value.shape))


def _steps(value: Floats, data: Snapshot) -> Floats:
    """(rows, horizon) for a forecast, (rows,) for the value of the row itself."""
    return np.broadcast_to(value, data.y.shape) if data.y.ndim == 2 else value[:, 0]


def _mean(data: Snapshot, train: Rows) -> Floats:
    if data.task != FORECAST or data.past is None:
        return _everywhere(np.mean(data.y[train]), data)
    return np.full(data.y.shape, data.past.known_to(int(train[-1])).mean())


_CONSTANTS: dict[str, Rule] = {
    "mean": _mean,
    "median": lambda data, train: _everywhere(np.median(data.y[train]), data),
}
_FROM_THE_PAST: dict[str, Rule] = {
    "last_value": lambda data, _: _steps(_past(data).last()[:, None], data),
    "seasonal_naive": lambda data, _: _steps(_past(data).season_before(), data),
    "drift": lambda data, _: _steps(_past(data).drifted(), data),
}


def _past(data: Snapshot) -> Past:
    assert data.past is not None
    return data.past


def _last_class(data: Snapshot, _: Rows) -> Floats:
    return np.eye(len(data.classes))[_past(data).last().astype(np.int64)]


def rules(data: Snapshot) -> Mapping[str, Rule]:
    """The baselines of an experiment, by name, in the order of its table."""
    if data.task == CLASSIFICATION:
        # The most frequent class for metrics of labels, the class shares for those of odds.
        found: dict[str, Rule] = {
            "majority": lambda data, train: _everywhere(
                class_shares(data.y[train], len(data.classes)), data
            )
        }
        return found if data.past is None else {**found, "last_value": _last_class}
    if data.past is None:
        return _CONSTANTS
    names = ["last_value", "seasonal_naive", "drift"]
    if data.past.season is None:
        names.remove("seasonal_naive")
    constants = _CONSTANTS if data.task == REGRESSION else {"mean": _mean}
    return {**constants, **{name: _FROM_THE_PAST[name] for name in names}}


Scores = tuple[str, float | None, float | None]


def baseline_predictions(name: str, data: Snapshot, train_rows: Rows, scored_rows: Rows) -> Floats:
    """What the rule `name` of the data's task predicts for `scored_rows`.

    (rows,) values, (rows, k) shares of classes, or (rows, horizon) forecasts. Raises KeyError for
    an unknown rule.
    """
    return np.array(rules(data)[name](data, train_rows)[scored_rows], dtype=np.float64)


def score_baselines(data: Snapshot, metric: Metric) -> Iterator[Scores]:
    """(name, selection score, held-out score) of each rule; None where the metric is not finite.

    Selection: as for models, over the folds. Held-out: the rule of the whole search part; None
    where nothing is held out.
    """
    split = data.split
    for name in rules(data):
        selection = held_out = None
        with contextlib.suppress(ScoreError):
            selection = selection_score(
                metric,
                [
                    (data.truth[f.valid], baseline_predictions(name, data, f.train, f.valid))
                    for f in split.folds
                ],
            )
        if len(split.held_out):
            with contextlib.suppress(ScoreError):
                predicted = baseline_predictions(name, data, split.search, split.held_out)
                held_out = metric.score(data.truth[split.held_out], predicted)
        yield name, selection, held_out
