"""Data sets as people give them: what is read, guessed, left out, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.data import bundled, reading
from engines.data.datasets import BUNDLED, Feature, load
from engines.errors import BadInput, PackageMissing

ROWS = 30
Change = Callable[[pd.DataFrame], pd.DataFrame]


def table(rows: int = ROWS) -> pd.DataFrame:
    """A plain table: two number columns, one category, and a target."""
    at = np.arange(rows)
    return pd.DataFrame(
        {
            "size": at * 0.1 + 0.05,
            "count": at % 7,
            "colour": np.array(["red", "green", "blue"])[at % 3],
            "price": np.sqrt(at + 1.0),
        }
    )


def lines(rows: int = ROWS) -> list[str]:
    """A CSV file as a list of lines; data row N of the file is line N + 1."""
    return table(rows).to_csv(index=False).splitlines()


def save(folder: Path, text: str | bytes | list[str], name: str = "data.csv") -> str:
    path = folder / name
    if isinstance(text, list):
        text = "\n".join(text) + "\n"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def with_times(stamps: list[str], name: str = "date") -> list[str]:
    plain = lines(len(stamps))
    return [f"{name},{plain[0]}"] + [
        f"{stamp},{line}" for stamp, line in zip(stamps, plain[1:], strict=True)
    ]


def days(rows: int = ROWS) -> list[str]:
    return [str(day)[:10] for day in pd.date_range("2024-01-01", periods=rows)]


SHAPES = {
    "abalone": (4177, 8, "47d198b00c11b54eebfda93b0f283abf2a10338417a4ede099453cc0726ccaaf"),
    "airfoil": (1503, 5, "297c3c8e064e75b3857094d4c526cd98dfe752a49ca0c858e3dd8f7df0b79e82"),
    "bikeshare": (8645, 12, "b6ae7a5a87e117a218bb4693ee1b768136811ad3b6440e3e6f766cf811ba110f"),
    "concrete": (1030, 8, "32493d24734d5a165ebe19bac1fb380fd31c6cc3287762bf24f834f0bb7dc0ed"),
    "diabetes": (442, 10, "e28117c455d74bd23a9a0ac0e35c6782ffb8b1ee4471a5cfad0d4ef82638baa7"),
}


class TestBundled:
    """The sets that come with the program."""

    @pytest.mark.parametrize("name", sorted(BUNDLED))
    def test_a_bundled_set_has_the_shape_and_hash_on_record(self, name: str) -> None:
        if name == "diabetes":
            pytest.importorskip("sklearn")
        data = load(name)
        assert (*data.X.shape, data.sha256) == SHAPES[name]

    @pytest.mark.parametrize("entry", BUNDLED.values(), ids=lambda entry: entry.name)
    def test_the_registry_tells_the_truth(self, entry: bundled.Bundled) -> None:
        if entry.name == "diabetes":
            pytest.importorskip("sklearn")
        data = load(entry.name)
        columns = len(data.features) + 1 + data.ordered
        found = (data.rows, columns, data.target, data.time_column, data.ordered)
        assert found == (entry.rows, entry.columns, entry.target, entry.time_column, entry.ordered)

    @pytest.mark.parametrize(
        ("name", "mean"), [("concrete", 35.818), ("airfoil", 124.836), ("abalone", 9.934)]
    )
    def test_the_mean_of_the_target_is_the_published_one(self, name: str, mean: float) -> None:
        assert load(name).y.mean() == pytest.approx(mean, abs=5e-4)

    def test_nothing_needs_to_be_said_about_a_bundled_set(self) -> None:
        assert load("concrete").notices == ()

    def test_a_bundled_name_is_found_in_any_case(self) -> None:
        assert load("Concrete").name == "concrete"

    def test_a_bundled_set_has_no_path(self) -> None:
        assert load("airfoil").path is None

    def test_the_bicycle_hours_rise_without_a_repeat(self) -> None:
        times = load("bikeshare").times
        assert times is not None
        assert (np.diff(times) > 0).all()

    def test_the_bicycle_set_has_no_column_that_adds_up_to_the_target(self) -> None:
        names = {feature.name for feature in load("bikeshare").features}
        assert not names & {"casual", "registered"}

    def test_diabetes_without_scikit_learn_names_the_package(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundled, "find_spec", lambda name: None)
        with pytest.raises(PackageMissing, match="install scikit-learn"):
            load("diabetes")

    def test_loading_imports_no_learning_library(self) -> None:
        code = (
            "import sys; from engines.data.datasets import load; load('abalone');"
            "print(sorted({'sklearn', 'torch', 'scipy', 'xgboost'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr


class TestReading:
    """Text layouts and encodings that are taken as they are."""

    def test_numbers_come_back_to_the_last_digit(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, lines()))
        assert np.array_equal(data.X[:, 0], table()["size"])

    def test_a_file_is_named_by_its_stem_and_absolute_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(tmp_path, lines())
        monkeypatch.chdir(tmp_path)
        data = load("data.csv")
        assert (data.name, data.path) == ("data", str(tmp_path / "data.csv"))

    def test_categories_are_sorted_and_coded_from_zero(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, lines()))
        assert data.features[2] == Feature("colour", "category", ("blue", "green", "red"))
        assert data.X[:3, 2].tolist() == [2, 1, 0]

    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
    )
    def test_every_unicode_encoding_gives_the_same_data(
        self, tmp_path: Path, encoding: str
    ) -> None:
        text = "\n".join(lines()).replace("red", "röd")
        plain = load(save(tmp_path, text, "plain.csv"))
        coded = load(save(tmp_path, text.encode(encoding), "coded.csv"))
        assert coded.sha256 == plain.sha256

    @pytest.mark.parametrize(("mark", "word"), [(";", "semicolon"), ("\t", "tab"), ("|", "bar")])
    def test_another_delimiter_is_found_and_said(
        self, tmp_path: Path, mark: str, word: str
    ) -> None:
        plain = load(save(tmp_path, lines(), "plain.csv"))
        other = load(save(tmp_path, [line.replace(",", mark) for line in lines()]))
        assert other.sha256 == plain.sha256
        assert f"columns are separated by {word}" in other.notices

    def test_decimal_commas_in_a_semicolon_file_are_numbers(self, tmp_path: Path) -> None:
        european = table().to_csv(index=False, sep=";", decimal=",")
        plain = load(save(tmp_path, lines(), "plain.csv"))
        assert load(save(tmp_path, european)).sha256 == plain.sha256

    def test_windows_line_ends_blank_lines_and_spaces_change_nothing(self, tmp_path: Path) -> None:
        plain = load(save(tmp_path, lines(), "plain.csv"))
        odd = "\r\n\r\n".join(line.replace(",", ", ") for line in lines())
        assert load(save(tmp_path, odd)).sha256 == plain.sha256

    def test_a_quoted_field_may_hold_a_delimiter_and_a_line_end(self, tmp_path: Path) -> None:
        rows = [line.replace("red", '"dark, or\nlight"') for line in lines()]
        assert "dark, or\nlight" in load(save(tmp_path, rows)).features[2].categories

    def test_five_thousand_columns_are_read(self, tmp_path: Path) -> None:
        wide = pd.DataFrame(np.random.default_rng(1).normal(size=(ROWS, 5000)))
        wide.columns = [f"c{at}" for at in range(5000)]
        assert load(save(tmp_path, wide.to_csv(index=False))).X.shape == (ROWS, 4999)

    def test_bool_columns_are_zero_and_one_with_holes_kept(self, tmp_path: Path) -> None:
        rows = ["flag," + lines()[0]] + [
            f"{'True' if at % 2 else ('' if at == 4 else 'False')},{line}"
            for at, line in enumerate(lines()[1:])
        ]
        data = load(save(tmp_path, rows))
        assert data.features[0] == Feature("flag", "number")
        assert np.nansum(data.X[:, 0]) == ROWS // 2
        assert np.isnan(data.X[4, 0])


class TestParquet:
    """The same table from another kind of file."""

    @pytest.mark.parametrize("dates", [False, True], ids=["unordered", "ordered"])
    def test_the_hash_equals_that_of_the_csv_file(self, tmp_path: Path, dates: bool) -> None:
        frame = table()
        frame.loc[3, "size"] = np.nan
        frame.loc[5, "colour"] = None
        frame["flag"] = frame["count"] > 3
        frame["count"] = -0.0 * frame["count"]
        frame.loc[0, "count"] = 1.0
        if dates:
            frame["date"] = pd.date_range("2024-01-01 00:00", periods=ROWS, freq="17h")
        frame.to_parquet(tmp_path / "data.parquet")
        csv = load(save(tmp_path, frame.to_csv(index=False)), target="price")
        parquet = load(str(tmp_path / "data.parquet"), target="price")
        assert parquet.ordered is dates
        assert parquet.sha256 == csv.sha256

    def test_a_parquet_index_of_times_is_the_time_column(self, tmp_path: Path) -> None:
        frame = table().set_index(pd.date_range("2024-01-01", periods=ROWS, name="when"))
        frame.to_parquet(tmp_path / "data.parquet")
        assert load(str(tmp_path / "data.parquet")).time_column == "when"

    def test_dictionary_and_decimal_columns_are_read_as_their_values(self, tmp_path: Path) -> None:
        pa = pytest.importorskip("pyarrow")
        frame = table()
        frame["colour"] = frame["colour"].astype("category")
        arrow = pa.Table.from_pandas(frame)
        arrow = arrow.set_column(1, "count", arrow["count"].cast(pa.decimal128(22, 2)))
        pa.parquet.write_table(arrow, tmp_path / "data.parquet")
        plain = load(save(tmp_path, lines()))
        assert load(str(tmp_path / "data.parquet")).sha256 == plain.sha256

    def test_a_nested_column_is_left_out_and_said(self, tmp_path: Path) -> None:
        frame = table()
        frame.insert(0, "parts", [[1, 2]] * ROWS)
        frame.to_parquet(tmp_path / "data.parquet")
        notices = load(str(tmp_path / "data.parquet")).notices
        assert any("'parts' left out" in notice for notice in notices)

    def test_a_damaged_parquet_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="can't be read as Parquet"):
            load(save(tmp_path, b"PAR1" + bytes(100)))

    def test_a_parquet_file_of_no_rows_is_refused(self, tmp_path: Path) -> None:
        table(0).to_parquet(tmp_path / "data.parquet")
        with pytest.raises(BadInput, match="no rows"):
            load(str(tmp_path / "data.parquet"))


class TestHash:
    """The hash is of the content: it changes with every change that a model could see."""

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda f: f.rename(columns={"size": "length"}), id="name"),
            pytest.param(lambda f: f.assign(size=f["size"] + 1e-12), id="value"),
            pytest.param(lambda f: f.assign(price=f["price"] * 2), id="target"),
            pytest.param(lambda f: f.iloc[::-1], id="order of rows"),
            pytest.param(lambda f: f[["count", "size", "colour", "price"]], id="order of columns"),
            pytest.param(lambda f: f.replace("red", "pink"), id="category"),
            pytest.param(lambda f: f.iloc[:-1], id="rows"),
        ],
    )
    def test_the_hash_changes_with_the_content(self, tmp_path: Path, change: Change) -> None:
        before = load(save(tmp_path, lines(), "before.csv"))
        after = load(save(tmp_path, change(table()).to_csv(index=False), "after.csv"))
        assert before.sha256 != after.sha256

    def test_the_hash_does_not_depend_on_the_order_of_rows_that_have_times(
        self, tmp_path: Path
    ) -> None:
        rows = with_times(days())
        sorted_rows = load(save(tmp_path, rows, "a.csv"))
        reversed_rows = load(save(tmp_path, [rows[0], *rows[:0:-1]], "b.csv"))
        assert sorted_rows.sha256 == reversed_rows.sha256


class TestTarget:
    """Which column is predicted."""

    def test_the_last_numeric_column_is_the_guess_and_said(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, lines()))
        assert data.target == "price"
        assert "target guessed: 'price', the last numeric column" in data.notices

    def test_a_column_named_like_a_target_comes_first(self, tmp_path: Path) -> None:
        rows = [lines()[0].replace("count", "Target"), *lines()[1:]]
        data = load(save(tmp_path, rows))
        assert data.target == "Target"
        assert "target guessed: 'Target', by its name" in data.notices

    def test_a_named_target_needs_no_notice(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, lines()), target="size")
        assert (data.target, data.notices) == ("size", ())

    def test_rows_without_a_target_are_dropped_and_counted(self, tmp_path: Path) -> None:
        frame = table(40)
        frame.loc[[3, 7], "price"] = np.nan
        data = load(save(tmp_path, frame.to_csv(index=False)))
        assert data.rows == 38
        assert "2 rows dropped: the target 'price' is missing" in data.notices

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("colour", r"'colour' holds text .* numeric columns: size, count, price"),
            ("prize", r"no target column 'prize'; did you mean .*price"),
            ("zzz", r"no target column 'zzz'; columns are size, count, colour, price"),
        ],
    )
    def test_a_target_that_cannot_be_is_refused_with_the_choices(
        self, tmp_path: Path, target: str, message: str
    ) -> None:
        with pytest.raises(BadInput, match=message):
            load(save(tmp_path, lines()), target=target, task="regression")

    def test_a_constant_target_is_refused(self, tmp_path: Path) -> None:
        text = table().assign(price=3.5).to_csv(index=False)
        with pytest.raises(BadInput, match=r"'price' is 3.5 in every row.*--target"):
            load(save(tmp_path, text), target="price")

    def test_a_constant_last_column_is_not_guessed(self, tmp_path: Path) -> None:
        text = table().assign(zero=0).to_csv(index=False)
        assert load(save(tmp_path, text)).target == "price"

    def test_fewer_than_twenty_rows_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="19 rows with a target: too few; at least 20"):
            load(save(tmp_path, lines(19)))


class TestTime:
    """Which column is time, and the order of rows that it gives."""

    def test_a_date_column_is_guessed_said_and_no_feature(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, with_times(days())))
        assert (data.time_column, data.ordered) == ("date", True)
        assert "time column guessed: 'date'" in data.notices
        assert "date" not in {feature.name for feature in data.features}

    def test_times_are_epoch_nanoseconds(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, with_times(days())))
        assert data.times is not None
        assert data.times[0] == 1704067200 * 10**9

    def test_rows_are_sorted_by_time_and_it_is_said(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, with_times(days()[::-1])))
        assert data.y[0] == table()["price"].iloc[-1]
        assert "rows sorted by 'date': they were newest first" in data.notices

    @pytest.mark.parametrize(
        "form",
        ["%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d %b %Y", "%Y.%m.%d %H:%M", "%Y%m%d"],
    )
    def test_a_usual_format_of_dates_is_read(self, tmp_path: Path, form: str) -> None:
        stamps = [day.strftime(form) for day in pd.date_range("2024-01-01", periods=ROWS)]
        data = load(save(tmp_path, with_times(stamps)), time_column="date")
        assert data.times is not None
        assert (np.diff(data.times) == 86400 * 10**9).all()

    def test_offsets_are_brought_to_utc(self, tmp_path: Path) -> None:
        stamps = [f"{day}T00:00:00+02:00" for day in days()]
        data = load(save(tmp_path, with_times(stamps)))
        assert data.times is not None
        assert data.times[0] == (1704067200 - 7200) * 10**9

    @pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6)])
    def test_unix_time_is_read_when_the_column_is_named(
        self, tmp_path: Path, unit: str, factor: int
    ) -> None:
        stamps = [str((1704067200 + 60 * at) * factor) for at in range(ROWS)]
        data = load(save(tmp_path, with_times(stamps)), time_column="date")
        assert data.times is not None
        assert data.times[0] == 1704067200 * 10**9
        assert f"column 'date': numbers read as Unix time in {unit}" in data.notices

    def test_day_and_month_that_the_order_of_rows_tells_apart_are_read_and_said(
        self, tmp_path: Path
    ) -> None:
        stamps = [f"{day:02}/{month:02}/2024" for month in (1, 2, 3) for day in range(1, 11)]
        data = load(save(tmp_path, with_times(stamps)))
        assert any("day first" in notice for notice in data.notices)

    def test_day_and_month_that_nothing_tells_apart_are_refused(self, tmp_path: Path) -> None:
        stamps = [f"{day:02}/{month:02}/2024" for month in (1, 2, 3) for day in range(1, 11)]
        stamps[0], stamps[-1] = stamps[-1], stamps[0]
        with pytest.raises(BadInput, match="day/month or month/day; write dates like 2024-01-31"):
            load(save(tmp_path, with_times(stamps)))

    def test_a_repeated_time_is_refused_with_both_lines(self, tmp_path: Path) -> None:
        stamps = days()
        stamps[7] = stamps[4]
        with pytest.raises(BadInput, match="line 6 and line 9 have the same time 2024-01-05"):
            load(save(tmp_path, with_times(stamps)))

    def test_the_hour_repeated_at_a_clock_change_is_named_as_such(self, tmp_path: Path) -> None:
        hours = pd.date_range("2024-10-27 00:30", periods=ROWS - 2, freq="30min")
        stamps = [str(hour)[:16] for hour in hours]
        stamps[6:6] = stamps[4:6]
        with pytest.raises(BadInput, match="clock change: store times in UTC"):
            load(save(tmp_path, with_times(stamps)))

    def test_none_keeps_rows_with_repeated_times_unordered(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, with_times([days()[0]] * ROWS)), time_column="none")
        assert (data.ordered, data.times) == (False, None)

    def test_a_bad_time_in_a_named_column_is_refused_with_its_line(self, tmp_path: Path) -> None:
        stamps = days()
        stamps[5] = "someday"
        with pytest.raises(BadInput, match=r"line 7: time column 'date' has 'someday'; write"):
            load(save(tmp_path, with_times(stamps)), time_column="date")

    def test_a_bad_time_in_a_column_not_asked_for_leaves_the_rows_unordered(
        self, tmp_path: Path
    ) -> None:
        stamps = days()
        stamps[5] = "someday"
        data = load(save(tmp_path, with_times(stamps)))
        assert not data.ordered
        assert any("looks like times but line 7" in notice for notice in data.notices)

    def test_a_number_column_called_time_stays_a_feature(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, with_times([str(at) for at in range(ROWS)], "time")))
        assert data.features[0] == Feature("time", "number")

    def test_the_target_cannot_be_the_time(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="both target and time"):
            load(save(tmp_path, lines()), target="count", time_column="count")


class TestFeatures:
    """What is left out, and that it is said."""

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ([f"id{at}" for at in range(120)], "too many different texts: extra"),
            ([5] * 120, "the same in every row: extra"),
            ([None] * 120, "empty: extra"),
        ],
    )
    def test_a_column_of_no_use_is_left_out(
        self, tmp_path: Path, values: list[object], reason: str
    ) -> None:
        frame = table(120)
        frame.insert(0, "extra", values)
        data = load(save(tmp_path, frame.to_csv(index=False)))
        assert f"column left out, {reason}" in data.notices
        assert len(data.features) == 3

    def test_a_row_number_without_a_name_is_left_out(self, tmp_path: Path) -> None:
        data = load(save(tmp_path, table().to_csv()))
        assert "column left out, a row number without a name: unnamed_1" in data.notices

    def test_missing_values_are_nan_and_counted(self, tmp_path: Path) -> None:
        frame = table()
        frame.loc[[1, 2], "size"] = np.nan
        frame.loc[4, "colour"] = None
        data = load(save(tmp_path, frame.to_csv(index=False)))
        assert "2 missing values in column 'size'" in data.notices
        assert "1 missing value in column 'colour'" in data.notices
        assert np.isnan(data.X).sum() == 3

    def test_two_thirds_numbers_are_text_and_a_category(self, tmp_path: Path) -> None:
        frame = table()
        frame["count"] = ["A", "1", "2"] * 10
        assert load(save(tmp_path, frame.to_csv(index=False))).features[1].kind == "category"

    def test_a_table_without_features_is_refused(self, tmp_path: Path) -> None:
        text = table()[["price"]].assign(one=1).to_csv(index=False)
        with pytest.raises(BadInput, match="no feature is left"):
            load(save(tmp_path, text), target="price")


def edited(line: int, text: str) -> list[str]:
    """The plain file with one line replaced (the header is line 1)."""
    rows = lines()
    rows[line - 1] = text
    return rows


REFUSED = {
    "empty": (b"", "the file is empty; it needs a header"),
    "only blanks": (b" \n\n", "the file is empty; it needs a header"),
    "only a mark": (b"\xef\xbb\xbf", "the file is empty"),
    "header only": (lines()[:1], "a header line but no data below it; add rows"),
    "one column": (["a", "1", "2"], "only one column was found .* at least one feature"),
    "no header": (["1,2", "3,4"], "line 1 holds numbers.*add a header line"),
    "repeated names": (edited(1, "a,b,a,d"), "'a' appears 2 times; rename all but one"),
    "latin-1": (
        "\n".join(edited(5, "1,2,r\xf6d,3")).encode("latin-1"),
        "line 5: byte 0xf6.*UTF-8",
    ),
    "NUL early": (b"a,b\n1,2\n3,\x004\n", "line 3: a NUL byte.*export the data again"),
    "NUL late": ("\n".join([*lines(900), "1,\0,red,2"]), "line 902: a NUL byte.*export"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary.*export the data again"),
    "zip": (b"PK\x03\x04 and so on", "a zip archive or a spreadsheet.*export the sheet as CSV"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip archive.*unpack it first"),
    "short row": (
        edited(9, "1,2"),
        "line 9 has 2 fields and the header has 4; add or",
    ),
    "short by one": (edited(9, "1,2,red"), "line 9 has 3 fields and the header has 4"),
    "long row": (
        edited(9, "1,2,red,4,5"),
        "line 9 has 5 fields and the header has 4; add",
    ),
    "long first row": (edited(2, "1,2,red,4,5"), "line 2 has 5 fields and the header has 4"),
    "open quote": (
        edited(9, '1,2,"red,4'),
        "line 9: a quote is opened there and never closed",
    ),
    "open quote in long file": (
        [*edited(9, '1,2,"red,4'), *lines(9000)],
        "line 9: a quote is opened there and never closed",
    ),
    "inf": (edited(4, "inf,2,red,4"), "line 4: column 'size' is infinite or too large.*correct it"),
    "1e400": (edited(4, "1e400,2,red,4"), "line 4: column 'size' is infinite or too large"),
    "inf target": (edited(4, "1,2,red,-inf"), "line 4: column 'price' is infinite"),
    "huge integer": (
        edited(4, "1,123456789012345678901234567890,red,4"),
        "line 4: column 'count' has 1234.*too large for a number; correct it",
    ),
    "text in numbers": (
        edited(8, "12 cm,2,red,4"),
        "line 8: column 'size' holds numbers but here '12 cm'; correct it or leave it empty",
    ),
    "thousands": (
        edited(8, '"1,234.5",2,red,4'),
        "line 8: .*'1,234.5'; write numbers without",
    ),
    "comma decimal": (edited(8, '"1,5",2,red,4'), "line 8: .*'1,5'; write all decimals with '.'"),
}


class TestRefusals:
    """Every bad file gets one line that says what, where and what to do."""

    @pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
    def test_a_bad_file_is_refused_by_its_name_its_place_and_a_remedy(
        self, tmp_path: Path, text: str | bytes | list[str], message: str
    ) -> None:
        path = save(tmp_path, text)
        with pytest.raises(BadInput, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def test_a_missing_file_names_the_directory_it_was_looked_for_in(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BadInput, match=f"no such file .looked from {tmp_path}"):
            load("nowhere/data.csv")

    def test_an_unknown_name_gives_the_nearest_bundled_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BadInput, match=rf"'concret' .looked in {tmp_path}.*mean concrete\?"):
            load("concret")

    def test_an_unknown_name_like_no_other_lists_the_bundled_ones(self) -> None:
        with pytest.raises(BadInput, match="bundled are abalone, airfoil"):
            load("qqq")

    @pytest.mark.parametrize("source", ["", "  ", "a\0b", "x" * 5000, "~nobody-at-all/data.csv"])
    def test_a_name_that_no_file_can_have_is_refused(self, source: str) -> None:
        with pytest.raises(BadInput):
            load(source)

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="this is a directory; name a CSV"):
            load(str(tmp_path))

    def test_a_device_is_refused(self) -> None:
        with pytest.raises(BadInput, match="not a regular file; save the data"):
            load("/dev/zero")

    def test_a_file_over_the_limit_is_refused_with_a_hint_to_sample(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MAX_BYTES", 100)
        with pytest.raises(BadInput, match=r"over the limit .* draw a sample of the rows"):
            load(save(tmp_path, lines()))

    def test_control_characters_of_a_path_are_shown_as_escapes(self, tmp_path: Path) -> None:
        path = save(tmp_path, b"", "da\x1b[31mta\n.csv")
        with pytest.raises(BadInput, match=r"da\\x1b\[31mta\\n.csv: the file is empty"):
            load(path)

    def test_control_characters_of_a_column_are_shown_as_escapes(self, tmp_path: Path) -> None:
        rows = edited(1, "si\x1b[2Jze,count,colour,price")
        rows[6] = "oops,1,red,2"
        with pytest.raises(BadInput, match=r"column 'si\\x1b\[2Jze' holds numbers"):
            load(save(tmp_path, rows))
