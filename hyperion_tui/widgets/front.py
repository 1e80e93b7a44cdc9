"""The Pareto front of a study of several metrics, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hyperion_tui import text
from hyperion_tui.charting import Compromises
from hyperion_tui.fronts import KNEE, POINT
from hyperion_tui.widgets import braille
from hyperion_tui.widgets.lines import Piece

NARROWEST = 16
"""Characters of the drawing itself; with fewer, only words are left."""

FRONT, TRIAL = "accent", "dim"
"""Styles of the front and of the trials that another one beats."""

_OUT_OF_SIGHT = 0.1
"""The worst part of the trials by each metric may lie outside of the picture."""

Ends = tuple[float, float]
"""The worst and the best score of an axis."""


def front_lines(found: Compromises | None, width: int, height: int) -> list[tuple[Piece, ...]]:
    """A heading, the picture of the first two metrics, and the scores of the front in words.

    Nothing without a trial. width: characters; height: lines of the picture. Better is to the
    right and up, whichever way the metrics go.
    """
    if found is None or not found.front:
        return []
    told = (
        f"{text.plural(len(found.front), 'trial')} of {text.count(found.trials)} that no other "
        f"one beats; {KNEE} is proposed"
    )
    lines: list[tuple[Piece, ...]] = [(("Pareto front", "strong"),), ((told, ""),)]
    ends = [_ends(found, at) for at in (0, 1)]
    labels = [text.number(ends[1][1]), *[""] * (height - 2), text.number(ends[1][0])]
    margin = max(map(len, labels)) + 2
    across = width - margin - 1
    if across >= NARROWEST and height >= 2:
        first, second = (text.clean(name) for name in found.metrics[:2])
        lines.append(
            ((f"{POINT} on the front, · another trial; {second} upwards, {first} across", "dim"),)
        )
        layers, signs = _layers(found, ends, across, height), _signs(found, ends, across, height)
        for y, label in enumerate(labels):
            drawn = braille.joined([layer[y] for layer in layers], (FRONT, TRIAL), signs[y])
            lines.append(((f"{label.rjust(margin - 2)} ┤", "dim"), *drawn))
        left, right = (text.number(end) for end in ends[0])
        scale = f"{' ' * margin}{left}{right.rjust(across - len(left))}"
        lines.append(((scale, "dim"),))
    return [*lines, *_table(found)]


def _ends(found: Compromises, metric: int) -> Ends:
    """All of the front, and the best nine tenths of the trials."""
    up = found.maximize[metric]
    scores = sorted((point[metric] for point in found.points), reverse=up)
    front = [point[metric] for _, point in found.front]
    kept = scores[: max(1, len(scores) - int(_OUT_OF_SIGHT * len(scores)))] + front
    return (min(kept), max(kept)) if up else (max(kept), min(kept))


def _part(score: float, ends: Ends) -> float:
    """Where a score stands: 0 at the worst end, 1 at the best one."""
    worst, best = ends
    # Halves, because the distance of two finite numbers need not be finite.
    return (score / 2 - worst / 2) / (best / 2 - worst / 2) if best != worst else 0.5


def _layers(
    found: Compromises, ends: Sequence[Ends], across: int, height: int
) -> tuple[braille.Cells, braille.Cells]:
    """The edge of what is beaten by the front, and the trials."""
    last = 2 * across - 1
    front = [(_part(p[0], ends[0]), _part(p[1], ends[1])) for _, p in found.front]
    edge: list[int | None] = []
    for x in range(2 * across if len(found.metrics) == 2 else 0):
        above = [up for right, up in front if round(right * last) >= x]
        edge.append(braille.row_of(max(above), 0.0, 1.0, height) if above else None)
    places = []
    for point in found.points:
        right, up = _part(point[0], ends[0]), _part(point[1], ends[1])
        if right >= 0.0 and up >= 0.0:
            places.append((round(right * last), braille.row_of(up, 0.0, 1.0, height)))
    return braille.line(edge, across, height), braille.points(places, across, height)


def _signs(
    found: Compromises, ends: Sequence[Ends], across: int, height: int
) -> list[dict[int, Piece]]:
    """The trials of the front, the proposed one last, so that no other hides it."""
    signs: list[dict[int, Piece]] = [{} for _ in range(height)]
    for number, point in sorted(found.front, key=lambda one: one[0] == found.knee):
        x = round(_part(point[0], ends[0]) * (2 * across - 1)) // 2
        y = braille.row_of(_part(point[1], ends[1]), 0.0, 1.0, height) // 4
        signs[y][x] = (KNEE if number == found.knee else POINT, FRONT)
    return signs


def _table(found: Compromises) -> Iterable[tuple[Piece, ...]]:
    """The scores of the front, from the best by the first metric on."""
    metrics = [text.clean(name) for name in found.metrics]
    cells = [max(10, min(24, len(name))) for name in metrics]
    trials = max(len(f"#{number}") for number, _ in found.front) + 2
    heads = "".join(f"  {text.fit(m, c, 'right')}" for m, c in zip(metrics, cells, strict=True))
    yield (" " * trials, ""), (heads, "dim")
    ordered = sorted(found.front, key=lambda one: one[1][0], reverse=found.maximize[0])
    for number, scores in ordered:
        proposed = number == found.knee
        sign = KNEE if proposed else POINT
        values = "".join(
            f"  {text.fit(text.number(score), c, 'right')}"
            for score, c in zip(scores, cells, strict=True)
        )
        yield (
            (f"{sign} #{number}".ljust(trials), FRONT),
            (values, ""),
            ("  proposed" if proposed else "", FRONT),
        )
