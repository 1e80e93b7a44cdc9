"""Data sets: from a bundled name or a person's own file to arrays that models learn from.

`load` reads, chooses target and time column where none is named, sorts by time, drops what
can't be learned from, and says all of that in `notices`. What it can't settle honestly it
refuses with a BadInput of one line: what, where, what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from engines.data.bundled import BUNDLED, read_diabetes
from engines.data.columns import Column, categories_of, read_column
from engines.data.reading import Table, counted, quoted, read_table, shown
from engines.data.roles import LISTED, choose_target, choose_time, listed, row_order
from engines.errors import BadInput

__all__ = ["BUNDLED", "Dataset", "Feature", "load"]

Floats = npt.NDArray[np.float64]

MIN_ROWS = 20


@dataclass(frozen=True)
class Feature:
    """One column that models may see. A category's codes index `categories`."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table ready to be learned from. Compare two by `sha256`.

    name: the bundled name, or the file's stem. path: the absolute path, None if bundled.
    sha256: hash of what is learned from: names, kinds, categories, values, target and time,
        in the order of the columns and of the sorted rows. Not the file's bytes: the same
        table as CSV and as Parquet has one hash, and renaming the file doesn't change it.
    X: float64 (rows, features), category columns hold codes 0..k-1, NaN is missing.
    y: float64 (rows,), finite. times: int64 epoch nanoseconds (rows,), strictly increasing,
        or None when the rows have no order.
    notices: one sentence each, what a person should know about how the data was read.
    """

    name: str
    path: str | None
    sha256: str
    rows: int
    features: tuple[Feature, ...]
    target: str
    time_column: str | None
    ordered: bool
    X: Floats
    y: Floats
    times: npt.NDArray[np.int64] | None
    notices: tuple[str, ...]


def load(source: str, *, target: str | None = None, time_column: str | None = None) -> Dataset:
    """Load a bundled data set (any case) or a CSV or Parquet file.

    `time_column="none"` keeps a file's rows unordered even if a column looks like time.
    Raises BadInput for data that can't be used as it is, PackageMissing for `diabetes`
    without scikit-learn.
    """
    table, name, path = open_source(source)
    target, time_column = named_roles(name, path, target, time_column)
    columns = {label: read_column(table, label) for label in table.frame.columns}
    return assemble(table, columns, name, path, target, time_column)


def open_source(source: str) -> tuple[Table, str, str | None]:
    """(raw table, name, absolute path or None if bundled) of what a person typed."""
    entry = BUNDLED.get(source.casefold())
    if entry is not None and entry.name == "diabetes":
        path, frame = read_diabetes()
        return Table(path, frame, None, ()), entry.name, None
    if entry is not None:
        return read_table(entry.path), entry.name, None
    path = Path(source)
    with contextlib.suppress(RuntimeError):  # ~name of nobody: say that there is no such file
        path = path.expanduser()
    if not source.strip() or (path.name == source and not path.suffix and not _exists(path)):
        raise BadInput(_unknown(source))
    path = path.absolute()
    return read_table(path), path.stem, str(path)


def named_roles(
    name: str, path: str | None, target: str | None, time_column: str | None
) -> tuple[str | None, str | None]:
    """(target, time column) as asked for, or as the registry has them for a bundled set."""
    entry = BUNDLED.get(name) if path is None else None
    if entry is None:
        return target, time_column
    return target or entry.target, time_column or entry.time_column


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _unknown(source: str) -> str:
    near = difflib.get_close_matches(source.casefold(), BUNDLED, n=2, cutoff=0.6)
    names = f"did you mean {' or '.join(near)}?" if near else f"bundled are {', '.join(BUNDLED)}"
    cwd = shown(Path.cwd(), 300)
    return f"no data set or file called {quoted(source)} (looked in {cwd}); {names}"


def assemble(
    table: Table,
    columns: dict[str, Column],
    name: str,
    path: str | None,
    target: str | None,
    time_column: str | None,
) -> Dataset:
    """Choose target and time, order the rows, and build the arrays of a Dataset.

    Raises BadInput for a target or time column that can't be used, too few rows, no feature.
    """
    notices = list(table.notices)
    clock, ns = choose_time(table, columns, target, time_column, notices)
    goal = choose_target(table, columns, target, clock, notices)
    order = row_order(table, columns[goal], clock, ns, notices)
    numbers = columns[goal].numbers
    assert numbers is not None
    y = numbers[order]
    _check_target(table, goal, y)
    usable = [column for label, column in columns.items() if label not in (goal, clock)]
    features, blocks = _features(usable, order, notices)
    if not features:
        raise table.refuse("no feature is left beside the target; add columns to learn from")
    x = np.column_stack(blocks)
    _count_missing(features, x, notices)
    stamps = None if ns is None else ns[order]
    return Dataset(
        name=name,
        path=path,
        sha256=content_hash(features, x, goal, y, clock, stamps),
        rows=len(y),
        features=tuple(features),
        target=goal,
        time_column=clock,
        ordered=clock is not None,
        X=x,
        y=y,
        times=stamps,
        notices=tuple(notices),
    )


def content_hash(
    features: Sequence[Feature],
    x: Floats,
    target: str,
    y: Floats,
    time_column: str | None,
    stamps: npt.NDArray[np.int64] | None,
) -> str:
    """sha256 of what is learned from, as hexadecimal; equal content, equal hash.

    x is (rows, features) and y (rows,); every NaN counts as the same NaN and -0.0 as 0.0.
    """
    head = {
        "layout": 1,
        "features": [[f.name, f.kind, list(f.categories)] for f in features],
        "target": target,
        "time": time_column,
        "shape": list(x.shape),
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for column in (*x.T, y):
        plain = np.where(np.isnan(column), np.nan, column + 0.0)
        digest.update(plain.astype("<f8").tobytes())
    if stamps is not None:
        digest.update(stamps.astype("<i8").tobytes())
    return digest.hexdigest()


def _check_target(table: Table, goal: str, y: Floats) -> None:
    if len(y) < MIN_ROWS:
        what = f"{counted(len(y), 'row')} with a target: too few"
        raise table.refuse(f"{what}; at least {MIN_ROWS} are needed: add rows")
    if (y == y[0]).all():
        what = f"target {quoted(goal)} is {y[0]:g} in every row, so there is nothing to predict"
        raise table.refuse(f"{what}; choose another column with --target")


def _features(
    usable: Sequence[Column], order: npt.NDArray[np.intp], notices: list[str]
) -> tuple[list[Feature], list[Floats]]:
    """The columns worth learning from, with their values in the order of the rows."""
    features: list[Feature] = []
    blocks: list[Floats] = []
    dropped: dict[str, list[str]] = {}
    for column in usable:
        feature, values, reason = _feature(column, order)
        if reason:
            dropped.setdefault(reason, []).append(shown(column.name))
        else:
            features.append(feature)
            blocks.append(values)
    for reason, names in dropped.items():
        left_out = "column left out" if len(names) == 1 else "columns left out"
        notices.append(f"{left_out}, {reason}: {listed(names)}")
    return features, blocks


def _feature(column: Column, order: npt.NDArray[np.intp]) -> tuple[Feature, Floats, str]:
    """(feature, values, "") or, for a column that can't be learned from, the reason last."""
    missing = column.missing[order]
    if column.numbers is not None:
        values = column.numbers[order]
        feature = Feature(column.name, "number")
    else:
        found = categories_of(column.as_text().iloc[order])
        if found is None:
            return (
                Feature(column.name, "category"),
                np.empty(0),
                "too many different texts",
            )
        feature, values = Feature(column.name, "category", found[0]), found[1]
    if missing.all():
        return feature, values, "empty"
    if not missing.any() and (values == values[0]).all():
        return feature, values, "the same in every row"
    if column.name.startswith("unnamed_") and (np.diff(values) == 1).all():
        return feature, values, "a row number without a name"
    return feature, values, ""


def _count_missing(features: Sequence[Feature], x: Floats, notices: list[str]) -> None:
    counts = np.isnan(x).sum(axis=0)
    holes = [(shown(f.name), int(n)) for f, n in zip(features, counts, strict=True) if n]
    for name, count in holes[:LISTED]:
        notices.append(f"{counted(count, 'missing value')} in column '{name}'")
    if len(holes) > LISTED:
        notices.append(f"{len(holes) - LISTED} more columns have missing values")
