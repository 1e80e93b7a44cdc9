"""`data check`: everything that is wrong or odd in a file, found without stopping at the first.

Errors are what `load` would refuse, warnings what would spoil a result, infos what is worth
knowing. Nothing here raises for bad data: the report says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from engines.data import times
from engines.data.columns import Column, read_column
from engines.data.datasets import Dataset, assemble, named_roles, open_source
from engines.data.leaks import LEAK_ADVICE, find_leaks
from engines.data.reading import Table, counted, quoted
from engines.data.scoring import TRADING
from engines.data.tasks import check_task
from engines.errors import HyperionError
from simulator.bars import check_table

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One sentence about the data. `where`: "file", "column 'x'", "line 7" or "lines 2 to 4"."""

    severity: Severity
    where: str
    text: str


@dataclass(frozen=True)
class Report:
    """What a check found. `dataset` is the loaded data, or None when `load` would refuse it."""

    source: str
    findings: tuple[Finding, ...]
    dataset: Dataset | None

    @property
    def ok(self) -> bool:
        """Whether the data can be used, warnings or not."""
        return self.dataset is not None

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity, in the order found."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def check_file(
    path: str,
    target: str | None = None,
    time_column: str | None = None,
    task: str | None = None,
    groups: str | None = None,
    *,
    forecast: bool = False,
) -> Report:
    """Check a bundled data set or a file, for roles as in `load`.

    forecast: whether later values of the target are asked for, so that a row's own one is known.
    Bad data gives findings, never an exception.
    """
    source = str(path)
    try:
        table, name, absolute = open_source(source)
    except HyperionError as reason:
        return Report(source, (Finding("error", "file", str(reason)),), None)
    findings = _about_table(table)
    columns: dict[str, Column] = {}
    for label in table.frame.columns:
        try:
            columns[label] = read_column(table, label)
        except HyperionError as reason:
            findings.append(Finding("error", _column(label), str(reason)))
    findings += _missing(columns) + _prices(table, time_column)
    dataset: Dataset | None = None
    if task == TRADING:
        return _market(source, findings, time_column)
    if len(columns) == len(table.frame.columns):
        try:
            check_task(task)
            roles = named_roles(name, absolute, target, time_column, task, groups)
            dataset = assemble(table, columns, name, absolute, roles)
        except HyperionError as reason:
            findings.append(Finding("error", "file", str(reason)))
    if dataset is not None:
        findings += _about_dataset(dataset)
        findings += [
            Finding("warning", _column(leak.column), f"{leak.what}: {LEAK_ADVICE}")
            for leak in find_leaks(dataset, known=forecast)
        ]
    return Report(source, tuple(findings), dataset)


def _market(source: str, findings: list[Finding], time_column: str | None) -> Report:
    """The report on bars: what is wrong with the prices is among the findings already."""
    from engines.data.market import load_market

    try:
        dataset = load_market(source, time_column=time_column)
    except HyperionError as reason:
        known = any(finding.severity == "error" for finding in findings)
        more = [] if known else [Finding("error", "file", str(reason))]
        return Report(source, (*findings, *more), None)
    notices = (Finding("info", "", notice) for notice in dataset.notices)
    return Report(source, (*findings, *notices), dataset)


def _column(label: str) -> str:
    return f"column {quoted(label)}"


def _about_table(table: Table) -> list[Finding]:
    rows, columns = table.frame.shape
    megabytes = rows * columns * 8 / 1e6
    shape = f"{counted(rows, 'row')} and {counted(columns, 'column')}"
    findings = [Finding("info", "file", f"{shape}, about {megabytes:,.1f} MB in memory")]
    repeated = np.flatnonzero(table.frame.duplicated().to_numpy())
    if len(repeated):
        first = table.where(int(repeated[0]))
        text = f"{counted(len(repeated), 'exact repeat')} of an earlier row; the first is {first}"
        findings.append(Finding("warning", "file", text))
    return findings


def _missing(columns: dict[str, Column]) -> list[Finding]:
    """One finding a column with missing values, or with one value in all rows."""
    findings = []
    for label, column in columns.items():
        missing = column.missing
        count, rows = int(missing.sum()), len(missing)
        if count == rows:
            findings.append(Finding("warning", _column(label), "empty: it is left out"))
        elif count:
            text = f"{count:,} of {rows:,} values are missing ({count / rows:.1%})"
            findings.append(Finding("info", _column(label), text))
        elif _constant(column):
            text = "the same value in every row: it is left out"
            findings.append(Finding("warning", _column(label), text))
    return findings


def _constant(column: Column) -> bool:
    values = column.numbers if column.numbers is not None else column.ns
    if values is None:
        assert column.text is not None
        return bool((column.text == column.text.iloc[0]).all())
    return bool((values == values[0]).all())


def _prices(table: Table, time_column: str | None) -> list[Finding]:
    """Bars that no market can have made, if open, high, low and close are all there.

    Warnings, as the table can still be learned from; trading on it would be refused.
    """
    findings = []
    if time_column is not None and time_column.casefold() == "none":
        time_column = None
    for found in check_table(table.frame, time_column):
        # Gaps are told with the step of the other rows, from the rows sorted in time.
        if found.about == "time" and found.severity == "warning":
            continue
        where = "file" if found.row is None else table.where(found.row)
        remedy = "; correct or remove" if found.severity == "error" else ""
        findings.append(Finding("warning", where, f"{found.sentence}{remedy}"))
    return findings


def _about_dataset(dataset: Dataset) -> list[Finding]:
    findings = [
        Finding("info", "file", notice)
        for notice in dataset.notices
        if " missing value" not in notice and "have missing values" not in notice
    ]
    findings.append(Finding("info", "file", f"sha256 of the content: {dataset.sha256}"))
    if dataset.times is not None:
        findings += _about_times(dataset)
    return findings


def _about_times(dataset: Dataset) -> list[Finding]:
    """The span of time, the usual step, and the steps longer than it."""
    assert dataset.times is not None
    assert dataset.time_column is not None
    where = _column(dataset.time_column)
    first, last = int(dataset.times[0]), int(dataset.times[-1])
    steps = np.diff(dataset.times)
    usual = int(np.median(steps))
    text = f"{times.span(first, last)}, usual step {_duration(usual)}"
    findings = [Finding("info", where, text)]
    gaps = np.flatnonzero(steps > usual * 1.5)
    if len(gaps):
        largest = int(gaps[np.argmax(steps[gaps])])
        after = np.datetime64(int(dataset.times[largest]) // 10**9, "s")
        text = (
            f"{counted(len(gaps), 'gap')} longer than the usual step; "
            f"the largest is {_duration(int(steps[largest]))} after {after}"
        )
        findings.append(Finding("warning", where, text))
    return findings


def _duration(ns: int) -> str:
    seconds = ns / 1e9
    for size, unit in _UNITS:
        if seconds >= size:
            amount = f"{seconds / size:.4g}"
            return f"{amount} {unit}" + ("" if amount == "1" else "s")
    return f"{seconds:.3g} seconds"
