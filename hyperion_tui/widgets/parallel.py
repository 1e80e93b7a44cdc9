"""Parallel coordinates of the parameters, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from hyperion_tui import text
from hyperion_tui.parallel import Axis, Parallel, Tried
from hyperion_tui.widgets import braille
from hyperion_tui.widgets.lines import Piece

APART = 10
"""The least characters from one axis to the next; with less room, axes are left out."""

BEST, TRIAL, AXIS = "accent", "dim", "dim"
"""Styles; the best trials are told apart by their place, 1 to 5, on every axis."""

_NAME, _VALUE, _RANGE = 22, 10, 24
_DOTTED = 4
"""Every fourth dot of a trial that is not among the best is drawn."""


def parallel_lines(parallel: Parallel | None, width: int, height: int) -> list[tuple[Piece, ...]]:
    """A heading, the picture, and the values of the best trials in words.

    Nothing without an axis. width: characters; height: lines of the picture.
    """
    if parallel is None:
        return []
    shown = _shown(parallel.axes, width)
    lines: list[tuple[Piece, ...]] = [(("Parallel coordinates", "strong"),)]
    told = f"1 to {len(parallel.best)}: the best of {text.plural(parallel.trials, 'trial')}"
    if shown and height >= 2:
        others = text.plural(len(parallel.others), "other")
        left_out = len(parallel.axes) - len(shown)
        rest = f"; {text.plural(left_out, 'more parameter')} in the table" if left_out else ""
        lines.append(((f"{told}; dotted: {others}{rest}", "dim"),))
        lines += _picture(parallel, shown, width - 1, height)
    else:
        lines.append(((told, "dim"),))
    return [*lines, *_table(parallel, width)]


def _shown(axes: Sequence[Axis], width: int) -> list[Axis]:
    """The axes that have room: metrics always, of the parameters the first ones."""
    most = (width - 1) // APART
    metrics = [axis for axis in axes if axis.is_metric]
    room = most - len(metrics)
    return [*[axis for axis in axes if not axis.is_metric][:room], *metrics] if room >= 1 else []


# -- the picture -----------------------------------------------------------------------------


def _picture(
    parallel: Parallel, axes: Sequence[Axis], across: int, height: int
) -> Iterable[tuple[Piece, ...]]:
    columns = [(2 * at + 1) * across // (2 * len(axes)) for at in range(len(axes))]
    room = across // len(axes) - 1
    layers = [braille.blank(across, height), braille.blank(across, height)]
    for one in parallel.best:
        _add(layers[0], braille.line(_rows(one, axes, columns, across, height), across, height))
    for at, one in enumerate(parallel.others):
        rows = _rows(one, axes, columns, across, height)
        dots = [(x, y) for x, y in enumerate(rows) if y is not None and (x + at) % _DOTTED == 0]
        _add(layers[1], braille.points(dots, across, height))
    signs = _signs(parallel.best, axes, columns, height)
    yield (_labels([text.clean(axis.name) for axis in axes], columns, room, ""),)
    yield (_labels([axis.high for axis in axes], columns, room, "dim"),)
    for y in range(height):
        yield braille.joined([layer[y] for layer in layers], (BEST, TRIAL), signs[y])
    yield (_labels([axis.low for axis in axes], columns, room, "dim"),)


def _rows(
    one: Tried, axes: Sequence[Axis], columns: Sequence[int], across: int, height: int
) -> list[int | None]:
    """The row of dots of a trial's line in each column of dots; None where it lacks a parameter."""
    rows: list[int | None] = [None] * (2 * across)
    for at in range(len(axes) - 1):
        left, right = axes[at].places.get(one.number), axes[at + 1].places.get(one.number)
        if left is None or right is None:
            continue
        first, last = 2 * columns[at], 2 * columns[at + 1]
        for x in range(first, last + 1):
            place = left + (right - left) * (x - first) / (last - first)
            rows[x] = braille.row_of(place, 0.0, 1.0, height)
    return rows


def _add(layer: braille.Cells, more: braille.Cells) -> None:
    for row, other in zip(layer, more, strict=True):
        row[:] = [a | b for a, b in zip(row, other, strict=True)]


def _signs(
    best: Sequence[Tried], axes: Sequence[Axis], columns: Sequence[int], height: int
) -> list[dict[int, Piece]]:
    """The axes, and on them the places of the best trials; of two at one spot the better."""
    signs: list[dict[int, Piece]] = [dict.fromkeys(columns, ("│", AXIS)) for _ in range(height)]
    for axis, column in zip(axes, columns, strict=True):
        for rank, one in reversed(list(enumerate(best, start=1))):
            place = axis.places.get(one.number)
            if place is not None:
                y = braille.row_of(place, 0.0, 1.0, height) // 4
                signs[y][column] = (str(rank), BEST)
    return signs


def _labels(labels: Sequence[str], columns: Sequence[int], room: int, style: str) -> Piece:
    """Each label in the middle of its axis."""
    line = ""
    for label, column in zip(labels, columns, strict=True):
        cut = text.fit(label, room).rstrip()
        line += " " * (column - cell_len(cut) // 2 - cell_len(line)) + cut
    return line, style


# -- the same in words -----------------------------------------------------------------------


def _table(parallel: Parallel, width: int) -> Iterable[tuple[Piece, ...]]:
    """The values of the best trials, as many as have room, and those of all that are drawn.

    width: 0 for as wide as it gets.
    """
    name = min(_NAME, max(cell_len(text.clean(axis.name)) for axis in parallel.axes))
    most = (width - name - 2 - _RANGE) // (_VALUE + 1) if width else len(parallel.best)
    best = parallel.best[: max(1, most)]
    heads = [f"{rank} #{one.number}" for rank, one in enumerate(best, start=1)]
    head = "".join(f" {text.fit(label, _VALUE, 'right')}" for label in heads)
    yield (" " * name, ""), (head, "dim"), ("  all drawn", "dim")
    metrics = 0
    for axis in parallel.axes:
        values = [_value(one, axis, metrics) for one in best]
        metrics += axis.is_metric
        cells = "".join(f" {text.fit(value, _VALUE, 'right')}" for value in values)
        ends = f"  {axis.low} .. {axis.high}{' log' if axis.log else ''}"
        yield (text.fit(text.clean(axis.name), name), ""), (cells, BEST), (ends, "dim")


def _value(one: Tried, axis: Axis, metric: int) -> str:
    if axis.is_metric:
        return text.number(one.scores[metric])
    return text.parameter(one.params[axis.name]) if axis.name in one.params else text.ABSENT
