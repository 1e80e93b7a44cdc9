"""What `data check` says about a file, and that it never raises for a bad one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.data.checks import Report, check_file

ROWS = 60
Leak = Callable[[pd.Series], pd.Series]


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=ROWS).astype("str"),
            "heat": rng.normal(size=ROWS),
            "rain": rng.normal(size=ROWS),
            "load": rng.normal(size=ROWS),
        }
    )


def check(folder: Path, data: pd.DataFrame | str, target: str | None = "load") -> Report:
    path = folder / "data.csv"
    path.write_text(data if isinstance(data, str) else data.to_csv(index=False))
    return check_file(str(path), target=target)


def texts(report: Report, severity: str) -> list[str]:
    return [f"{f.where}: {f.text}" for f in report.findings if f.severity == severity]


def test_a_clean_file_has_no_error_and_no_warning(tmp_path: Path) -> None:
    report = check(tmp_path, frame())
    assert report.ok
    assert not report.of("error")
    assert not report.of("warning")


@pytest.mark.parametrize(
    "text",
    [
        "file: 60 rows and 4 columns, about 0.0 MB in memory",
        "column 'date': 2024-01-01 to 2024-02-29, usual step 1 day",
        "file: time column guessed: 'date'",
    ],
)
def test_shape_span_and_guesses_are_told(tmp_path: Path, text: str) -> None:
    assert text in texts(check(tmp_path, frame()), "info")


def test_the_hash_is_told(tmp_path: Path) -> None:
    report = check(tmp_path, frame())
    assert report.dataset is not None
    told = f"file: sha256 of the content: {report.dataset.sha256}"
    assert told in texts(report, "info")


def test_missing_values_are_counted_for_each_column(tmp_path: Path) -> None:
    data = frame()
    data.loc[[3, 4, 5], "heat"] = np.nan
    told = texts(check(tmp_path, data), "info")
    assert "column 'heat': 3 of 60 values are missing (5.0%)" in told


def test_repeated_rows_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    data = frame().drop(columns="date")
    data.iloc[10] = data.iloc[2]
    told = texts(check(tmp_path, data), "warning")
    assert told == ["file: 1 exact repeat of an earlier row; the first is line 12"]


@pytest.mark.parametrize(("value", "word"), [(1.5, "the same value"), ("on", "the same value")])
def test_a_constant_column_is_a_warning(tmp_path: Path, value: float | str, word: str) -> None:
    told = texts(check(tmp_path, frame().assign(heat=value)), "warning")
    assert told == [f"column 'heat': {word} in every row: it is left out"]


@pytest.mark.parametrize(
    ("leak", "word"),
    [
        pytest.param(lambda load: load, "equals the target 'load'", id="equal"),
        pytest.param(lambda load: 5 - 2 * load, "is almost a copy of", id="scaled"),
        pytest.param(lambda load: load * 1e200, "is almost a copy of", id="enormous"),
    ],
)
def test_a_column_that_gives_the_target_away_is_a_warning(
    tmp_path: Path, leak: Leak, word: str
) -> None:
    data = frame()
    data["rain"] = leak(data["load"])
    told = texts(check(tmp_path, data), "warning")
    assert len(told) == 1
    assert told[0].startswith(f"column 'rain': {word}")


def test_a_column_close_to_the_target_is_no_leak(tmp_path: Path) -> None:
    data = frame()
    data["rain"] = data["load"] + 0.1 * data["heat"]
    assert not check(tmp_path, data).of("warning")


def test_gaps_in_time_are_counted_and_the_largest_is_named(tmp_path: Path) -> None:
    data = frame().drop(index=[10, 30, 31, 32])
    told = texts(check(tmp_path, data), "warning")
    assert told == [
        "column 'date': 2 gaps longer than the usual step; "
        "the largest is 4 days after 2024-01-30T00:00:00"
    ]


def test_bars_that_no_market_made_are_warnings_with_their_line(tmp_path: Path) -> None:
    data = frame().rename(columns={"heat": "open", "rain": "high"}).assign(low=9.0, close=10.0)
    data["open"], data["high"] = 10.0, 11.0
    data.loc[4, "high"] = 8.0
    data.loc[6, "low"] = -1.0
    told = texts(check(tmp_path, data), "warning")
    assert any(text.startswith("line 6: high below low (8 against 9); correct") for text in told)
    assert any(text.startswith("line 8: low is zero or below (-1)") for text in told)


def test_every_bad_column_is_an_error_not_only_the_first(tmp_path: Path) -> None:
    data = frame().astype({"heat": "object", "rain": "object"})
    data.loc[3, "heat"] = "warm"
    data.loc[5, "rain"] = "inf"
    report = check(tmp_path, data)
    assert not report.ok
    assert [finding.where for finding in report.of("error")] == ["column 'heat'", "column 'rain'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a,b\n", "no data below"),
        ("a,b\n1,2\n3\n", "line 3 has 1 field and"),
        ("a,b\n1,2\n3,4\n", "too few"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_and_no_exception(
    tmp_path: Path, text: str, message: str
) -> None:
    report = check(tmp_path, text, target=None)
    assert report.dataset is None
    assert message in report.of("error")[0].text


def test_a_missing_file_is_an_error_and_no_exception(tmp_path: Path) -> None:
    assert "no such file" in check_file(str(tmp_path / "none.csv")).of("error")[0].text


def test_a_target_that_is_not_there_is_an_error_and_no_exception(tmp_path: Path) -> None:
    assert "no target column" in check(tmp_path, frame(), target="wind").of("error")[0].text


def test_a_bundled_set_can_be_checked_by_name() -> None:
    report = check_file("bikeshare")
    assert report.ok
    assert any("gaps" in finding.text for finding in report.of("warning"))
