"""Baselines: rules that learn next to nothing, scored on the same rows as the models.

A model that does not beat them has found nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from engines.data.scoring import Metric, ScoreError, selection_score
from engines.data.snapshot import Snapshot
from engines.data.splits import Rows

Floats = npt.NDArray[np.float64]
Rule = Callable[[Floats, int], npt.ArrayLike]


def class_shares(codes: Floats, k: int) -> Floats:
    """(k,) the part of each class 0..k-1 among the rows."""
    return np.bincount(codes.astype(np.int64), minlength=k) / len(codes)


RULES: dict[str, dict[str, Rule]] = {
    "regression": {
        "mean": lambda y, _: np.mean(y),
        "median": lambda y, _: np.median(y),
    },
    # The most frequent class for metrics of labels, the class shares for those of probabilities.
    "classification": {"majority": class_shares},
}
"""By task, what each rule predicts for every row, from the training targets and the number of
classes: a number, or the shares of the classes (k,)."""


Scores = tuple[str, float | None, float | None]


def baseline_predictions(name: str, data: Snapshot, train_rows: Rows, scored_rows: Rows) -> Floats:
    """What the rule `name` of the data's task predicts for `scored_rows`.

    (rows,) values, or (rows, k) shares of classes. Raises KeyError for an unknown rule.
    """
    constant = np.asarray(RULES[data.task][name](data.y[train_rows], len(data.classes)))
    return np.broadcast_to(constant, (len(scored_rows), *constant.shape)).astype(np.float64)


def score_baselines(data: Snapshot, metric: Metric) -> Iterator[Scores]:
    """(name, selection score, held-out score) of each rule; None where the metric is not finite.

    Selection: as for models, over the folds. Held-out: the rule of the whole search part; None
    where nothing is held out.
    """
    split = data.split
    for name in RULES[data.task]:
        selection = held_out = None
        with contextlib.suppress(ScoreError):
            selection = selection_score(
                metric,
                [
                    (data.y[f.valid], baseline_predictions(name, data, f.train, f.valid))
                    for f in split.folds
                ],
            )
        if len(split.held_out):
            with contextlib.suppress(ScoreError):
                predicted = baseline_predictions(name, data, split.search, split.held_out)
                held_out = metric.score(data.y[split.held_out], predicted)
        yield name, selection, held_out
