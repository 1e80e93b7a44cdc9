"""What is taken home: the best trial of a study, or an ensemble, with the scores on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.analysis.report import verdict
from engines.errors import BadInput, HyperionError
from engines.run.context import Context
from engines.study.endings import BestTrial, best_trials, trial_of
from engines.study.reader import Reader
from engines.study.records import Ensemble, Evidence, Experiment, Study

LISTED = 8


@dataclass(frozen=True)
class Chosen:
    """What is to be exported: the weight of each trial, and the scores on record."""

    name: str
    weighed: Sequence[tuple[float, str, BestTrial]]
    selection_score: float | None
    held_out_score: float | None
    evidence: Evidence | None
    openings: int


def find(reader: Reader, name: str) -> tuple[Experiment, Study | None]:
    """What a name means: a study, or `<experiment>/ensemble` (then None), or the only study there.

    Raises BadInput for a name that is not known, or means several.
    """
    whole, slash, last = name.partition("/")
    if slash and last == "ensemble":
        experiments = reader.find_experiments(whole)
        if len(experiments) != 1:
            names = ", ".join(e.name for e in experiments)
            raise BadInput(f"`{whole}` is several experiments ({names}): name one.")
        return experiments[0], None
    pairs = reader.find_studies(name)
    if len(pairs) > 1:
        names = ", ".join(study.name for _, study in pairs[:LISTED])
        more = "..." if len(pairs) > LISTED else ""
        ensemble = pairs[0][0].ensemble
        has_one = ensemble is not None and ensemble.members
        hint = f", or {pairs[0][0].name}/ensemble" if has_one else ""
        raise BadInput(f"`{name}` is {len(pairs)} studies ({names}{more}): name one{hint}.")
    return pairs[0]


def choose(context: Context, experiment: Experiment, study: Study | None) -> Chosen:
    """The best trial of a study, or without one the ensemble. HyperionError if there is none."""
    return _ensemble(context, experiment) if study is None else _best(context, study)


def _best(context: Context, study: Study) -> Chosen:
    found = best_trials(context.storage, study.study_id)
    if not found:
        why = f" ({study.message})" if study.message else ""
        raise HyperionError(
            f"{study.name} has no finished trial with a score{why}: there is nothing to export yet."
        )
    best = study.best
    shown = best.held_out_score if best is not None and best.number == found[0].number else None
    return Chosen(
        name=study.name,
        weighed=[(1.0, study.name, found[0])],
        selection_score=found[0].value,
        held_out_score=shown,
        evidence=study.evidence if shown is not None else None,
        openings=study.openings,
    )


def _ensemble(context: Context, experiment: Experiment) -> Chosen:
    ensemble: Ensemble | None = experiment.ensemble
    if ensemble is None or not ensemble.members:
        why = ensemble.note if ensemble is not None and ensemble.note else "its studies go on"
        raise HyperionError(f"{experiment.name} has no ensemble ({why}): name a study.")
    ids = {study.name: study.study_id for study in experiment.studies}
    return Chosen(
        name=f"{experiment.name}/ensemble",
        weighed=[
            (m["weight"], m["study"], trial_of(context.storage, ids[m["study"]], m["number"]))
            for m in ensemble.members
        ],
        selection_score=ensemble.selection_score,
        held_out_score=ensemble.held_out_score,
        evidence=ensemble.evidence,
        # It looks at them whenever the experiment ends, its members where a new one is chosen.
        openings=max((study.openings for study in experiment.studies), default=1),
    )


def verdict_of(experiment: Experiment, study: Study | None) -> str:
    """That on one study, whoever else is in the experiment."""
    return verdict(experiment if study is None else replace(experiment, studies=(study,)))


def member(context: Context, weight: float, study: str, trial: BestTrial) -> dict[str, Any]:
    """A trial and its share, as the card has it."""
    return {
        "study": study,
        "trial": trial.number,
        "weight": weight,
        "model": trial.model,
        "seed": trial.seed,
        "selection_score": trial.value,
        "params": dict(context.storage.get_trial(trial.trial_id).params),
        "metrics": trial.metrics,
    }
