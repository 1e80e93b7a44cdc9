"""Fronts, knees and hypervolumes of several metrics, against the plainest way to compute them."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.search import pareto
from engines.search.stopping import has_stalled

GRID = st.integers(0, 6).map(float)


@st.composite
def studies(draw: st.DrawFn) -> tuple[list[tuple[float, ...]], list[bool]]:
    metrics = draw(st.integers(2, 3))
    point = st.tuples(*[GRID] * metrics)
    maximize = draw(st.lists(st.booleans(), min_size=metrics, max_size=metrics))
    return draw(st.lists(point, min_size=1, max_size=12)), maximize


def dominates(a: tuple[float, ...], b: tuple[float, ...], maximize: list[bool]) -> bool:
    gains = [x - y if up else y - x for x, y, up in zip(a, b, maximize, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


def cells(losses: list[tuple[float, ...]], size: int) -> int:
    """Unit cells of a box whose worst corner is (size, ...) that some point covers."""
    box = itertools.product(range(size), repeat=len(losses[0]))
    return sum(any(all(x <= c for x, c in zip(p, at, strict=True)) for p in losses) for at in box)


@given(studies())
def test_the_front_is_what_nothing_dominates(study: tuple) -> None:
    points, maximize = study
    free = [
        at
        for at, point in enumerate(points)
        if not any(dominates(other, point, maximize) for other in points)
        and point not in points[:at]
    ]
    assert pareto.front(points, maximize) == free


@given(studies())
def test_the_knee_is_on_the_front_and_has_the_least_sum_of_losses(study: tuple) -> None:
    points, maximize = study
    front = pareto.front(points, maximize)
    ends = [
        ((max if up else min)(c), (min if up else max)(c))
        for up, c in zip(maximize, zip(*(points[at] for at in front), strict=True), strict=True)
    ]

    def loss(at: int) -> float:
        pairs = zip(points[at], ends, strict=True)
        return sum(
            (x - best) / (worst - best) if worst != best else 0.0 for x, (best, worst) in pairs
        )

    knee = pareto.knee(points, maximize)
    assert knee in front
    assert loss(knee) == pytest.approx(min(loss(at) for at in front))


@given(studies())
def test_who_is_dominated_comes_later_in_the_order(study: tuple) -> None:
    points, maximize = study
    order = pareto.order(points, maximize)
    assert sorted(order) == list(range(len(points)))
    for earlier, later in itertools.combinations(order, 2):
        assert not dominates(points[later], points[earlier], maximize)


@given(st.integers(1, 3).flatmap(lambda m: st.lists(st.tuples(*[GRID] * m), min_size=1)))
def test_the_hypervolume_is_the_number_of_cells_that_are_covered(losses: list) -> None:
    reference = (5.0,) * len(losses[0])
    assert pareto.hypervolume(losses, reference) == cells(losses, 5)


@given(studies(), st.data())
def test_progress_grows_exactly_when_a_trial_is_not_dominated(study: tuple, data: st.DataObject):
    points, maximize = study
    begun = data.draw(st.integers(0, len(points)))
    latest = [data.draw(st.sampled_from([point, None])) for point in points[begun:]]
    found = pareto.progress(points[:begun], latest, maximize)
    assert len(found) == len(latest) + 1
    known, volume = list(points[:begun]), found[0]
    assert (volume is None) == (not known)
    for point, after in zip(latest, found[1:], strict=True):
        assert (after is None) == (point is None)
        if point is None or after is None:
            continue
        new = point not in known and not any(dominates(k, point, maximize) for k in known)
        before = volume or 0.0
        assert (after > before + 1e-12) if new else math.isclose(after, before)
        assert 0.0 < after <= 1.0 + 1e-12
        known.append(point)
        volume = after


def test_of_a_bent_front_the_bend_is_the_knee_and_not_an_end() -> None:
    # accuracy up, seconds down: 0.94 costs little, the last percent costs all.
    points = [(0.80, 0.1), (0.94, 0.5), (0.95, 9.0), (0.70, 5.0)]
    assert pareto.front(points, [True, False]) == [0, 1, 2]
    assert pareto.knee(points, [True, False]) == 1


def test_patience_ends_a_study_whose_front_stands_still_though_one_metric_got_better_before() -> (
    None
):
    before = [(0.9, 1.0)]
    still = [(0.89, 1.1), None, (0.9, 1.0)]
    grown = [(0.89, 1.1), (0.5, 0.1), (0.9, 1.0)]
    for latest, ends in ((still, True), (grown, False)):
        volumes = pareto.progress(before, latest, [True, False])
        assert has_stalled(volumes, maximize=True, patience=3, min_improvement=0.0) is ends
