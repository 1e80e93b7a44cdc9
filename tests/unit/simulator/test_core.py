"""The core, bar by bar: when orders fill, what they cost, what ends a position."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import layout as at
from simulator.costs import Costs
from simulator.risk import ExposureLimit, MaxDrawdown, RebalanceBand, StopLoss, TakeProfit
from simulator.simulator import backtest
from tests.unit.simulator.markets import FREE, bars_of, plain, still


def run(bars, positions, costs=FREE, rules=(), **how):
    """An episode over all bars; positions are filled up with the last one."""
    wanted = np.full(len(bars), positions[-1], dtype=float)
    wanted[: len(positions)] = positions
    return backtest(wanted, plain(bars, costs=costs, rules=rules, **how), first=0)


def test_an_order_is_filled_at_the_next_open_not_at_the_close_just_seen():
    bars = bars_of((100, 100, 100, 100), (110, 121, 110, 121), (121, 121, 121, 121))

    episode = run(bars, [1.0])

    assert episode.equity == pytest.approx([11_000, 11_000])
    assert episode.records[0, at.FILL_PRICE] == 110


def test_same_close_fills_at_the_price_already_known_and_is_labelled_look_ahead():
    bars = bars_of((100, 100, 100, 100), (110, 121, 110, 121), (121, 121, 121, 121))

    episode = run(bars, [1.0], costs=Costs(transaction_cost=0.0, fill="same_close"))

    assert episode.equity == pytest.approx([12_100, 12_100])
    assert "look-ahead" in episode.metrics["fill"]
    assert all("look-ahead" in row["fill"] for row in episode.trade_rows())


def test_everything_in_leaves_no_cash_and_no_debt_after_the_costs():
    episode = run(
        still(3), [1.0], costs=Costs(transaction_cost=0.001, slippage=0.002, spread=0.002)
    )

    price = 100 * 1.003
    assert episode.records[0, at.CASH] == pytest.approx(0, abs=1e-9)
    assert episode.records[0, at.UNITS] == pytest.approx(10_000 / (price * 1.001))
    assert episode.positions[0] == pytest.approx(1.0, abs=1e-12)


def test_fees_and_impact_are_in_the_reward():
    from simulator import core

    market = plain(still(3), costs=Costs(transaction_cost=0.01))
    state = market.start(10_000.0)

    reward, *_ = core.step_one(
        market.table, market.parameters, state, 1.0, np.empty(2, dtype=np.float32)
    )

    assert reward == pytest.approx(np.log(1 / 1.01))
    assert state[at.EQUITY] == pytest.approx(10_000 / 1.01)


def test_borrow_is_charged_in_every_bar_that_a_short_is_held():
    costs = Costs(transaction_cost=0.0, borrow_rate=0.01 * 252)

    episode = run(still(11), [-1.0], costs=costs)

    assert episode.equity == pytest.approx(10_000 * 0.99 ** np.arange(1, 11))


def test_a_position_that_is_only_held_is_financed_in_every_bar():
    costs = Costs(transaction_cost=0.0, borrow_rate=0.01 * 252, funding_rate=0.002 * 252)

    episode = run(still(11), [-1.0], costs=costs, rules=[RebalanceBand(0.5)])

    assert np.count_nonzero(episode.records[:, at.FILL_UNITS]) == 1
    assert episode.equity == pytest.approx(10_000 - 80 * np.arange(1, 11))


def test_borrow_is_charged_on_cash_that_a_long_has_borrowed():
    costs = Costs(transaction_cost=0.0, borrow_rate=0.01 * 252)

    episode = run(still(3), [2.0], costs=costs, max_position=2.0)

    assert episode.equity[0] == pytest.approx(10_000 * 0.99)


def test_an_unborrowed_long_pays_no_borrow():
    episode = run(still(5), [1.0], costs=Costs(transaction_cost=0.0, borrow_rate=1.0))

    assert episode.equity == pytest.approx([10_000] * 4)


@pytest.mark.parametrize(("side", "sign"), [(1.0, -1), (-1.0, 1)])
def test_funding_goes_from_longs_to_shorts(side, sign):
    costs = Costs(transaction_cost=0.0, funding_rate=0.001 * 252)

    episode = run(still(4), [side], costs=costs)

    assert episode.returns[0] == pytest.approx(sign * 0.001)


def test_a_stopped_bar_is_financed_too():
    bars = bars_of((100,) * 4, (100, 100, 80, 90), (90,) * 4)
    costs = Costs(transaction_cost=0.0, funding_rate=0.001 * 252)

    episode = run(bars, [1.0, 0.0], costs=costs, rules=[StopLoss(0.1)])

    assert episode.records[0, at.FINANCING] == pytest.approx(10.0)


def test_a_stop_inside_the_bar_fills_at_its_level():
    bars = bars_of((100,) * 4, (100, 101, 80, 95), (95,) * 4)

    episode = run(bars, [1.0, 0.0], rules=[StopLoss(0.1)])

    assert episode.records[0, at.EXIT_PRICE] == pytest.approx(90)
    assert episode.equity == pytest.approx([9_000, 9_000])
    assert [trade.reason for trade in episode.trades] == ["stop"]


def test_the_stop_comes_before_the_target_when_a_bar_touches_both():
    bars = bars_of((100,) * 4, (100, 130, 80, 100), (100,) * 4)

    episode = run(bars, [1.0, 0.0], rules=[TakeProfit(0.2), StopLoss(0.1)])

    assert [trade.reason for trade in episode.trades] == ["stop"]


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_target_inside_the_bar_fills_at_its_level(side):
    bars = bars_of((100,) * 4, (100, 125, 75, 100), (100,) * 4)

    episode = run(bars, [side, 0.0], rules=[TakeProfit(0.2)])

    assert episode.records[0, at.EXIT_PRICE] == pytest.approx(100 + side * 20)
    assert episode.equity[-1] == pytest.approx(12_000)


def test_an_open_beyond_the_stop_closes_there_and_voids_the_order():
    bars = bars_of((100,) * 4, (100,) * 4, (80, 85, 75, 82), (82,) * 4)

    episode = run(bars, [1.0, 1.0, 0.0], rules=[StopLoss(0.1)])

    assert episode.records[1, at.FILL_PRICE] == 80
    assert episode.records[1, at.UNITS] == 0
    assert episode.equity[-1] == pytest.approx(8_000)
    assert [trade.reason for trade in episode.trades] == ["jumped stop or target"]


def test_an_order_that_turns_round_goes_through_although_the_open_jumped_the_stop():
    bars = bars_of((100,) * 4, (100,) * 4, (80, 80, 80, 80), (80,) * 4)

    episode = run(bars, [1.0, -1.0, -1.0], rules=[StopLoss(0.1)])

    assert episode.records[1, at.UNITS] == pytest.approx(-100)


def test_a_short_is_stopped_above_its_entry():
    bars = bars_of((100,) * 4, (100, 115, 100, 112), (112,) * 4)

    episode = run(bars, [-1.0, 0.0], rules=[StopLoss(0.1)])

    assert episode.equity[-1] == pytest.approx(9_000)


def test_a_position_that_is_added_to_has_the_mean_of_its_entries():
    bars = bars_of((100,) * 4, (100,) * 4, (110,) * 4, (110,) * 4)

    episode = run(bars, [0.5, 1.0, 1.0])

    first, second = episode.records[0, at.UNITS], episode.records[1, at.UNITS]
    assert episode.records[1, at.ENTRY] == pytest.approx(
        (100 * first + 110 * (second - first)) / second
    )


def test_the_maximum_drawdown_sells_at_the_next_open_and_ends_trading():
    bars = bars_of((100,) * 4, (100, 100, 70, 75), (60, 90, 60, 90), (90,) * 4, (99,) * 4)

    episode = run(bars, [1.0], rules=[MaxDrawdown(0.2)])

    assert episode.records[1, at.FILL_PRICE] == 60
    assert episode.equity == pytest.approx([7_500, 6_000, 6_000, 6_000])
    assert episode.ended == "maximum drawdown"


def test_ruin_inside_the_bar_ends_trading_even_if_the_close_recovers():
    bars = bars_of((100,) * 4, (100, 210, 100, 100), (100,) * 4, (50,) * 4)

    episode = run(bars, [-1.0])

    assert episode.equity.tolist() == [0, 0, 0]
    assert episode.returns.tolist() == [-1, 0, 0]
    assert episode.ended == "ruin"
    assert [(trade.reason, trade.profit) for trade in episode.trades] == [("ruin", -10_000)]


@pytest.mark.parametrize(
    ("order", "bar", "ended"),
    [
        (-1.0, (100, 220, 75, 100), "ruin"),  # a short may have been worth nothing at 200
        (3.0, (100, 130, 60, 100), "ruin"),  # and a threefold long at 67
        (-1.0, (100, 190, 75, 100), "end of data"),
    ],
)
def test_ruin_comes_before_a_target_when_a_bar_touches_both(order, bar, ended):
    bars = bars_of((100,) * 4, bar, (100,) * 4)

    episode = run(bars, [order, 0.0], rules=[TakeProfit(0.2)], max_position=3.0)

    assert episode.ended == ended
    assert (episode.equity[0] == 0) == (ended == "ruin")


def test_a_debt_whose_reduction_costs_more_than_it_frees_is_ruin_and_no_larger_debt():
    bars = bars_of((100,) * 4, (100,) * 4, (99.8,) * 4, (99.8,) * 4)

    episode = run(bars, [100.0], costs=Costs(transaction_cost=0.02), max_position=100.0)

    assert episode.positions[0] == pytest.approx(100)
    assert episode.equity[1:].tolist() == [0, 0]


def test_positions_are_cut_to_their_limits():
    episode = run(still(3), [5.0], rules=[ExposureLimit(long=0.6, short=0.2)])
    other = run(still(3), [-5.0], rules=[ExposureLimit(long=0.6, short=0.2)])

    assert episode.positions[0] == pytest.approx(0.6)
    assert other.positions[0] == pytest.approx(-0.2)


def test_a_position_that_drifts_is_brought_back_unless_it_is_within_the_band():
    bars = bars_of((100,) * 4, (100, 120, 100, 120), (120,) * 4, (120,) * 4)

    exact = run(bars, [0.5])
    loose = run(bars, [0.5], rules=[RebalanceBand(0.1)])

    assert exact.positions[1] == pytest.approx(0.5)
    assert loose.records[1, at.FILL_UNITS] == 0


def test_a_bar_that_is_not_traded_leaves_no_dust():
    episode = run(still(6), [1.0, 0.0, 0.0], costs=Costs())

    assert (episode.records[1:, at.UNITS] == 0).all()
    assert (episode.records[2:, at.FEES] == 0).all()


def test_all_actions_give_what_each_step_would_have_given():
    from simulator import core
    from tests.unit.simulator.markets import jumpy

    market = plain(jumpy(60), costs=Costs(slippage=0.001, borrow_rate=0.1), rules=[StopLoss(0.03)])
    rng = np.random.default_rng(0)
    state, visited = market.start(1_000.0), []
    for action in rng.uniform(-1, 1, 40):
        visited.append(state.copy())
        core.step_one(market.table, market.parameters, state, action, np.empty(2, np.float32))
    states, actions = np.array(visited), np.linspace(-1, 1, 5)
    rewards, after = np.empty((40, 5)), np.empty((40, 5, at.STATE))

    core.all_actions(market.table, market.parameters, states, actions, rewards, after)

    for i, before in enumerate(states):
        for j, action in enumerate(actions):
            state = before.copy()
            reward, *_ = core.step_one(
                market.table, market.parameters, state, action, np.empty(2, np.float32)
            )
            assert reward == rewards[i, j]
            assert np.array_equal(state, after[i, j])


def test_there_are_at_most_four_compiled_entries_each_with_one_signature():
    from simulator import core

    compiled = {
        name: function
        for name, function in vars(core).items()
        if hasattr(function, "nopython_signatures") and not name.startswith("_")
    }

    assert sorted(compiled) == ["all_actions", "run_positions", "step_many", "step_one"]
    for function in compiled.values():
        assert len(function.nopython_signatures) == 1


@pytest.mark.parametrize(
    "costs",
    [
        {"transaction_cost": -0.1},
        {"slippage": 0.6},
        {"spread": float("nan")},
        {"borrow_rate": -1.0},
        {"funding_rate": float("inf")},
        {"fill": "same_open"},
    ],
)
def test_costs_that_mean_nothing_are_refused(costs):
    with pytest.raises(ValueError, match=next(iter(costs))):
        Costs(**costs)
