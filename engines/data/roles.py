"""Roles of columns: which one is the target, which one is the time, and what that orders.

What a person names is taken or refused. What is not named is guessed by fixed rules, and
every guess is added to `notices`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engines.data import times
from engines.data.columns import Column
from engines.data.reading import Table, counted, quoted, shown
from engines.errors import BadInput

TARGET_NAMES = ("target", "y", "label", "outcome", "class")
NO_TIME = "none"  # what a person types to have no time column at all
LISTED = 10

FEW_NUMBERS = 20
"""At most so many different whole numbers are taken for classes when nobody says what they are."""
MOST_CLASSES = 1000


def _find(table: Table, columns: dict[str, Column], label: str, role: str) -> str:
    """`label` if it is a column, else BadInput with the nearest names."""
    if label in columns:
        return label
    lower = {name.casefold(): name for name in columns}
    near = difflib.get_close_matches(label.casefold(), lower, n=3, cutoff=0.5)
    names = [shown(lower[match]) for match in near] or [shown(name) for name in columns]
    hint = "did you mean" if near else "columns are"
    raise table.refuse(f"no {role} column {quoted(label)}; {hint} {listed(names)}")


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def choose_target(
    table: Table,
    columns: dict[str, Column],
    target: str | None,
    clock: str | None,
    notices: list[str],
    task: str | None = None,
    groups: str | None = None,
) -> str:
    """The target: the one asked for, else one so named, else the last that the task can have.

    That is for classification the last column of a few values, otherwise the last varied number
    column; without one and without a task, again the last of a few values. Time and groups are
    not guessed. Raises BadInput when it is absent, the time column itself, or text for regression.
    """
    free = [c for c in columns.values() if c.name not in (clock, groups)]
    numeric = [c.name for c in free if c.numbers is not None]
    if target is not None:
        goal = _find(table, columns, target, "target")
    else:
        lower = {column.name.casefold(): column.name for column in reversed(free)}
        named = [lower[name] for name in TARGET_NAMES if name in lower]
        varied = [name for name in numeric if _distinct(columns[name]) > 1]
        guess, why = (varied or numeric)[-1:], "the last numeric column"
        if task == "classification" or (task is None and not numeric):
            guess = [c.name for c in free if looks_like_classes(c)][-1:]
            why = "the last column of a few different values"
        if not named and not guess:
            raise table.refuse(_nothing_to_predict(task))
        goal = (named or guess)[0]
        notices.append(f"target guessed: {quoted(goal)}, {'by its name' if named else why}")
    if goal == clock:
        raise table.refuse(f"column {quoted(goal)} can't be both target and time; choose another")
    if columns[goal].numbers is None and task == "regression":
        names = [shown(name) for name in numeric] or ["none"]
        what = f"target {quoted(goal)} holds text and regression needs a number column"
        raise table.refuse(f"{what}; numeric columns: {listed(names)}")
    return goal


def _nothing_to_predict(task: str | None) -> str:
    if task == "regression":
        return "no numeric column to predict; regression needs a number column"
    return "no column to predict: none has numbers or a few different texts; add a target column"


def choose_groups(
    table: Table, columns: dict[str, Column], label: str, goal: str, clock: str | None
) -> str:
    """The column whose values keep rows together.

    Raises BadInput when it is absent, the target, the time column, or empty in a row.
    """
    name = _find(table, columns, label, "group")
    if name in (goal, clock):
        role = "target" if name == goal else "time"
        raise table.refuse(
            f"column {quoted(name)} can't be both {role} and groups; choose another for --groups"
        )
    missing = columns[name].missing
    if missing.any():
        where = table.where(int(missing.argmax()))
        raise table.refuse(f"{where}: group column {quoted(name)} is empty; fill it in")
    return name


def looks_like_classes(column: Column) -> bool:
    """Whether values are text, true or false, or a few whole numbers, and at least two of them."""
    if column.numbers is not None:
        values = np.unique(column.numbers[~np.isnan(column.numbers)])
        few = len(values) <= FEW_NUMBERS and bool((values % 1 == 0).all())
        return len(values) > 1 and (column.logical or few)
    if column.text is None:
        return False
    count = column.text.nunique()
    return 1 < count <= MOST_CLASSES and bool(count < column.text.notna().sum())


def _distinct(column: Column) -> int:
    assert column.numbers is not None
    return len(np.unique(column.numbers[~np.isnan(column.numbers)]))


def choose_time(
    table: Table,
    columns: dict[str, Column],
    target: str | None,
    label: str | None,
    notices: list[str],
) -> tuple[str | None, npt.NDArray[np.int64] | None]:
    """(time column, epoch ns of all rows), or (None, None) for rows without order.

    Raises BadInput when the column asked for is absent or has a value that is no time.
    """
    if label is not None and label.casefold() == NO_TIME and label not in columns:
        return None, None
    if label is not None:
        clock = _find(table, columns, label, "time")
        reading = _as_time(columns[clock])
        _check_times(table, columns[clock], reading)
    else:
        known = [name for name, c in columns.items() if c.kind == "time"]
        named = [name for name, c in columns.items() if c.kind == "text"]
        candidates = known + [name for name in named if times.named_like_time(name)]
        readings = {name: _as_time(columns[name]) for name in candidates if name != target}
        usable = [name for name, reading in readings.items() if reading.complete]
        for name in readings.keys() - set(usable):
            row = int((readings[name].ns == times.MISSING).argmax())
            where = f"{table.where(row)} is not one"
            notices.append(f"column {quoted(name)} looks like times but {where}; rows not sorted")
        if not usable:
            return None, None
        clock, reading = usable[0], readings[usable[0]]
        if reading.ambiguous:
            _check_times(table, columns[clock], reading)
        notices.append(f"time column guessed: {quoted(clock)}")
    if reading.note:
        notices.append(f"column {quoted(clock)}: {reading.note}")
    return clock, reading.ns


def _as_time(column: Column) -> times.Reading:
    if column.ns is not None:
        return times.Reading(column.ns)
    if column.numbers is not None:
        return times.from_numbers(column.numbers)
    assert column.text is not None
    return times.from_text(column.text)


def _check_times(table: Table, column: Column, reading: times.Reading) -> None:
    """Raise BadInput unless every value of a chosen time column is one point in time."""
    name = shown(column.name)
    if reading.ambiguous:
        what = f"column {name!r} could be day/month or month/day"
        raise table.refuse(f"{what}; write dates like 2024-01-31, or --time-column {NO_TIME}")
    if reading.complete:
        return
    row = int((reading.ns == times.MISSING).argmax())
    value = "is empty" if column.missing[row] else f"has {_value(table, column, row)}"
    what = f"{table.where(row)}: time column {name!r} {value}"
    raise table.refuse(f"{what}; write all times in one format, like 2024-01-31 09:30")


def _value(table: Table, column: Column, row: int) -> str:
    return quoted(table.frame[column.name].iloc[row], 40)


def row_order(
    table: Table,
    goal: Column,
    clock: str | None,
    ns: npt.NDArray[np.int64] | None,
    notices: list[str],
) -> npt.NDArray[np.intp]:
    """File rows to keep, in the order to learn from them: int (kept rows,).

    Raises BadInput when two rows have the same time.
    """
    keep = ~goal.missing
    dropped = int((~keep).sum())
    if dropped:
        rows = counted(dropped, "row")
        notices.append(f"{rows} dropped: the target {quoted(goal.name)} is missing")
    if ns is None or clock is None:
        return np.flatnonzero(keep)
    order = np.argsort(ns, kind="stable")
    same = np.flatnonzero(np.diff(ns[order]) == 0)
    if len(same):
        raise _same_time(table, clock, ns, order, int(same[0]))
    if (np.diff(ns) < 0).any():
        newest_first = bool((np.diff(ns) < 0).all())
        was = "newest first" if newest_first else "not in order"
        notices.append(f"rows sorted by {quoted(clock)}: they were {was}")
    return order[keep[order]]


def _same_time(
    table: Table,
    clock: str,
    ns: npt.NDArray[np.int64],
    order: npt.NDArray[np.intp],
    at: int,
) -> BadInput:
    """The error for the first two rows with one time stamp."""
    first, second = int(order[at]), int(order[at + 1])
    stamp = str(np.datetime64(int(ns[first]), "ns")).removesuffix(".000000000")
    what = f"{table.where(first)} and {table.where(second)} have the same time {stamp}"
    back = np.diff(ns)[np.diff(ns) <= 0]
    if len(back) <= 2 and (back >= -3600 * 10**9).all() and (back < 0).any():
        remedy = "this looks like the hour repeated at a clock change: store times in UTC"
    else:
        remedy = f"remove one, or use --time-column {NO_TIME} if the rows have no order in time"
    return table.refuse(f"{what} (column {quoted(clock)}); {remedy}")
