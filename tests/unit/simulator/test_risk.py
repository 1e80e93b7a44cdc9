"""Rules of risk: what each makes of an order, and that they compose in any order."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import indicators
from simulator.causality import perturbed
from simulator.risk import (
    EaseInDrawdown,
    ExposureLimit,
    KellySize,
    MaxDrawdown,
    RebalanceBand,
    StopLoss,
    TakeProfit,
    VolatilityTarget,
    kelly_fraction,
)
from simulator.simulator import backtest
from simulator.synthetic import garch
from tests.unit.simulator.markets import bars_of, jumpy, plain

BARS = garch(600, volatility=0.02, seed=4)


def held(rules, bars=BARS, order=1.0, **how):
    """Positions at each close, with a constant order."""
    return backtest(np.full(len(bars), order), plain(bars, rules=rules, **how), first=0)


def test_a_volatility_target_holds_less_when_the_market_moves_more():
    episode = held([VolatilityTarget(0.15, window=20, cap=3.0)], max_position=3.0)

    yearly = indicators.rolling_volatility(BARS.close) * np.sqrt(252)
    fill = episode.records[:, 11] * episode.records[:, 9]
    assert (fill[:20] == 0).all()
    ordered = np.minimum(0.15 / yearly, 3.0)
    after = episode.positions[30:]
    assert np.corrcoef(after, ordered[30:-1])[0, 1] > 0.99
    assert np.std(episode.returns[30:]) * np.sqrt(252) == pytest.approx(0.15, rel=0.15)


def test_kelly_size_is_capped_and_scaled():
    episode = held([KellySize(window=50, fraction=0.5, cap=0.4)])

    assert (episode.positions[:49] == 0).all()
    assert 0 < np.abs(episode.positions[60:]).max() < 0.45


def test_the_kelly_fraction_is_mean_over_variance():
    rng = np.random.default_rng(0)
    r = rng.normal(0.002, 0.05, 20_000)

    growth = {f: np.log1p(f * r).mean() for f in np.arange(0.0, 2.0, 0.05)}

    best = max(growth, key=growth.get)
    assert kelly_fraction(r, cap=10) == pytest.approx(best, abs=0.1)
    assert kelly_fraction(r, fraction=0.5, cap=10) == pytest.approx(kelly_fraction(r, cap=10) / 2)
    assert kelly_fraction(r, cap=0.3) == 0.3
    assert kelly_fraction(-r, cap=0.3) == -0.3
    assert kelly_fraction(np.zeros(5)) is None
    assert kelly_fraction(np.array([0.1])) is None


def test_orders_shrink_as_a_drawdown_grows():
    falling = bars_of(*[(p,) * 4 for p in (100, 100, 90, 90, 80, 80, 80)])

    episode = held([EaseInDrawdown(0.05, 0.25)], bars=falling)

    assert episode.positions[0] == pytest.approx(1.0)
    assert episode.positions[2] == pytest.approx(0.75)  # a quarter of the way at 10 %
    assert episode.positions[4] == pytest.approx((0.25 - 0.175) / 0.2)


def test_the_strictest_of_several_limits_holds_in_any_order():
    rules = [ExposureLimit(0.5, 0.5), ExposureLimit(0.8, 0.2), VolatilityTarget(0.2),
             StopLoss(0.05), StopLoss(0.03), TakeProfit(0.1), MaxDrawdown(0.5),
             MaxDrawdown(0.3), EaseInDrawdown(0.1, 0.4), EaseInDrawdown(0.2, 0.3)]  # fmt: skip
    tables = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(rules))
        market = plain(BARS, rules=[rules[i] for i in order])
        tables.append((market.table.tobytes(), market.parameters.tobytes()))

    assert len(set(tables)) == 1


def test_rules_know_nothing_of_the_future():
    rules = [VolatilityTarget(0.2), KellySize(window=60), ExposureLimit(0.7, 0.7)]

    whole = plain(BARS, rules=rules).table[:, 4:6]
    other = plain(perturbed(BARS, 300), rules=rules).table[:, 4:6]

    assert np.array_equal(whole[:300], other[:300])


def test_limits_are_never_passed_at_a_decision():
    bars = jumpy(1_000, seed=2)
    rules = [ExposureLimit(0.6, 0.3), StopLoss(0.05)]
    rng = np.random.default_rng(0)

    episode = backtest(rng.uniform(-3, 3, 1_000), plain(bars, rules=rules, max_position=2.0))

    units, price = episode.records[:, 3], episode.records[:, 10]
    filled = (episode.records[:, 9] != 0) & (units != 0)
    cash = episode.records[:, 2] + episode.records[:, 15]
    size = (units * price / (cash + units * price))[filled]
    assert size.max() <= 0.6 + 1e-9
    assert size.min() >= -0.3 - 1e-9


@pytest.mark.parametrize(
    "rule",
    [
        *(StopLoss(0.0), StopLoss(1.5), TakeProfit(-0.1), MaxDrawdown(2.0)),
        *(EaseInDrawdown(0.3, 0.2), VolatilityTarget(0.0), ExposureLimit(-1.0), RebalanceBand(0.0)),
        *(VolatilityTarget(float("nan")), StopLoss(float("nan"))),
    ],
)
def test_rules_that_mean_nothing_are_refused(rule):
    with pytest.raises(ValueError, match="needed"):
        plain(BARS, rules=[rule])


@pytest.mark.parametrize(
    "rule", [VolatilityTarget(0.2, cap=-1.0), KellySize(cap=0.0), KellySize(fraction=float("nan"))]
)
def test_sizes_that_mean_nothing_are_refused(rule):
    with pytest.raises(ValueError, match="cap=|fraction="):
        plain(jumpy(60), rules=[rule])
