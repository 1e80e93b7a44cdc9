"""Policies that know nothing, to stand beside one that claims to.

Each is an array of positions, float64 (bars,), fractions of equity, as `backtest` trades it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HOLD = 10
"""Mean number of bars for which the random policy keeps a position."""


def flat(bars: int, max_position: float = 1.0, seed: int = 0) -> Floats:
    """No position, ever."""
    return np.zeros(bars)


def buy_and_hold(bars: int, max_position: float = 1.0, seed: int = 0) -> Floats:
    """The largest long position from the first bar on."""
    return np.full(bars, max_position)


def random(bars: int, max_position: float = 1.0, seed: int = 0) -> Floats:
    """All long or all short by the toss of a coin, kept for 10 bars on average."""
    rng = np.random.default_rng(seed)
    changes = rng.random(bars) < 1.0 / HOLD
    changes[:1] = True
    sides = rng.choice([-1.0, 1.0], bars)
    return np.asarray(sides[np.maximum.accumulate(np.where(changes, np.arange(bars), 0))]) * (
        max_position
    )


BASELINES: dict[str, Callable[..., Floats]] = {
    "flat": flat,
    "buy-and-hold": buy_and_hold,
    "random": random,
}


def same_turnover(positions: Floats, seed: int = 0) -> Floats:
    """The same decisions at other times: the series turned round in a circle by a random amount.

    Turnover, exposure and holding times stay as they are, but for the one joint; what the policy
    knew about the bar at hand is lost.
    """
    rng = np.random.default_rng(seed)
    n = len(positions)
    shift = int(rng.integers(max(1, n // 10), max(2, n - n // 10)))
    return np.roll(positions, shift)


def sign_flipped(positions: Floats) -> Floats:
    """The opposite of every decision. A policy with skill loses when turned round."""
    return -np.asarray(positions, dtype=np.float64)


def beside(positions: Floats, max_position: float = 1.0, seed: int = 0) -> dict[str, Floats]:
    """The baselines that belong in one table with `positions`, by name.

    A policy that never changes its mind has no timing that could be random.
    """
    bars = len(positions)
    found = {"flat": flat(bars), "buy-and-hold": buy_and_hold(bars, max_position)}
    if bars and (positions != positions[0]).any():
        found["random, same turnover"] = same_turnover(positions, seed)
    return found | {"sign-flipped": sign_flipped(positions)}
