"""Studies of several metrics: the scores of their trials, their front and the trial proposed.

Optuna keeps one value a metric in `trial_values`; our row has the first of them, so everything
that sorts and counts trials works as for one. An experiment has several metrics if its `metric`
names them with commas between. Nothing here needs SQLAlchemy: readers and workers ask the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from engines.search import pareto
from engines.study.records import Best, Front

Points: TypeAlias = dict[int, tuple[float, ...]]
"""The scores of complete trials, by number."""

SEPARATOR = ","
"""Between the names in an experiment's `metric`."""


def directions(study: str) -> str:
    """The statement for `maximized`. study: the mark of its one value."""
    return (
        "SELECT CAST(direction AS VARCHAR) AS direction FROM study_directions "
        f"WHERE study_id = {study} ORDER BY objective"
    )


def maximized(rows: Iterable[Sequence[Any]]) -> tuple[bool, ...]:
    """Of each metric, whether larger is better."""
    return tuple(row[0] == "MAXIMIZE" for row in rows)


def values(study: str) -> str:
    """The statement for `points_of`. study: the mark of its one value."""
    return (
        "SELECT t.number, v.value FROM hx_trial t JOIN trial_values v ON v.trial_id = t.trial_id "
        f"WHERE t.study_id = {study} AND t.state = 'COMPLETE' ORDER BY t.number, v.objective"
    )


def points_of(rows: Iterable[Sequence[Any]], metrics: int) -> Points:
    """Complete trials with a finite score in every one of so many metrics, in order of number."""
    grouped: dict[int, list[float | None]] = {}
    for number, value in rows:
        grouped.setdefault(number, []).append(value)
    return {
        number: tuple(float(value) for value in scores if value is not None)
        for number, scores in grouped.items()
        if len(scores) == metrics and None not in scores
    }


def front_of(points: Mapping[int, tuple[float, ...]], maximize: tuple[bool, ...]) -> Front:
    """The trials that no other one beats; of equal ones the first."""
    numbers = list(points)
    kept = pareto.front(list(points.values()), maximize)
    return Front(maximize, tuple((numbers[at], points[numbers[at]]) for at in kept))


def knee_of(front: Front) -> tuple[int, tuple[float, ...]] | None:
    """(number, scores) of the trial that is proposed, None without a trial."""
    if not front.points:
        return None
    return front.points[pareto.knee([scores for _, scores in front.points], front.maximize)]


def best_of(front: Front) -> Best | None:
    """The knee as the best trial of its study; without its held-out score."""
    found = knee_of(front)
    return None if found is None else Best(found[0], found[1][0], None, found[1])
