"""The split: what the search may see, how it scores, and what it never sees.

Unordered rows: 20 % held out at random, folds at random. Ordered rows: the last 20 % held out,
folds by expanding windows, and an embargo of rows between what trains and what scores, so that
no row next to a training row is scored. The row numbers are made once, with the experiment,
and stored with its data: a resumed study has the same split whatever NumPy does later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

HELD_OUT = 0.2
EMBARGO = 0.01
"""The part of all rows left out before a scored block of ordered data (Lopez de Prado,
Advances in Financial Machine Learning, 2018, section 7.4.2, proposes one hundredth)."""

FEWEST_TRAINING_ROWS = 12
"""Windows in time that would train on fewer rows give way to fewer folds: a model that keeps a
tenth of its rows aside to stop early needs two of them."""

FIVE_FOLDS_BELOW = 10_000
THREE_FOLDS_BELOW = 50_000


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers that train, and row numbers that score."""

    train: Rows
    valid: Rows


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of one experiment. `search` and `held_out` share none.

    folds: the selection score is the mean over them. embargo: rows left out in between.
    """

    ordered: bool
    search: Rows
    held_out: Rows
    folds: tuple[Fold, ...]
    embargo: int

    def describe(self) -> dict[str, Any]:
        """The split as plain data, for the store and for people."""
        kind = "expanding windows" if self.ordered else "random folds"
        if len(self.folds) == 1:
            kind = "one holdout"
        return {
            "kind": kind,
            "ordered": self.ordered,
            "folds": len(self.folds),
            "search_rows": len(self.search),
            "held_out_rows": len(self.held_out),
            "embargo_rows": self.embargo,
        }


def make_split(rows: int, *, ordered: bool, seed: int) -> Split:
    """Split `rows` rows. Raises ValueError below 10 rows: a fold would be empty."""
    if rows < 10:
        raise ValueError(f"`rows` must be at least 10, got {rows}")
    return _ordered(rows) if ordered else _random(rows, seed)


def fold_count(search_rows: int) -> int:
    """How many folds: the smaller the data, the more a single fold would owe to luck."""
    if search_rows < FIVE_FOLDS_BELOW:
        return 5
    return 3 if search_rows < THREE_FOLDS_BELOW else 1


def _random(rows: int, seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(rows)
    n_held_out = max(1, round(rows * HELD_OUT))
    held_out, search = order[:n_held_out], order[n_held_out:]
    folds = fold_count(len(search))
    parts = np.array_split(search, folds if folds > 1 else 5)
    scored = range(len(parts)) if folds > 1 else range(1)
    return Split(
        ordered=False,
        search=np.sort(search),
        held_out=np.sort(held_out),
        folds=tuple(
            Fold(
                train=np.sort(np.concatenate([p for j, p in enumerate(parts) if j != i])),
                valid=np.sort(parts[i]),
            )
            for i in scored
        ),
        embargo=0,
    )


def _ordered(rows: int) -> Split:
    embargo = max(1, math.ceil(rows * EMBARGO))
    n_held_out = max(1, round(rows * HELD_OUT))
    search = np.arange(rows - n_held_out - embargo)
    folds = fold_count(len(search))
    # The first window is the shortest: fewer folds rather than one that trains on nothing.
    while folds > 1 and len(search) // (folds + 1) - embargo < FEWEST_TRAINING_ROWS:
        folds -= 2
    # Blocks of equal length: the first only trains, each later one is scored once.
    blocks = np.array_split(search, folds + 1 if folds > 1 else 5)
    scored = range(1, len(blocks)) if folds > 1 else range(len(blocks) - 1, len(blocks))
    return Split(
        ordered=True,
        search=search,
        held_out=np.arange(rows - n_held_out, rows),
        folds=tuple(
            Fold(
                train=np.arange(max(1, int(blocks[i][0]) - embargo)),
                valid=blocks[i],
            )
            for i in scored
        ),
        embargo=embargo,
    )
