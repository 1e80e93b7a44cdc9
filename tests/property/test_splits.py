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
from engines.errors import BadInput

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


def whole(split: Split, rows: int) -> None:
    """Held-out part and folds have every row once; a fold's sides share none."""
    together = np.concatenate([split.search, split.held_out])
    assert np.array_equal(np.sort(together), np.arange(rows))
    for fold in split.folds:
        assert np.array_equal(np.union1d(fold.train, fold.valid), split.search)
        assert len(fold.train) + len(fold.valid) == len(split.search)
        assert len(fold.valid) >= 1
    if len(split.folds) > 1:
        scored = np.concatenate([fold.valid for fold in split.folds])
        assert np.array_equal(np.sort(scored), split.search)


@st.composite
def class_codes(draw):
    """(rows,) codes of up to eight classes, some of them rare, with every class there."""
    rows = draw(rows_of)
    k = draw(st.integers(2, 8))
    shares = np.array(draw(st.lists(st.floats(0.001, 1.0), min_size=k, max_size=k)))
    random = np.random.default_rng(draw(seeds))
    labels = random.choice(k, size=rows, p=shares / shares.sum())
    labels[:k] = np.arange(k)
    return random.permutation(labels)


@given(labels=class_codes(), seed=seeds)
@settings(max_examples=60)
def test_every_part_has_each_class_within_one_row_of_its_share(labels, seed: int) -> None:
    split = make_split(len(labels), ordered=False, seed=seed, labels=labels)

    whole(split, len(labels))
    assert len(split.held_out) == round(len(labels) * 0.2)
    k = labels.max() + 1
    held = np.bincount(labels[split.held_out], minlength=k)
    expected = np.bincount(labels, minlength=k) * len(split.held_out) / len(labels)
    assert (np.abs(held - expected) <= 1).all()
    searched = np.bincount(labels[split.search], minlength=k)
    parts = len(split.folds) if len(split.folds) > 1 else 5
    for fold in split.folds:
        assert (np.abs(np.bincount(labels[fold.valid], minlength=k) - searched / parts) < 1).all()
    sizes = [len(fold.valid) for fold in split.folds]
    assert max(sizes) - min(sizes) <= 1


@st.composite
def group_codes(draw):
    """(rows,) group codes, evenly or very unevenly spread; at least six groups."""
    rows = draw(st.one_of(st.integers(10, 300), st.integers(12_000, 15_000), st.just(63_000)))
    count = draw(st.integers(6, max(6, min(rows, 60))))
    random = np.random.default_rng(draw(seeds))
    uneven = draw(st.booleans())
    shares = random.pareto(1.0, count) + 1e-3 if uneven else np.ones(count)
    groups = random.choice(count, size=rows, p=shares / shares.sum())
    groups[:6] = np.arange(6)
    return random.permutation(groups)


@given(groups=group_codes(), seed=seeds, classes=st.sampled_from([0, 2, 5]))
@settings(max_examples=60)
def test_no_group_is_in_two_parts(groups, seed: int, classes: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, len(groups)) if classes else None

    split = make_split(len(groups), ordered=False, seed=seed, groups=groups, labels=labels)

    whole(split, len(groups))
    assert len(split.held_out) >= 1
    assert len(split.folds) == fold_count(round(len(groups) * 0.8))
    assert not set(groups[split.search]) & set(groups[split.held_out])
    for fold in split.folds:
        assert not set(groups[fold.train]) & set(groups[fold.valid])
    again = make_split(len(groups), ordered=False, seed=seed, groups=groups, labels=labels)
    assert same(split, again)


@given(seed=seeds, rows=st.integers(600, 2000), classes=st.sampled_from([0, 3]))
@settings(max_examples=30)
def test_many_small_groups_make_parts_of_like_size_and_classes(
    seed: int, rows: int, classes: int
) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, rows // 5, rows)
    labels = random.integers(0, classes, rows) if classes else None

    split = make_split(rows, ordered=False, seed=seed, groups=groups, labels=labels)

    assert abs(len(split.held_out) - 0.2 * rows) <= 0.03 * rows
    sizes = [len(fold.valid) for fold in split.folds]
    assert max(sizes) - min(sizes) <= 0.03 * rows
    if labels is not None:
        for fold in split.folds:
            counts = np.bincount(labels[fold.valid], minlength=classes)
            assert np.abs(counts - len(fold.valid) / classes).max() <= 0.06 * rows


@given(seed=seeds)
@settings(max_examples=20)
def test_other_seeds_hold_out_other_rows_of_a_class_or_other_groups(seed: int) -> None:
    labels, groups = np.arange(400) % 3, np.arange(400) // 4
    for how in ({"labels": labels}, {"groups": groups}):
        one = make_split(400, ordered=False, seed=seed, **how)
        other = make_split(400, ordered=False, seed=seed + 1, **how)
        assert not np.array_equal(one.held_out, other.held_out)


def test_classes_of_ordered_rows_are_not_spread() -> None:
    labels = np.arange(100) // 50

    split = make_split(100, ordered=True, seed=0, labels=labels)

    assert same(split, make_split(100, ordered=True, seed=0))
    assert not split.stratified


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"labels": np.arange(100) % 2}, "random folds, stratified"),
        ({"groups": np.arange(100) // 3}, "random folds, whole groups"),
        (
            {"groups": np.arange(100) // 3, "labels": np.arange(100) % 2},
            "random folds, whole groups",
        ),
    ],
)
def test_what_a_split_keeps_together_is_described(how: dict, kind: str) -> None:
    described = make_split(100, ordered=False, seed=0, **how).describe()

    assert described["kind"] == kind
    assert described["folds"] == 5


def test_groups_of_ordered_rows_are_refused_in_one_line() -> None:
    with pytest.raises(BadInput, match="leave out --groups, or the order with --time-column none"):
        make_split(100, ordered=True, seed=0, groups=np.arange(100))


@pytest.mark.parametrize(("rows", "needed"), [(100, 6), (20_000, 4), (70_000, 3)])
def test_too_few_groups_are_refused_with_the_number_needed(rows: int, needed: int) -> None:
    groups = np.arange(rows) % needed
    assert make_split(rows, ordered=False, seed=0, groups=groups).held_out.size > 0

    with pytest.raises(BadInput, match=f"--groups has {needed - 1} different values.* {needed} "):
        make_split(rows, ordered=False, seed=0, groups=groups % (needed - 1))
