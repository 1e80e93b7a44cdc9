"""Bars: what is wrong is said by row and value; what no market can have made is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simulator.bars import BadBars, find_problems, guess_bars_per_year, load_bars
from simulator.synthetic import create_synthetic_trading_data


def table(rows: int = 8) -> pd.DataFrame:
    frame = create_synthetic_trading_data(rows).reset_index()
    return frame.drop(columns="returns")


def change(column: str, row: int, value: object) -> pd.DataFrame:
    frame = table()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("column", "row", "value", "said"),
    [
        ("close", 3, np.nan, "row 4: close is missing or not finite (nan)"),
        ("close", 3, "oops", "row 4: close is no number ('oops')"),
        ("open", 2, 0.0, "row 3: open is zero or below (0)"),
        ("low", 5, -1.5, "row 6: low is zero or below (-1.5)"),
        ("high", 1, 1.0, "row 2: high below low (1 against"),
        ("close", 6, np.inf, "row 7: close is missing or not finite (inf)"),
        ("date", 4, pd.NaT, "row 5: the time is missing (NaT)"),
        (
            "date",
            4,
            pd.Timestamp("2000-01-04"),
            "row 5: earlier than the row before it (2000-01-04)",
        ),
        ("date", 4, pd.Timestamp("2000-01-06"), "row 5: the same time as another row (2000-01-06)"),
    ],
)
def test_what_no_market_can_have_made_is_refused_with_its_row_and_value(column, row, value, said):
    frame = change(column, row, value)
    if column == "date":
        frame["date"] = pd.to_datetime(frame["date"])

    with pytest.raises(BadBars) as raised:
        load_bars(frame)

    assert said in str(raised.value)


def test_newest_first_is_named_as_such():
    with pytest.raises(BadBars, match="newest bar first"):
        load_bars(table()[::-1])


def test_one_finding_a_kind_counts_the_rows_like_it():
    frame = table()
    frame.loc[[2, 4, 5], "open"] = -1.0

    with pytest.raises(BadBars, match=r"row 3: open is zero or below \(-1\), and 2 more like it"):
        load_bars(frame)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda f: f.drop(columns="volume"), "no volume column"),
        (lambda f: f.assign(volume=0), "volume is zero in every row"),
        (lambda f: f.assign(high=f.high.mask(f.index == 3, f.low)), "above high, which is raised"),
        (lambda f: f.drop(columns="date"), "no time column"),
        (lambda f: f.drop(index=[3, 4, 5, 6, 7, 8]), "row 4: a gap before this bar"),
    ],
)
def test_what_is_only_odd_is_a_notice(edit, said):
    bars = load_bars(edit(table(20)))

    assert any(said in notice for notice in bars.notices)


def test_a_jump_of_half_the_price_is_asked_about():
    frame = table()
    frame.loc[4:, ["open", "high", "low", "close"]] *= 0.25

    assert any("a split?" in notice for notice in load_bars(frame).notices)


def test_a_high_below_the_close_is_raised_and_said():
    frame = table()
    frame.loc[3, "high"] = frame.loc[3, ["open", "close"]].max() * 0.999
    frame.loc[3, "low"] = frame.loc[3, "high"] * 0.9

    bars = load_bars(frame)

    assert bars.high[3] == max(bars.open[3], bars.close[3])


def test_csv_and_parquet_give_the_bars_of_the_table(tmp_path):
    frame = table(50)
    frame.to_csv(tmp_path / "bars.csv", index=False)
    frame.to_parquet(tmp_path / "bars.parquet")

    loaded = [load_bars(s) for s in (frame, tmp_path / "bars.csv", str(tmp_path / "bars.parquet"))]

    assert len({bars.sha256 for bars in loaded}) == 1
    assert loaded[1].name == "bars"
    assert len(loaded[1]) == 50


def test_names_count_in_any_case_and_other_columns_are_kept():
    frame = table().rename(columns=str.upper).assign(signal=1.5, note="text")

    bars = load_bars(frame)

    assert list(bars.columns) == ["signal"]
    assert bars.columns["signal"].tolist() == [1.5] * 8


def test_one_price_column_fills_at_the_next_price():
    bars = load_bars(pd.DataFrame({"price": [1.0, 2.0, 3.0, 4.0]}))

    assert bars.open.tolist() == bars.close.tolist() == [1, 2, 3, 4]
    assert any("next row's price" in notice for notice in bars.notices)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "open,high,low\n1,1,1\n"])
def test_files_without_bars_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "x.csv").write_text(content)

    with pytest.raises(BadBars) as raised:
        load_bars(tmp_path / "x.csv")

    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadBars, match="no such file"):
        load_bars(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        (pd.bdate_range("2020-01-01", periods=300), 252),
        (pd.date_range("2020-01-01", periods=300, freq="D"), 365),
        (pd.date_range("2020-01-01", periods=300, freq="h"), 8760),
        (pd.date_range("2020-01-01", periods=300, freq="15min"), 35040),
        (pd.date_range("2020-01-03", periods=120, freq="W"), 52),
        (pd.date_range("2020-01-01", periods=60, freq="MS"), 12),
        (pd.date_range("2000-01-01", periods=20, freq="YS"), 1),
    ],
)
def test_bars_a_year_follow_from_the_median_spacing(stamps, expected):
    assert guess_bars_per_year(stamps.to_numpy())[0] == expected


def test_sunday_evenings_are_no_weekend():
    hours = pd.date_range("2020-01-05 22:00", periods=24 * 7 * 8, freq="h")
    friday_night = (hours.day_of_week == 4) & (hours.hour >= 22)
    shut = friday_night | (hours.day_of_week == 5) | ((hours.day_of_week == 6) & (hours.hour < 22))

    assert guess_bars_per_year(hours[~shut].to_numpy())[0] == 24 * 252


def test_a_market_that_closes_at_night_has_as_many_bars_as_it_is_open():
    days = pd.bdate_range("2020-01-01", periods=60)
    stamps = np.concatenate([(day + pd.to_timedelta(range(9, 16), "h")).to_numpy() for day in days])

    assert guess_bars_per_year(stamps)[0] == 7 * 252


def test_bars_a_year_that_are_given_hold():
    assert load_bars(table(), bars_per_year=100).bars_per_year == 100
    with pytest.raises(BadBars, match="bars_per_year"):
        load_bars(table(), bars_per_year=0)


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["2020-02-01", "2020-02-02", "2020-02-03"], "2020-02-01"),
        (["13.02.2020", "14.02.2020", "15.02.2020"], "2020-02-13"),
        (["02/13/2020", "02/14/2020", "02/15/2020"], "2020-02-13"),
        (["2020-02-01T10:00:00+02:00", "2020-02-01T11:00:00+02:00", "2020-02-01T12:00:00+02:00"],
         "2020-02-01T08:00:00"),
    ],
)  # fmt: skip
def test_times_are_read_without_guessing_day_and_month(texts, first):
    bars = load_bars(pd.DataFrame({"date": texts, "close": [1.0, 2.0, 3.0]}))

    assert bars.stamps[0] == np.datetime64(first)


def test_a_first_column_of_dates_without_a_name_is_the_time(tmp_path):
    frame = table(30).set_index("date").rename_axis(None)
    frame.to_csv(tmp_path / "bars.csv")

    assert load_bars(tmp_path / "bars.csv").stamps.tolist() == load_bars(frame).stamps.tolist()


def test_unix_time_is_read_in_its_unit():
    seconds = np.array([1_600_000_000, 1_600_003_600, 1_600_007_200])

    for unit in (1, 1000):
        bars = load_bars(pd.DataFrame({"timestamp": seconds * unit, "close": [1.0, 2.0, 3.0]}))
        assert bars.stamps[0] == np.datetime64("2020-09-13T12:26:40")


def test_days_and_months_that_can_be_swapped_are_asked_about():
    texts = ["01/02/2020", "02/02/2020", "03/02/2020"]

    with pytest.raises(BadBars, match="day and month of '01/02/2020' can't be told apart"):
        load_bars(pd.DataFrame({"date": texts, "close": [1.0, 2.0, 3.0]}))


def test_good_bars_have_no_error():
    bars = load_bars(table(100))
    prices = {name: getattr(bars, name) for name in ("open", "high", "low", "close")}

    assert find_problems(prices, bars.stamps, bars.volume) == []
