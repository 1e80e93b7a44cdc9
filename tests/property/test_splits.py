"""What holds for every split: nothing is shared, nothing is lost, nothing looks ahead."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data import splits
from engines.data.splits import EMBARGO, FEWEST_TRAINING_ROWS, Split, fold_count, make_split

rows_of = st.one_of(st.integers(10, 200), st.integers(201, 3000), st.integers(12_000, 70_000))
seeds = st.integers(0, 2**31 - 1)


def same(a: Split, b: Split) -> bool:
    return (
        np.array_equal(a.search, b.search)
        and np.array_equal(a.held_out, b.held_out)
        and len(a.folds) == len(b.folds)
        and all(
            np.array_equal(x.train, y.train) and np.array_equal(x.valid, y.valid)
            for x, y in zip(a.folds, b.folds, strict=True)
        )
    )


@given(rows=rows_of, seed=seeds)
@settings(max_examples=60)
def test_random_rows_are_parted_without_loss_or_overlap(rows: int, seed: int) -> None:
    split = make_split(rows, ordered=False, seed=seed)

    together = np.concatenate([split.search, split.held_out])
    assert np.array_equal(np.sort(together), np.arange(rows))
    assert len(split.held_out) == round(rows * 0.2)
    assert len(split.folds) == fold_count(len(split.search))
    for fold in split.folds:
        assert np.array_equal(np.union1d(fold.train, fold.valid), split.search)
        assert len(fold.train) + len(fold.valid) == len(split.search)
        assert len(fold.valid) >= 1
    sizes = [len(fold.valid) for fold in split.folds]
    assert max(sizes) - min(sizes) <= 1
    if len(split.folds) > 1:
        scored = np.concatenate([fold.valid for fold in split.folds])
        assert np.array_equal(np.sort(scored), split.search)


@given(rows=rows_of, seed=seeds)
@settings(max_examples=60)
def test_ordered_rows_never_look_ahead_and_keep_the_embargo(rows: int, seed: int) -> None:
    split = make_split(rows, ordered=True, seed=seed)

    embargo = math.ceil(rows * EMBARGO)
    assert split.embargo == embargo
    assert split.held_out[-1] == rows - 1
    assert np.array_equal(np.diff(split.held_out), np.ones(len(split.held_out) - 1))
    assert split.held_out[0] - split.search[-1] == embargo + 1
    assert len(split.held_out) == round(rows * 0.2)
    for fold in split.folds:
        assert fold.train[0] == 0
        assert fold.valid[0] - fold.train[-1] >= embargo + 1
        assert np.array_equal(fold.train, np.arange(len(fold.train)))
        assert np.array_equal(fold.valid, np.arange(fold.valid[0], fold.valid[-1] + 1))
        assert fold.valid[-1] <= split.search[-1]


@given(rows=rows_of, seed=seeds)
@settings(max_examples=40)
def test_ordered_windows_grow_and_score_each_row_once(rows: int, seed: int) -> None:
    folds = make_split(rows, ordered=True, seed=seed).folds

    assert all(len(a.train) <= len(b.train) for a, b in pairwise(folds))
    assert all(a.valid[-1] + 1 == b.valid[0] for a, b in pairwise(folds))


@given(rows=rows_of, seed=seeds, ordered=st.booleans())
@settings(max_examples=40)
def test_a_split_is_a_function_of_rows_order_and_seed(rows: int, seed: int, ordered: bool) -> None:
    split = make_split(rows, ordered=ordered, seed=seed)

    assert same(split, make_split(rows, ordered=ordered, seed=seed))
    # Random folds depend on the seed, expanding windows don't.
    assert same(split, make_split(rows, ordered=ordered, seed=seed + 1)) is ordered


@pytest.mark.parametrize("ordered", [True, False])
def test_a_split_needs_ten_rows(ordered: bool) -> None:
    with pytest.raises(ValueError, match="`rows` must be at least 10, got 9"):
        make_split(9, ordered=ordered, seed=0)


@pytest.mark.parametrize(
    ("rows", "folds"), [(10, 5), (9_999, 5), (10_000, 3), (49_999, 3), (50_000, 1)]
)
def test_large_data_needs_fewer_folds(rows: int, folds: int) -> None:
    assert fold_count(rows) == folds


@pytest.mark.parametrize("ordered", [True, False])
def test_one_holdout_scores_a_fifth_of_the_search_part(ordered: bool) -> None:
    split = make_split(70_000, ordered=ordered, seed=1)

    assert len(split.folds) == 1
    assert len(split.folds[0].valid) == pytest.approx(len(split.search) / 5, rel=0.01)
    assert split.describe()["kind"] == "one holdout"


def test_a_split_is_described_in_words_and_numbers() -> None:
    assert make_split(100, ordered=True, seed=0).describe() == {
        "kind": "expanding windows",
        "ordered": True,
        "folds": 5,
        "search_rows": 79,
        "held_out_rows": 20,
        "embargo_rows": 1,
    }
    assert make_split(100, ordered=False, seed=0).describe()["kind"] == "random folds"
    assert splits.HELD_OUT == 0.2


@given(rows=st.integers(20, 400))
def test_the_first_window_in_time_trains_on_enough_rows_or_there_are_fewer_folds(rows: int) -> None:
    split = make_split(rows, ordered=True, seed=0)

    assert len(split.folds) == 1 or len(split.folds[0].train) >= FEWEST_TRAINING_ROWS
    assert len(split.folds[0].train) >= 10
