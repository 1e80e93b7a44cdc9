"""Text and numbers to points in time, without guessing behind a person's back.

A column is read with one format for all its values, from a fixed list. Where day and month
can't be told apart, the order of the rows decides, and if that doesn't either, we ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Times = npt.NDArray[np.int64]

MISSING = np.iinfo(np.int64).min  # what numpy's NaT is as an integer
# Seconds reach 1e11 in the year 5138, so larger numbers are counted in smaller units.
_EPOCHS = ((1e11, "s", 10**9), (1e14, "ms", 10**6), (1e17, "us", 10**3), (np.inf, "ns", 1))
_TRIAL_ROWS = 100
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_DATES = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y")
# Day first and month first, side by side: only these can be mistaken for one another.
_TWINS = (("%d/%m/%Y", "%m/%d/%Y"), ("%d.%m.%Y", "%m.%d.%Y"), ("%d-%m-%Y", "%m-%d-%Y"))
_TIME_WORDS = ("date", "time", "timestamp", "datetime")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Za-z][a-z]*")


@dataclass(frozen=True)
class Reading:
    """How a column reads as time: `ns` holds epoch nanoseconds, MISSING where it does not."""

    ns: Times
    note: str = ""
    ambiguous: bool = False

    @property
    def complete(self) -> bool:
        return bool((self.ns != MISSING).all())


def named_like_time(name: str) -> bool:
    """Whether a column's name is, or ends in, the word date, time, timestamp or datetime."""
    words = [word.lower() for word in _WORD.findall(name)]
    if words[-1:] == ["utc"]:
        words.pop()
    return bool(words) and words[-1] in _TIME_WORDS


def from_text(text: pd.Series) -> Reading:
    """Read text as time. Stamps with an offset become UTC, naive ones stay as they are.

    When no format fits every value, the one that fits most is returned, so that the first
    value that doesn't fit can be shown.
    """
    best = Reading(_parse(text, "ISO8601"))
    if best.complete:
        return best
    # A format is worth a pass over a million rows only if it fits some of the first ones.
    start = text.iloc[:_TRIAL_ROWS]
    for clock in _CLOCKS:
        for date in _DATES:
            if _fits(start, date + clock):
                best = _better(best, Reading(_parse(text, date + clock)))
        for day_first, month_first in _TWINS:
            if _fits(start, day_first + clock) or _fits(start, month_first + clock):
                best = _better(best, _twin(text, day_first + clock, month_first + clock))
        if best.complete:
            break
    return best


def from_numbers(values: npt.NDArray[np.float64]) -> Reading:
    """Read numbers as YYYYMMDD, as Unix time (s, ms, us or ns) or else as plain order."""
    if not np.isfinite(values).all():
        return Reading(np.where(np.isfinite(values), 0, MISSING).astype(np.int64))
    if ((values >= 19000101) & (values <= 22001231) & (values % 1 == 0)).all():
        reading = Reading(_parse(pd.Series(values.astype(np.int64).astype(str)), "%Y%m%d"))
        if reading.complete:
            return reading
    largest = float(np.abs(values).max())
    unit, factor = next((unit, factor) for limit, unit, factor in _EPOCHS if largest < limit)
    if largest >= 2.0**63:
        return Reading(np.where(np.abs(values) < 2.0**63, 0, MISSING).astype(np.int64))
    whole = np.floor(values)
    ns = whole.astype(np.int64) * factor + np.rint((values - whole) * factor).astype(np.int64)
    if largest < 1e8:
        return Reading(ns, "plain numbers, used for the order of the rows")
    return Reading(ns, f"numbers read as Unix time in {unit}")


def span(first: int, last: int) -> str:
    """`first to last` as ISO dates, without the clock where both are midnight."""
    ends = [str(np.datetime64(ns, "s")) for ns in (first // 10**9, last // 10**9)]
    if all(end.endswith("T00:00:00") for end in ends):
        ends = [end[:10] for end in ends]
    return " to ".join(ends)


def _fits(text: pd.Series, how: str) -> bool:
    return bool((_parse(text, how) != MISSING).any())


def _parse(text: pd.Series, how: str) -> Times:
    try:
        stamps = pd.to_datetime(text, format=how, errors="coerce", utc=True)
        return np.asarray(stamps.dt.tz_localize(None).astype("datetime64[ns]")).astype(np.int64)
    except (ValueError, OverflowError):  # years that nanoseconds can't hold, too
        return np.full(len(text), MISSING, dtype=np.int64)


def _better(best: Reading, other: Reading) -> Reading:
    return other if (other.ns != MISSING).sum() > (best.ns != MISSING).sum() else best


def _twin(text: pd.Series, day_first: str, month_first: str) -> Reading:
    """One of two formats that swap day and month; ambiguous when nothing tells them apart."""
    by_day, by_month = Reading(_parse(text, day_first)), Reading(_parse(text, month_first))
    if not (by_day.complete and by_month.complete) or np.array_equal(by_day.ns, by_month.ns):
        return _better(by_day, by_month)
    sorted_by_day, sorted_by_month = _in_order(by_day.ns), _in_order(by_month.ns)
    if sorted_by_day == sorted_by_month:
        return Reading(by_day.ns, ambiguous=True)
    if sorted_by_day:
        return Reading(by_day.ns, "dates read as day first, because the rows are then in order")
    return Reading(by_month.ns, "dates read as month first, because the rows are then in order")


def _in_order(ns: Times) -> bool:
    steps = np.diff(ns)
    return bool((steps >= 0).all() or (steps <= 0).all())
