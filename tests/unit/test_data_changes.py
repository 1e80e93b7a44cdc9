"""A file that is no longer what an experiment began with is told of, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.data import changes
from engines.data.changes import changed_since
from engines.data.datasets import Dataset, load


def table() -> pd.DataFrame:
    at = np.arange(60)
    days = pd.date_range("2024-01-01", periods=60).astype("str")
    return pd.DataFrame({"day": days, "size": at * 0.5, "town": at % 9, "kind": at % 3})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    table().to_csv(path, index=False)
    return path


def told(data: Dataset) -> str | None:
    return changed_since(
        data.path,
        data.sha256,
        target=data.target,
        time_column=data.time_column,
        task=data.task,
        groups=data.group_column,
    )


@pytest.mark.parametrize(
    "how", [{}, {"time_column": "none", "groups": "town"}, {"task": "regression"}]
)
def test_the_same_table_is_no_news_whatever_its_date_or_layout(file: Path, how: dict) -> None:
    data = load(str(file), target="kind", **how)
    table().to_csv(file, index=False, sep=";", lineterminator="\r\n")

    assert told(data) is None


def test_another_value_is_told_with_what_to_do(file: Path) -> None:
    data = load(str(file), target="kind")
    frame = table()
    frame.loc[3, "size"] = 9.0
    frame.to_csv(file, index=False)

    sentence = told(data)

    assert sentence is not None
    assert sentence.startswith(f"{file} has changed since this experiment began; ")
    assert sentence.endswith("run it under another --name")


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "is no longer there"), (b"", "can no longer be read as it was"), (b"a\n", "can no")],
)
def test_a_file_that_is_gone_or_spoiled_is_told_and_no_error(
    file: Path, content: bytes | None, what: str
) -> None:
    data = load(str(file), target="kind")
    file.unlink() if content is None else file.write_bytes(content)

    assert what in str(told(data))


def test_what_has_no_file_or_a_very_large_one_is_not_looked_at(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(load("concrete")) is None
    data = load(str(file), target="kind")
    file.write_bytes(b"spoiled, but longer than that")
    monkeypatch.setattr(changes, "MOST_BYTES", 10)
    assert told(data) is None
