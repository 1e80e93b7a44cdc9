"""What is scored once: baselines, the held-out part of a study, the ensemble of an experiment.

Evidence is a dictionary: `selection_interval` and `held_out_interval`, 95 % each; `baseline`, the
best one by its selection score, and `p_beats_baseline`, the one-sided probability of such a lead
over it on the held-out rows by luck alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.confidence import beats, interval, selection_interval
from engines.data.scoring import FIT_TIME, ScoreError
from engines.data.splits import Rows
from engines.errors import one_line
from engines.run import opened, several
from engines.run.artefacts import NotKept
from engines.run.context import Context
from engines.study.claims import Job
from engines.study.endings import (
    BestTrial,
    HeldOut,
    best_baseline,
    best_trials,
    close_study,
    closed_studies,
    held_out_before,
    last_failure,
)
from engines.study.ensembles import keep_ensemble
from engines.study.study_rows import add_baselines, has_baselines

Floats = npt.NDArray[np.float64]
Predictor = Callable[[Rows], Floats]
"""Rows of the experiment, by number, to what is predicted for them."""

Opener = Callable[[Context, Job, BestTrial], HeldOut]


NOTHING_HELD_OUT = "no rows were held out: give some to be scored in the end"


def score_baselines(context: Context) -> None:
    """Score the rules that learn next to nothing, unless another worker has."""
    database = context.storage.database
    if database.read(lambda c: has_baselines(c, context.experiment_id)):
        return
    from engines.models.baselines import score_baselines

    rows = [
        {
            "experiment_id": context.experiment_id,
            "name": name,
            "selection_score": selection,
            "held_out_score": held_out,
        }
        for name, selection, held_out in score_baselines(context.data, context.metric)
    ]
    database.write(lambda c: add_baselines(c, rows))


def close(context: Context, job: Job, opener: Opener | None = None) -> None:
    """Settle the end of a study: open the held-out part for its best trial, once.

    opener: what opens it, if it is not a predictor of rows that is scored there.
    """
    best = best_trials(context.storage, job.study_id)
    if not best:
        why = last_failure(context.storage, job.study_id)
        found = HeldOut(None, None, "no trial completed" + (f"; {why}" if why else ""))
    elif context.experiment.objective is not None:
        note = "an objective of your own has no held-out part"
        found = HeldOut(None, best[0].number, note)
    elif not len(context.data.split.held_out):
        evidence = weigh(context, _kept_predictions(context, best[0]), None)
        found = HeldOut(None, best[0].number, NOTHING_HELD_OUT, evidence=evidence)
    else:
        found = (opener or _open_held_out)(context, job, best[0])
    close_study(context.storage, job.study_id, context.worker_id, found)


def _open_held_out(context: Context, job: Job, best: BestTrial) -> HeldOut:
    before = held_out_before(context.storage, job.study_id, best.number)
    if before is not None:
        return HeldOut(before[0], best.number, evidence=before[1])
    try:
        predicted = predictor(context, best)(context.data.split.held_out)
        score = context.metric.score(context.data.truth[context.data.split.held_out], predicted)
        opened.keep(context, job.study_id, best.number, predicted)
        evidence = weigh(context, _kept_predictions(context, best), predicted)
        if context.has_several:
            evidence |= several.told(_by_metric(context, predicted))
        return HeldOut(score, best.number, opened=True, evidence=evidence)
    except Exception as error:  # the border of a job: its reason is stored
        logging.exception("held-out score of %s", job.study_name)
        note = f"no held-out score: {type(error).__name__}: {one_line(error)}"
        return HeldOut(None, best.number, note, opened=True)


def _by_metric(context: Context, held_out: Floats) -> dict[str, float | None]:
    """The held-out score by each metric; None where it says nothing of them."""
    truth = context.data.truth[context.data.split.held_out]
    found: dict[str, float | None] = {}
    for metric in context.metrics:
        try:
            found[metric.name] = None if metric is FIT_TIME else metric.score(truth, held_out)
        except ScoreError:
            found[metric.name] = None
    return found


def predictor(context: Context, trial: BestTrial) -> Predictor:
    """What a trial stands for: the predictor whose held-out score is shown."""
    data, models = context.data, load_or_refit(context, trial)

    def predict(rows: Rows) -> Floats:
        before = data.before(rows) if data.split.ordered else None
        return np.asarray(np.mean([m.predict(data.X[rows], before) for m in models], axis=0))

    return predict


def load_or_refit(context: Context, trial: BestTrial) -> list[Any]:
    """The models whose mean a trial stands for.

    Unordered rows: the fold models, those that were kept or the same ones fitted again. Ordered
    rows: one model of the whole search part, because the latest rows matter most, with the mean
    of the rounds that its folds found.
    """
    from engines.models.evaluation import Evaluation, mean_rounds

    form = context.form(trial.model)
    if context.data.split.ordered:
        params = context.storage.get_trial(trial.trial_id).params
        rows, rounds = context.data.split.search, mean_rounds(trial.metrics)
        return [context.trainer.refit(form, params, trial.seed, rows, rounds)]
    with contextlib.suppress(NotKept):
        kept = context.artefacts.load(trial.study_id, trial.number)
        if kept.models is not None:
            return kept.models
    params = context.storage.get_trial(trial.trial_id).params
    again = Evaluation(context.trainer, form, params, trial.seed)
    for _ in again.scores():
        pass
    return again.models


def _kept_predictions(context: Context, trial: BestTrial) -> list[Floats] | None:
    try:
        kept = context.artefacts.load(trial.study_id, trial.number, with_models=False)
    except NotKept:
        return None
    return [predicted for _, predicted in kept.folds]


def weigh(context: Context, folds: list[Floats] | None, held_out: Floats | None) -> dict[str, Any]:
    """The evidence on a predictor: see the module's text.

    folds: its predictions of each fold's validation rows, None if they were not kept. held_out:
    its predictions of the held-out rows, None where there are none.
    """
    data, metric = context.data, context.metric
    split, found = data.split, dict[str, Any]()
    how: dict[str, Any] = {
        "seed": context.experiment.seed,
        "ordered": split.ordered,
        "embargo": split.embargo,
    }
    groups = data.groups
    if folds is not None:
        parts = [
            (data.truth[f.valid], predicted)
            for f, predicted in zip(split.folds, folds, strict=True)
        ]
        of_parts = None if groups is None else [groups[f.valid] for f in split.folds]
        found["selection_interval"] = _interval(
            lambda: selection_interval(metric, parts, groups=of_parts, **how)
        )
    if held_out is None:
        return found
    how["groups"] = None if groups is None else groups[split.held_out]
    y = data.truth[split.held_out]
    found["held_out_interval"] = _interval(lambda: interval(metric, y, held_out, **how))
    rival = best_baseline(context.storage, context.experiment_id)
    if rival is not None:
        from engines.models.baselines import baseline_predictions

        reference = baseline_predictions(rival, data, split.search, split.held_out)
        found["baseline"] = rival
        found["p_beats_baseline"] = beats(metric, y, held_out, reference, **how)
    return found


def _interval(compute: Callable[[], tuple[float, float]]) -> list[float] | None:
    try:
        low, high = compute()
    except ScoreError:  # the metric is not defined on most resamples
        return None
    return [low, high]


def make_ensemble(context: Context) -> None:
    """Make the ensemble of an experiment's kept trials, and score it like the rest."""
    try:
        found = _ensemble(context)
    except Exception as error:  # the border of a job: its reason is stored
        logging.exception("ensemble of experiment %s", context.experiment_id)
        found = _no_ensemble(one_line(error))
    keep_ensemble(context.storage, context.experiment_id, context.worker_id, **found)


def _no_ensemble(why: str) -> dict[str, Any]:
    return {"selection_score": None, "held_out_score": None, "note": f"no ensemble: {why}"}


def _ensemble(context: Context) -> dict[str, Any]:
    from engines.analysis.ensemble import Candidate, greedy, predict

    if context.has_several:
        return _no_ensemble(several.NO_ENSEMBLE)
    data = context.data
    trials: list[BestTrial] = []
    candidates: list[Candidate] = []
    for study_id, model in closed_studies(context.storage, context.experiment_id):
        for trial in best_trials(context.storage, study_id, context.artefacts.most_trials):
            folds = _kept_predictions(context, trial)
            if folds is not None:
                trials.append(trial)
                candidates.append(Candidate(model, trial.number, folds))
    if len(candidates) < 2:
        return _no_ensemble("fewer than two trials were kept")
    truths = [data.truth[fold.valid] for fold in data.split.folds]
    chosen = greedy(truths, candidates, context.metric)
    rows, weights = data.split.held_out, [weight for _, weight in chosen.members]
    held_out = score = None
    if len(rows):
        parts = [predictor(context, trials[i])(rows) for i, _ in chosen.members]
        held_out = predict(parts, weights)
        score = context.metric.score(data.truth[rows], held_out)
        opened.keep(context, opened.ENSEMBLE, None, held_out)
    folds = [
        predict([candidates[i].folds[k] for i, _ in chosen.members], weights)
        for k in range(len(data.split.folds))
    ]
    members = [
        {
            "study": f"{context.experiment.name}/{trials[i].model}",
            "number": trials[i].number,
            "weight": weight,
        }
        for i, weight in chosen.members
    ]
    return {
        "selection_score": chosen.score,
        "held_out_score": score,
        "members": members,
        "evidence": weigh(context, folds, held_out),
    }
