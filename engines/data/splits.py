"""The split: what the search may see, how it scores, and what it never sees.

Unordered rows: 20 % held out at random, folds at random; classes keep their shares in every
part, and rows of one group stay in one part. Ordered rows: the last 20 % held out, folds by
expanding windows, and an embargo of rows between what trains and what scores, so that no row
next to a training row is scored. The row numbers are made once, with the experiment, and stored
with its data: a resumed study has the same split whatever NumPy does later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engines.errors import BadInput

if TYPE_CHECKING:
    # pandas comes with it, 0.3 s that a worker does not need.
    from engines.data.datasets import Dataset

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

PARTS_OF_A_HOLDOUT = 5
"""With one fold, one of so many equal parts of the search rows is scored."""

HELD_OUT_TRIES = 50
"""Whole groups are drawn into the held-out part so many times; the draw nearest to its share
of the rows, and of each class, is taken."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Row numbers that train, and row numbers that score."""

    train: Rows
    valid: Rows


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of one experiment. `search` and `held_out` share none.

    folds: the selection score is the mean over them. embargo: rows left out in between.
    stratified: classes keep their shares. grouped: rows of one group are in one part. given: the
    validation rows are a person's own; nothing was drawn.
    """

    ordered: bool
    search: Rows
    held_out: Rows
    folds: tuple[Fold, ...]
    embargo: int
    stratified: bool = False
    grouped: bool = False
    given: bool = False

    def describe(self) -> dict[str, Any]:
        """The split as plain data, for the store and for people."""
        kind = "expanding windows" if self.ordered else "random folds"
        if len(self.folds) == 1:
            kind = "given validation set" if self.given else "one holdout"
        kind += ", whole groups" if self.grouped else ", stratified" if self.stratified else ""
        described = {
            "kind": kind,
            "ordered": self.ordered,
            "folds": len(self.folds),
            "search_rows": len(self.search),
            "held_out_rows": len(self.held_out),
            "embargo_rows": self.embargo,
        }
        if self.given:
            # Which rows they are follows from their number: nothing else says where they begin.
            described["validation_rows"] = len(self.folds[0].valid)
        return described


def split_dataset(dataset: Dataset, seed: int) -> Split:
    """The split of a data set by its own order, classes and groups. Raises as `make_split`."""
    labels = dataset.y.astype(np.int64) if dataset.task == "classification" else None
    horizon = 0 if dataset.past is None else dataset.past.horizon
    return make_split(
        dataset.rows,
        ordered=dataset.ordered,
        seed=seed,
        labels=labels,
        groups=dataset.groups,
        horizon=horizon,
    )


def make_split(
    rows: int,
    *,
    ordered: bool,
    seed: int,
    labels: Rows | None = None,
    groups: Rows | None = None,
    horizon: int = 0,
) -> Split:
    """Split `rows` rows.

    labels: (rows,) class codes, whose shares unordered rows keep in every part. groups: (rows,)
    codes of what must not be parted. horizon: rows that a target reaches beyond its own; the
    embargo of ordered rows is at least as long, so that no target that trains lies among those
    that are scored. Raises BadInput for groups of ordered rows or too few
    groups, ValueError below 10 rows: a fold would be empty.
    """
    if rows < 10:
        raise ValueError(f"`rows` must be at least 10, got {rows}")
    if groups is not None:
        check_groups(groups, ordered=ordered)
        return _grouped(groups, labels, seed)
    if ordered:
        return _ordered(rows, horizon)
    return _random(rows, seed) if labels is None else _stratified(labels, seed)


def check_groups(groups: Rows, *, ordered: bool) -> None:
    """Raise BadInput, on one line, if rows can't be split by these groups."""
    if ordered:
        raise BadInput(
            "Rows in order of time can't be split by groups as well: leave out --groups, or the "
            "order with --time-column none."
        )
    count, folds = len(np.unique(groups)), fold_count(round(len(groups) * (1 - HELD_OUT)))
    needed = max(folds, 2) + 1
    if count < needed:
        raise BadInput(
            f"--groups has {count} different values, and to split {len(groups):,} rows by them "
            f"takes at least {needed} of them: choose another column, or leave it out."
        )


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
    parts = np.array_split(search, folds if folds > 1 else PARTS_OF_A_HOLDOUT)
    return _of_parts(held_out, parts, folds)


def _of_parts(
    held_out: Rows,
    parts: Sequence[Rows],
    folds: int,
    *,
    stratified: bool = False,
    grouped: bool = False,
) -> Split:
    """Each part is scored by what the others train; with one fold, only the first is."""
    scored = range(len(parts)) if folds > 1 else range(1)
    return Split(
        ordered=False,
        search=np.sort(np.concatenate(parts)),
        held_out=np.sort(held_out),
        folds=tuple(
            Fold(
                train=np.sort(np.concatenate([p for j, p in enumerate(parts) if j != i])),
                valid=np.sort(parts[i]),
            )
            for i in scored
        ),
        embargo=0,
        stratified=stratified,
        grouped=grouped,
    )


def _stratified(labels: Rows, seed: int) -> Split:
    """Rows sorted by class, at random inside one, and dealt out evenly along that line."""
    random = np.random.default_rng(seed)
    # A class's place in the line is drawn too, or the same parts would always get one more.
    place = random.permutation(int(labels.max()) + 1)
    shuffled = random.permutation(len(labels))
    line = shuffled[np.argsort(place[labels[shuffled]], kind="stable")]
    n_held_out = max(1, round(len(line) * HELD_OUT))
    every = len(line) / n_held_out
    taken = np.zeros(len(line), dtype=bool)
    positions = ((np.arange(n_held_out) + random.random()) * every).astype(np.int64)
    taken[np.minimum(positions, len(line) - 1)] = True
    search = line[~taken]
    folds = fold_count(len(search))
    n_parts = folds if folds > 1 else PARTS_OF_A_HOLDOUT
    parts = [search[i::n_parts] for i in random.permutation(n_parts)]
    return _of_parts(line[taken], parts, folds, stratified=True)


def _grouped(groups: Rows, labels: Rows | None, seed: int) -> Split:
    """Whole groups in every part; parts alike in rows and, where there are any, in classes."""
    random = np.random.default_rng(seed)
    codes = np.unique(groups, return_inverse=True)[1]
    sizes = _contents(codes, labels)
    folds = fold_count(len(codes) - round(len(codes) * HELD_OUT))
    n_parts = folds if folds > 1 else PARTS_OF_A_HOLDOUT
    least = n_parts if folds > 1 else 2
    out = _draw_groups(sizes, len(sizes) - least, random)
    kept = random.permutation(np.setdiff1d(np.arange(len(sizes)), out))
    part = np.full(len(sizes), -1)
    part[kept] = _deal_groups(sizes[kept], n_parts)
    of_row = part[codes]
    parts = [np.flatnonzero(of_row == i) for i in range(n_parts)]
    if folds == 1:
        # The part that is scored is the one nearest to its share of the rows.
        share = len(codes) * (1 - HELD_OUT) / n_parts
        first = int(np.argmin([abs(len(p) - share) if len(p) else math.inf for p in parts]))
        parts = [parts[first], *parts[:first], *parts[first + 1 :]]
    return _of_parts(
        np.flatnonzero(of_row < 0), parts, folds, stratified=labels is not None, grouped=True
    )


def _contents(codes: Rows, labels: Rows | None) -> npt.NDArray[np.float64]:
    """(groups, 1 + classes): each group's part of all rows, and of the rows of each class."""
    rows = np.bincount(codes)[:, None]
    if labels is not None:
        k = int(labels.max()) + 1
        of_class = np.bincount(codes * k + labels, minlength=len(rows) * k).reshape(-1, k)
        rows = np.column_stack([rows, of_class[:, of_class.any(axis=0)]])
    return np.asarray(rows / rows.sum(axis=0))


def _draw_groups(contents: npt.NDArray[np.float64], most: int, random: np.random.Generator) -> Rows:
    """At least one and at most `most` groups whose contents are close to the held-out share."""
    best, nearest = np.zeros(1, dtype=np.int64), math.inf
    for _ in range(HELD_OUT_TRIES):
        order = random.permutation(len(contents))[:most]
        held = np.cumsum(contents[order], axis=0)
        # A part without any class misses them all: rows count as much as all classes together.
        away = (held - HELD_OUT) ** 2
        off = away[:, 0] + (away[:, 1:].mean(axis=1) if away.shape[1] > 1 else 0.0)
        cut = int(off.argmin())
        if off[cut] < nearest:
            best, nearest = order[: cut + 1], float(off[cut])
    return best


def _deal_groups(contents: npt.NDArray[np.float64], n_parts: int) -> Rows:
    """(groups,) the part of each: the largest first, each where it evens out the most.

    The greedy rule of Graham (1969) for equal loads, with squared loads, so that rows and
    classes count at once. No part stays empty while there are as many groups.
    """
    weights = np.ones(contents.shape[1])
    weights[1:] = 1.0 / max(1, contents.shape[1] - 1)
    loads = np.zeros((n_parts, contents.shape[1]))
    part = np.zeros(len(contents), dtype=np.int64)
    for at in np.argsort(-contents[:, 0], kind="stable"):
        rise = (2 * loads * contents[at] + contents[at] ** 2) @ weights
        part[at] = int(rise.argmin())
        loads[part[at]] += contents[at]
    return part


def _ordered(rows: int, horizon: int) -> Split:
    embargo = max(1, horizon, math.ceil(rows * EMBARGO))
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
