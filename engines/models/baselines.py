"""Baselines: rules that learn next to nothing, scored on the same rows as the models.

A model that does not beat them has found nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import fmean

import numpy as np
import numpy.typing as npt

from engines.data.scoring import Metric, ScoreError
from engines.data.snapshot import Snapshot
from engines.data.splits import Rows

Rule = Callable[[npt.NDArray[np.float64]], float]

RULES: dict[str, Rule] = {
    "mean": lambda y: float(np.mean(y)),
    "median": lambda y: float(np.median(y)),
}
"""The constant that each rule predicts, from the training targets."""


Scores = tuple[str, float | None, float | None]


def score_baselines(data: Snapshot, metric: Metric) -> Iterator[Scores]:
    """(name, selection score, held-out score) of each rule; None where the metric is not finite.

    Selection: mean over the folds. Held-out: the rule of the whole search part.
    """
    split = data.split
    for name, rule in RULES.items():

        def score(train: Rows, scored: Rows, rule: Rule = rule) -> float:
            return metric.score(data.y[scored], np.full(len(scored), rule(data.y[train])))

        selection = held_out = None
        with contextlib.suppress(ScoreError):
            selection = fmean(score(fold.train, fold.valid) for fold in split.folds)
        with contextlib.suppress(ScoreError):
            held_out = score(split.search, split.held_out)
        yield name, selection, held_out
