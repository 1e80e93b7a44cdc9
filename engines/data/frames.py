"""Rows that are in memory: from arrays and frames to a data set, and new rows to its columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.columns import Column, read_column
from engines.data.datasets import Dataset, Feature, Roles, assemble
from engines.data.reading import Table, check_names, quoted
from engines.errors import BadInput

Floats = npt.NDArray[np.float64]

TARGET = "target"
PLACE = Path("X")
"""What messages call rows that come from no file."""


def from_arrays(
    X: Any,
    y: Any,
    *,
    name: str = "data",
    task: str | None = None,
    time_column: str | None = None,
    groups: str | None = None,
) -> Dataset:
    """A data set of rows in memory.

    X: (rows, columns), an array or a frame of pandas or Polars; NaN is missing, text and
    categories are categories. y: (rows,), numbers or labels. time_column, groups: names of columns
    of X. Raises BadInput as `engines.data.datasets.load` does, naming rows by their number in X.
    """
    frame = as_frame(X)
    target = TARGET
    while target in frame.columns:
        target += "_"
    labels = as_labels(y)
    if labels.ndim != 1 or len(labels) != len(frame):
        raise BadInput(f"y has the shape {labels.shape} and X {len(frame)} rows: one y for each.")
    frame = frame.assign(**{target: labels})
    check_names(PLACE, list(frame.columns))
    table = Table(PLACE, frame, None, ())
    columns = {label: read_column(table, label) for label in frame.columns}
    return assemble(table, columns, name, None, Roles(target, time_column or "none", task, groups))


def as_labels(y: Any) -> npt.NDArray[Any]:
    """y as an array; one column is taken as (rows,), another shape is left for its user."""
    labels = np.asarray(_from_polars(y))
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _from_polars(values: Any) -> Any:
    """A frame or series of Polars as one of pandas; anything else as it is."""
    if type(values).__module__.partition(".")[0] != "polars":
        return values
    if not hasattr(values, "to_pandas"):
        raise BadInput("A lazy frame of Polars has no rows yet: call .collect() on it.")
    return values.to_pandas()


def as_frame(X: Any) -> pd.DataFrame:
    """X as a frame with text for names and rows numbered from 0; columns of an array are x0..."""
    X = _from_polars(X)
    if isinstance(X, pd.DataFrame):
        frame = X.reset_index(drop=True)
        frame.columns = [str(label) for label in frame.columns]
        return frame
    array = np.asarray(X)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise BadInput(f"X has the shape {array.shape}: it must be (rows, columns).")
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])


def encode(X: Any, features: Sequence[Feature]) -> Floats:
    """New rows as the columns that models were trained on: float64 (rows, features).

    A category that was not there in training is missing, and so is an empty value. Raises
    BadInput for a column that is absent or of another kind.
    """
    frame = as_frame(X)
    table = Table(PLACE, frame, None, ())
    for feature in features:
        if feature.name not in frame.columns:
            raise BadInput(f"X has no column '{feature.name}', which the models learned from.")
    return np.column_stack([encode_column(table, feature)[0] for feature in features])


def encode_column(table: Table, feature: Feature) -> tuple[Floats, list[str]]:
    """(rows,) values of one feature in new rows, and the texts among them that were not learned.

    Those are missing (NaN), as in `encode`. Raises BadInput, naming the line, for values of
    another kind.
    """
    column = read_column(table, feature.name)
    if feature.kind == "number":
        if column.numbers is None:
            raise table.refuse(f"column {quoted(feature.name)} holds text; numbers were learned")
        return column.numbers, []
    text = column.as_text() if column.numbers is None else _words(table, column)
    codes = {label: float(code) for code, label in enumerate(feature.categories)}
    mapped = text.map(codes).to_numpy(dtype=np.float64, na_value=np.nan)
    found = np.asarray(mapped, dtype=np.float64)
    strange = np.isnan(found) & ~column.missing
    return found, sorted({str(label) for label in text[strange]})


def _words(table: Table, column: Column) -> pd.Series:
    """Numbers as they were written where they stood among texts: 3, not 3.0."""
    assert column.numbers is not None
    raw = table.frame[column.name]
    if not pd.api.types.is_float_dtype(raw):
        return raw.astype("str").str.strip()
    return pd.Series([str(int(n)) if n.is_integer() else repr(n) for n in column.numbers.tolist()])
