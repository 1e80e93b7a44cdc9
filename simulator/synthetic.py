"""Markets made of random numbers: the same seed gives the same bars.

Each maker draws a path of close prices; `bars_around` puts the other prices about it. All of them
return `Bars` with 252 bars a year and an open that is the close before it (no jump overnight), so
that a policy's value at the close is its value at the next fill. Stamps are business days from
2000 on, as long as nanoseconds can count them: a path of more than 60,000 bars has none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator.bars import TRADING_DAYS, Bars

Floats = npt.NDArray[np.float64]

START = np.datetime64("2000-01-03")
MOST_DAYS = 60_000


def create_synthetic_trading_data(
    n_points: int = 500,
    volatility: float = 0.02,
    trend: float = 0.0001,
    random_seed: int = 42,
) -> pd.DataFrame:
    """A table of bars that looks like a market: volatility comes in clusters, tails are fat.

    volatility: standard deviation of one bar's return in the long run; trend: mean simple return
    of one bar. Columns open, high, low, close, volume, returns (simple, close to close, the
    first against the start price of 100); index: business days.
    """
    if n_points < 1 or not 0 <= volatility < np.inf or not -1 < trend < np.inf:
        raise ValueError(
            f"n_points={n_points}, volatility={volatility}, trend={trend}: at least 1 point, a "
            "volatility of at least 0 and a trend above -1 are needed"
        )
    bars = garch(n_points, volatility=volatility, trend=trend, seed=random_seed)
    frame = bars.to_frame()
    frame["returns"] = bars.close / np.r_[100.0, bars.close[:-1]] - 1.0
    frame.index.name = "date"
    return frame


def geometric_brownian(
    n: int, *, volatility: float = 0.01, trend: float = 0.0, seed: int = 0
) -> Bars:
    """Independent normal log returns: log r ~ N(log(1 + trend) - volatility^2 / 2, volatility^2).

    So the mean simple return of a bar is `trend`, whatever the volatility.
    """
    rng = np.random.default_rng(seed)
    logs = _drift(trend, np.full(n, volatility)) + volatility * rng.standard_normal(n)
    return bars_around(logs, np.full(n, volatility), rng, "geometric Brownian")


def pure_noise(n: int, *, volatility: float = 0.01, seed: int = 0) -> Bars:
    """A market that nothing can be known about: geometric Brownian without a trend.

    Prices are a martingale: every policy has a mean return of 0 before costs.
    """
    return geometric_brownian(n, volatility=volatility, trend=0.0, seed=seed)


def regime_switching(
    n: int,
    *,
    volatilities: tuple[float, ...] = (0.007, 0.02),
    trends: tuple[float, ...] = (0.0008, -0.0008),
    stay: float = 0.98,
    seed: int = 0,
) -> Bars:
    """A hidden Markov chain chooses volatility and trend of each bar; it stays with chance `stay`.

    Leaving, it goes to each of the other regimes with the same chance.
    """
    rng = np.random.default_rng(seed)
    moves, targets = rng.random(n), rng.integers(1, max(len(volatilities), 2), n)
    regimes = np.cumsum(np.where(moves > stay, targets, 0)) % len(volatilities)
    sigma = np.asarray(volatilities)[regimes]
    drift = np.log1p(np.asarray(trends)[regimes]) - sigma**2 / 2
    return bars_around(drift + sigma * rng.standard_normal(n), sigma, rng, "regime switching")


def garch(
    n: int,
    *,
    volatility: float = 0.01,
    trend: float = 0.0,
    alpha: float = 0.08,
    beta: float = 0.9,
    freedom: float = 5.0,
    seed: int = 0,
) -> Bars:
    """GARCH(1,1) with Student-t shocks (Bollerslev 1987), scaled to unit variance.

    s[t]^2 = w + alpha e[t-1]^2 + beta s[t-1]^2, with w = volatility^2 (1 - alpha - beta), so that
    `volatility` is the long-run standard deviation. freedom > 2: smaller is fatter.
    """
    if not (alpha >= 0 and beta >= 0 and alpha + beta < 1 and freedom > 2):
        raise ValueError("alpha, beta >= 0, alpha + beta < 1 and freedom > 2 are needed")
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(freedom, n) * np.sqrt((freedom - 2) / freedom)
    constant = volatility**2 * (1 - alpha - beta)
    variance, sigma = volatility**2, np.empty(n)
    for t in range(n):
        sigma[t] = np.sqrt(variance)
        variance = constant + variance * (alpha * shocks[t] ** 2 + beta)
    logs = _drift(trend, sigma) + sigma * shocks
    return bars_around(logs, sigma, rng, "GARCH")


def ornstein_uhlenbeck(
    n: int, *, phi: float = 0.9, volatility: float = 0.01, seed: int = 0
) -> Bars:
    """A log price that is pulled home: x[t] = phi x[t-1] + volatility e[t], close = 100 exp(x[t]).

    x starts in its stationary law. Its best policy is known: see `simulator.oracle`. The column
    `signal` is x over its stationary standard deviation, which is known at the close.
    """
    rng = np.random.default_rng(seed)
    spread = volatility / np.sqrt(1 - phi**2)
    shocks = rng.standard_normal(n + 1)
    x, value = np.empty(n + 1), spread * shocks[0]
    x[0] = value
    for t in range(1, n + 1):
        value = phi * value + volatility * shocks[t]
        x[t] = value
    bars = bars_around(np.diff(x), np.full(n, volatility), rng, "Ornstein-Uhlenbeck", np.exp(x[0]))
    return _with_column(bars, "signal", x[1:] / spread)


def bars_around(
    log_returns: Floats,
    sigma: Floats,
    rng: np.random.Generator,
    name: str,
    start: float = 1.0,
) -> Bars:
    """Bars about a path of close-to-close log returns, both arrays (bars,).

    Within a bar the path is a Brownian bridge of standard deviation `sigma`, whose maximum above
    its ends has the law (x + sqrt(x^2 - 2 sigma^2 log u)) / 2 with uniform u. High and low are
    drawn apart from each other; volume grows with the size of the move.
    """
    close = 100.0 * start * np.exp(np.cumsum(log_returns))
    opened = np.r_[100.0 * start, close[:-1]]
    up, down = 1.0 - rng.random(len(close)), 1.0 - rng.random(len(close))
    top = (log_returns + np.sqrt(log_returns**2 - 2 * sigma**2 * np.log(up))) / 2
    bottom = (log_returns - np.sqrt(log_returns**2 - 2 * sigma**2 * np.log(down))) / 2
    activity = 1.0 + np.abs(log_returns) / np.maximum(sigma, 1e-12)
    volume = np.round(1e6 * activity * np.exp(0.3 * rng.standard_normal(len(close))))
    return Bars(
        open=opened,
        high=np.maximum(opened * np.exp(top), np.maximum(opened, close)),
        low=np.minimum(opened * np.exp(bottom), np.minimum(opened, close)),
        close=close,
        volume=volume,
        stamps=_business_days(len(close)),
        bars_per_year=TRADING_DAYS,
        name=name,
    )


def _business_days(n: int) -> npt.NDArray[np.datetime64] | None:
    if n > MOST_DAYS:
        return None
    return np.busday_offset(START, np.arange(n)).astype("datetime64[ns]")


def _drift(trend: float, sigma: Floats) -> Floats:
    return np.log1p(trend) - sigma**2 / 2


def _with_column(bars: Bars, name: str, values: Floats) -> Bars:
    return replace(bars, columns={**bars.columns, name: values})
