"""The trade log: round trips with every cost, whose profits are the change of equity."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import baselines
from simulator.costs import Costs
from simulator.risk import StopLoss
from simulator.simulator import backtest
from tests.unit.simulator.markets import FREE, bars_of, jumpy, plain, still

PRICES = bars_of(*[(p,) * 4 for p in (100, 100, 110, 120, 120, 90, 90)])


def trades(bars, positions, **how):
    episode = backtest(np.array(positions, dtype=float), plain(bars, **how), first=0)
    return episode, episode.trades


def test_a_round_trip_has_its_bars_prices_and_profit():
    _, log = trades(PRICES, [1, 1, 0, 0, 0, 0, 0])

    (trade,) = log
    assert (trade.side, trade.entry_bar, trade.exit_bar, trade.bars) == (1, 1, 3, 2)
    assert (trade.entry_price, trade.exit_price) == (100, 120)
    assert trade.profit == pytest.approx(2_000)
    assert trade.profit_share == pytest.approx(0.2)
    assert trade.reason == "order"


def test_turning_round_ends_one_trade_and_begins_another():
    _, log = trades(PRICES, [1, 1, -1, -1, 0, 0, 0], costs=Costs(0.001))

    assert [(t.side, t.entry_bar, t.exit_bar) for t in log] == [(1, 1, 3), (-1, 3, 5)]
    assert [log[0].exit_price, log[1].entry_price] == pytest.approx([120, 120])
    assert sum(t.profit for t in log) == pytest.approx(
        backtest(np.array([1.0, 1, -1, -1, 0, 0, 0]), plain(PRICES, costs=Costs(0.001)), first=0)
        .equity[-1] - 10_000
    )  # fmt: skip


def test_what_is_added_and_taken_off_belongs_to_the_trade():
    _, log = trades(PRICES, [0.5, 1, 0.5, 0.5, 0, 0, 0])

    (trade,) = log
    assert 100 < trade.entry_price < 110
    assert trade.units == pytest.approx(50 + (10_500 - 50 * 110) / 110)


def test_an_open_position_is_closed_at_the_last_price_and_says_so():
    episode, (trade,) = trades(PRICES, [1] * 7)

    assert trade.reason == "end"
    assert trade.exit_price == 90
    assert trade.profit == pytest.approx(episode.equity[-1] - 10_000)


def test_financing_belongs_to_the_trade_that_was_held():
    costs = Costs(0.0, borrow_rate=0.001 * 252)

    _, log = trades(still(6), [-1, -1, 0, 0, 0, 0], costs=costs)

    assert log[0].costs == pytest.approx(10_000 * 0.001 * 2, rel=1e-3)
    assert log[0].profit == pytest.approx(-log[0].costs)


def test_a_stop_inside_the_bar_of_entry_is_a_trade_of_one_bar():
    bars = bars_of((100,) * 4, (100, 100, 80, 85), (85,) * 4)

    _, (trade,) = trades(bars, [1, 0, 0], rules=[StopLoss(0.1)])

    assert (trade.entry_bar, trade.exit_bar, trade.bars, trade.reason) == (1, 1, 1, "stop")


@pytest.mark.parametrize("seed", range(8))
def test_profits_add_up_to_the_change_of_equity(seed):
    bars = jumpy(500, seed=seed, volatility=0.02)
    costs = Costs(0.0005, 0.0005, 0.0, borrow_rate=0.1, funding_rate=-0.05)
    positions = np.random.default_rng(seed).choice([-1.0, -0.5, 0, 0.5, 1.0], 500)

    episode, log = trades(bars, positions, costs=costs, rules=[StopLoss(0.02)])

    assert sum(t.profit for t in log) == pytest.approx(episode.equity[-1] - 10_000, abs=1e-6)
    assert all(t.bars >= 1 for t in log)


def test_baselines_are_what_they_are_called():
    assert not baselines.flat(10).any()
    assert (baselines.buy_and_hold(10, 0.5) == 0.5).all()
    random = baselines.random(1_000, 2.0, seed=1)
    assert set(random) == {-2.0, 2.0}
    assert np.mean(random[1:] != random[:-1]) == pytest.approx(0.05, abs=0.03)
    assert np.array_equal(random, baselines.random(1_000, 2.0, seed=1))


def test_the_random_baseline_has_the_turnover_of_the_policy_and_other_times():
    policy = np.sign(np.sin(np.arange(2_000) / 7) + 0.3)

    other = baselines.same_turnover(policy, seed=3)

    assert np.abs(np.diff(other)).sum() == pytest.approx(np.abs(np.diff(policy)).sum(), abs=2)
    assert sorted(other) == sorted(policy)
    assert abs(np.corrcoef(other, policy)[0, 1]) < 0.95


def test_without_costs_the_opposite_policy_earns_the_opposite():
    positions = baselines.random(300, seed=2)
    market = plain(jumpy(300, seed=1, volatility=0.005), costs=FREE)

    one = backtest(positions, market).returns
    other = backtest(baselines.sign_flipped(positions), market).returns

    assert other == pytest.approx(-one, abs=2e-3)


def test_a_position_that_is_no_number_is_named_by_its_row():
    with pytest.raises(ValueError, match=r"position nan at row 3"):
        backtest(np.array([0.0, 1.0, np.nan, 0, 0, 0, 0]), plain(PRICES))
    with pytest.raises(ValueError, match=r"one a bar"):
        backtest(np.zeros(3), plain(PRICES))


@pytest.mark.parametrize("name", ["sp500", "nasdaq", "aapl", "ibm", "msft"])
def test_real_bars_of_installed_packages_can_be_traded(name):
    from simulator.errors import PackageNeeded
    from simulator.samples import load_sample

    try:
        bars = load_sample(name)
    except PackageNeeded as reason:
        pytest.skip(str(reason))

    metrics = backtest(baselines.buy_and_hold(len(bars)), plain(bars)).metrics
    assert len(bars) > 3_000
    assert bars.bars_per_year == 252
    assert metrics["total_return"] == pytest.approx(bars.close[-1] / bars.open[1] - 1)
