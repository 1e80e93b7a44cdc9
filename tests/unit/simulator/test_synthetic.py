"""Synthetic markets: seeded, possible, and with the moments they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.bars import load_bars
from simulator.synthetic import (
    create_synthetic_trading_data,
    garch,
    geometric_brownian,
    ornstein_uhlenbeck,
    pure_noise,
    regime_switching,
)

MAKERS = [geometric_brownian, pure_noise, regime_switching, garch, ornstein_uhlenbeck]


@pytest.mark.parametrize("make", MAKERS)
def test_a_seed_gives_the_same_bars_and_another_seed_others(make):
    assert make(200, seed=7).sha256 == make(200, seed=7).sha256
    assert make(200, seed=7).sha256 != make(200, seed=8).sha256


@pytest.mark.parametrize("make", MAKERS)
def test_every_bar_is_possible_and_opens_at_the_close_before(make):
    bars = make(2_000, seed=1)

    assert load_bars(bars.to_frame()).notices == ("252 bars a year: the median step is one day",)
    assert np.array_equal(bars.open[1:], bars.close[:-1])
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()


def test_the_data_of_the_face_has_its_columns_and_defaults():
    frame = create_synthetic_trading_data()

    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "returns"]
    assert len(frame) == 500
    assert not frame.isna().any().any()
    assert frame.equals(create_synthetic_trading_data(500, 0.02, 0.0001, 42))
    assert frame["returns"].iloc[1:].to_numpy() == pytest.approx(
        frame["close"].pct_change().iloc[1:].to_numpy()
    )


@pytest.mark.parametrize("how", [{"n_points": 0}, {"volatility": -0.1}, {"trend": -1.0}])
def test_data_that_cannot_be_made_are_refused(how):
    with pytest.raises(ValueError, match=next(iter(how))):
        create_synthetic_trading_data(**how)


def test_volatility_and_trend_are_those_asked_for():
    frame = create_synthetic_trading_data(60_000, volatility=0.03, trend=0.001, random_seed=3)

    assert frame["returns"].std() == pytest.approx(0.03, rel=0.1)
    assert frame["returns"].mean() == pytest.approx(0.001, abs=4 * 0.03 / 60_000**0.5)


def test_garch_has_fat_tails_and_clusters_that_brownian_has_not():
    def kurtosis_and_memory(bars):
        r = np.diff(np.log(bars.close))
        z = (r - r.mean()) / r.std()
        size = np.abs(z)
        return float((z**4).mean()), float(np.corrcoef(size[1:], size[:-1])[0, 1])

    wild, calm = garch(50_000, seed=2), geometric_brownian(50_000, seed=2)

    assert kurtosis_and_memory(wild)[0] > 5
    assert kurtosis_and_memory(wild)[1] > 0.1
    assert kurtosis_and_memory(calm)[0] == pytest.approx(3, abs=0.15)
    assert abs(kurtosis_and_memory(calm)[1]) < 0.02


def test_the_brownian_range_is_that_of_a_brownian_motion():
    bars = geometric_brownian(100_000, volatility=0.01, seed=4)

    # E(max - open) of a Brownian motion over one unit of time is sigma sqrt(2 / pi).
    rise = np.log(bars.high / bars.open).mean()

    assert rise == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.02)


def test_regimes_have_their_own_volatilities():
    bars = regime_switching(50_000, volatilities=(0.005, 0.03), trends=(0, 0), stay=0.99, seed=5)
    r = np.diff(np.log(bars.close))
    windows = np.array([r[i : i + 20].std() for i in range(0, len(r) - 20, 20)])

    assert np.quantile(windows, 0.2) < 0.008
    assert np.quantile(windows, 0.8) > 0.02


def test_the_ornstein_uhlenbeck_market_has_its_signal_as_a_column():
    bars = ornstein_uhlenbeck(20_000, phi=0.9, volatility=0.01, seed=6)
    x = np.log(bars.close / 100)

    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(0.9, abs=0.02)
    assert bars.columns["signal"] == pytest.approx(x / (0.01 / np.sqrt(1 - 0.81)))
    assert bars.columns["signal"].std() == pytest.approx(1.0, rel=0.1)


def test_a_path_longer_than_the_calendar_has_no_stamps():
    assert pure_noise(60_001).stamps is None
