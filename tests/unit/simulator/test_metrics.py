"""Metrics: the field's definitions, and None where there is nothing to say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from simulator import metrics
from simulator.trades import Trade
from tests.unit.simulator.peer_series import EDGES, NAMES, RECORD, all_series

SAME = 1e-9


@pytest.mark.parametrize("peer", ["empyrical-reloaded", "quantstats"])
def test_two_hundred_random_series_agree_with_what_the_peers_answered(peer):
    answers = json.loads(RECORD.read_text(encoding="utf-8"))["series"]
    compared = 0

    for series, answer in zip(all_series(), answers, strict=True):
        ours = metrics.return_metrics(series.returns, series.bars_per_year, series.risk_free)
        for name, value in answer[peer].items():
            assert abs(ours[name] - value) <= SAME * max(1.0, abs(value)), (series.kind, name)
            compared += 1

    assert compared >= 200 * 7


@pytest.mark.parametrize("case", EDGES)
def test_no_edge_gives_nan_or_inf(case):
    series = EDGES[case]

    for name, value in metrics.return_metrics(series.returns, series.bars_per_year).items():
        assert value is None or math.isfinite(value), name


@pytest.mark.parametrize(
    ("case", "undefined"),
    [
        ("all zero", {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "hit_rate",
                      "bar_profit_factor"}),
        ("constant 0.1 %", {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "bar_profit_factor"}),
        ("no losing bar", {"sortino_ratio", "calmar_ratio", "bar_profit_factor"}),
        ("no winning bar", set()),
        ("one bar", {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "volatility",
                     "bar_profit_factor"}),
        ("no bar", set(NAMES)),
        ("ruin", set()),
    ],
)  # fmt: skip
def test_what_is_not_defined_is_none(case, undefined):
    series = EDGES[case]

    found = metrics.return_metrics(series.returns, series.bars_per_year)

    assert {name for name, value in found.items() if value is None} == undefined


def test_ruin_is_a_loss_of_everything():
    series = EDGES["ruin"]

    found = metrics.return_metrics(series.returns, series.bars_per_year)

    assert (found["total_return"], found["max_drawdown"], found["annual_return"]) == (-1, -1, -1)


def test_a_loss_in_the_first_bar_is_a_drawdown():
    assert metrics.max_drawdown(np.array([-0.2, 0.1])) == pytest.approx(-0.2)


def test_the_definitions_by_hand():
    r = np.array([0.1, -0.05, 0.0, 0.02])
    mean = (0.1 - 0.05 + 0.02) / 4

    assert metrics.total_return(r) == pytest.approx(1.1 * 0.95 * 1.02 - 1)
    assert metrics.hit_rate(r) == pytest.approx(2 / 3)
    assert metrics.bar_profit_factor(r) == pytest.approx(0.12 / 0.05)
    assert metrics.sortino_ratio(r, 252) == pytest.approx(
        mean / math.sqrt(0.05**2 / 4) * math.sqrt(252)
    )
    assert metrics.calmar_ratio(r, 4) == pytest.approx((1.1 * 0.95 * 1.02 - 1) / 0.05)


def trade(profit: float, bars: int = 2) -> Trade:
    return Trade(1, 0, bars, bars, 1.0, 100.0, 101.0, 0.0, profit, profit / 100, "order")


def test_win_rate_counts_trades_and_hit_rate_counts_bars():
    found = metrics.trade_metrics([trade(5.0, 4), trade(-2.0, 1), trade(1.0, 1)])

    assert found["num_trades"] == 3
    assert found["win_rate"] == pytest.approx(2 / 3)
    assert found["profit_factor"] == pytest.approx(3.0)
    assert found["avg_trade_pnl"] == pytest.approx(4 / 3)
    assert found["avg_trade_duration"] == pytest.approx(2)


def test_without_trades_there_is_no_rate_of_any():
    found = metrics.trade_metrics([])

    assert found.pop("num_trades") == 0
    assert set(found.values()) == {None}


def test_turnover_is_money_traded_over_equity_a_year():
    traded, equity = np.array([100.0, 0.0, 55.0]), np.array([100.0, 100.0, 110.0])

    assert metrics.turnover(traded, equity, 252) == pytest.approx((1 + 0 + 0.5) / 3 * 252)


def test_exposure_is_the_mean_size_of_the_position():
    assert metrics.exposure(np.array([1.0, -1.0, 0.0, 0.5])) == pytest.approx(0.625)
