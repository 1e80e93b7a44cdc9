"""Pruners: who may stop a trial after some of its rounds or folds."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)

PRUNERS = ("racing", "none", "median", "halving", "wilcoxon")

WARMUP = 100_000
"""Steps of a fold: see `make_pruner`."""


def make_pruner(name: str, warm_up: int = WARMUP) -> BasePruner:
    """The pruner of a study, for `optuna.Study`.

    median and halving are told of rounds of boosting and of folds: a report after round r of fold
    k, both from 0, has the step k * 100,000 + r and the metric of that fold's validation rows so
    far; after k whole folds the step is k * 100,000 and the value the mean of their scores. So
    equal steps compare equal folds and rounds. median rests during the first fold and for the first
    5 trials. Successive halving counts steps as the resource, from one fold on, in powers of 2.
    wilcoxon is told of folds only: the step is the fold and the value its own score, which the
    signed-rank test pairs with the best trial's.
    Agents have no folds: they report the mean score of their seeds after so many steps, to all of
    these, and warm_up is the number of steps that median rests and that halving begins with.
    racing is ours (`engines.search.racing`) and asks nothing of Optuna: no pruner, like none.
    Raises ValueError for a name that is not in `PRUNERS`.
    """
    if name in ("none", "racing"):
        return NopPruner()
    if name == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=warm_up)
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=warm_up, reduction_factor=2)
    if name == "wilcoxon":
        with warnings.catch_warnings():  # that it is experimental
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(p_threshold=0.1)
    raise ValueError(f"`pruner` must be one of {', '.join(PRUNERS)}, got {name!r}")
