"""Columns that tell the target: a copy of it, another name for its classes, or its future.

A model that reads one has a score near perfect and has learned nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.data.reading import counted, quoted
from engines.data.tasks import CLASSIFICATION

if TYPE_CHECKING:
    from engines.data.datasets import Dataset

LEAK_ADVICE = "a leak, unless it is meant; remove it"

Floats = npt.NDArray[np.float64]

LEAK = 0.9999
"""A larger correlation is one of a copy."""

NEAR = 0.9
"""A larger one, on some rows, is worth a look at all of them."""

PEAK = 0.01
"""What a shift leaves unexplained is at most so much of what its neighbours leave: a smooth
series resembles its own future as well, and no column of it is a leak for that."""

MOST_SHIFT = 48
"""So many rows ahead and back are looked at, in data that are ordered in time."""

WINDOW = 1000
"""So many rows in the middle of ordered data are the first look."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A column, and what it does: `equals the target 'y'`."""

    column: str
    what: str

    def __str__(self) -> str:
        return f"column {quoted(self.column)} {self.what}"


def find_leaks(dataset: Dataset, *, known: bool = False) -> Iterator[Leak]:
    """The leaks among the features of a table, in their order.

    known: whether a row's own target may be read, as in a forecast of later ones; then only the
    future is one. The target's past is none where rows are ordered in time: it is known by then.
    """
    target = quoted(dataset.target)
    near = _shifts_to_look_at(dataset)
    for at, feature in enumerate(dataset.features):
        values = dataset.X[:, at]
        if (~np.isnan(values)).sum() < 3:
            continue
        if dataset.task == CLASSIFICATION:
            found = _classes_told(values, dataset.y, len(dataset.classes), near[at])
        elif feature.kind == "category":
            continue
        else:
            found = _copied(values, dataset.y, near[at])
        if found is None or found[0] < (1 if known else 0):
            continue
        ahead, what = found
        later = f" {counted(ahead, 'row')} later" if ahead else ""
        yield Leak(feature.name, f"{what} the target {target}{later}")


def _shifts_to_look_at(dataset: Dataset) -> list[list[int]]:
    """For each feature, shifts by which it may be the target: 0, and those a first look found."""
    most = min(MOST_SHIFT, dataset.rows // 4) if dataset.ordered else 0
    if not most:
        return [[0]] * len(dataset.features)
    width = min(WINDOW, dataset.rows - 2 * most)
    first = (dataset.rows - width) // 2
    x = _standard(dataset.X[first : first + width])
    shifts = np.arange(-most, most + 1)
    y = _standard(dataset.y[first + shifts[None, :] + np.arange(width)[:, None]])
    if dataset.task == CLASSIFICATION:  # codes have no correlation: any shift may be one
        return [shifts[most:].tolist()] * len(dataset.features)
    alike = np.abs(x.T @ y) > NEAR
    return [sorted({0, *shifts[row].tolist()}, key=abs) for row in alike]


def _standard(columns: Floats) -> Floats:
    """Columns of mean 0 and length 1; what is missing stands at the mean, what is constant at 0."""
    there = np.isfinite(columns)
    filled = np.where(there, columns, 0.0)
    # Scaled first, so that squares of 1e200 don't become infinite.
    scaled = filled / np.maximum(np.abs(filled).max(axis=0), 1e-300)
    centred = np.where(there, scaled - scaled.sum(axis=0) / np.maximum(there.sum(axis=0), 1), 0.0)
    length = np.sqrt((centred**2).sum(axis=0))
    return centred / np.where(length > 0, length, 1.0)


def _pairs(values: Floats, y: Floats, ahead: int) -> tuple[Floats, Floats]:
    """Values beside the target of so many rows later (below 0: earlier), where both are there."""
    if ahead > 0:
        values, y = values[:-ahead], y[ahead:]
    elif ahead < 0:
        values, y = values[-ahead:], y[:ahead]
    there = ~np.isnan(values)
    return values[there], y[there]


def _copied(values: Floats, y: Floats, shifts: list[int]) -> tuple[int, str] | None:
    """(rows ahead, what it is) of a column that is the target up to a factor, or None."""
    left = {shift: _unexplained(values, y, shift) for shift in shifts}
    best = min(left, key=lambda shift: (round(left[shift], 9), abs(shift)))
    if left[best] >= 1 - LEAK**2:
        return None
    if best:
        beside = min(_unexplained(values, y, best - 1), _unexplained(values, y, best + 1))
        if left[best] > PEAK * beside:
            return None
    a, b = _pairs(values, y, best)
    if np.array_equal(a, b):
        return best, "equals"
    return best, f"is almost a copy of (correlation {correlation(a, b):.5f})"


def _unexplained(values: Floats, y: Floats, ahead: int) -> float:
    """The part of the variance that a straight line leaves, 0 to 1."""
    return 1 - correlation(*_pairs(values, y, ahead)) ** 2


def _classes_told(values: Floats, y: Floats, k: int, shifts: list[int]) -> tuple[int, str] | None:
    """(rows ahead, what it does) of a column with one value a class and one class a value."""
    values_there = values[~np.isnan(values)]
    # Most columns have more values than there are classes, as a few rows show already.
    if len(np.unique(values_there[:WINDOW])) > k or len(np.unique(values_there)) != k:
        return None
    for ahead in shifts:
        x, classes = _pairs(values, y, ahead)
        pairs = len(np.unique(np.column_stack([x, classes]), axis=0))
        if pairs == len(np.unique(x)) == len(np.unique(classes)) == k:
            return ahead, "tells exactly"
    return None


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's correlation, or 0 where one side is constant or the numbers overflow."""
    if not len(a):
        return 0.0
    # Scaled first, as above.
    a, b = a / max(np.abs(a).max(), 1e-300), b / max(np.abs(b).max(), 1e-300)
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 0 else 0.0
