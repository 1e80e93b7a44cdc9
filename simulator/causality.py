"""Does a feature know the future? It is computed on less of the future, and must not change.

A function passes if its values on the first k bars are those that it gives there on all of them
(prefix invariance), and if nothing up to bar k changes when every later bar does (perturbation).
This is done for some fifteen k: what leaks at single bars only, between them, is not seen.
A column is numbers without a function and can't be computed again: it is refused if it foretells
the next bars' prices better than any past could, which finds a column shifted the wrong way, but
not every leak. Give functions where you can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from simulator.bars import PRICES, Bars
from simulator.errors import LookAhead, SimulatorError

Floats = npt.NDArray[np.float64]
Feature = Callable[[Bars], Floats]

CUTS = 12
SAME = 1e-9
"""Relative difference below which two values are the same: sums may be taken in another order."""
FACTOR = 1.37
HORIZONS = (1, 2, 3, 5)


def check_function(name: str, function: Feature, bars: Bars) -> Floats:
    """The values of `function` on all bars, if it is causal on them.

    Raises LookAhead with the first bar that differs, SimulatorError if it gives no float64
    (bars,) or not the same values twice.
    """
    values = evaluate(name, function, bars)
    again = _first_difference(values, evaluate(name, function, bars))
    if again is not None:
        raise SimulatorError(f"feature {name!r}: two calls differ at bar {again}; seed it")
    found = []
    for cut in cuts(len(bars)):
        for other in (bars.head(cut), perturbed(bars, cut)):
            bar = _first_difference(values[:cut], evaluate(name, function, other)[:cut])
            if bar is not None:
                found.append((bar, cut))
    if found:
        bar, cut = min(found)
        message = f"feature {name!r} looks ahead: its value at bar {bar} depends on bars from {cut}"
        raise LookAhead(f"{message} on; compute it from bars up to its own", bar)
    return values


def evaluate(name: str, function: Feature, bars: Bars) -> Floats:
    """What `function` gives on `bars`, as a fresh float64 (bars,)."""
    try:
        values = np.array(function(bars), dtype=np.float64)
    except Exception as reason:  # it is a person's code: anything may come
        said = f"{type(reason).__name__}: {reason}"
        raise SimulatorError(f"feature {name!r} fails on {len(bars)} bars: {said}") from reason
    if values.shape != (len(bars),):
        shape = f"an array of shape {values.shape} for {len(bars)} bars"
        raise SimulatorError(f"feature {name!r} gives {shape}; one value a bar is needed")
    return values


def cuts(bars: int) -> list[int]:
    """Lengths at which a feature is computed again: spread out, and the last bars one by one."""
    spread = np.linspace(bars / 4, bars - 1, CUTS).astype(int)
    return sorted({max(2, int(k)) for k in (*spread, bars - 1, bars - 2, bars - 3) if k < bars})


def perturbed(bars: Bars, cut: int) -> Bars:
    """The bars with everything from bar `cut` on multiplied, as if another future had come."""

    def change(values: Floats) -> Floats:
        return np.r_[values[:cut], values[cut:] * FACTOR]

    return replace(
        bars,
        open=change(bars.open),
        high=change(bars.high),
        low=change(bars.low),
        close=change(bars.close),
        volume=None if bars.volume is None else change(bars.volume),
        columns={name: change(values) for name, values in bars.columns.items()},
    )


def _first_difference(one: Floats, other: Floats) -> int | None:
    """The first bar at which two series differ; NaN is equal to NaN."""
    size = max(float(np.nanmax(np.abs(one), initial=0.0, where=np.isfinite(one))), 1e-300)
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= SAME * np.maximum(np.abs(one), 1e-6 * size)
    same = near | (one == other) | (np.isnan(one) & np.isnan(other))
    differs = np.flatnonzero(~same)
    return int(differs[0]) if len(differs) else None


def check_column(name: str, values: Floats, bars: Bars) -> Floats:
    """`values`, unless they foretell prices that no one could know. Raises LookAhead."""
    for horizon in HORIZONS:
        for price in PRICES:
            bar = _foretells(values, getattr(bars, price), bars.close, horizon)
            if bar is not None:
                message = (
                    f"column {name!r} looks ahead: from bar {bar} on it follows the {price} "
                    f"{horizon} bars later"
                )
                raise LookAhead(f"{message}; shift it by that many bars", bar)
    return values


def _foretells(values: Floats, price: Floats, close: Floats, horizon: int) -> int | None:
    """The first bar from which `values` give the move to a later price away, or None."""
    n = len(close) - horizon
    if n < 30:
        return None
    move = price[horizon:] / close[:n] - 1.0
    past = np.r_[np.full(horizon, np.nan), close[horizon:n] / close[: n - horizon] - 1.0]
    known = max(abs(correlation(past, move)), 0.0)
    for told in (values[:n], values[:n] / close[:n]):
        told_it = abs(correlation(told, move))
        # A smooth price foretells itself: what counts is knowing far more than the past does.
        if told_it > 0.9 and 1 - told_it < 0.2 * (1 - known):
            return int(np.flatnonzero(np.isfinite(told))[0])
    return None


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's correlation over the bars where both are finite; 0 where it is not defined."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 20:
        return 0.0
    x, y = a[both] - a[both].mean(), b[both] - b[both].mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread > 1e-300 else 0.0
