"""The task: whether a target is a number to predict or a class, and the classes as codes.

What a person asks for is taken or refused. What is not said is guessed from the target's
values; that a column is taken for classes is added to `notices`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.columns import Column
from engines.data.reading import Table, quoted, shown
from engines.data.roles import MOST_CLASSES, listed, looks_like_classes
from engines.errors import BadInput

Floats = npt.NDArray[np.float64]

REGRESSION, CLASSIFICATION = "regression", "classification"
TASKS = (REGRESSION, CLASSIFICATION)


def check_task(task: str | None) -> None:
    """Raise BadInput for a task that data can't be loaded for."""
    if task is not None and task not in TASKS:
        raise BadInput(f"--task {task} can't be learned from a table: {' or '.join(TASKS)} can.")


def choose_task(table: Table, goal: Column, task: str | None, notices: list[str]) -> str:
    """The task asked for if the target allows it, else the one its values look like.

    Text, true and false, or at most 20 different whole numbers are classes. Raises BadInput for
    a target that the task can't have.
    """
    if goal.kind == "time":
        what = f"target {quoted(goal.name)} holds times, which are neither numbers nor classes"
        raise table.refuse(f"{what}; choose another column with --target")
    if task == REGRESSION or (task is None and goal.kind == "number"):
        if task is None and looks_like_classes(goal):
            task = CLASSIFICATION
            notices.append(_guess(goal, task, "--task regression to predict it as a number"))
        elif task is None:
            task = REGRESSION
        return task
    if task is None:
        notices.append(f"task guessed: {CLASSIFICATION}, the target {quoted(goal.name)} is text")
    return CLASSIFICATION


def _guess(goal: Column, task: str, remedy: str) -> str:
    assert goal.numbers is not None
    count = len(np.unique(goal.numbers[~goal.missing]))
    what = "true and false" if goal.logical else f"{count} different whole numbers"
    return f"task guessed: {task}, the target {quoted(goal.name)} has {what}; {remedy}"


def encode(
    table: Table, goal: Column, order: npt.NDArray[np.intp], notices: list[str]
) -> tuple[tuple[str, ...], Floats]:
    """(labels in sorted order, float64 codes of the rows in `order`).

    Labels are text; numbers are sorted as numbers. Raises BadInput for more than 1,000 different
    values, or unless at least two classes have two rows: one to learn from and one to score.
    """
    if goal.numbers is not None:
        values, codes = np.unique(goal.numbers[order], return_inverse=True)
        labels = [_label(float(value), goal.logical) for value in values]
    else:
        codes, found = pd.factorize(goal.as_text().iloc[order], sort=True)
        labels = [str(value) for value in found]
    _check_classes(table, goal, labels, np.bincount(codes, minlength=1), notices)
    return tuple(labels), codes.astype(np.float64)


def _label(value: float, logical: bool) -> str:
    if logical:
        return str(bool(value))
    # + 0.0 makes a plain zero of a negative one.
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value + 0.0)


def _check_classes(
    table: Table,
    goal: Column,
    labels: Sequence[str],
    rows: npt.NDArray[np.intp],
    notices: list[str],
) -> None:
    name = quoted(goal.name)
    if len(labels) > MOST_CLASSES:
        kind = "numbers" if goal.numbers is not None else "texts"
        remedy = "--task regression predicts them as numbers" if kind == "numbers" else "group them"
        what = f"target {name} has {len(labels):,} different {kind}, too many to be classes"
        raise table.refuse(f"{what} (at most {MOST_CLASSES:,}); {remedy}, or choose another column")
    if len(labels) < 2:
        only = quoted(labels[0]) if labels else "empty"
        what = f"target {name} is {only} in every row, so there is nothing to tell apart"
        raise table.refuse(f"{what}; choose another column with --target")
    single = [shown(label, 40) for label, n in zip(labels, rows, strict=True) if n == 1]
    if len(labels) - len(single) < 2:
        what = f"fewer than two classes of target {name} have two rows or more"
        raise table.refuse(f"{what}; add rows, or choose another column with --target")
    if single:
        what = "1 class has" if len(single) == 1 else f"{len(single)} classes have"
        notices.append(
            f"{what} a single row, which can't be both learned and scored: {listed(single)}"
        )
