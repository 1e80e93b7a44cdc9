"""Equity over thousands of random steps, against an account kept by hand; one core, three faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from simulator import layout as at
from simulator.costs import Costs
from simulator.environment import TradingEnv
from simulator.market import Market, build_market
from simulator.risk import (
    EaseInDrawdown,
    ExposureLimit,
    KellySize,
    MaxDrawdown,
    RebalanceBand,
    StopLoss,
    TakeProfit,
    VolatilityTarget,
)
from simulator.simulator import backtest
from simulator.vector import TradingVectorEnv
from tests.unit.simulator.account import Account, Terms
from tests.unit.simulator.markets import jumpy

SAME = 1e-10


def by_hand(market: Market, terms: Terms, positions, balance: float = 10_000.0) -> Account:
    """The same positions, traded by the account of the tests."""
    account = Account(terms, balance)
    rows = [tuple(row[:6]) for row in market.table.tolist()]
    for t in range(len(rows) - 1):
        account.bar(float(positions[t]), rows[t], rows[t + 1])
    return account


def terms_of(market: Market, **more) -> Terms:
    """What the account needs to know, from the costs as a person gave them."""
    costs, a_year = market.costs, market.bars.bars_per_year
    return Terms(
        fee=costs.transaction_cost,
        impact=costs.slippage + costs.spread / 2,
        borrow=costs.borrow_rate / a_year,
        funding=costs.funding_rate / a_year,
        same_close=costs.fill == "same_close",
        longest=market.max_position,
        shortest=market.max_position,
        **more,
    )


def difference(equity, account: Account) -> float:
    """The largest relative difference of two equity curves."""
    other = np.array(account.equities)
    scale = np.maximum(np.abs(other), 1e-6)
    return float(np.max(np.abs(equity - other) / scale))


def test_ten_thousand_random_steps_agree_with_the_account_kept_by_hand():
    bars = jumpy(10_001, seed=5, volatility=0.01)
    costs = Costs(0.0002, 0.0001, 0.0002, borrow_rate=0.05, funding_rate=0.03)
    rules = [StopLoss(0.03), TakeProfit(0.05)]
    market = build_market(bars, features=[], costs=costs, rules=rules, max_position=1.5)
    rng = np.random.default_rng(1)
    positions = rng.uniform(-2, 2, len(bars)) * (rng.random(len(bars)) < 0.8)

    episode = backtest(positions, market, first=0)
    account = by_hand(market, terms_of(market, stop=0.03, take=0.05), positions)

    assert difference(episode.equity, account) <= SAME
    assert {"stop", "take", "jumped"} <= set(account.events)
    assert account.equities[-1] > 0  # it was alive to the end


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    volatility=st.sampled_from([0.005, 0.03, 0.1]),
    fee=st.sampled_from([0.0, 0.001, 0.02]),
    impact=st.sampled_from([0.0, 0.0005, 0.01]),
    rates=st.tuples(st.sampled_from([0.0, 0.2, 5.0]), st.sampled_from([-1.0, 0.0, 2.0])),
    largest=st.sampled_from([0.5, 1.0, 3.0]),
    stop=st.sampled_from([None, 0.01, 0.1]),
    take=st.sampled_from([None, 0.02, 0.3]),
    drawdown=st.sampled_from([None, 0.2]),
    ease=st.sampled_from([None, (0.05, 0.4)]),
    band=st.sampled_from([None, 0.05, 0.4]),
    kind=st.sampled_from(["continuous", "levels", "holding"]),
    fill=st.sampled_from(["next_open", "same_close"]),
)
def test_any_costs_stops_limits_and_orders_agree_with_the_account_kept_by_hand(
    seed, volatility, fee, impact, rates, largest, stop, take, drawdown, ease, band, kind, fill
):
    bars = jumpy(250, seed=seed, volatility=volatility)
    costs = Costs(fee, impact, 0.0, *rates, fill=fill)
    rules: list = [ExposureLimit(largest, largest), VolatilityTarget(0.5, cap=2.0)]
    rules += [KellySize(window=30, cap=2.0)] if seed % 2 else []
    rules += [StopLoss(stop)] if stop else []
    rules += [TakeProfit(take)] if take else []
    rules += [MaxDrawdown(drawdown)] if drawdown else []
    rules += [EaseInDrawdown(*ease)] if ease else []
    rules += [RebalanceBand(band)] if band else []
    market = build_market(bars, features=[], costs=costs, rules=rules, max_position=largest)
    positions = orders(kind, len(bars), largest, seed)

    episode = backtest(positions, market, first=0)
    limits = {"stop": stop, "take": take, "drawdown": drawdown, "ease": ease}
    terms = terms_of(market, band=band or 0.0, **limits)
    account = by_hand(market, terms, positions)

    assert difference(episode.equity, account) <= SAME
    profits = sum(trade.profit for trade in episode.trades)
    assert profits == pytest.approx(episode.equity[-1] - 10_000, abs=1e-5)
    assert np.isfinite(episode.records).all()


def orders(kind: str, bars: int, largest: float, seed: int):
    """Random positions: any, one of five levels, or kept for about ten bars."""
    rng = np.random.default_rng(seed)
    if kind == "continuous":
        return rng.uniform(-1.5 * largest, 1.5 * largest, bars)
    levels = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], bars) * largest
    if kind == "levels":
        return levels
    return levels[np.maximum.accumulate(np.where(rng.random(bars) < 0.1, np.arange(bars), 0))]


def test_single_vector_and_backtest_give_the_same_bits():
    bars = jumpy(2_000, seed=3, volatility=0.01)
    costs = Costs(0.0005, 0.0002, 0.0001, borrow_rate=0.05, funding_rate=0.02)
    rules = [StopLoss(0.02), TakeProfit(0.04), VolatilityTarget(0.3), EaseInDrawdown(0.3, 0.9)]
    market = build_market(bars, costs=costs, rules=rules, window=3)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, len(bars)).astype(np.float32)

    single, vector = TradingEnv(market), TradingVectorEnv(market, 3)
    seen, many_seen = single.reset(seed=0)[0], vector.reset(seed=0)[0]
    episode = backtest(actions.astype(np.float64), market)
    alone, together = [], []
    for t in range(market.first, market.last):
        assert all(np.array_equal(seen, row) for row in many_seen)
        seen, reward, *_ = single.step(actions[t : t + 1])
        many_seen, rewards, *_ = vector.step(np.full((3, 1), actions[t]))
        assert (rewards == reward).all()
        alone.append(single.state.copy())
        together.append(vector.accounts.states.copy())

    skip = at.FILL_UNITS  # the bounds of an episode differ by name only; the rest is all of it
    assert np.array_equal(np.array(alone)[:, at.CASH :], episode.records[:, at.CASH :])
    for row in range(3):
        assert np.array_equal(np.array(together)[:, row, at.CASH :], episode.records[:, at.CASH :])
    assert skip < at.STATE
    assert episode.equity[-1] > 0


def test_rows_of_a_vector_may_differ_in_costs_and_limits():
    market = build_market(jumpy(300, seed=1), features=[], costs=Costs())
    terms = [Costs(0.0), Costs(0.01), Costs(0.001, slippage=0.01)]
    limits = [1.0, 0.5, 0.2]
    rows = np.array([market.row(c, m) for c, m in zip(terms, limits, strict=True)])
    vector = TradingVectorEnv(market, 3, parameters=rows)
    rng = np.random.default_rng(4)
    positions = rng.uniform(-1, 1, 300)

    vector.reset(seed=0)
    for t in range(market.last):
        vector.step(np.full((3, 1), positions[t]))

    for row, (costs, limit) in enumerate(zip(terms, limits, strict=True)):
        alone = build_market(market.bars, features=[], costs=costs, max_position=limit)
        expected = backtest(positions, alone, first=0).equity[-1]
        assert vector.accounts.states[row, at.EQUITY] == expected
