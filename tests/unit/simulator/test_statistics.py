"""Luck and skill: formulas by hand, and both answers where both are due."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest

from simulator import statistics as luck
from simulator.baselines import random as random_policy
from simulator.market import build_market
from simulator.oracle import OrnsteinUhlenbeck
from simulator.simulator import backtest
from simulator.synthetic import ornstein_uhlenbeck, pure_noise
from tests.unit.simulator.markets import FREE

RNG = np.random.default_rng(0)
R = RNG.normal(0.001, 0.01, 400) + 0.02 * (RNG.random(400) < 0.02)


def moments(r):
    z = (r - r.mean()) / r.std()
    return r.mean() / r.std(ddof=1), (z**3).mean(), (z**4).mean()


def test_probabilistic_sharpe_by_hand():
    s, g3, g4 = moments(R)
    z = (s - 0.02) * math.sqrt(399) / math.sqrt(1 - g3 * s + (g4 - 1) / 4 * s**2)

    assert luck.probabilistic_sharpe_ratio(R, 0.02) == pytest.approx(NormalDist().cdf(z))


def test_the_published_example_of_the_deflated_sharpe_ratio():
    # Bailey and Lopez de Prado (2014), section "A numerical example": 100 trials, variance 1/2 a
    # year of 250 days, so a maximum of 0.1132 a day; Sharpe 2.5 a year over 5 years, skewness -3,
    # kurtosis 10: the deflated Sharpe ratio is 0.9004.
    top = luck.expected_maximum_sharpe(100, 0.5 / 250)
    s = 2.5 / math.sqrt(250)
    z = (s - top) * math.sqrt(1249) / math.sqrt(1 + 3 * s + 9 / 4 * s**2)

    assert top == pytest.approx(0.1132, abs=5e-5)
    assert NormalDist().cdf(z) == pytest.approx(0.9004, abs=5e-4)


def test_the_expected_maximum_is_that_of_worthless_trials():
    best = RNG.standard_normal((4_000, 50)).max(axis=1).mean()

    assert luck.expected_maximum_sharpe(50, 1.0) == pytest.approx(best, rel=0.02)
    assert luck.expected_maximum_sharpe(1, 1.0) == 0


def test_the_two_variances_are_named_apart():
    sharpes = np.array([0.0, 0.1, 0.2, 0.05])

    null = luck.deflated_sharpe_ratio(R, 4)
    cross = luck.deflated_sharpe_ratio(R, 4, variance="cross", sharpes=sharpes)

    assert null == luck.probabilistic_sharpe_ratio(R, luck.expected_maximum_sharpe(4, 1 / 399))
    assert cross == luck.probabilistic_sharpe_ratio(
        R, luck.expected_maximum_sharpe(4, np.var(sharpes, ddof=1))
    )
    with pytest.raises(ValueError, match="needs the trials"):
        luck.deflated_sharpe_ratio(R, 4, variance="cross")


def test_a_track_record_of_the_minimum_length_is_just_enough():
    s, g3, g4 = moments(R)
    n = luck.minimum_track_record_length(R, 0.01)
    z = (s - 0.01) * math.sqrt(n - 1) / math.sqrt(1 - g3 * s + (g4 - 1) / 4 * s**2)

    assert NormalDist().cdf(z) == pytest.approx(0.95)
    assert luck.minimum_track_record_length(-R) is None


@pytest.mark.parametrize("r", [np.zeros(50), np.full(50, 0.01), np.array([0.1]), np.empty(0)])
def test_nothing_is_said_of_returns_without_spread(r):
    assert luck.probabilistic_sharpe_ratio(r) is None
    assert luck.deflated_sharpe_ratio(r, 10) is None
    assert luck.minimum_track_record_length(r) is None


def overfitting_by_loops(returns, blocks):
    parts = np.array_split(returns[: len(returns) // blocks * blocks], blocks)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        seen = inside.mean(axis=0) / inside.std(axis=0, ddof=1)
        rest = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        rank = (rest < rest[seen.argmax()]).sum() + 1
        w = rank / (returns.shape[1] + 1)
        logits.append(math.log(w / (1 - w)))
    return np.array(logits)


def test_overfitting_agrees_with_its_definition_in_loops():
    returns = RNG.normal(0.0003, 0.01, (250, 12))

    found = luck.probability_of_overfitting(returns, blocks=6)

    assert found.logits == pytest.approx(overfitting_by_loops(returns, 6))
    assert found.pbo == np.mean(found.logits <= 0)


def test_overfitting_is_a_coin_toss_on_noise_and_rare_with_skill():
    noise = [
        luck.probability_of_overfitting(np.random.default_rng(i).normal(0, 0.01, (500, 30)), 10).pbo
        for i in range(30)
    ]
    skilled = np.random.default_rng(1).normal(0, 0.01, (500, 30))
    skilled[:, 4] += 0.003

    assert np.mean(noise) == pytest.approx(0.5, abs=0.12)
    assert luck.probability_of_overfitting(skilled, 10).pbo < 0.05


def test_overfitting_of_too_little_is_not_defined():
    assert luck.probability_of_overfitting(np.zeros((100, 1))) is None
    assert luck.probability_of_overfitting(np.zeros((20, 5))) is None
    with pytest.raises(ValueError, match="even number"):
        luck.probability_of_overfitting(np.zeros((100, 5)), 7)


def test_a_strategy_that_never_moves_is_not_the_best_of_them():
    noise = np.random.default_rng(0).normal(0, 0.01, (500, 5))
    still = np.column_stack([noise, np.full(500, 1e-3), np.zeros(500)])

    inside, outside = luck.probability_of_overfitting(still, blocks=10).degradation

    assert 0 < inside < 1
    assert abs(outside) < 1


def test_copies_of_one_strategy_are_one_trial():
    one = RNG.normal(size=(1_000, 1))

    assert luck.effective_trials(np.tile(one, 10)) == pytest.approx(1.0)
    assert luck.effective_trials(RNG.normal(size=(20_000, 10))) == pytest.approx(10, rel=0.01)


def test_bootstrap_blocks_have_their_mean_length_and_use_every_bar_alike():
    indices = luck.stationary_bootstrap(200, 2_000, np.random.default_rng(0), block=10)

    joined = np.mean((indices[:, 1:] - indices[:, :-1]) % 200 == 1)
    counts = np.bincount(indices.ravel(), minlength=200)
    assert joined == pytest.approx(1 - 1 / 10 + 1 / 10 / 200, abs=0.002)
    assert counts.min() > 0.9 * counts.mean()


def test_nineteen_of_twenty_intervals_hold_the_true_sharpe():
    true, held = 0.1, 0
    for seed in range(200):
        r = np.random.default_rng(seed).normal(true, 1.0, 400)
        low, high = luck.bootstrap_interval(r, samples=300, seed=seed, block=2)
        held += low <= true <= high

    assert 180 <= held <= 200


def test_an_interval_drawn_in_parts_is_an_interval(monkeypatch):
    r = np.random.default_rng(0).normal(0.1, 1.0, 400)
    whole = luck.bootstrap_interval(r)

    monkeypatch.setattr(luck, "_AT_ONCE", 400 * 300)
    sizes = []
    parts = luck.bootstrap_interval(r, lambda x: sizes.append(len(x)) or luck.sharpe_of_rows(x))

    assert sizes == [300, 300, 300, 100]
    assert parts == pytest.approx(whole, abs=0.02)


def test_intervals_widen_where_returns_hang_together():
    shocks = np.random.default_rng(0).normal(size=2_000)
    r = np.convolve(shocks, np.ones(10))[:2_000] + 1.0

    low, high = luck.bootstrap_interval(r, block=1)
    wide_low, wide_high = luck.bootstrap_interval(r, block=50)

    assert wide_high - wide_low > 1.5 * (high - low)
    assert luck.bootstrap_interval(np.zeros(50)) is None


# -- the judge of luck, on markets that went through the simulator -----------------------------

BARS, POLICIES, MARKETS = 1_000, 50, 40


def best_of(returns: np.ndarray) -> np.ndarray:
    """The returns of the best of (bars, policies)."""
    return returns[:, np.argmax(luck.sharpe_of_rows(returns.T))]


def null_market(seed: int) -> np.ndarray:
    """Returns of random policies in a market that nothing can be known about."""
    market = build_market(pure_noise(BARS + 1, seed=seed), features=[], costs=FREE)
    policies = [random_policy(BARS + 1, seed=1_000 * seed + i) for i in range(POLICIES)]
    return np.column_stack([backtest(p, market).returns for p in policies])


def planted_market(seed: int) -> np.ndarray:
    """The same, but one of the policies is the best of a market of Sharpe 2.9."""
    bars = ornstein_uhlenbeck(BARS + 1, seed=seed)
    market = build_market(bars, features=[], costs=FREE)
    policies = [random_policy(BARS + 1, seed=1_000 * seed + i) for i in range(POLICIES - 1)]
    policies.append(-np.sign(bars.columns["signal"]))
    return np.column_stack([backtest(p, market).returns for p in policies])


def test_luck_is_called_luck_in_null_markets_and_skill_skill_where_it_is_planted():
    lucky = [best_of(null_market(seed)) for seed in range(MARKETS)]
    skilled = [best_of(planted_market(seed)) for seed in range(MARKETS)]

    naive = sum(luck.probabilistic_sharpe_ratio(r) > 0.95 for r in lucky)
    fooled = sum(luck.deflated_sharpe_ratio(r, POLICIES) > 0.95 for r in lucky)
    found = sum(luck.deflated_sharpe_ratio(r, POLICIES) > 0.95 for r in skilled)

    assert OrnsteinUhlenbeck().best_sharpe() == pytest.approx(2.878, abs=0.001)
    assert naive > MARKETS / 2
    assert fooled <= 2
    assert found >= 36
