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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.bundled import BUNDLED, data_sets, read_diabetes
from engines.data.columns import Column, categories_of, read_column
from engines.data.memory import Room, free_bytes
from engines.data.past import Past
from engines.data.reading import Table, counted, quoted, read_table, shown
from engines.data.roles import (
    LISTED,
    choose_groups,
    choose_target,
    choose_time,
    listed,
    row_order,
)
from engines.data.splits import check_groups
from engines.data.tasks import CLASSIFICATION, REGRESSION, check_task, choose_task, encode
from engines.errors import BadInput

__all__ = ["BUNDLED", "Dataset", "Feature", "load"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

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
    y: float64 (rows,), finite; for classification the codes 0..k-1 of `classes`.
    times: int64 epoch nanoseconds (rows,), strictly increasing, or None when the rows have no
        order.
    notices: one sentence each, what a person should know about how the data was read.
    task: "regression" or "classification". classes: the labels as text, in sorted order.
    groups: int64 (rows,) codes of the values of `group_column`, rows that must not be parted,
        or None. The column is no feature.
    past: the target's own past, if models may read it; see `engines.data.past.look_back`, which
        adds it. y of the task "forecast" is (rows, horizon).
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
    times: Ints | None
    notices: tuple[str, ...]
    task: str = REGRESSION
    classes: tuple[str, ...] = ()
    group_column: str | None = None
    groups: Ints | None = None
    past: Past | None = None


def load(
    source: str,
    *,
    target: str | None = None,
    time_column: str | None = None,
    task: str | None = None,
    groups: str | None = None,
    sample_rows: int | None = None,
    room: Room | None = None,
) -> Dataset:
    """Load a bundled data set (any case) or a CSV or Parquet file.

    `time_column="none"` keeps a file's rows unordered even if a column looks like time.
    task: "regression", "classification", or None to guess it from the target. groups: the
    column of what must not be parted between training and scoring. sample_rows: learn from so
    many rows of a larger file, always the same ones. room: the memory there is, by default what
    the machine has free. Raises BadInput for data that can't be used as it is or doesn't fit,
    PackageMissing for `diabetes` without scikit-learn.
    """
    check_task(task)
    if sample_rows is not None and sample_rows < MIN_ROWS:
        raise BadInput(f"A sample of {sample_rows} rows is too small: take at least {MIN_ROWS}.")
    table, name, path = open_source(source, sample_rows, room)
    roles = named_roles(name, path, target, time_column, task, groups)
    columns = {label: read_column(table, label) for label in table.frame.columns}
    return assemble(table, columns, name, path, roles)


def open_source(
    source: str, sample_rows: int | None = None, room: Room | None = None
) -> tuple[Table, str, str | None]:
    """(raw table, name, absolute path or None if bundled) of what a person typed."""
    room = Room(free_bytes()) if room is None else room
    entry = data_sets().get(source.casefold())
    if entry is not None and entry.name == "diabetes":
        path, frame = read_diabetes()
        return Table(path, frame, None, ()), entry.name, None
    if entry is not None:
        return read_table(entry.path, sample=sample_rows), entry.name, None
    path = Path(source)
    with contextlib.suppress(RuntimeError):  # ~name of nobody: say that there is no such file
        path = path.expanduser()
    if not source.strip() or (path.name == source and not path.suffix and not _exists(path)):
        raise BadInput(_unknown(source))
    path = path.absolute()
    return read_table(path, sample=sample_rows, room=room), path.stem, str(path)


@dataclass(frozen=True, slots=True)
class Roles:
    """What was asked for, by column name; None is "not said", so it is guessed or left out."""

    target: str | None = None
    time_column: str | None = None
    task: str | None = None
    groups: str | None = None


def named_roles(
    name: str,
    path: str | None,
    target: str | None,
    time_column: str | None,
    task: str | None = None,
    groups: str | None = None,
) -> Roles:
    """The roles as asked for, or as the registry has them for a bundled set."""
    entry = data_sets().get(name) if path is None else None
    if entry is None:
        return Roles(target, time_column, task, groups)
    if target in (None, entry.target):
        task = task or entry.task
    return Roles(target or entry.target, time_column or entry.time_column, task, groups)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _unknown(source: str) -> str:
    known = data_sets()
    near = difflib.get_close_matches(source.casefold(), known, n=2, cutoff=0.6)
    names = f"did you mean {' or '.join(near)}?" if near else f"bundled are {', '.join(known)}"
    cwd = shown(Path.cwd(), 300)
    return f"no data set or file called {quoted(source)} (looked in {cwd}); {names}"


def assemble(
    table: Table, columns: dict[str, Column], name: str, path: str | None, roles: Roles
) -> Dataset:
    """Choose target, time and task, order the rows, and build the arrays of a Dataset.

    Raises BadInput for a column that can't have its role, too few rows, no feature.
    """
    notices = list(table.notices)
    clock, ns = choose_time(table, columns, roles.target, roles.time_column, notices)
    goal = choose_target(table, columns, roles.target, clock, notices, roles.task, roles.groups)
    task = choose_task(table, columns[goal], roles.task, notices)
    order = row_order(table, columns[goal], clock, ns, notices)
    classes, y = _target(table, columns[goal], task, order, notices)
    together, groups = _groups(table, columns, roles.groups, goal, clock, order)
    apart = (goal, clock, together)
    usable = [column for label, column in columns.items() if label not in apart]
    features, x = _features(usable, order, notices)
    if not features:
        raise table.refuse("no feature is left beside the target; add columns to learn from")
    _count_missing(features, x, notices)
    stamps = None if ns is None else ns[order]
    dataset = Dataset(
        name=name,
        path=path,
        sha256="",
        rows=len(y),
        features=tuple(features),
        target=goal,
        time_column=clock,
        ordered=clock is not None,
        X=x,
        y=y,
        times=stamps,
        notices=tuple(notices),
        task=task,
        classes=classes,
        group_column=together,
        groups=groups,
    )
    return replace(dataset, sha256=content_hash(dataset))


def content_hash(dataset: Dataset) -> str:
    """sha256 of what is learned from, as hexadecimal; equal content, equal hash.

    Every NaN counts as the same NaN and -0.0 as 0.0. Task, classes and groups count where they
    are not those that every data set had before there were others.
    """
    head: dict[str, object] = {
        "layout": 1,
        "features": [[f.name, f.kind, list(f.categories)] for f in dataset.features],
        "target": dataset.target,
        "time": dataset.time_column,
        "shape": list(dataset.X.shape),
    }
    if dataset.task != REGRESSION:
        head |= {"task": dataset.task, "classes": list(dataset.classes)}
    if dataset.group_column is not None:
        head["groups"] = dataset.group_column
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for column in (*dataset.X.T, dataset.y):
        plain = np.where(np.isnan(column), np.nan, column + 0.0)
        digest.update(plain.astype("<f8", copy=False).tobytes())
    for codes in (dataset.times, dataset.groups):
        if codes is not None:
            digest.update(codes.astype("<i8").tobytes())
    return digest.hexdigest()


def _target(
    table: Table, goal: Column, task: str, order: npt.NDArray[np.intp], notices: list[str]
) -> tuple[tuple[str, ...], Floats]:
    """(classes, y) of the rows in `order`. Raises BadInput if there is nothing to predict."""
    if len(order) < MIN_ROWS:
        what = f"{counted(len(order), 'row')} with a target: too few"
        raise table.refuse(f"{what}; at least {MIN_ROWS} are needed: add rows")
    if task == CLASSIFICATION:
        return encode(table, goal, order, notices)
    assert goal.numbers is not None
    y = goal.numbers[order]
    if (y == y[0]).all():
        name = quoted(goal.name)
        what = f"target {name} is {y[0]:g} in every row, so there is nothing to predict"
        raise table.refuse(f"{what}; choose another column with --target")
    return (), y


def _groups(
    table: Table,
    columns: dict[str, Column],
    label: str | None,
    goal: str,
    clock: str | None,
    order: npt.NDArray[np.intp],
) -> tuple[str | None, Ints | None]:
    """(group column, codes of the rows in `order`), or (None, None). Raises BadInput."""
    if label is None:
        return None, None
    together = choose_groups(table, columns, label, goal, clock)
    column = columns[together]
    values = column.numbers if column.numbers is not None else column.ns
    codes = pd.factorize(column.as_text() if values is None else values, sort=True)[0][order]
    groups = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    check_groups(groups, ordered=clock is not None)
    return together, groups


def _features(
    usable: Sequence[Column], order: npt.NDArray[np.intp], notices: list[str]
) -> tuple[list[Feature], Floats]:
    """The columns worth learning from, and their values (rows, columns) in the order of rows."""
    features: list[Feature] = []
    # Filled in place: of large data there is no room for another copy.
    x = np.empty((len(order), len(usable)))
    dropped: dict[str, list[str]] = {}
    for column in usable:
        feature, values, reason = _feature(column, order)
        if reason:
            dropped.setdefault(reason, []).append(shown(column.name))
        else:
            x[:, len(features)] = values
            features.append(feature)
    for reason, names in dropped.items():
        left_out = "column left out" if len(names) == 1 else "columns left out"
        notices.append(f"{left_out}, {reason}: {listed(names)}")
    return features, np.ascontiguousarray(x[:, : len(features)])


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
