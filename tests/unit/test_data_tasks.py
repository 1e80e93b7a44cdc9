"""Classes and groups: what is guessed, coded and refused, and that numbers stay as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engines.data.checks import check_file
from engines.data.datasets import Dataset, load
from engines.data.splits import split_dataset
from engines.errors import BadInput

ROWS = 60


def table(rows: int = ROWS) -> pd.DataFrame:
    at = np.arange(rows)
    return pd.DataFrame(
        {
            "size": at * 0.1 + 0.05,
            "town": at % 12,
            "shape": np.array(["round", "flat", "oval"])[at % 3],
            "price": np.sqrt(at + 1.0),
        }
    )


def save(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> str:
    path = folder / name
    if name.endswith("csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return str(path)


def with_target(folder: Path, values: Any, **how: Any) -> Dataset:
    return load(save(folder, table().assign(price=values)), target="price", **how)


def test_text_is_a_classification_and_it_is_said(tmp_path: Path) -> None:
    data = load(save(tmp_path, table()), target="shape")

    assert (data.task, data.classes) == ("classification", ("flat", "oval", "round"))
    assert data.y.dtype == np.float64
    assert [data.classes[int(code)] for code in data.y[:3]] == ["round", "flat", "oval"]
    assert "task guessed: classification, the target 'shape' is text" in data.notices


@pytest.mark.parametrize(
    ("values", "classes", "what"),
    [
        (np.arange(ROWS) % 20 - 1, 20, "20 different whole numbers"),
        (np.arange(ROWS) % 2 * 1.0, 2, "2 different whole numbers"),
        (np.arange(ROWS) % 2 == 0, 2, "true and false"),
    ],
)
def test_a_few_whole_numbers_are_a_classification_and_it_is_said(
    tmp_path: Path, values: Any, classes: int, what: str
) -> None:
    data = with_target(tmp_path, values)

    assert (data.task, len(data.classes)) == ("classification", classes)
    told = f"task guessed: classification, the target 'price' has {what}; --task regression"
    assert any(notice.startswith(told) for notice in data.notices)


@pytest.mark.parametrize(
    "values", [np.arange(ROWS) % 21, np.arange(ROWS) % 2 + 0.5, np.arange(ROWS) / 7]
)
def test_more_numbers_or_parts_of_numbers_are_a_regression(tmp_path: Path, values: Any) -> None:
    data = with_target(tmp_path, values)

    assert (data.task, data.classes) == ("regression", ())
    assert not data.notices


def test_what_is_asked_for_needs_no_notice_and_is_done(tmp_path: Path) -> None:
    few = with_target(tmp_path, np.arange(ROWS) % 4, task="regression")
    many = with_target(tmp_path, np.arange(ROWS) % 30 / 2, task="classification")

    assert (few.task, few.y[:4].tolist(), few.notices) == ("regression", [0, 1, 2, 3], ())
    assert (many.task, len(many.classes), many.notices) == ("classification", 30, ())


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    values = np.array([10, 9, -0.0, 2.5])[np.arange(ROWS) % 4]
    data = with_target(tmp_path, values, task="classification")

    assert data.classes == ("0", "2.5", "9", "10")
    assert data.y[:4].tolist() == [3.0, 2.0, 0.0, 1.0]


@pytest.mark.parametrize("name", ["data.csv", "data.parquet"])
def test_true_and_false_are_labels_by_their_names(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, table().assign(price=np.arange(ROWS) % 3 == 0), name)
    data = load(path, target="price")

    assert data.classes == ("False", "True")
    assert data.y[:2].tolist() == [1.0, 0.0]


def test_csv_and_parquet_have_the_same_classes_groups_and_hash(tmp_path: Path) -> None:
    frames = [
        load(save(tmp_path, table(), name), target="shape", groups="town")
        for name in ("data.csv", "data.parquet")
    ]
    assert frames[0].sha256 == frames[1].sha256


def test_the_guess_is_the_last_column_that_the_task_can_have(tmp_path: Path) -> None:
    path = save(tmp_path, table())

    assert load(path, task="classification").target == "shape"
    assert load(path, task="regression").target == "price"
    assert load(path).target == "price"
    assert load(path, task="regression", groups="price").target == "town"
    only_text = table()[["shape"]].assign(name=[f"n{i // 2}" for i in range(ROWS)])
    assert load(save(tmp_path, only_text)).target == "name"


def test_bundled_sets_keep_their_task(tmp_path: Path) -> None:
    assert load("abalone").task == "regression"
    assert load("abalone", target="rings").task == "regression"
    assert load("abalone", task="classification").task == "classification"
    assert load("abalone", target="sex").classes == ("F", "I", "M")


def test_classes_with_a_single_row_are_named(tmp_path: Path) -> None:
    values = np.array(["a", "b"] * 30, dtype=object)
    values[[7, 9]] = "rare", "odd"
    data = with_target(tmp_path, values)

    told = "2 classes have a single row, which can't be both learned and scored: odd, rare"
    assert told in data.notices
    split_dataset(data, seed=1)
    values[9] = "a"
    assert "1 class has a single row, " in " ".join(with_target(tmp_path, values).notices)


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "text for regression": (
        np.array(["a", "b"] * 30),
        {"task": "regression"},
        "'price' holds text and regression needs a number column; numeric columns: size, town",
    ),
    "one class": (
        ["a"] * ROWS,
        {},
        "'price' is 'a' in every row, so there is nothing to tell apart; .*--target",
    ),
    "identifiers": (
        [f"n{i}" for i in range(ROWS)],
        {},
        "fewer than two classes of target 'price' have two rows or more; add rows",
    ),
    "one class of more than a row": (
        ["a"] * 59 + ["b"],
        {"task": "classification"},
        "fewer than two classes of target 'price' have two rows",
    ),
    "times": (
        pd.date_range("2024-01-01", periods=ROWS).to_numpy(),
        {"time_column": "none"},
        "'price' holds times, which are neither numbers nor classes; choose another",
    ),
    "a task for later": ([1.5] * ROWS, {"task": "forecast"}, "--task forecast can't be learned"),
    "absent groups": (None, {"groups": "twon"}, "no group column 'twon'; did you mean town"),
    "groups of the target": (None, {"groups": "price"}, "can't be both target and groups"),
    "few groups": (None, {"groups": "shape"}, "--groups has 3 different values.* at least 6"),
}


@pytest.mark.parametrize(("values", "how", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_be_is_refused_in_one_line(
    tmp_path: Path, values: Any, how: dict[str, Any], message: str
) -> None:
    frame = table() if values is None else table().assign(price=values)
    path = save(tmp_path, frame, "data.parquet")

    with pytest.raises(BadInput, match=message) as caught:
        load(path, target="price", **how)

    assert "\n" not in str(caught.value)
    report = check_file(path, "price", **how)
    assert not report.ok
    assert report.of("error")


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        (np.arange(2500) % 1250 + 0.5, "1,250 different numbers, .*--task regression predicts"),
        ([f"n{i % 1250}" for i in range(2500)], "1,250 different texts, .*; group them"),
    ],
)
def test_more_than_a_thousand_classes_are_refused_with_a_remedy(
    tmp_path: Path, values: Any, remedy: str
) -> None:
    path = save(tmp_path, table(2500).assign(price=values))
    with pytest.raises(BadInput, match=rf"'price' has {remedy}"):
        load(path, target="price", task="classification")


def test_rows_without_a_label_are_dropped_and_counted(tmp_path: Path) -> None:
    frame = table()
    frame.loc[[3, 7], "shape"] = None
    data = load(save(tmp_path, frame), target="shape")

    assert data.rows == ROWS - 2
    assert "2 rows dropped: the target 'shape' is missing" in data.notices
    assert len(data.classes) == 3


@pytest.mark.parametrize("kind", ["number", "text", "time"])
def test_groups_are_no_feature_and_keep_rows_together(tmp_path: Path, kind: str) -> None:
    codes = np.arange(ROWS) // 5
    values = {
        "number": codes * 0.5,
        "text": np.array([f"patient {code}" for code in codes]),
        "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(codes, unit="D"),
    }[kind]
    path = save(tmp_path, table().assign(visit=values), "data.parquet")
    data = load(path, target="price", time_column="none", groups="visit")

    assert data.group_column == "visit"
    assert data.groups is not None
    assert data.groups.dtype == np.int64
    assert len(np.unique(data.groups)) == 12
    assert (np.diff(data.groups[np.argsort(codes)]) >= 0).sum() == ROWS - 1 or kind == "text"
    assert "visit" not in [feature.name for feature in data.features]
    split = split_dataset(data, seed=1)
    assert not set(data.groups[split.held_out]) & set(data.groups[split.search])


def test_an_empty_group_is_refused_with_its_line(tmp_path: Path) -> None:
    frame = table().astype({"town": float})
    frame.loc[4, "town"] = np.nan
    with pytest.raises(BadInput, match="line 6: group column 'town' is empty; fill it in"):
        load(save(tmp_path, frame), target="price", groups="town")


def test_groups_of_rows_in_order_of_time_are_refused(tmp_path: Path) -> None:
    frame = table().assign(date=pd.date_range("2024-01-01", periods=ROWS).astype("str"))
    path = save(tmp_path, frame)
    with pytest.raises(BadInput, match="Rows in order of time can't be split by groups"):
        load(path, target="price", groups="town")
    assert load(path, target="price", groups="town", time_column="none").groups is not None


def test_task_classes_and_groups_are_part_of_the_hash(tmp_path: Path) -> None:
    path = save(tmp_path, table().assign(price=np.arange(ROWS) % 3))
    ways: list[dict[str, Any]] = [
        {"task": "regression"},
        {"task": "classification"},
        {"task": "classification", "groups": "town"},
        {"task": "regression", "groups": "town"},
    ]
    assert len({load(path, target="price", **how).sha256 for how in ways}) == 4
    regrouped = save(tmp_path, pd.read_csv(path).assign(town=np.arange(ROWS) // 5), "groups.csv")
    hashes = [load(p, target="price", groups="town").sha256 for p in (path, regrouped)]
    assert hashes[0] != hashes[1]
    other = save(tmp_path, table().assign(price=np.arange(ROWS) % 3 + 1), "other.csv")
    renamed = load(other, target="price", task="classification")
    assert renamed.sha256 != load(path, target="price", task="classification").sha256


def test_classes_of_rows_in_order_of_time_are_sorted_with_them(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-01-01", periods=ROWS)[::-1].astype("str")
    data = load(save(tmp_path, table().assign(date=stamps)), target="shape")

    assert data.ordered
    assert [data.classes[int(code)] for code in data.y[-3:]] == ["oval", "flat", "round"]
    assert not split_dataset(data, seed=1).stratified


def test_a_check_tells_a_column_that_names_the_classes(tmp_path: Path) -> None:
    at = np.arange(ROWS)
    frame = table().assign(code=(at + 1) % 3 * 10, form=np.array(["R", "F", "O"])[at % 3])
    report = check_file(save(tmp_path, frame), "shape")

    told = [f"{f.where}: {f.text}" for f in report.of("warning")]
    assert told == [
        f"column '{name}': tells exactly the target 'shape': a leak, unless it is meant; remove it"
        for name in ("code", "form")
    ]
