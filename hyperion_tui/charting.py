"""What the charts of a study are drawn from, read in one go. No widget is known here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engines.analysis.importance import Importance, importances
from engines.study.reader import Reader
from engines.study.records import BUY_AND_HOLD, Experiment, Study

MOST_TRIALS = 2_000
"""The latest complete trials that importance is told from: 0.1 s of a thread."""


@dataclass(frozen=True, slots=True)
class Charted:
    """A study's charts as numbers.

    history: number and score of each complete trial, by number. importance: of the latest
    `trials` of them, None if they are too few. earned, held: returns of every validation bar, of
    an agent's best trial and of who only bought and held; empty for other models.
    """

    study: str
    metric: str
    maximize: bool
    history: Sequence[tuple[int, float]] = ()
    importance: Sequence[Importance] | None = None
    trials: int = 0
    earned: Sequence[float] = ()
    held: Sequence[float] = ()


def read(reader: Reader, experiment: Experiment, study: Study) -> Charted:
    """Ask the store. Raises HyperionError."""
    history = [(n, score) for n, score in reader.scores(study.study_id) if math.isfinite(score)]
    latest = reader.trials(
        study.study_id, order="number", descending=True, states=("complete",), limit=MOST_TRIALS
    )
    tried = [
        (trial.params, trial.value)
        for trial in latest
        if trial.value is not None and math.isfinite(trial.value)
    ]
    earned, held = _returns(reader, experiment, study)
    return Charted(
        study=study.name,
        metric=experiment.metric,
        maximize=experiment.maximize,
        history=history,
        importance=importances(tried, maximize=experiment.maximize),
        trials=len(tried),
        earned=earned,
        held=held,
    )


def _returns(
    reader: Reader, experiment: Experiment, study: Study
) -> tuple[Sequence[float], Sequence[float]]:
    if experiment.task != "trading" or study.best is None:
        return (), ()
    owner = experiment.experiment_id
    earned = reader.returns(owner, reader.trial(study.study_id, study.best.number).trial.trial_id)
    held = reader.returns(owner, BUY_AND_HOLD)
    return (earned[0] if earned else ()), (held[0] if held else ())
