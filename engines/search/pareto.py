"""Several metrics at once: which trials no other one beats, which of them to propose, how far a
study has come.

Points are tuples of finite scores, one for each metric; `maximize` says of each metric whether
larger is better. Plain Python: fronts have tens of points, and screens ask for them as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Point: TypeAlias = Sequence[float]

MARGIN = 0.1
"""The reference of a hypervolume lies this part of the range beyond the worst score of each metric.
Without it a trial that is the best in one metric and the worst in another adds nothing (Ishibuchi,
Imada, Setoguchi and Nojima 2018, How to specify a reference point in hypervolume calculation)."""


def front(points: Sequence[Point], maximize: Sequence[bool]) -> list[int]:
    """Where the points are that no other one dominates, in their order; of equal points the first.

    A point dominates another if it is at least as good in every metric, and better in one.
    """
    losses = [_losses(point, maximize) for point in points]
    kept: list[int] = []
    # Whoever dominates a point comes before it in this order.
    for at in sorted(range(len(losses)), key=lambda at: (losses[at], at)):
        if not any(_covers(losses[other], losses[at]) for other in kept):
            kept.append(at)
    return sorted(kept)


def order(points: Sequence[Point], maximize: Sequence[bool]) -> list[int]:
    """All points from the best compromise on; the first is the knee of their front.

    Scores become losses, 0 for the best on the front and 1 for the worst on it, and the sum of a
    point's losses is its rank. On the front that is the order of the distances to the plane
    through the ends of the axes, the knee bulging out farthest (Das 1999, On characterizing the
    "knee" of the Pareto curve based on normal-boundary intersection). A point that is dominated
    comes after the one that dominates it. Of equal sums the better in the first metric comes
    first, then the earlier point.
    """
    losses = [_losses(point, maximize) for point in points]
    best = [losses[at] for at in front(points, maximize)]
    low = [min(column) for column in zip(*best, strict=True)]
    scale = [(max(column) - min(column)) or 1.0 for column in zip(*best, strict=True)]

    def rank(at: int) -> tuple[float, tuple[float, ...], int]:
        parts = ((x - a) / s for x, a, s in zip(losses[at], low, scale, strict=True))
        return sum(parts), losses[at], at

    return sorted(range(len(losses)), key=rank)


def knee(points: Sequence[Point], maximize: Sequence[bool]) -> int:
    """Where the point is that is proposed, see `order`. Raises ValueError without points."""
    if not points:
        raise ValueError("`points` must hold at least one point")
    return order(points, maximize)[0]


def hypervolume(losses: Sequence[Point], reference: Point) -> float:
    """The volume between points to be minimised and a reference that is worse than all of them.

    A point that is no better than the reference in some metric adds nothing. Zitzler and Thiele
    (1998), by slices along the last metric.
    """
    inside = [p for p in losses if all(x < r for x, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    inside.sort(key=lambda p: p[-1])
    tops = [*(p[-1] for p in inside[1:]), reference[-1]]
    total = 0.0
    for count, (point, top) in enumerate(zip(inside, tops, strict=True), start=1):
        if top > point[-1]:
            base = hypervolume([p[:-1] for p in inside[:count]], reference[:-1])
            total += (top - point[-1]) * base
    return total


def progress(
    before: Sequence[Point], latest: Sequence[Point | None], maximize: Sequence[bool]
) -> list[float | None]:
    """Hypervolumes as trials came in: after `before`, and after each of `latest`.

    In parts of the box between the best score of each metric among all of them and the worst one,
    with `MARGIN` beyond it. None for a trial without scores, and where nothing was before.
    """
    came = [_losses(point, maximize) for point in latest if point is not None]
    known = [_losses(point, maximize) for point in before]
    everything = [*known, *came]
    if not everything:
        return [None for _ in range(len(latest) + 1)]
    low = [min(column) for column in zip(*everything, strict=True)]
    scale = [(max(column) - min(column)) or 1.0 for column in zip(*everything, strict=True)]

    def part(point: Point) -> tuple[float, ...]:
        return tuple((x - a) / s for x, a, s in zip(point, low, scale, strict=True))

    reference = tuple(1.0 + MARGIN for _ in maximize)
    whole = (1.0 + MARGIN) ** len(reference)
    shown = _least([part(point) for point in known])
    found: list[float | None] = [hypervolume(shown, reference) / whole if shown else None]
    arrivals = iter(came)
    for point in latest:
        if point is None:
            found.append(None)
            continue
        shown = _least([*shown, part(next(arrivals))])
        found.append(hypervolume(shown, reference) / whole)
    return found


def _least(losses: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Those that no other one dominates."""
    return [losses[at] for at in front(losses, [False] * len(losses[0]))] if losses else []


def _losses(point: Point, maximize: Sequence[bool]) -> tuple[float, ...]:
    return tuple(-x if up else x for x, up in zip(point, maximize, strict=True))


def _covers(one: Point, other: Point) -> bool:
    """Whether `one` is at least as good as `other` everywhere, or the same."""
    return all(a <= b for a, b in zip(one, other, strict=True))
