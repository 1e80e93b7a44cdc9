"""A random sample of a table's rows while it is read, for tables larger than memory.

Every row draws a number, and the rows with the lowest numbers are the sample. The same table
as CSV and as Parquet has the same sample, and so one hash.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

Rows = npt.NDArray[np.int64]

SEED = 0
_TEXT, _NUMBER, _LOGICAL = "text", "number", "logical"


class Sampler:
    """The `wanted` rows with the lowest draws among those given so far, in chunks."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.seen = 0
        self._random = np.random.default_rng(SEED)
        self._draws = np.empty(0)
        self._rows = np.empty(0, dtype=np.int64)

    def keep(self, count: int) -> Rows:
        """Which of the next `count` rows may still be in the sample: positions, in order."""
        draws = self._random.random(count)
        bound = self._bound()
        inside = np.flatnonzero(draws < bound)
        self._draws = np.append(self._draws, draws[inside])
        self._rows = np.append(self._rows, inside + self.seen)
        self.seen += count
        return inside

    def _bound(self) -> float:
        if len(self._draws) < self.wanted:
            return 1.0
        return float(np.partition(self._draws, self.wanted - 1)[self.wanted - 1])

    def chosen(self) -> tuple[Rows, Rows]:
        """(positions among all rows kept, their numbers in the table), in the table's order."""
        if len(self._draws) <= self.wanted:
            at = np.arange(len(self._draws))
        else:
            at = np.sort(np.argpartition(self._draws, self.wanted)[: self.wanted])
        return at, self._rows[at]


def sample_frames(
    chunks: Iterator[pd.DataFrame], wanted: int
) -> tuple[pd.DataFrame, Rows, int, set[str]]:
    """(sample, its row numbers, rows seen, columns whose chunks were not of one kind).

    The frame's index is 0..len-1. Columns of several kinds must be read again, as text: what was
    a number in one chunk and text in another is neither.
    """
    sampler = Sampler(wanted)
    kept: list[pd.DataFrame] = []
    kinds: dict[str, set[str]] = {}
    for chunk in chunks:
        for label, values in chunk.items():
            if not values.isna().all():
                kinds.setdefault(str(label), set()).add(_kind(values))
        kept.append(chunk.iloc[sampler.keep(len(chunk))])
    at, rows = sampler.chosen()
    frame = pd.concat(kept, ignore_index=True).iloc[at].reset_index(drop=True)
    mixed = {label for label, found in kinds.items() if len(found) > 1}
    return frame, rows, sampler.seen, mixed


def _kind(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return _LOGICAL
    return _NUMBER if pd.api.types.is_numeric_dtype(values) else _TEXT


def chosen_rows(rows: int, wanted: int) -> Rows:
    """The row numbers of the sample of a table whose length is known, in order."""
    sampler = Sampler(wanted)
    sampler.keep(rows)
    return sampler.chosen()[1]
