"""Columns that tell the target, now or of later rows, and what only looks like it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from engines.data.datasets import Dataset
from engines.data.frames import from_arrays
from engines.data.leaks import find_leaks

ROWS = 1500
Floats = npt.NDArray[np.float64]


def walk() -> Floats:
    return np.cumsum(np.random.default_rng(5).normal(size=ROWS))


def noise() -> Floats:
    return np.random.default_rng(6).normal(size=ROWS)


def wave() -> Floats:
    return np.sin(np.arange(ROWS) / 400)


def ordered(y: Any, column: Any) -> Dataset:
    frame = pd.DataFrame({"column": column, "other": np.random.default_rng(1).normal(size=ROWS)})
    return dataclasses.replace(from_arrays(frame, y, time_column="none"), ordered=True)


def ahead(values: Floats, rows: int) -> Floats:
    """The values of so many rows later beside each row; NaN where there are none yet."""
    return pd.Series(values).shift(-rows).to_numpy()


def told(dataset: Dataset, *, known: bool = False) -> list[str]:
    return [str(leak) for leak in find_leaks(dataset, known=known)]


@pytest.mark.parametrize("series", [walk, noise])
@pytest.mark.parametrize("rows", [1, 24])
def test_a_column_of_the_targets_future_is_a_leak(series, rows: int) -> None:
    y = series()
    later = "1 row later" if rows == 1 else "24 rows later"
    assert told(ordered(y, 3 - ahead(y, rows))) == [
        f"column 'column' is almost a copy of (correlation -1.00000) the target 'target' {later}"
    ]


@pytest.mark.parametrize("series", [walk, noise, wave])
def test_a_column_of_the_targets_past_is_no_leak(series) -> None:
    y = series()
    assert told(ordered(y, ahead(y, -1))) == []
    assert told(ordered(y, ahead(y, -1)), known=True) == []


@pytest.mark.parametrize("known", [False, True])
def test_the_targets_own_value_is_a_leak_unless_a_row_knows_it(known: bool) -> None:
    y = walk()
    found = told(ordered(y, y), known=known)
    assert found == ([] if known else ["column 'column' equals the target 'target'"])


def test_a_smooth_series_that_resembles_its_future_is_no_leak() -> None:
    """A neighbour in time of a slow wave explains it to one part in a hundred thousand."""
    assert told(ordered(wave(), ahead(wave(), -3)), known=True) == []


def test_the_class_of_the_next_row_is_a_leak() -> None:
    y = np.where(noise() > 0, "up", "down")
    found = told(ordered(y, pd.Series(y).shift(-1)))
    assert found == ["column 'column' tells exactly the target 'target' 1 row later"]
    assert told(ordered(y, pd.Series(y).shift(1))) == []


def test_rows_without_an_order_have_no_future() -> None:
    y = noise()
    dataset = dataclasses.replace(ordered(y, ahead(y, 1)), ordered=False)
    assert told(dataset) == []


def test_holes_and_enormous_numbers_hide_no_leak() -> None:
    y = walk()
    later = ahead(y, 2) * 1e200
    later[::7] = np.nan
    assert told(ordered(y, later))[0].endswith("the target 'target' 2 rows later")


def test_constant_stretches_and_lone_values_are_no_leaks() -> None:
    y = noise()
    still = np.where(np.arange(ROWS) < 3, np.arange(ROWS), np.nan)
    assert told(ordered(y, still)) == []
    flat = np.where(np.arange(ROWS) == ROWS - 1, 1.0, 0.0)
    assert told(ordered(y, flat)) == []
