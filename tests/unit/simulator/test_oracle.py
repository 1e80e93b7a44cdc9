"""The market whose best policy is known: formula, dynamic programming and simulation agree."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.bars import Bars
from simulator.costs import Costs
from simulator.oracle import OrnsteinUhlenbeck, solve
from simulator.simulator import backtest
from tests.unit.simulator.markets import plain

MARKET = OrnsteinUhlenbeck()
WITHIN = 0.02


def simulate(x: np.ndarray, positions: np.ndarray, cost: float) -> np.ndarray:
    """Returns of positions along log prices x, both (bars, paths), through the simulator."""
    returns = []
    for path, wanted in zip(x.T, positions.T, strict=True):
        close = np.exp(path)
        opened = np.r_[close[:1], close[:-1]]
        bars = Bars(opened, np.maximum(opened, close), np.minimum(opened, close), close,
                    None, None, 252.0)  # fmt: skip
        market = plain(bars, costs=Costs(transaction_cost=cost))
        returns.append(backtest(np.ascontiguousarray(wanted), market, first=0).returns)
    return np.concatenate(returns)


def test_the_known_sharpe_ratio():
    assert MARKET.best_mean == pytest.approx(0.001830, abs=1e-6)
    assert MARKET.best_sharpe(252) == pytest.approx(2.878, abs=1e-3)


def test_the_best_policy_without_costs_earns_its_formula_in_the_simulator():
    x = MARKET.paths(10_000, 100, seed=1)

    r = simulate(x, -np.sign(x), 0.0)

    assert r.mean() / r.std(ddof=1) * np.sqrt(252) == pytest.approx(2.878, rel=WITHIN)
    assert r.mean() == pytest.approx(MARKET.best_mean, rel=WITHIN)


def test_dynamic_programming_without_costs_finds_the_formula():
    policy = solve(MARKET, 0.0)
    x = np.linspace(-0.03, 0.03, 7)[:, None]

    assert policy.growth == pytest.approx(
        MARKET.best_mean - (MARKET.best_deviation**2 + MARKET.best_mean**2) / 2, rel=0.005
    )
    assert policy.positions(np.delete(x, 3, axis=0)).ravel().tolist() == [1, 1, 1, -1, -1, -1]


@pytest.mark.parametrize("cost", [0.001, 0.002])
def test_the_simulated_optimum_with_costs_is_that_of_dynamic_programming(cost):
    policy = solve(MARKET, cost)
    x = MARKET.paths(10_000, 100, seed=2)

    best = np.log1p(simulate(x, policy.positions(x), cost)).mean()
    naive = np.log1p(simulate(x, -np.sign(x), cost)).mean()

    assert best == pytest.approx(policy.growth, rel=WITHIN)
    assert best > 1.05 * naive


def test_the_best_policy_can_be_had_for_synthetic_bars():
    from simulator.synthetic import ornstein_uhlenbeck

    bars = ornstein_uhlenbeck(5_000, seed=3)
    best = solve(MARKET, 0.001).positions_on(bars)
    market = plain(bars, costs=Costs(transaction_cost=0.001))

    scores = [
        backtest(positions, market, first=0).metrics["sharpe_ratio"]
        for positions in (best, -np.sign(bars.columns["signal"]), -best)
    ]
    assert scores[0] > scores[1] > 0 > scores[2]


def test_a_costly_market_is_left_alone():
    policy = solve(MARKET, 0.2, points=61)

    assert policy.growth == pytest.approx(0.0, abs=1e-5)
    assert not policy.positions(MARKET.paths(200, 3)).any()
