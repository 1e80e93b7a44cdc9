"""The split of bars in time, bars as a data set, and the scores of what was earned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.data.earnings import score_returns
from engines.data.market import bars_of, load_market
from engines.data.periods import fewest_bars, split_bars
from engines.data.scoring import ScoreError
from engines.errors import BadInput
from simulator import metrics
from simulator.features import BUILT_IN, LOOK_BACK
from simulator.synthetic import pure_noise
from tests.unit.agents.searching import snapshot_of


@given(bars=st.integers(300, 20_000), warm_up=st.integers(0, 90))
def test_periods_are_60_20_20_in_time_with_a_gap_longer_than_any_window(
    bars: int, warm_up: int
) -> None:
    if bars < fewest_bars(warm_up):
        with pytest.raises(BadInput, match="are too few"):
            split_bars(bars, warm_up)
        return
    split = split_bars(bars, warm_up)
    train, valid, test = split.folds[0].train, split.folds[0].valid, split.held_out

    assert train[0] == 0
    assert test[-1] == bars - 1
    assert valid[0] - train[-1] - 1 == test[0] - valid[-1] - 1 == split.embargo > warm_up
    assert split.embargo >= bars * 0.01
    usable = bars - 2 * split.embargo
    assert [len(part) for part in (train, valid, test)] == pytest.approx(
        [0.6 * usable, 0.2 * usable, 0.2 * usable], abs=1
    )


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"rsi", "macd", "atr"}))
def test_no_feature_looks_further_back_than_the_embargo_is_long(name: str) -> None:
    bars = pure_noise(300, seed=4)
    now = 250
    other = pure_noise(300, seed=9)
    before = now - LOOK_BACK
    mixed = load_market(
        pd.concat([other.to_frame()[:before], bars.to_frame()[before:]]), bars_per_year=252
    ).bars

    assert BUILT_IN[name](mixed)[now] == pytest.approx(BUILT_IN[name](bars)[now], rel=1e-9)


def test_bars_come_back_from_a_snapshot_as_they_were(tmp_path: Path) -> None:
    bars = pure_noise(500, seed=2)
    again = bars_of(snapshot_of(bars, tmp_path / "data"), 252.0)

    for name in ("open", "high", "low", "close", "volume"):
        assert (getattr(again, name) == getattr(bars, name)).all()


def test_a_market_is_a_data_set_whose_hash_is_that_of_its_prices() -> None:
    frame = pure_noise(400, seed=2).to_frame()
    other = frame.copy()
    other.iloc[7, 3] *= 1.0001
    data = load_market(frame, name="mine")

    assert (data.name, data.rows, data.task, data.target) == ("mine", 400, "trading", "close")
    assert data.sha256 == load_market(frame.copy(), name="yours").sha256
    assert data.sha256 != load_market(other, name="mine").sha256


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.drop(columns=["open", "high", "low", "close"]), "no column open"),
        (lambda f: f.assign(low=f["high"] * 2), "high below low"),
        (lambda f: f[::-1], "newest bar first"),
    ],
)
def test_what_no_market_can_have_made_is_refused_in_one_line(change, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as error:
        load_market(change(pure_noise(300, seed=1).to_frame()))

    assert "\n" not in str(error.value)


def test_staying_in_cash_scores_0_and_what_is_not_defined_is_no_score() -> None:
    gains, nothing = np.full(60, 0.01) + np.arange(60) * 1e-4, np.zeros(60)

    assert all(
        score_returns(name, nothing, 252.0) == 0.0
        for name in ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "total_return")
    )
    assert score_returns("sharpe_ratio", gains, 252.0) == metrics.sharpe_ratio(gains, 252.0)
    assert score_returns("max_drawdown", -gains, 252.0) == metrics.max_drawdown(-gains)
    for name in ("sortino_ratio", "calmar_ratio"):
        with pytest.raises(ScoreError, match="is not defined"):
            score_returns(name, gains, 252.0)
    with pytest.raises(ScoreError, match="finite"):
        score_returns("sharpe_ratio", np.append(gains, np.nan), 252.0)
