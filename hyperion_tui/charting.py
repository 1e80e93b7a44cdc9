"""What the charts of a study are drawn from, read in one go. No widget is known here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engines.analysis.importance import Importance, importances
from engines.search import pareto
from engines.study.reader import Reader
from engines.study.records import BUY_AND_HOLD, Experiment, Front, Study, Trial
from hyperion_tui import parallel
from hyperion_tui.parallel import Parallel, Tried, parallel_of

MOST_TRIALS = 2_000
"""The latest complete trials that importance is told from: 0.1 s of a thread."""


MOST_POINTS = 4_000
"""Trials that are drawn at most, evenly chosen from more of them. A pane has fewer dots."""


@dataclass(frozen=True, slots=True)
class History:
    """How a study came to its best score, small enough to be drawn at once.

    steps: number and score of the first complete trial and of each that was better than all
    before it; empty without any. points: the same of up to `MOST_POINTS` complete trials and the
    last one, by number. trials: how many complete ones there are; since: those after the best.
    """

    maximize: bool
    steps: Sequence[tuple[int, float]] = ()
    points: Sequence[tuple[int, float]] = ()
    trials: int = 0
    since: int = 0


def history_of(scores: Iterable[tuple[int, float]], *, maximize: bool) -> History:
    """The history of complete trials. scores: number and score of each, by number, all finite."""
    steps: list[tuple[int, float]] = []
    points: list[tuple[int, float]] = []
    every, trials, since = 1, 0, 0
    latest: list[tuple[int, float]] = []
    for number, score in scores:
        since += 1
        if not steps or (score > steps[-1][1] if maximize else score < steps[-1][1]):
            steps.append((number, score))
            since = 0
        latest = [(number, score)]
        if trials % every == 0:
            points += latest
        if len(points) > MOST_POINTS:
            del points[1::2]
            every *= 2
        trials += 1
    if points[-1:] != latest:
        points += latest
    return History(maximize, steps, points, trials, since)


@dataclass(frozen=True, slots=True)
class Compromises:
    """The trials of a study of several metrics.

    front: number and scores of those that no other one beats; knee: the one of them that is
    proposed. points: the scores of at most `MOST_POINTS` of all `trials` complete ones.
    """

    metrics: Sequence[str]
    maximize: Sequence[bool]
    front: Sequence[tuple[int, tuple[float, ...]]]
    knee: int | None
    points: Sequence[tuple[float, ...]]
    trials: int


@dataclass(frozen=True, slots=True)
class Charted:
    """A study's charts as numbers.

    importance: of the latest `trials` complete trials, None if they are too few. parallel: of the
    same and the best ones; None where no parameter was changed. front: of several metrics. earned,
    held: returns of every validation bar, of an agent's best trial and of who only bought and
    held; empty for other models.
    """

    study: str
    history: History
    importance: Sequence[Importance] | None = None
    trials: int = 0
    parallel: Parallel | None = None
    front: Compromises | None = None
    earned: Sequence[float] = ()
    held: Sequence[float] = ()


def read(reader: Reader, experiment: Experiment, study: Study) -> Charted:
    """Ask the store. Raises HyperionError."""
    scores = ((n, score) for n, score in reader.scores(study.study_id) if math.isfinite(score))
    latest = reader.trials(
        study.study_id, order="number", descending=True, states=("complete",), limit=MOST_TRIALS
    )
    tried = _tried(latest)
    history = history_of(scores, maximize=experiment.maximize)
    importance = importances(
        [(one.params, one.scores[0]) for one in tried], maximize=experiment.maximize
    )
    drawn = _parallel(reader, experiment, study, tried, importance)
    if drawn is not None:
        drawn = replace(drawn, trials=history.trials)
    front = _compromises(reader, experiment, study)
    earned, held = _returns(reader, experiment, study)
    return Charted(
        study=study.name,
        history=history,
        importance=importance,
        trials=len(tried),
        parallel=drawn,
        front=front,
        earned=earned,
        held=held,
    )


def _tried(trials: Sequence[Trial]) -> list[Tried]:
    return [
        Tried(trial.number, trial.params, (trial.value,))
        for trial in trials
        if trial.value is not None and math.isfinite(trial.value)
    ]


def _compromises(reader: Reader, experiment: Experiment, study: Study) -> Compromises | None:
    if study.front is None or not study.front.points:
        return None
    points = list(reader.points(study.study_id, len(experiment.metrics)).values())
    every = max(1, -(-len(points) // MOST_POINTS))
    return Compromises(
        metrics=experiment.metrics,
        maximize=study.front.maximize,
        front=study.front.points,
        knee=study.best.number if study.best else None,
        points=points[::every],
        trials=len(points),
    )


def _parallel(
    reader: Reader,
    experiment: Experiment,
    study: Study,
    latest: Sequence[Tried],
    importance: Sequence[Importance] | None,
) -> Parallel | None:
    """The best trials of all, and what the latest ones tried. Parameters by their importance."""
    if study.front is None:
        maximize: Sequence[bool] = (experiment.maximize,)
        ranked = _ranked(reader, experiment, study, latest)
    else:
        maximize = study.front.maximize
        ranked = _ranked_by_several(reader, study.study_id, study.front, latest)
    names = [one.name for one in importance or ()]
    names += sorted({name for one in ranked for name in one.params}.difference(names))
    return parallel_of(ranked, names, experiment.metrics, maximize)


def _ranked(
    reader: Reader, experiment: Experiment, study: Study, latest: Sequence[Tried]
) -> Sequence[Tried]:
    """The best trials of all and the latest ones, the best first."""
    best = reader.trials(
        study.study_id,
        order="value",
        descending=experiment.maximize,
        states=("complete",),
        # Infinite scores sort first, and are not meant.
        limit=4 * parallel.BEST,
    )
    known = {one.number: one for one in [*_tried(best), *latest]}
    sign = -1.0 if experiment.maximize else 1.0
    return sorted(known.values(), key=lambda one: (sign * one.scores[0], one.number))


def _ranked_by_several(
    reader: Reader, study_id: int, front: Front, latest: Sequence[Tried]
) -> Sequence[Tried]:
    """The same by several metrics, from the best compromise on."""
    points = reader.points(study_id, len(front.maximize))
    params = {one.number: one.params for one in latest if one.number in points}
    kept = [number for number, _ in front.points if number in points]
    if not kept:
        return ()
    order = pareto.order([points[number] for number in kept], front.maximize)
    for number in (kept[at] for at in order[: parallel.BEST]):
        if number not in params:
            params[number] = reader.best_params(study_id, number)
    known = list(params)
    places = pareto.order([points[number] for number in known], front.maximize)
    return [Tried(known[at], params[known[at]], points[known[at]]) for at in places]


def _returns(
    reader: Reader, experiment: Experiment, study: Study
) -> tuple[Sequence[float], Sequence[float]]:
    if experiment.task != "trading" or study.best is None:
        return (), ()
    owner = experiment.experiment_id
    earned = reader.returns(owner, reader.trial(study.study_id, study.best.number).trial.trial_id)
    held = reader.returns(owner, BUY_AND_HOLD)
    return (earned[0] if earned else ()), (held[0] if held else ())
