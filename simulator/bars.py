"""Bars: open, high, low, close, volume of one asset, checked before anything is traded on them.

`find_problems` says everything that is wrong, each with its row and value; `load_bars` refuses
what no market can have made and keeps the rest as notices. Rows are counted from 0 in code and
from 1 in messages, in the order of the file.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator.errors import BadBars

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.datetime64]

PRICES = ("open", "high", "low", "close")
_TIME_NAMES = ("timestamp", "datetime", "date", "time")
_SINGLE_PRICE = ("close", "price", "adj close", "value", "last")
_DAY = 86_400.0
TRADING_DAYS = 252.0
"""Days a year of a market that closes at weekends, by the convention of the field."""

SMALLEST = 3
JUMP = 0.5
ROUNDING = 1e-6
"""Share of a price by which an open or close may leave [low, high]: files round."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with bars: what, in which row (0-based, None: all of it), which value.

    count: rows of which the same is true; `row` is the first of them.
    """

    severity: Literal["error", "warning"]
    text: str
    row: int | None = None
    value: str = ""
    count: int = 1
    about: Literal["time", "price", "volume"] = "price"

    @property
    def sentence(self) -> str:
        """What is wrong, the value, and how often, without the row."""
        value = f" ({self.value})" if self.value else ""
        more = f", and {self.count - 1:,} more like it" if self.count > 1 else ""
        return f"{self.text}{value}{more}"

    def __str__(self) -> str:
        return self.sentence if self.row is None else f"row {self.row + 1}: {self.sentence}"


@dataclass(frozen=True, eq=False)
class Bars:
    """Checked bars, oldest first. Every array is float64 (bars,) and finite.

    stamps: datetime64[ns] (bars,), strictly increasing, UTC or naive as given; None if unknown.
    bars_per_year: what scores are annualised with. columns: the other number columns, which may
    hold NaN. notices: one sentence each, what was odd and what was done about it.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats | None
    stamps: Stamps | None
    bars_per_year: float
    name: str = "bars"
    columns: Mapping[str, Floats] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.close)

    @property
    def returns(self) -> Floats:
        """Simple close-to-close returns, (bars,); the first is 0."""
        out = np.zeros(len(self))
        out[1:] = self.close[1:] / self.close[:-1] - 1.0
        return out

    @property
    def sha256(self) -> str:
        """Hash of the prices and stamps, as hexadecimal: equal bars, equal hash."""
        digest = hashlib.sha256()
        for array in (self.open, self.high, self.low, self.close):
            digest.update(array.astype("<f8").tobytes())
        if self.stamps is not None:
            digest.update(self.stamps.astype("datetime64[ns]").astype("<i8").tobytes())
        return digest.hexdigest()

    def head(self, count: int) -> Bars:
        """The first `count` bars: what was known at the close of bar count - 1."""
        return self[:count]

    def __getitem__(self, part: slice) -> Bars:
        """A stretch of the bars, with the same bars a year."""
        return replace(
            self,
            **{name: getattr(self, name)[part] for name in PRICES},
            volume=None if self.volume is None else self.volume[part],
            stamps=None if self.stamps is None else self.stamps[part],
            columns={name: values[part] for name, values in self.columns.items()},
        )

    def to_frame(self) -> pd.DataFrame:
        """Prices, volume and columns as a table, indexed by stamp or number."""
        columns = {name: getattr(self, name) for name in PRICES}
        if self.volume is not None:
            columns["volume"] = self.volume
        index = None if self.stamps is None else pd.DatetimeIndex(self.stamps)
        return pd.DataFrame({**columns, **self.columns}, index=index)


def load_bars(
    source: Bars | pd.DataFrame | str | Path,
    *,
    bars_per_year: float | None = None,
    time_column: str | None = None,
    name: str | None = None,
) -> Bars:
    """Bars from a table, a CSV file or a Parquet file (by its ending).

    Column names count in any case. Needed are open, high, low and close, or one price column
    (`close`, `price`, ...); then a bar is that one price, so that an order is filled at the price
    after the one it was decided at. The time is `time_column`, a date index, or a column called
    date, time, datetime or timestamp, or a first column of ISO dates. Raises BadBars.
    """
    if isinstance(source, Bars):
        return source if bars_per_year is None else replace(source, bars_per_year=bars_per_year)
    if not isinstance(source, pd.DataFrame):
        path = Path(source)
        return load_bars(
            _read(path),
            bars_per_year=bars_per_year,
            time_column=time_column,
            name=name or path.stem,
        )
    label = name or "bars"
    names = {str(column).strip().casefold(): column for column in source.columns}
    stamps, clock = _stamps(source, names, time_column, label)
    prices, notices = _prices(source, names, label)
    volume = _numbers(source[names["volume"]]) if "volume" in names else None
    findings = _not_numbers(source, names) + find_problems(prices, stamps, volume)
    refuse(findings, label)
    notices += [str(finding) for finding in findings]
    used = {clock, "volume", *prices, *_SINGLE_PRICE[:2]}
    others = {
        str(column): _numbers(source[column])
        for low_name, column in names.items()
        if low_name not in used and pd.api.types.is_numeric_dtype(source[column])
    }
    if bars_per_year is None:
        bars_per_year, how = guess_bars_per_year(stamps)
        notices.append(f"{bars_per_year:g} bars a year: {how}")
    elif not 0 < bars_per_year < float("inf"):
        raise BadBars(f"{label}: bars_per_year is {bars_per_year}; give a number above 0")
    top, bottom = (
        np.maximum(prices["open"], prices["close"]),
        np.minimum(prices["open"], prices["close"]),
    )
    return Bars(
        open=prices["open"],
        high=np.maximum(prices["high"], top),
        low=np.minimum(prices["low"], bottom),
        close=prices["close"],
        volume=None if volume is None or not np.isfinite(volume).all() else volume,
        stamps=stamps,
        bars_per_year=float(bars_per_year),
        name=label,
        columns=others,
        notices=tuple(notices),
    )


def refuse(findings: list[Finding], name: str) -> None:
    """Raise BadBars for the first error among `findings`, counting the others."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        kinds = f"; {len(errors) - 1} other kinds of error" if len(errors) > 1 else ""
        raise BadBars(f"{name}: {errors[0]}{kinds}; correct the data")


def find_problems(
    prices: Mapping[str, Floats], stamps: Stamps | None = None, volume: Floats | None = None
) -> list[Finding]:
    """Everything wrong with bars, errors first. One finding a kind: its first row and the count.

    prices: open, high, low and close, each (bars,); NaN is missing. stamps may hold NaT.
    """
    times = [replace(finding, about="time") for finding in _problems_of_time(stamps)]
    found = times + _problems_of_prices(prices) + _problems_of_volume(volume)
    if len(prices["close"]) < SMALLEST:
        found.append(
            Finding("error", f"{len(prices['close'])} bars; at least {SMALLEST} are needed")
        )
    return sorted(found, key=lambda finding: finding.severity)


def check_table(frame: pd.DataFrame, time_column: str | None = None) -> list[Finding]:
    """Everything wrong with a table of open, high, low and close; nothing for another table."""
    names = {str(column).strip().casefold(): column for column in frame.columns}
    if not all(name in names for name in PRICES):
        return []
    prices, _ = _prices(frame, names, "")
    volume = _numbers(frame[names["volume"]]) if "volume" in names else None
    try:
        stamps, _ = _stamps(frame, names, time_column, "the time")
    except BadBars as reason:
        found = find_problems(prices, None, volume)
        known = [finding for finding in found if finding.about != "time"]
        return [Finding("error", str(reason), about="time"), *known]
    return _not_numbers(frame, names) + find_problems(prices, stamps, volume)


def _problems_of_volume(volume: Floats | None) -> list[Finding]:
    if volume is None:
        found = [Finding("warning", "no volume column")]
    elif np.isfinite(volume).all() and not volume.any():
        found = [Finding("warning", "volume is zero in every row")]
    else:
        found = _kind("warning", ~np.isfinite(volume), "volume is missing", volume)
        found += _kind("warning", volume < 0, "volume below zero", volume)
        found += _kind("warning", volume == 0, "volume is zero", volume)
    return [replace(finding, about="volume") for finding in found]


def _not_numbers(frame: pd.DataFrame, names: Mapping[str, Any]) -> list[Finding]:
    """Text where a price or a volume should be; elsewhere it counts as missing."""
    found = []
    for name in (*PRICES, "volume"):
        column = frame[names[name]] if name in names else pd.Series(dtype=float)
        if pd.api.types.is_numeric_dtype(column):
            continue
        wrong = (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            value = repr(str(column.iloc[row])[:40])
            found.append(Finding("error", f"{name} is no number", row, value, int(wrong.sum())))
    return found


def _problems_of_prices(prices: Mapping[str, Floats]) -> list[Finding]:
    found: list[Finding] = []
    for name in PRICES:
        values = prices[name]
        found += _kind("error", ~np.isfinite(values), f"{name} is missing or not finite", values)
        found += _kind("error", values <= 0, f"{name} is zero or below", values)
    high, low = prices["high"], prices["low"]
    found += _kind("error", high < low, "high below low", high, low)
    top = np.maximum(prices["open"], prices["close"])
    bottom = np.minimum(prices["open"], prices["close"])
    above = (top > high * (1 + ROUNDING)) & (high >= low)
    below = (bottom < low * (1 - ROUNDING)) & (high >= low)
    found += _kind("warning", above, "open or close above high, which is raised to it", top, high)
    found += _kind("warning", below, "open or close below low, which is lowered to it", bottom, low)
    with np.errstate(all="ignore"):
        change = prices["close"][1:] / prices["close"][:-1] - 1.0
    jump = np.r_[False, np.abs(change) > JUMP]
    text = f"close moves by more than {JUMP:.0%} in one bar; a split?"
    return found + _kind("warning", jump, text, prices["close"])


def _problems_of_time(stamps: Stamps | None) -> list[Finding]:
    if stamps is None:
        return [Finding("warning", "no time column: the order of the rows is taken for time")]
    missing = np.isnat(stamps)
    if missing.any():
        return _kind("error", missing, "the time is missing", stamps)
    steps = np.diff(stamps).astype("timedelta64[ns]").astype(np.int64)
    if len(steps) and (steps < 0).all():
        return [Finding("error", "newest bar first; turn the rows round", 0, _shown(stamps[0]))]
    found = _kind("error", np.r_[False, steps < 0], "earlier than the row before it", stamps)
    order = np.argsort(stamps, kind="stable")
    twice = np.zeros(len(stamps), dtype=bool)
    twice[order[1:]] = stamps[order[1:]] == stamps[order[:-1]]
    found += _kind("error", twice, "the same time as another row", stamps)
    if not found and len(steps):
        usual = float(np.median(steps))
        # A week holds any weekend; holidays make daily gaps of up to 5 days.
        longest = usual * 1.5 if usual < _DAY * 1e9 * 0.9 else max(usual * 1.5, 5.5 * _DAY * 1e9)
        found += _kind("warning", np.r_[False, steps > longest], "a gap before this bar", stamps)
    return found


def _kind(
    severity: Literal["error", "warning"],
    wrong: npt.NDArray[np.bool_],
    text: str,
    *values: npt.NDArray[Any],
) -> list[Finding]:
    """One finding for all rows in `wrong`, or none."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    row = int(rows[0])
    shown = " against ".join(_shown(value[row]) for value in values)
    return [Finding(severity, text, row, shown, len(rows))]


def _shown(value: Any) -> str:
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[s]")).removesuffix("T00:00:00")
    return f"{value:.10g}"


def guess_bars_per_year(stamps: Stamps | None) -> tuple[float, str]:
    """(bars a year, how it was found) from the median spacing of the stamps.

    A market that never closes fills a year with its step: 365 days, 8,760 hours. One that closes
    at weekends (it has no Saturdays; currencies trade on Sunday evenings) has 252 days; one that
    closes at night, as many bars a day as it has on its median day. Without stamps bars are taken
    for trading days.
    """
    if stamps is None or len(stamps) < 2:
        return TRADING_DAYS, "taken for trading days, as there is no time column"
    step = float(np.median(np.diff(stamps).astype("timedelta64[ns]").astype(np.int64))) / 1e9
    if step <= 0:
        return TRADING_DAYS, "taken for trading days, as the times don't rise"
    weekdays = (stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 0 is Monday
    weekends = float(np.mean(weekdays == 5)) > 0.01 or len(stamps) < 6
    days = 365.0 if weekends else TRADING_DAYS
    for unit, amount, name in ((365, 1, "years"), (91, 4, "quarters"), (30, 12, "months"),
                               (7, 52, "weeks")):  # fmt: skip
        if unit * 0.92 <= step / _DAY <= unit * 1.09:
            return float(amount), f"the median step is one of {name}"
    if step >= 0.9 * _DAY:
        spacing = "one day" if abs(step - _DAY) < 1 else f"{step / _DAY:.3g} days"
        return days * _DAY / step if weekends else days, f"the median step is {spacing}"
    _, counts = np.unique(stamps.astype("datetime64[D]"), return_counts=True)
    full = _DAY / step
    a_day = full if np.median(counts) > 0.8 * full else float(np.median(counts))
    return a_day * days, f"the median step is {step:.6g} s, {a_day:.3g} bars a day"


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise BadBars(f"{path}: no such file")
    try:
        if path.suffix.casefold() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path, low_memory=False)
    except (ValueError, OSError) as reason:  # pandas' parser errors are ValueErrors
        raise BadBars(f"{path}: can't be read: {' '.join(str(reason).split())[:200]}") from None


def _prices(
    frame: pd.DataFrame, names: Mapping[str, Any], label: str
) -> tuple[dict[str, Floats], list[str]]:
    if all(name in names for name in PRICES):
        return {name: _numbers(frame[names[name]]) for name in PRICES}, []
    single = next((name for name in _SINGLE_PRICE if name in names), None)
    if single is None or any(name in names for name in ("open", "high", "low")):
        missing = ", ".join(name for name in PRICES if name not in names)
        there = ", ".join(str(column)[:20] for column in frame.columns[:8])
        more = ", ..." if len(frame.columns) > 8 else ""
        raise BadBars(f"{label}: no column {missing}; the columns are {there}{more}")
    values = _numbers(frame[names[single]])
    notice = f"only {single!r} is given: orders are filled at the next row's {single}"
    return dict.fromkeys(PRICES, values), [notice]


def _numbers(column: pd.Series[Any]) -> Floats:
    """The column as float64; what is no number is NaN, and then found as missing."""
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan).copy()


def _stamps(
    frame: pd.DataFrame, names: Mapping[str, Any], time_column: str | None, label: str
) -> tuple[Stamps | None, str | None]:
    """(stamps, the column's name in lower case or None for the index)."""
    if time_column is not None:
        if time_column.strip().casefold() not in names:
            raise BadBars(f"{label}: no column {time_column!r} to take the time from")
        wanted: str | None = time_column.strip().casefold()
    else:
        wanted = next((name for name in _TIME_NAMES if name in names), None)
        if wanted is None and isinstance(frame.index, pd.DatetimeIndex):
            return _naive(frame.index), None
    if wanted is None and len(names) and _looks_like_dates(frame.iloc[:, 0]):
        # What pandas makes of a date index: a first column without a name.
        wanted = next(iter(names))
    if wanted is None:
        return None, None
    return _as_time(frame[names[wanted]], label), wanted


def _looks_like_dates(column: pd.Series[Any]) -> bool:
    """Whether a column is of times, or of text that is all ISO dates."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    if pd.api.types.is_numeric_dtype(column):
        return False
    read = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce", utc=True)
    return not bool(read.isna().any())


def _naive(index: pd.DatetimeIndex) -> Stamps:
    index = index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index
    return index.to_numpy().astype("datetime64[ns]")


def _as_time(column: pd.Series[Any], label: str) -> Stamps:
    """Times from stamps, text or Unix time; day and month are never guessed."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return _naive(pd.DatetimeIndex(column))
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        if 19000101 <= largest <= 22001231:
            column = pd.Series(values).map("{:.0f}".format)
        else:
            # Seconds reach 1e11 in the year 5138, so larger numbers count smaller units.
            tops: Any = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (np.inf, "ns"))
            unit = next(unit for top, unit in tops if largest < top)
            read = pd.to_datetime(pd.Series(values), unit=unit, errors="coerce")
            return _naive(pd.DatetimeIndex(read))
    text = column.astype(str)
    iso = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    if not bool(iso.isna().any()):
        return _naive(pd.DatetimeIndex(iso))
    readings = []
    for day_first in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas warns where it falls back on a slow parser
            read = pd.to_datetime(text, dayfirst=day_first, errors="coerce", utc=True)
        readings.append(_naive(pd.DatetimeIndex(read)))
    whole = [stamps for stamps in readings if not np.isnat(stamps).any()]
    if len(whole) == 2 and not np.array_equal(whole[0], whole[1]):
        rising = [stamps for stamps in whole if (np.diff(stamps) > np.timedelta64(0)).all()]
        if len(rising) != 1:
            raise BadBars(f"{label}: day and month of {text.iloc[0]!r} can't be told apart; "
                          "write times as 2024-12-31")  # fmt: skip
        return rising[0]
    return whole[0] if whole else min(readings, key=lambda stamps: int(np.isnat(stamps).sum()))
