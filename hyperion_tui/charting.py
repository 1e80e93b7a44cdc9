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


MOST_POINTS = 4_000
"""Trials that are drawn; of more of them, so many, evenly chosen. A pane has fewer dots."""


@dataclass(frozen=True, slots=True)
class History:
    """How a study came to its best score, small enough to be drawn at once.

    steps: number and score of the first complete trial and of each that was better than all
    before it; empty without any. points: the same of `MOST_POINTS` complete trials and the last
    one, by number. trials: how many complete ones there are; since: those after the best.
    """

    maximize: bool
    steps: Sequence[tuple[int, float]] = ()
    points: Sequence[tuple[int, float]] = ()
    trials: int = 0
    since: int = 0


def history_of(scores: Sequence[tuple[int, float]], *, maximize: bool) -> History:
    """The history of complete trials. scores: number and score of each, by number, all finite."""
    steps: list[tuple[int, float]] = []
    since = 0
    for number, score in scores:
        since += 1
        if not steps or (score > steps[-1][1] if maximize else score < steps[-1][1]):
            steps.append((number, score))
            since = 0
    every = max(1, -(-len(scores) // MOST_POINTS))
    points = [*scores[:-1:every], *scores[-1:]]
    return History(maximize, steps, points, len(scores), since)


@dataclass(frozen=True, slots=True)
class Charted:
    """A study's charts as numbers.

    importance: of the latest `trials` complete trials, None if they are too few. earned, held:
    returns of every validation bar, of an agent's best trial and of who only bought and held;
    empty for other models.
    """

    study: str
    history: History
    importance: Sequence[Importance] | None = None
    trials: int = 0
    earned: Sequence[float] = ()
    held: Sequence[float] = ()


def read(reader: Reader, experiment: Experiment, study: Study) -> Charted:
    """Ask the store. Raises HyperionError."""
    scores = [(n, score) for n, score in reader.scores(study.study_id) if math.isfinite(score)]
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
        history=history_of(scores, maximize=experiment.maximize),
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
