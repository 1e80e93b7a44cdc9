"""Replay by priority: what is drawn how often, what makes up for it, and what a pickle keeps."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engines.models.rl_agents.priorities import Priorities, SumTree
from tests.unit.agents.test_rainbow_targets import filled


@pytest.fixture(autouse=True)
def a_seed():
    before = np.random.get_state()
    np.random.seed(7)
    yield
    np.random.set_state(before)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=40).filter(any), st.floats(0.0, 1.0))
def test_a_number_is_found_where_the_running_sum_says(values, share):
    tree = SumTree(len(values))
    tree[np.arange(len(values))] = np.array(values)
    mass = min(share, 1 - 1e-9) * tree.total

    found = int(tree.find(np.array([mass]))[0])

    above = np.cumsum(values)
    rounding = 1e-9 * above[-1]
    assert values[found] > 0.0
    assert above[found] - values[found] - rounding <= mass <= above[found] + rounding


def test_the_total_is_the_sum_after_any_number_of_changes():
    rng = np.random.default_rng(1)
    tree, values = SumTree(37), np.zeros(37)
    for _ in range(300):
        rows, fresh = rng.integers(0, 37, 5), rng.random(5)
        tree[rows] = fresh
        values[rows] = fresh  # of a row named twice the last one counts
    assert tree.total == pytest.approx(values.sum(), rel=1e-14)
    assert np.array_equal(tree[:37], values)


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_that_is_not_there_is_refused(row):
    with pytest.raises(IndexError, match="there are 5"):
        SumTree(5)[np.array([row])] = np.ones(1)


def test_transitions_are_drawn_as_often_as_their_priorities_say():
    rng = np.random.default_rng(2)
    errors = rng.exponential(size=50)
    kept = Priorities(50, alpha=0.6)
    kept.learned(np.arange(50), errors)

    drawn = np.concatenate([kept.draw(64, 0.4, 50)[0] for _ in range(2_000)])

    wanted = errors**0.6 / np.sum(errors**0.6)
    counts = np.bincount(drawn, minlength=50)
    # Equal parts of the total leave less to chance than independent draws: a lower statistic.
    assert stats.chisquare(counts, wanted * counts.sum()).pvalue > 0.01
    assert np.abs(counts / counts.sum() - wanted).max() < 0.002


def test_with_alpha_zero_all_are_drawn_alike_whatever_their_errors():
    kept = Priorities(20, alpha=0.0)
    kept.added(np.arange(20))
    kept.learned(np.arange(20), np.arange(20.0))

    drawn, weights = zip(*(kept.draw(32, 0.7, 20) for _ in range(500)), strict=True)

    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert stats.chisquare(counts).pvalue > 0.01
    assert np.concatenate(weights).min() == 1.0


def test_weights_at_beta_one_make_up_for_the_priorities():
    values, errors = np.arange(30.0), np.random.default_rng(3).exponential(size=30)
    kept = Priorities(30, alpha=1.0)
    kept.learned(np.arange(30), errors)

    sums = np.zeros(2)
    for _ in range(3_000):
        leaves, weights = kept.draw(32, 1.0, 30)
        # A batch's weights are over its largest, which is taken out again here.
        largest = (30 * kept.tree[leaves] / kept.tree.total).min()
        sums += [np.sum(weights / largest * values[leaves]), np.sum(weights / largest)]

    assert sums[0] / sums[1] == pytest.approx(values.mean(), rel=0.01)


def test_what_is_new_comes_with_the_highest_priority_so_far():
    kept = Priorities(4, alpha=1.0)
    kept.added(np.array([0, 1]))
    kept.learned(np.array([0, 1]), np.array([0.5, 8.0]))
    kept.added(np.array([2]))

    assert kept.tree[:4] == pytest.approx([0.5, 8.0, 8.0, 0.0], rel=1e-5)


@pytest.mark.parametrize("count", [4, 40])
def test_a_pickle_holds_the_filled_rows_and_gives_the_same_draws(count):
    replay = filled(20, 2, 3, count)
    replay.priorities.learned(np.arange(8), np.arange(8.0))
    whole = pickle.dumps(replay)

    again = pickle.loads(whole)

    state = np.random.get_state()
    first = replay.draw(16, 0.5)
    np.random.set_state(state)
    second = again.draw(16, 0.5)
    assert np.array_equal(first.leaves, second.leaves)
    assert np.array_equal(first.weights, second.weights)
    for one, other in zip(first.samples, second.samples, strict=True):
        assert np.array_equal(one, other)
    again.add(*_one_more(again))
    replay.add(*_one_more(replay))
    assert np.array_equal(again.rewards, replay.rewards)
    assert np.array_equal(again.priorities.tree[:40], replay.priorities.tree[:40])


def test_a_pickle_of_a_large_buffer_that_is_almost_empty_is_small():
    assert len(pickle.dumps(filled(100_000, 1, 1, 10))) < 20_000


def _one_more(replay):
    seen, ends = np.full((2, 1), 5.0), np.zeros(2, bool)
    return seen, seen, np.ones(2, int), np.ones(2), ends, [{}, {}]
