"""Baselines: rules that learn next to nothing, scored on the same rows as the models.

A model that does not beat them has found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean

import numpy as np
import numpy.typing as npt

from engines.data.scoring import Metric
from engines.data.snapshot import Snapshot

RULES: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "mean": lambda y: float(np.mean(y)),
    "median": lambda y: float(np.median(y)),
}
"""The constant that each rule predicts, from the training targets."""


def score_baselines(data: Snapshot, metric: Metric) -> Iterator[tuple[str, float, float]]:
    """(name, selection score, held-out score) of each rule.

    Selection: mean over the folds. Held-out: the rule of the whole search part.
    """
    split = data.split
    for name, rule in RULES.items():
        selection = fmean(
            metric.score(data.y[f.valid], np.full(len(f.valid), rule(data.y[f.train])))
            for f in split.folds
        )
        constant = np.full(len(split.held_out), rule(data.y[split.search]))
        yield name, selection, metric.score(data.y[split.held_out], constant)
