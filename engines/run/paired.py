"""Everything held against one pinned predictor, row by row of the same held-out part.

Only predictors whose held-out part has been opened are compared: what they said then was kept, or
is computed again from what is on record, which opens nothing.

A process of its own, `python -P -m engines.run.paired`: a person's metric, and libraries of models
where something must be trained again, are no business of a screen. `engines.run.pinning` asks it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.analysis.compare import Group, Key, Lead, group_comparable
from engines.data.confidence import difference
from engines.data.scoring import ScoreError
from engines.models.baselines import baseline_predictions
from engines.run import opened
from engines.run.context import Context
from engines.run.settle import predictor
from engines.study.endings import trial_of
from engines.study.location import Location, locate
from engines.study.reader import Reader
from engines.study.records import Ensemble, Experiment, Study

Floats = npt.NDArray[np.float64]


def leads_over(location: Location, group: Group, key: Key) -> dict[Key, Lead]:
    """By how much everything in a group is better on the held-out rows than the one of that key.

    The pinned one is in the group. Where it has no held-out score, nothing has a lead.
    """
    with contextlib.ExitStack() as stack:
        contexts: dict[int, Context] = {}
        for experiment in _experiments(group):
            context = Context(location, experiment.experiment_id, 0)
            stack.callback(context.storage.close)
            contexts[experiment.experiment_id] = context
        said = dict(_said(group, contexts))
        reference = said.pop(key, None)
        if reference is None:
            return {}
        context = next(iter(contexts.values()))
        leads = ((k, _lead(context, predicted, reference)) for k, predicted in said.items())
        return {k: lead for k, lead in leads if lead is not None}


def _experiments(group: Group) -> Sequence[Experiment]:
    return list({e.experiment_id: e for e, _ in group.rows}.values())


def _said(group: Group, contexts: dict[int, Context]) -> Iterator[tuple[Key, Floats]]:
    """What each of a group predicts for the held-out rows, as far as it was scored on them."""
    for experiment, study in group.rows:
        if study.best is not None and study.best.held_out_score is not None:
            context = contexts[experiment.experiment_id]
            yield ("study", study.study_id), _of_study(context, study, study.best.number)
    for experiment, ensemble in group.ensembles:
        if ensemble.held_out_score is not None:
            context = contexts[experiment.experiment_id]
            predicted = _of_ensemble(context, experiment, ensemble)
            yield ("ensemble", experiment.experiment_id), predicted
    context = next(iter(contexts.values()))
    split = context.data.split
    for baseline in group.baselines:
        if baseline.held_out_score is not None:
            predicted = baseline_predictions(
                baseline.name, context.data, split.search, split.held_out
            )
            yield ("baseline", baseline.name), predicted


def _of_study(context: Context, study: Study, number: int) -> Floats:
    kept = opened.load(context.location, context.experiment_id, study.study_id, number)
    if kept is not None:
        return kept
    trial = trial_of(context.storage, study.study_id, number)
    return predictor(context, trial)(context.data.split.held_out)


def _of_ensemble(context: Context, experiment: Experiment, ensemble: Ensemble) -> Floats:
    kept = opened.load(context.location, context.experiment_id, opened.ENSEMBLE, None)
    if kept is not None:
        return kept
    from engines.analysis.ensemble import predict

    rows = context.data.split.held_out
    ids = {study.name: study.study_id for study in experiment.studies}
    trials = [trial_of(context.storage, ids[m["study"]], m["number"]) for m in ensemble.members]
    return predict(
        [predictor(context, trial)(rows) for trial in trials],
        [member["weight"] for member in ensemble.members],
    )


def _lead(context: Context, predicted: Floats, reference: Floats) -> Lead | None:
    split, groups = context.data.split, context.data.groups
    rows = split.held_out
    how: dict[str, Any] = {
        "seed": context.experiment.seed,
        "ordered": split.ordered,
        "embargo": split.embargo,
        "groups": None if groups is None else groups[rows],
    }
    y = context.data.truth[rows]
    try:
        return Lead(*difference(context.metric, y, predicted, reference, **how))
    except ScoreError:  # the metric is not defined on these rows
        return None


def main() -> int:
    """Answer one question, {"studies": ids, "key": [kind, which]}, from stdin to stdout."""
    question = json.load(sys.stdin)
    location = locate(None)
    with contextlib.closing(Reader(location)) as reader:
        everything = {s.study_id: (e, s) for e in reader.experiments() for s in e.studies}
    (group,) = group_comparable([everything[i] for i in question["studies"]])
    kind, which = question["key"]
    leads = leads_over(location, group, (kind, which))
    answer = [[*key, lead.difference, lead.low, lead.high, lead.p] for key, lead in leads.items()]
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
