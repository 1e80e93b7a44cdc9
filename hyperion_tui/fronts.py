"""Fronts of several metrics in words: tables, one line, and a plot of characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engines.study.records import Experiment, Study
from hyperion_tui import text

FEW = 8

WIDTH, HEIGHT = 56, 12

POINT, KNEE = "o", "#"


def values(experiment: Experiment, study: Study) -> list[float | None]:
    """The scores of a study's best trial by each metric."""
    return list(study.best.values) if study.best else [None] * len(experiment.metrics)


def directed(experiment: Experiment) -> Iterator[str]:
    """Each metric with the way that is better: `r2 ↑`."""
    front = experiment.studies[0].front if experiment.studies else None
    ways = (experiment.maximize,) if front is None else front.maximize
    for name, up in zip(experiment.metrics, ways, strict=False):
        yield f"{text.clean(name)} {'↑' if up else '↓'}"


def rows(experiment: Experiment) -> list[list[Any]]:
    """Study, trial, scores and whether it is the knee, of every trial on a front."""
    return [
        [study.model, number, *scores, "knee" if _is_knee(study, number) else ""]
        for study in experiment.ranked
        if study.front is not None
        for number, scores in study.front.points
    ]


def about(study: Study) -> str:
    """`front: #2, #5 and 3 more; knee #5` of several metrics, or nothing."""
    if study.front is None or study.best is None:
        return ""
    numbers = [f"#{number}" for number, _ in study.front.points]
    more = f" and {len(numbers) - FEW} more" if len(numbers) > FEW else ""
    return f"front: {', '.join(numbers[:FEW])}{more}; knee #{study.best.number}"


def plot(experiment: Experiment) -> Iterator[str]:
    """The fronts of all studies by the first two metrics, the better corner above and right.

    Nothing for fewer than two different trials.
    """
    points = [
        (scores[0], scores[1], _is_knee(study, number))
        for study in experiment.studies
        if study.front is not None
        for number, scores in study.front.points
    ]
    if len({point[:2] for point in points}) < 2:
        return
    front = next(study.front for study in experiment.studies if study.front is not None)
    across = _places([x for x, _, _ in points], WIDTH, front.maximize[0])
    up = _places([y for _, y, _ in points], HEIGHT, front.maximize[1])
    field = [[" "] * WIDTH for _ in range(HEIGHT)]
    # Knees last, so that no other point hides one.
    for (_, _, knee), column, line in sorted(zip(points, across, up, strict=True), key=_knee_last):
        field[HEIGHT - 1 - line][column] = KNEE if knee else POINT
    left, right = _ends([x for x, _, _ in points], front.maximize[0])
    low, high = _ends([y for _, y, _ in points], front.maximize[1])
    first, second = experiment.metrics[:2]
    yield f"{second} {high} above, {low} below"
    yield from (f"|{''.join(line).rstrip()}" for line in field)
    yield f"+{'-' * WIDTH}"
    yield f" {left}{f'{first} {right}'.rjust(WIDTH - len(left))}"
    yield f"{POINT}: no other trial of its study beats it, {KNEE}: the knee; better is right and up"


def _knee_last(placed: tuple[tuple[float, float, bool], int, int]) -> bool:
    return placed[0][2]


def _is_knee(study: Study, number: int) -> bool:
    return study.best is not None and study.best.number == number


def _places(scores: Sequence[float], cells: int, maximize: bool) -> list[int]:
    """A cell for each score, the best in the last one."""
    low, high = min(scores), max(scores)
    span = (high - low) or 1.0
    parts = [(x - low) / span if maximize else (high - x) / span for x in scores]
    return [round(part * (cells - 1)) for part in parts]


def _ends(scores: Sequence[float], maximize: bool) -> tuple[str, str]:
    """The worst and the best score."""
    low, high = text.number(min(scores)), text.number(max(scores))
    return (low, high) if maximize else (high, low)
