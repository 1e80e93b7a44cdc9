"""Raw columns to numbers, text or times, and text to categories.

A column is one of three things, decided on all its values: number (bool counts as 0 and 1),
time (only Parquet knows this by itself) or text. A mostly numeric column with stray text is
refused with the line of the first stray value, because the alternatives are silent: the whole
column as text, or the value as missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.reading import Table, quoted, shown
from engines.data.times import MISSING
from engines.errors import BadInput

Floats = npt.NDArray[np.float64]

MOSTLY = 0.9
FEW_CATEGORIES = 50
MANY_CATEGORIES = 1000
DISTINCT_SHARE = 0.2
# pandas' list for CSV files, repeated here so that text in Parquet is read alike.
_MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN")
)
_MISSING |= {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([., '\u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?")
_LOOSE = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_STRICT = {
    ".": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"),
    ",": re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?"),
}


@dataclass(frozen=True)
class Column:
    """One column, decoded. Exactly one of the three value fields is set, by `kind`.

    numbers: float64 (rows,), NaN is missing, never infinite.
    text: strings (rows,), stripped, NaN is missing.
    ns: int64 epoch nanoseconds (rows,), times.MISSING is missing.
    logical: the numbers were true and false.
    """

    name: str
    kind: Literal["number", "text", "time"]
    numbers: Floats | None = None
    text: pd.Series | None = None
    ns: npt.NDArray[np.int64] | None = None
    logical: bool = False

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Boolean (rows,): where the column has no value."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        if self.text is not None:
            return np.asarray(self.text.isna(), dtype=bool)
        assert self.ns is not None
        return np.asarray(self.ns == MISSING)

    def as_text(self) -> pd.Series:
        """The values as text, for the categories of a time column that is not *the* time."""
        if self.ns is None:
            assert self.text is not None
            return self.text
        stamps = pd.Series(self.ns.view("datetime64[ns]"))
        return stamps.astype("str").where(stamps.notna())


def read_column(table: Table, name: str) -> Column:
    """Decode one column of a table.

    Raises BadInput, naming line and value, for infinite or overflowing numbers and for text in
    a column of which at least 90 % are numbers.
    """
    raw = table.frame[name]
    if pd.api.types.is_datetime64_any_dtype(raw):
        return Column(name, "time", ns=_nanoseconds(table, name, raw))
    if pd.api.types.is_numeric_dtype(raw):  # bool included
        plain = raw.dtype == np.float64  # then no copy is needed
        numbers = raw.to_numpy() if plain else raw.to_numpy(dtype=np.float64, na_value=np.nan)
        _check_finite(table, name, numbers)
        return Column(name, "number", numbers=numbers, logical=pd.api.types.is_bool_dtype(raw))
    return _read_text(table, name, _clean_text(raw))


def categories_of(text: pd.Series) -> tuple[tuple[str, ...], Floats] | None:
    """(sorted categories, codes with NaN for missing), or None for an identifier.

    An identifier has a value of its own in every row, or more distinct values than 50 and a
    fifth of the rows, or more than 1,000.
    """
    codes, values = pd.factorize(text, sort=True)
    present = int((codes >= 0).sum())
    distinct = len(values)
    limit = min(max(FEW_CATEGORIES, int(DISTINCT_SHARE * present)), MANY_CATEGORIES)
    if distinct > limit or distinct == present:
        return None
    return tuple(str(value) for value in values), np.where(codes < 0, np.nan, codes).astype(float)


def _clean_text(raw: pd.Series) -> pd.Series:
    """Values as stripped strings; empty text and the usual marks of absence become NaN."""
    missing = raw.isna()
    text = raw.astype("str").str.strip()
    return text.where(~(missing | text.isin(_MISSING)))


def _nanoseconds(table: Table, name: str, raw: pd.Series) -> npt.NDArray[np.int64]:
    naive = raw.dt.tz_convert("UTC").dt.tz_localize(None) if raw.dt.tz is not None else raw
    try:
        return np.asarray(naive.astype("datetime64[ns]")).astype(np.int64)
    except (ValueError, OverflowError):
        what = f"column {quoted(name)} has times outside the years 1678 to 2261"
        raise table.refuse(f"{what}; correct or remove these rows") from None


def _check_finite(table: Table, name: str, numbers: Floats) -> None:
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        what = f"column {quoted(name)} is infinite or too large for a number"
        raise table.refuse(f"{table.where(row)}: {what}; correct it or leave it empty")


def _read_text(table: Table, name: str, text: pd.Series) -> Column:
    """A text column, unless all of it is numbers or true and false in disguise."""
    # Every test is on distinct values: a long column of a few words then costs little.
    codes, values = pd.factorize(text)
    words = [str(value) for value in values]
    if not words:
        return Column(name, "number", numbers=np.full(len(text), np.nan))
    if {word.lower() for word in words} <= {"true", "false"}:
        truth = [float(word.lower() == "true") for word in words]
        return _column_of(name, codes, truth, logical=True)
    strict = _STRICT[table.decimal]
    good = np.array([strict.fullmatch(word) is not None for word in words])
    if good.all():
        return _all_numbers(table, name, codes, words)
    like = np.array([_like_number(word) for word in words])
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    if counts[like].sum() >= MOSTLY * counts.sum():
        stray = int((~np.append(good, True)[codes]).argmax())
        raise _stray(table, name, stray, words[codes[stray]])
    return Column(name, "text", text=text)


def _column_of(
    name: str, codes: npt.NDArray[np.intp], numbers: list[float], *, logical: bool = False
) -> Column:
    values = np.array([*numbers, np.nan])[codes]
    return Column(name, "number", numbers=values, logical=logical)


def _all_numbers(table: Table, name: str, codes: npt.NDArray[np.intp], words: list[str]) -> Column:
    """Numbers that arrived as text: from Parquet text, or integers beyond 64 bits."""
    numbers = [float(word.replace(",", ".")) for word in words]
    for at, (word, number) in enumerate(zip(words, numbers, strict=True)):
        if np.isinf(number) or (abs(number) >= 2.0**64 and word.lstrip("+-").isdigit()):
            row = int((codes == at).argmax())
            what = f"column {quoted(name)} has {shown(word, 40)}, too large for a number"
            remedy = "correct it, or put a letter before it if it is an identifier"
            raise table.refuse(f"{table.where(row)}: {what}; {remedy}")
    return _column_of(name, codes, numbers)


def _like_number(word: str) -> bool:
    patterns = (_LOOSE, _GROUPED, _INFINITE)
    return any(pattern.fullmatch(word) is not None for pattern in patterns)


def _stray(table: Table, name: str, row: int, word: str) -> BadInput:
    """The error for the first value that is no number in a column of numbers."""
    if _GROUPED.fullmatch(word):
        remedy = "write numbers without thousands separators"
    elif _LOOSE.fullmatch(word):
        remedy = f"write all decimals with {table.decimal!r}"
    elif _INFINITE.fullmatch(word):
        remedy = "infinite values can't be learned from: correct it or leave it empty"
    else:
        remedy = "correct it or leave it empty"
    what = f"column {quoted(name)} holds numbers but here {quoted(word, 40)}"
    return table.refuse(f"{table.where(row)}: {what}; {remedy}")
