"""Rows drawn again and again, as sums and weights: the bootstrap without copying rows.

Most metrics are functions of sums over rows. A resample of the rows is a weight for each row,
so its sums are one product of matrices, and 500 resamples cost little more than one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_UNITS = 10_000
"""More rows than these are drawn in bunches of a random few, which changes an interval by less
than another seed does and bounds its cost."""

_CELLS = 4_000_000
"""Weights in memory at a time."""

_KEPT_CELLS, _KEPT = 5_000_000, 12
"""Weights of a draw that is kept, two bytes each, and how many draws: all models of an experiment
are judged by the same draws of the same folds, and to draw takes longer than to add up."""


class Draws(Protocol):
    """R resamples of n rows, the same ones each time they are asked."""

    def sums(self, statistics: Floats) -> Floats:
        """(n, s) statistics of the rows to (R, s) sums over each resample."""
        ...

    def counts(self, codes: Ints, k: int) -> Floats:
        """(R, k): rows of each code 0..k-1 in each resample; other codes are not counted."""
        ...

    def weights(self) -> Iterator[Floats]:
        """(r, n) how often each resample has each row; R resamples in all."""
        ...


def one_hot(codes: Ints, k: int) -> Floats:
    """(n, k): 1 in the column of a row's code, 0 elsewhere; a row of another code has none."""
    return (codes[:, None] == np.arange(k)).astype(np.float64)


class Whole:
    """Every row once: one "resample" that gives the score itself."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def sums(self, statistics: Floats) -> Floats:
        return statistics.sum(axis=0, keepdims=True)

    def counts(self, codes: Ints, k: int) -> Floats:
        known = codes[(codes >= 0) & (codes < k)]
        return np.bincount(known, minlength=k).astype(np.float64)[None]

    def weights(self) -> Iterator[Floats]:
        yield np.ones((1, self.rows))


class Units:
    """Rows, or whole groups of rows, drawn with replacement (Efron, 1979).

    groups: (rows,) what belongs together, or None when each row stands for itself.
    """

    def __init__(self, rows: int, groups: npt.NDArray[np.generic] | None, count: int, seed: int):
        self.rows, self.count, self.seed = rows, count, seed
        if groups is not None:
            self.codes: Ints | None = np.unique(groups, return_inverse=True)[1].astype(np.int64)
            self.units = int(self.codes.max()) + 1
        elif rows > MOST_UNITS:
            self.codes = np.random.default_rng(seed).permutation(rows) % MOST_UNITS
            self.units = MOST_UNITS
        else:
            self.codes, self.units = None, rows

    def sums(self, statistics: Floats) -> Floats:
        if self.codes is not None:
            statistics = np.column_stack(
                [np.bincount(self.codes, column, self.units) for column in statistics.T]
            )
        return np.concatenate([drawn @ statistics for drawn in self._draws(self.units)])

    def counts(self, codes: Ints, k: int) -> Floats:
        return self.sums(one_hot(codes, k))

    def weights(self) -> Iterator[Floats]:
        for drawn in self._draws(self.rows):
            yield drawn if self.codes is None else drawn[:, self.codes]

    def _draws(self, width: int) -> Iterator[Floats]:
        """(r, units) how often each unit is drawn, in chunks of `width` cells a resample."""
        sizes = tuple(_chunks(self.count, max(width, self.units)))
        drawn = _drawn if self.count * self.units > _KEPT_CELLS else _drawn_and_kept
        for times in drawn(self.seed, self.units, sizes):
            yield times.astype(np.float64)


def _drawn(seed: int, units: int, sizes: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint16]]:
    random = np.random.default_rng([seed, 1])
    for size in sizes:
        drawn = random.integers(0, units, (size, units))
        drawn += np.arange(size)[:, None] * units
        times = np.bincount(drawn.ravel(), minlength=size * units)
        yield times.reshape(size, units).astype(np.uint16)


@functools.lru_cache(maxsize=_KEPT)
def _drawn_and_kept(
    seed: int, units: int, sizes: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint16], ...]:
    return tuple(_drawn(seed, units, sizes))


class Blocks:
    """Blocks of neighbouring rows drawn with replacement, for rows in order (Kuensch, 1989).

    length: rows of a block, from 1 to `rows`. A resample has as many blocks as cover all rows.
    """

    def __init__(self, rows: int, length: int, count: int, seed: int) -> None:
        self.rows, self.length = rows, length
        blocks = -(-rows // length)
        random = np.random.default_rng([seed, 1])
        self.starts = random.integers(0, rows - length + 1, (count, blocks))

    def sums(self, statistics: Floats) -> Floats:
        upto = np.zeros((self.rows + 1, statistics.shape[1]))
        np.cumsum(statistics, axis=0, out=upto[1:])
        blocks = upto[self.length :] - upto[: -self.length]
        return np.stack([blocks[starts].sum(axis=0) for starts in self.starts])

    def counts(self, codes: Ints, k: int) -> Floats:
        return self.sums(one_hot(codes, k))

    def weights(self) -> Iterator[Floats]:
        done = 0
        for size in _chunks(len(self.starts), self.rows):
            steps = np.zeros((size, self.rows + 1))
            at = np.arange(size)[:, None]
            np.add.at(steps, (at, self.starts[done : done + size]), 1.0)
            np.add.at(steps, (at, self.starts[done : done + size] + self.length), -1.0)
            done += size
            yield np.cumsum(steps, axis=1)[:, :-1]


def _chunks(count: int, width: int) -> Iterator[int]:
    size = max(1, _CELLS // width)
    while count > 0:
        yield min(size, count)
        count -= size


def block_length(rows: int, embargo: int) -> int:
    """Rows of a block for `rows` rows in order: as far as neighbours are taken to be alike.

    The embargo, or the cube root of the rows (Hall, Horowitz and Jing, 1995) where that is
    longer; at most half of the rows.
    """
    return max(1, min(max(embargo, round(rows ** (1 / 3))), rows // 2))
