"""The predictor that is taken home: the ensemble, or the best trial where there is none.

What the search has trained has seen no row of the held-out part. Once that part has been scored,
it is worth more as rows to learn from. So, for rows without an order and as long as time is left,
each chosen trial is trained again on all rows, with the rounds that its folds found. Where rows
have an order, one model of the search part stands for it. The scores on record are those from
before.

What is trained depends on the kind of model. Many trees together gain from every row, and differ
from one seed to the next: some models of all rows, a seed each, take the place of the fold models.
Others gain little from the last fifth of the rows, and a mean over parts of them is steadier: their
folds are trained again over all rows, and one model of all of them is added.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
from engines.search.seeds import derive
from engines.study.endings import BestTrial, best_of_studies, best_trials, trial_of
from engines.study.records import Experiment

Floats = npt.NDArray[np.float64]

LIKELY_MEMBERS = 4

SEEDS = 4
"""Models of all rows of many trees, a seed each."""

RESERVED_SEEDS = 1
"""So many are reserved for, as long as a fold takes: one takes less, because nobody watches it."""

MOST_RESERVED = 0.15
"""Of all the time. Where one training takes long, the heaviest members alone are trained again."""

FOLDS_WEIGHT = 2.0
"""What new folds count together, beside one model of all rows."""

OLD_FOLDS_WEIGHT = 1.0
"""What the folds of the search count together, where there was no time for new ones."""


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
    members = [_Member(weight, trial) for weight, trial in chosen]
    if not context.data.split.ordered:
        _train(context, members, None if seconds_left is None else time.monotonic() + seconds_left)
    bags = [bag for member in members for bag in member.bags(context)]
    return FinalPredictor(bags, sum(member.is_refitted for member in members))


def seconds_for_final(context: Context, total_s: float) -> float:
    """What is expected to be needed after the experiment's end, for training on all rows.

    total_s: of search and all that follows, of which this is a limited part.
    """
    ordered = context.data.split.ordered
    seconds = 0.0
    for trial in _likely_members(context):
        once = seconds_for_one(context, trial)
        if ordered:
            seconds += once
        elif _is_of_trees(context, trial):
            seconds += RESERVED_SEEDS * once
        else:
            seconds += once + seconds_for_folds(context, trial)
    return seconds if ordered else min(seconds, MOST_RESERVED * total_s)


def models_of_all_rows(context: Context, trial: BestTrial) -> list[tuple[float, list[FittedModel]]]:
    """(share, models) of a trial that learns from the held-out rows too, however long it takes.

    Rows without an order: as for `final_predictor`. Ordered rows: one model of all rows.
    """
    member = _Member(1.0, trial)
    if context.data.split.ordered:
        _train_once(context, member, None)
        return [(1.0, member.seeds)]
    _train(context, [member], None)
    return list(member.bags(context))


def seconds_for_one(context: Context, trial: BestTrial) -> float:
    """What one more training on all rows is expected to take."""
    folds = context.data.split.folds
    rows = sum(len(fold.train) for fold in folds) / len(folds)
    return trial.duration_s / len(folds) * len(context.data.y) / rows


def seconds_for_folds(context: Context, trial: BestTrial) -> float:
    """What training the folds of a trial over all rows is expected to take."""
    search = max(1, len(context.data.split.search))
    return trial.duration_s * len(context.data.y) / search


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
class _Member:
    """A chosen trial, and what was trained of it on all rows.

    seeds: models of all rows. folds: models of the folds over all rows. once_s: what one of `seeds`
    took, None before the first.
    """

    weight: float
    trial: BestTrial
    seeds: list[FittedModel] = field(default_factory=list)
    folds: list[FittedModel] = field(default_factory=list)
    once_s: float | None = None

    @property
    def is_refitted(self) -> bool:
        return bool(self.seeds or self.folds)

    def bags(self, context: Context) -> Iterator[tuple[float, list[FittedModel]]]:
        """(weight, models): those of folds, and those of all rows."""
        folds, count = self.folds, FOLDS_WEIGHT
        if not folds and not (self.seeds and _is_of_trees(context, self.trial)):
            folds, count = load_or_refit(context, self.trial), OLD_FOLDS_WEIGHT
        shares = [(count, folds), (float(len(self.seeds)), self.seeds)]
        whole = sum(share for share, models in shares if models)
        for share, models in shares:
            if models:
                yield self.weight * share / whole, models


def _is_of_trees(context: Context, trial: BestTrial) -> bool:
    """Whether a model is many trees: those have a seed, and take columns as they are."""
    form = context.form(trial.model)
    return form.seed_argument is not None and form.columns != "scaled"


def _train(context: Context, members: list[_Member], end: float | None) -> None:
    """Train on all rows until `end` (`time.monotonic()` seconds), what brings most first.

    Every member once, the heaviest first; then folds, for whom they are, and the other seeds.
    """
    trainer = _over_all_rows(context)
    for member in members:
        _train_once(context, member, end)
    for member in members:
        if not _is_of_trees(context, member.trial):
            _train_folds(context, trainer, member, end)
    for _ in range(SEEDS - 1):
        for member in members:
            if _is_of_trees(context, member.trial):
                _train_once(context, member, end)


def _allows(end: float | None, seconds: float) -> bool:
    return end is None or time.monotonic() + seconds <= end


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


def _train_once(context: Context, member: _Member, end: float | None) -> None:
    """One more model of all rows, if the time allows for it."""
    trial, number = member.trial, len(member.seeds)
    expected_s = seconds_for_one(context, trial) if member.once_s is None else member.once_s
    if not _allows(end, expected_s):
        return
    form, params = context.form(trial.model), _params(context, trial)
    seed = derive(trial.seed, number) if number else trial.seed
    rows, rounds = np.arange(len(context.data.y)), mean_rounds(trial.metrics)
    begun = time.monotonic()
    member.seeds.append(context.trainer.refit(form, params, seed, rows, rounds))
    member.once_s = time.monotonic() - begun


def _train_folds(context: Context, trainer: Trainer, member: _Member, end: float | None) -> None:
    """The fold models of a trial over all rows, if the time allows for them."""
    trial = member.trial
    if not _allows(end, seconds_for_folds(context, trial)):
        return
    form, params = context.form(trial.model), _params(context, trial)
    left = None if end is None else end - time.monotonic()
    again = Evaluation(trainer, form, params, trial.seed, seconds_left=left)
    try:
        for _ in again.scores():
            pass
    except OutOfTime:
        return
    member.folds = again.models


def _params(context: Context, trial: BestTrial) -> dict[str, Any]:
    return dict(context.storage.get_trial(trial.trial_id).params)


def _over_all_rows(context: Context) -> Trainer:
    """A trainer whose folds cover the held-out rows too."""
    data = replace(context.data, split=_with_held_out(context.data.split))
    return Trainer(data, context.metric, context.device)


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
