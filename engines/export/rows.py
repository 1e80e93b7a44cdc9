"""New rows, as the models of an exported predictor take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.columns import read_column
from engines.data.datasets import Feature
from engines.data.frames import PLACE, as_frame, encode_column
from engines.data.reading import Table, counted, quoted, read_table, shown
from engines.data.roles import choose_time, listed
from engines.errors import BadInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAMED = 5
"""So many categories that were not learned are named; of more, their number is told."""


@dataclass(frozen=True)
class NewRows:
    """X: float64 (rows, features) in the order of time, if that is known. order: int (rows,), the
    place in the file of each. times: int64 epoch nanoseconds (rows,) ascending, or None. notices:
    what a person should know, one line each.
    """

    X: Floats
    order: npt.NDArray[np.intp]
    times: Ints | None
    notices: tuple[str, ...]


def read_new(path: Path) -> Table:
    """A table of rows in a CSV or Parquet file. Raises BadInput for what is none."""
    return read_table(path, fewest=1)


def table_of(rows: Any) -> Table:
    """A table of rows in memory, a frame or an array of columns x0, x1, ...; BadInput for none."""
    frame = as_frame(rows)
    if not len(frame):
        raise BadInput(f"{PLACE} has no rows to predict.")
    return Table(PLACE, frame, None, ())


def read_rows(table: Table, features: Sequence[Feature], time_column: str | None) -> NewRows:
    """The features among the columns of a table, whatever their order; others are not looked at.

    time_column: where the order of rows matters, else None. A category that was not learned is
    missing, which is noted. Raises BadInput for a feature that is absent or of another kind, and
    for times that can't be read.
    """
    absent = [shown(f.name) for f in features if f.name not in table.frame.columns]
    if absent:
        what, it = ("column", "it") if len(absent) == 1 else ("columns", "them")
        raise table.refuse(f"no {what} {listed(absent)}, which the models learned from; add {it}")
    notices: list[str] = []
    values = []
    for feature in features:
        found, strange = encode_column(table, feature)
        values.append(found)
        if strange:
            notices.append(_about_strange(feature, strange))
    X = np.ascontiguousarray(np.column_stack(values))
    order = np.arange(len(X))
    if time_column is None:
        return NewRows(X, order, None, tuple(notices))
    times = _times(table, time_column, notices)
    if times is not None:
        order = np.argsort(times, kind="stable")
        times = times[order]
    return NewRows(X[order], order, times, tuple(notices))


def _about_strange(feature: Feature, strange: list[str]) -> str:
    named = ", ".join(shown(label, 40) for label in strange[:NAMED])
    more = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
    kinds = counted(len(strange), "category").replace("categorys", "categories")
    return (
        f"column {quoted(feature.name)} has {kinds} that the models never saw, taken for missing: "
        f"{named}{more}"
    )


def _times(table: Table, name: str, notices: list[str]) -> Ints | None:
    """When the rows were, or None if the column is not there: then they are in order."""
    if name not in table.frame.columns:
        notices.append(
            f"no column {quoted(name)}: the rows are taken to follow the known ones, in order"
        )
        return None
    columns = {name: read_column(table, name)}
    return choose_time(table, columns, None, name, [])[1]


def as_column(labels: Sequence[str], chosen: npt.NDArray[np.intp]) -> pd.Series:
    """The labels of chosen classes: numbers where all of them are whole numbers, else text."""
    numbers = all(label.removeprefix("-").isdigit() for label in labels)
    return pd.Series([int(labels[i]) if numbers else labels[i] for i in chosen])
