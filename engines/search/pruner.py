"""Pruners: who may stop a trial after some of its folds."""

from __future__ import annotations

from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

PRUNERS = ("none", "median", "halving")


def make_pruner(name: str) -> BasePruner:
    """The pruner of a study; a step is one fold, its value the mean score so far.

    Raises ValueError for a name that is not in `PRUNERS`.
    """
    if name == "none":
        return NopPruner()
    if name == "median":
        return MedianPruner(n_startup_trials=5)
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    raise ValueError(f"`pruner` must be one of {', '.join(PRUNERS)}, got {name!r}")
