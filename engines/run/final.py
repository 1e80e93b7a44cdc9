"""The predictor that is taken home: the ensemble, or the best trial where there is none.

What the search has trained has seen no row of the held-out part. Once that part has been scored,
it is worth more as rows to learn from. So, for rows without an order and as long as time is left,
each chosen trial is trained once more on all rows, with the rounds that its folds found, and then
its folds are trained again over all rows; the mean of both is taken. The scores on record are
those from before.

Measured on three sets with four models (test error against that of the models of the search): one
model of all rows 0.972, its mean with the models of the search 0.975, new folds 0.973, new folds
and one model 0.967; the one model costs a quarter of the new folds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.splits import Fold, Split
from engines.errors import HyperionError
from engines.models.evaluation import Evaluation, mean_rounds
from engines.models.fit import FittedModel, Trainer
from engines.models.learner import OutOfTime
from engines.run.context import Context
from engines.run.settle import load_or_refit
from engines.study.endings import (
    BestTrial,
    best_of_studies,
    best_trials,
    closed_studies,
    trial_of,
)
from engines.study.records import Experiment

Floats = npt.NDArray[np.float64]

LIKELY_MEMBERS = 4
FOLDS_SHARE = 0.12
"""Of all the time, for folds that are trained again: where rows are few, those that they gain are
worth more than the last trials of a search."""

SETTLING_S = 0.25
STUDY_S = 0.015
"""For the ensemble, and for each study, on one core."""

SAFETY = 1.2
"""More rows take so much more than in proportion to their number."""


@dataclass
class FinalPredictor:
    """A weighted mean of bags of models. Picklable.

    bags: (weight, models): the mean of the models, times the weight. refitted: how many of the
    chosen trials have learned from the held-out rows too.
    """

    bags: list[tuple[float, list[FittedModel]]]
    refitted: int

    def predict(self, X: Floats) -> Floats:
        """(rows,) in the target's units, or (rows, classes) probabilities, from encoded rows."""
        parts = [
            weight * np.mean([model.predict(X) for model in models], axis=0)
            for weight, models in self.bags
        ]
        return np.asarray(np.sum(parts, axis=0))


def final_predictor(
    context: Context, experiment: Experiment, seconds_left: float | None
) -> FinalPredictor:
    """The predictor of an experiment that has ended. Raises HyperionError if nothing completed.

    seconds_left: for training over all rows, None without limit.
    """
    chosen = sorted(_chosen(context, experiment), key=lambda pair: -pair[0])
    clock = _Clock(None if seconds_left is None else time.monotonic() + seconds_left)
    once: list[FittedModel | None] = [None] * len(chosen)
    again: list[list[FittedModel] | None] = [None] * len(chosen)
    if not context.data.split.ordered:
        once = [_train_once(context, trial, clock) for _, trial in chosen]
        trainer = _over_all_rows(context)
        again = [_train_folds(context, trainer, trial, clock) for _, trial in chosen]
    bags: list[tuple[float, list[FittedModel]]] = []
    for (weight, trial), one, folds in zip(chosen, once, again, strict=True):
        models = folds or load_or_refit(context, trial)
        bags.append((weight if one is None else weight / 2, models))
        if one is not None:
            bags.append((weight / 2, [one]))
    refitted = sum(
        one is not None or folds is not None for one, folds in zip(once, again, strict=True)
    )
    return FinalPredictor(bags, refitted)


def models_of_all_rows(context: Context, trial: BestTrial) -> list[tuple[float, list[FittedModel]]]:
    """(share, models) of a trial that learns from the held-out rows too, however long it takes.

    Rows without an order: new fold models and one model of all rows, half each. Ordered rows: one
    model of all rows.
    """
    clock = _Clock(None)
    one = _train_once(context, trial, clock)
    assert one is not None
    if context.data.split.ordered:
        return [(1.0, [one])]
    folds = _train_folds(context, _over_all_rows(context), trial, clock)
    assert folds is not None
    return [(0.5, folds), (0.5, [one])]


def seconds_for_one(context: Context, trial: BestTrial) -> float:
    """What one more training on all rows is expected to take."""
    folds = context.data.split.folds
    rows = sum(len(fold.train) for fold in folds) / len(folds)
    return trial.duration_s / len(folds) * len(context.data.y) / rows * SAFETY


def seconds_for_folds(context: Context, trial: BestTrial) -> float:
    """What training the folds of a trial over all rows is expected to take."""
    search = max(1, len(context.data.split.search))
    return trial.duration_s * len(context.data.y) / search * SAFETY


def seconds_for_all(context: Context, total_s: float) -> float:
    """What is expected to be needed after the search: settling, the ensemble, training once more.

    total_s: of search and all that follows. New folds over all rows are reserved for as far as they
    take no more than `FOLDS_SHARE` of it.
    """
    members = _likely_members(context)
    settling = SETTLING_S + STUDY_S * len(closed_studies(context.storage, context.experiment_id))
    once = sum(seconds_for_one(context, trial) for trial in members)
    if context.data.split.ordered:
        # Each study is settled by a refit, and so is each member of the ensemble.
        return settling + 2 * once
    folds = sum(seconds_for_folds(context, trial) for trial in members)
    return settling + once + min(folds, FOLDS_SHARE * total_s)


def _likely_members(context: Context) -> list[BestTrial]:
    """The ensemble is not known yet: the best trials of the best studies stand for its members."""
    leaders = best_of_studies(context.storage, context.experiment_id, LIKELY_MEMBERS)
    kept = context.artefacts.most_trials
    seconds = [
        trial
        for leader in leaders
        for trial in best_trials(context.storage, leader.study_id, kept)[1:]
    ]
    return [*leaders, *seconds][:LIKELY_MEMBERS]


@dataclass
class _Clock:
    end: float | None

    @property
    def left(self) -> float | None:
        """Seconds, None without limit."""
        return None if self.end is None else self.end - time.monotonic()

    def allows(self, seconds: float) -> bool:
        return self.left is None or seconds <= self.left


def _chosen(context: Context, experiment: Experiment) -> list[tuple[float, BestTrial]]:
    ensemble = experiment.ensemble
    if ensemble is not None and ensemble.members:
        ids = {study.name: study.study_id for study in experiment.studies}
        return [
            (member["weight"], trial_of(context.storage, ids[member["study"]], member["number"]))
            for member in ensemble.members
        ]
    for study in experiment.ranked:
        found = best_trials(context.storage, study.study_id)
        if found:
            return [(1.0, found[0])]
    raise HyperionError("No trial has completed: give it more time, or other models.")


def _train_once(context: Context, trial: BestTrial, clock: _Clock) -> FittedModel | None:
    """One model of all rows, or None if the time does not allow for it."""
    if not clock.allows(seconds_for_one(context, trial)):
        return None
    form, params = context.form(trial.model), _params(context, trial)
    rows, rounds = np.arange(len(context.data.y)), mean_rounds(trial.metrics)
    return context.trainer.refit(form, params, trial.seed, rows, rounds)


def _train_folds(
    context: Context, trainer: Trainer, trial: BestTrial, clock: _Clock
) -> list[FittedModel] | None:
    """The fold models of a trial over all rows, or None if the time does not allow for it."""
    if not clock.allows(seconds_for_folds(context, trial)):
        return None
    form, params = context.form(trial.model), _params(context, trial)
    again = Evaluation(trainer, form, params, trial.seed, seconds_left=clock.left)
    try:
        for _ in again.scores():
            pass
    except OutOfTime:
        return None
    return again.models


def _params(context: Context, trial: BestTrial) -> dict[str, Any]:
    return dict(context.storage.get_trial(trial.trial_id).params)


def _over_all_rows(context: Context) -> Trainer:
    """A trainer whose folds cover the held-out rows too."""
    data = replace(context.data, split=_with_held_out(context.data.split))
    return Trainer(data, context.metric)


def _with_held_out(split: Split) -> Split:
    """The same folds with the held-out rows dealt out to them; one holdout only trains on them."""
    if len(split.folds) == 1:
        fold = split.folds[0]
        train = np.sort(np.concatenate([fold.train, split.held_out]))
        return replace(split, folds=(Fold(train, fold.valid),))
    parts = [split.held_out[k :: len(split.folds)] for k in range(len(split.folds))]
    everything = np.concatenate([split.search, split.held_out])
    folds = []
    for fold, part in zip(split.folds, parts, strict=True):
        valid = np.sort(np.concatenate([fold.valid, part]))
        folds.append(Fold(np.setdiff1d(everything, valid, assume_unique=True), valid))
    return replace(split, folds=tuple(folds))
