"""Rows that come with validation rows of their own: nothing is drawn, and nothing is held out.

All of X_train trains every model once, X_val is what the search selects by. A held-out score needs
rows outside both: test rows, or a part of X_train that is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.datasets import Dataset
from engines.data.frames import as_frame, as_labels, from_arrays
from engines.data.splits import Fold, Rows, Split
from engines.errors import BadInput

MOST_HELD_OUT = 0.5
FEWEST_SCORED = 2


@dataclass(frozen=True)
class Part:
    """Some rows by the names that a person knows them by. y: (rows,), one for each row of X."""

    names: tuple[str, str]
    frame: pd.DataFrame
    y: npt.NDArray[Any]

    @classmethod
    def of(cls, X: Any, y: Any, names: tuple[str, str]) -> Part:
        """Raises BadInput for shapes that don't fit, or a y that is missing somewhere."""
        frame, labels = as_frame(X), as_labels(y)
        if labels.ndim != 1 or len(labels) != len(frame):
            raise BadInput(
                f"{names[1]} has the shape {labels.shape} and {names[0]} {len(frame)} rows: "
                "one y for each."
            )
        missing = int(pd.isna(labels).sum())
        if missing:
            raise BadInput(f"{names[1]} is missing in {missing:,} rows: leave these rows out.")
        return cls(names, frame, labels)


def given_rows(
    train: tuple[Any, Any],
    valid: tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    *,
    held_out: float | None = None,
    ordered: bool = False,
    task: str | None = None,
    seed: int = 42,
    name: str = "data",
) -> tuple[Dataset, Split]:
    """(data set, split) of (X, y) pairs, which stand in it one after the other in this order.

    X, y: as for `frames.from_arrays`. test: rows for the held-out score; held_out: the part of the
    training rows, drawn with the seed, that is set aside for it. Without both there is none.
    ordered: the rows stand in the order of time, each part behind the one before it. Raises
    BadInput for parts of different columns, too few rows, or a held-out part that can't be had.
    """
    parts = [Part.of(*train, ("X_train", "y_train")), Part.of(*valid, ("X_val", "y_val"))]
    if test is not None:
        parts.append(Part.of(*test, ("X_test", "y_test")))
    _check_held_out(held_out, has_test=test is not None, ordered=ordered)
    _check_columns(parts)
    for part in parts[1:]:
        if len(part.y) < FEWEST_SCORED:
            raise BadInput(f"{part.names[0]} has {len(part.y)} rows: too few to score.")
    X = pd.concat([part.frame for part in parts], ignore_index=True)
    y = np.concatenate(_of_one_kind([part.y for part in parts]))
    dataset = from_arrays(X, y, name=name, task=task, time_column="none")
    if ordered:
        dataset = replace(dataset, ordered=True)
    sizes = [len(part.y) for part in parts]
    return dataset, _split(sizes, held_out, ordered=ordered, seed=seed)


def _of_one_kind(labels: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Arrays that can be joined: NumPy would turn numbers beside text into text."""
    if len({array.dtype.kind in "biuf" for array in labels}) > 1:
        raise BadInput("y is numbers in one part and text in another: give all of one kind.")
    return list(labels)


def _check_held_out(held_out: float | None, *, has_test: bool, ordered: bool) -> None:
    if held_out is None:
        return
    if has_test:
        raise BadInput("Both X_test and held_out: the held-out rows are one or the other.")
    if not 0 < held_out <= MOST_HELD_OUT:
        raise BadInput(f"held_out is {held_out}: a part of X_train, above 0 and at most 0.5.")
    if ordered:
        raise BadInput(
            "held_out draws rows at random, and these stand in the order of time: give the rows "
            "behind X_val as X_test, y_test."
        )


def _check_columns(parts: Sequence[Part]) -> None:
    names = list(parts[0].frame.columns)
    for part in parts[1:]:
        other = list(part.frame.columns)
        if sorted(other) == sorted(names):
            continue
        odd = sorted(set(other) ^ set(names))
        what = f"'{odd[0]}' is in one of them" if odd else "a name is there twice"
        raise BadInput(
            f"{part.names[0]} has {len(other)} columns and X_train {len(names)} ({what}): "
            "they must be the same."
        )


def _split(sizes: Sequence[int], held_out: float | None, *, ordered: bool, seed: int) -> Split:
    ends = np.cumsum(sizes)
    train, valid = np.arange(ends[0]), np.arange(ends[0], ends[1])
    aside: Rows = np.arange(ends[1], ends[-1])
    if held_out is not None:
        drawn = np.random.default_rng(seed).permutation(train)
        count = max(FEWEST_SCORED, round(len(train) * held_out))
        aside, train = np.sort(drawn[:count]), np.sort(drawn[count:])
    return Split(
        ordered=ordered,
        search=np.concatenate([train, valid]),
        held_out=aside,
        folds=(Fold(train, valid),),
        embargo=0,
        given=True,
    )
