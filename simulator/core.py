"""One bar of trading, compiled: from an order to the equity at the close.

`_bar` is the whole rule; read it first. Everything else in this package is a face on it, so a
single environment, a vector of them and a backtest give the same bits.

Time. A decision is taken at the close of bar t with what is known there, and filled at the open
of bar t + 1. A step takes bar t to bar t + 1; its reward is what bar t + 1 brought, all costs paid.

Market: float64 (bars, 6 + features). Columns OPEN, HIGH, LOW, CLOSE; SCALE and LIMIT, what the
risk rules make of an order decided at that bar's close (multiply by SCALE, then clip to +-LIMIT);
then the features that an agent sees.

Parameters: float64 (PARAMETERS,), one row an environment; `Costs` and the risk rules fill it in.
State: float64 (STATE,), money in the account's currency, prices and units of the one asset.
Negative units are short. Fractions are of equity: +1 is all of it long, -1 all of it short.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from simulator.compilation import entry, inlined

# fmt: off
# isort: off
from simulator.layout import (
    OPEN, HIGH, LOW, CLOSE, SCALE, LIMIT, FEATURES,
    FEE, IMPACT, BORROW, FUNDING, MAX_LONG, MAX_SHORT, BAND, STOP_LOSS, TAKE_PROFIT, MAX_DRAWDOWN,
    EASE_FROM, EASE_TO, SAME_CLOSE, REWARD_UNIT, REWARD_SCALE, RISK_FACTOR,
    BAR, LAST, CASH, UNITS, ENTRY, EQUITY, PEAK, STATUS, POSITION,
    FILL_UNITS, FILL_PRICE, EXIT_UNITS, EXIT_PRICE, FEES, IMPACT_PAID, FINANCING, EVENT, RETURN,
    STATE, RUNNING, HALTING, HALTED, RUINED, STOPPED, TAKEN, GAPPED, SMALLEST_GROWTH, DUST,
)
# isort: on
# fmt: on

Floats = npt.NDArray[np.float64]
Seen = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@inlined
def _bar(market: Floats, p: Floats, s: Floats, action: float) -> float:
    """Take state `s` from the close of one bar to the close of the next; return the reward."""
    t = int(s[BAR]) + 1
    price, low, high, close = market[t, OPEN], market[t, LOW], market[t, HIGH], market[t, CLOSE]
    before = s[EQUITY]
    s[BAR] = t
    _forget_bar(s)

    # 1. The order, decided at the last close, is filled at the open. A stop or target that the
    #    open has jumped over goes first: it closes the position there and the order is void.
    target = _order(market, p, s, t - 1, action)
    if p[SAME_CLOSE] != 0.0:
        price = market[t - 1, CLOSE]
    elif s[UNITS] * target > 0.0 and _beyond(p, s, price):
        target = 0.0
        s[EVENT] = GAPPED
    s[FILL_UNITS], s[FILL_PRICE] = _trade_to(p, s, target, price)

    # 2. Financing of what is held through this bar, whatever else happens in it.
    held = s[UNITS] * price
    s[FINANCING] = p[BORROW] * (max(-held, 0.0) + max(-s[CASH], 0.0)) + p[FUNDING] * held
    s[CASH] -= s[FINANCING]

    # 3. Stop, ruin, target: the worst first, as a bar does not say which came. Jumps fill at the
    #    open.
    level = _exit_level(p, s, market[t, OPEN], low, high)
    if level > 0.0:
        s[EXIT_UNITS], s[EXIT_PRICE] = _fill(p, s, -s[UNITS], level)

    # 4. The account at the worst price of the bar, then at the close.
    worst = low if s[UNITS] > 0.0 else high
    equity = s[CASH] + s[UNITS] * close
    if s[CASH] + s[UNITS] * worst <= 0.0 or equity <= 0.0:
        equity = 0.0
        s[CASH] = s[UNITS] = s[ENTRY] = 0.0
        s[STATUS] = RUINED
    s[EQUITY] = equity
    s[RETURN] = equity / before - 1.0
    s[POSITION] = s[UNITS] * close / equity if equity > 0.0 else 0.0
    s[PEAK] = max(s[PEAK], equity)

    # 5. Too much lost: everything is sold at the next open, and that is the end.
    if s[STATUS] == HALTING:
        s[STATUS] = HALTED
    elif s[STATUS] == RUNNING and 0.0 < p[MAX_DRAWDOWN] <= 1.0 - equity / s[PEAK]:
        s[STATUS] = HALTING

    growth = math.log(max(equity / before, SMALLEST_GROWTH)) / p[REWARD_UNIT]
    return p[REWARD_SCALE] * growth - p[RISK_FACTOR] * growth * growth


@inlined
def _order(market: Floats, p: Floats, s: Floats, t: int, action: float) -> float:
    """The fraction of equity that is ordered at the close of bar t, inside every limit."""
    if s[STATUS] != RUNNING:
        return 0.0
    target = action * market[t, SCALE]
    if p[EASE_TO] > 0.0:
        drawdown = 1.0 - s[EQUITY] / s[PEAK]
        left = (p[EASE_TO] - drawdown) / (p[EASE_TO] - p[EASE_FROM])
        target *= min(max(left, 0.0), 1.0)
    limit = market[t, LIMIT]
    return min(max(target, -min(p[MAX_SHORT], limit)), min(p[MAX_LONG], limit))


@inlined
def _trade_to(p: Floats, s: Floats, target: float, price: float) -> tuple[float, float]:
    """Trade at `price` so that the position is `target` of the equity left after the costs.

    held + x = target (equity - c |x|) has the solution x below, for the cost c of one unit of
    money traded. Nothing is traded within the band, except that a close is always complete.
    """
    held = s[UNITS] * price
    equity = s[CASH] + held
    gap = target * equity - held
    if target == 0.0:
        return _fill(p, s, -s[UNITS], price)
    if equity <= 0.0 or abs(gap) <= max(p[BAND], DUST) * equity:
        return 0.0, 0.0
    side = 1.0 if gap > 0.0 else -1.0
    cost = p[IMPACT] + p[FEE] * (1.0 + side * p[IMPACT])
    left = 1.0 + target * side * cost
    if left <= 0.0:  # selling costs more equity than it frees: no trade leads there
        return _fill(p, s, -s[UNITS], price)
    return _fill(p, s, gap / left / price, price)


@inlined
def _fill(p: Floats, s: Floats, units: float, price: float) -> tuple[float, float]:
    """Trade `units` (negative: sell) at `price` made worse by the impact; return both."""
    if units == 0.0:
        return 0.0, 0.0
    paid = price * (1.0 + p[IMPACT]) if units > 0.0 else price * (1.0 - p[IMPACT])
    fee = p[FEE] * abs(units) * paid
    s[CASH] -= units * paid + fee
    s[FEES] += fee
    s[IMPACT_PAID] += units * (paid - price)
    held = s[UNITS]
    left = held + units
    if held * left <= 0.0:  # opened, closed or turned round
        s[ENTRY] = paid if left != 0.0 else 0.0
    elif held * units > 0.0:  # added to
        s[ENTRY] = (s[ENTRY] * held + paid * units) / left
    s[UNITS] = left
    return units, paid


@inlined
def _beyond(p: Floats, s: Floats, price: float) -> bool:
    """Whether `price` is at or past the stop or the target of what is held."""
    gain = price / s[ENTRY] - 1.0 if s[UNITS] > 0.0 else 1.0 - price / s[ENTRY]
    return 0.0 < p[STOP_LOSS] <= -gain or 0.0 < p[TAKE_PROFIT] <= gain


@inlined
def _exit_level(p: Floats, s: Floats, price: float, low: float, high: float) -> float:
    """The price of a stop or target reached inside a bar that opened at `price`, or 0.

    The account may be ruined on the way to a target, unless the bar opened there.
    """
    if s[UNITS] == 0.0:
        return 0.0
    long = s[UNITS] > 0.0
    side = 1.0 if long else -1.0
    stop, take = s[ENTRY] * (1.0 - side * p[STOP_LOSS]), s[ENTRY] * (1.0 + side * p[TAKE_PROFIT])
    if p[STOP_LOSS] > 0.0 and (low <= stop if long else high >= stop):
        s[EVENT] = STOPPED
        return min(stop, price) if long else max(stop, price)
    opened_there = side * (price - take) >= 0.0
    ruined = s[CASH] + s[UNITS] * (low if long else high) <= 0.0
    if ruined and not opened_there:
        return 0.0
    if p[TAKE_PROFIT] > 0.0 and (high >= take if long else low <= take):
        s[EVENT] = TAKEN
        return max(take, price) if long else min(take, price)
    return 0.0


@inlined
def _forget_bar(s: Floats) -> None:
    for column in range(FILL_UNITS, STATE):
        s[column] = 0.0


@inlined
def _copy(source: Floats, target: Floats) -> None:
    for column in range(source.shape[0]):
        target[column] = source[column]


@inlined
def _observe(market: Floats, s: Floats, seen: Seen) -> None:
    """Write what an agent sees into `seen`: features, oldest bar first, position, drawdown."""
    features = market.shape[1] - FEATURES
    window = (seen.shape[0] - 2) // features if features > 0 else 0
    first = int(s[BAR]) - window + 1
    at = 0
    for row in range(window):
        for column in range(features):
            seen[at] = market[first + row, FEATURES + column]
            at += 1
    seen[at] = min(max(s[POSITION], -10.0), 10.0)
    seen[at + 1] = s[EQUITY] / s[PEAK] - 1.0


# -- the four entries -----------------------------------------------------------------------


@entry("Tuple((f8, b1, b1, f8, f8))(f8[:, ::1], f8[::1], f8[::1], f8, f4[::1])")
def step_one(
    market: Floats, parameters: Floats, state: Floats, action: float, seen: Seen
) -> tuple[float, bool, bool, float, float]:
    """One bar of one environment. `state` and `seen` are written in place.

    action: the wanted fraction of equity. seen: float32 (window * features + 2,).
    Returns (reward, terminated, truncated, equity, position).
    """
    reward = _bar(market, parameters, state, action)
    _observe(market, state, seen)
    over = state[STATUS] >= HALTED
    return reward, over, state[BAR] >= state[LAST], state[EQUITY], state[POSITION]


@entry("i8(f8[:, ::1], f8[:, ::1], f8[:, ::1], f8[::1], f4[:, ::1], f8[::1], b1[::1], b1[::1])")
def step_many(
    market: Floats,
    parameters: Floats,
    states: Floats,
    actions: Floats,
    seen: Seen,
    rewards: Floats,
    terminated: Flags,
    truncated: Flags,
) -> int:
    """One bar of n environments, each with its own row of parameters; all outputs in place.

    parameters (n, PARAMETERS), states (n, STATE), actions (n,), seen (n, size), rewards (n,).
    A row that has ended is left as it is. Returns the number of rows that have ended.
    """
    ended = 0
    for i in range(states.shape[0]):
        s = states[i]
        if s[STATUS] >= HALTED or s[BAR] >= s[LAST]:
            rewards[i] = 0.0
        else:
            rewards[i] = _bar(market, parameters[i], s, actions[i])
        _observe(market, s, seen[i])
        terminated[i] = s[STATUS] >= HALTED
        truncated[i] = s[BAR] >= s[LAST]
        ended += terminated[i] or truncated[i]
    return ended


@entry("void(f8[:, ::1], f8[::1], f8[::1], f8[::1], f8[:, ::1])")
def run_positions(
    market: Floats, parameters: Floats, state: Floats, positions: Floats, records: Floats
) -> None:
    """Trade a given series: positions[i] is decided at the close of bar state[BAR] + i.

    records (n, STATE) gets the state after each bar; after the end of an episode the equity of
    the last bar is repeated. `state` is left at the end of the series.
    """
    for i in range(positions.shape[0]):
        if state[STATUS] >= HALTED:
            _forget_bar(state)
            state[BAR] += 1.0
        else:
            _bar(market, parameters, state, positions[i])
        _copy(state, records[i])


@entry("void(f8[:, ::1], f8[::1], f8[:, ::1], f8[::1], f8[:, ::1], f8[:, :, ::1])")
def all_actions(
    market: Floats,
    parameters: Floats,
    states: Floats,
    actions: Floats,
    rewards: Floats,
    following: Floats,
) -> None:
    """What each action would have brought at visited states. Prices do not react to us: exact.

    states (n, STATE), none of them ended, actions (k,), rewards (n, k), following (n, k, STATE).
    """
    for i in range(states.shape[0]):
        for j in range(actions.shape[0]):
            _copy(states[i], following[i, j])
            rewards[i, j] = _bar(market, parameters, following[i, j], actions[j])


def observe(market: Floats, states: Floats, window: int) -> Seen:
    """What agents see in `states` (n, STATE), float32 (n, window * features + 2)."""
    bars = states[:, BAR].astype(np.int64)
    rows = bars[:, None] + np.arange(1 - window, 1)
    seen = market[rows, FEATURES:].reshape(len(states), -1)
    position = np.clip(states[:, POSITION], -10.0, 10.0)
    drawdown = states[:, EQUITY] / states[:, PEAK] - 1.0
    return np.column_stack([seen, position, drawdown]).astype(np.float32)
