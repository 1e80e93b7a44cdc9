"""Trading agents: rows become bars of one market, and the call an experiment of task `trading`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from engines.data.frames import as_frame, as_labels
from engines.data.market import in_spreads, load_market
from engines.data.scoring import TRADING
from engines.errors import BadInput
from engines.face.calls import episodes
from engines.models import catalogue
from engines.run.start import Request, create
from engines.study.location import Location
from simulator.bars import PRICES

FAMILY = "rl_agents"
SINGLE = ("close", "price")


def names_agents(word: str) -> bool:
    """Whether a selector is the family of agents, or one of them."""
    form = catalogue.normalise(word)
    members = (spec.name for spec in catalogue.families()[FAMILY])
    return form in {catalogue.normalise(name) for name in (FAMILY, *members)}


def names_all(words: Sequence[str]) -> bool:
    """Whether selectors ask for every model there is."""
    return "all" in {catalogue.normalise(word) for word in words}


def trading_request(request: Request, traders: Sequence[str], *, alone: bool) -> Request:
    """What to ask of agents. traders: those that were named, or none for all.

    alone: whether the call searches nothing else. If it does, agents have half of its time, a name
    of their own, and their own metric.
    """
    name, limit = request.name, request.time_s
    return replace(
        request,
        task=TRADING,
        selectors=tuple(traders) or (FAMILY,),
        own_metric=None,
        metric=request.metric if alone else None,
        episodes=episodes(),
        name=name if alone or name is None else f"{name}-agents",
        time_s=limit if alone or limit is None else limit / 2,
    )


def has_prices(X: Any) -> bool:
    """Whether X has open, high, low and close columns, whatever their case."""
    names = getattr(X, "columns", ())
    return set(PRICES) <= {str(name).strip().lower() for name in names}


def as_bars(X: Any, y: Any) -> pd.DataFrame:
    """Bars of one market, in the order of the rows, with the other columns of X beside them.

    X: (rows, columns), a frame or an array with open, high, low and close columns, or a column
    `close` or `price`, or one column, which is the price: then y is not used. Otherwise y (rows,)
    is the return of the next bar, as a part of the price, and X are features, see `in_spreads`.
    Names are taken whatever their case; an index of times becomes the column `time`. With one price
    a bar opens where the last one closed. Raises BadInput for returns that no price can have.
    """
    stamps = X.index if isinstance(getattr(X, "index", None), pd.DatetimeIndex) else None
    frame = as_frame(X)
    lower = {str(name).lower(): name for name in frame.columns}
    single = [lower[name] for name in SINGLE if name in lower]
    if set(PRICES) <= set(lower):
        frame = frame.rename(columns={lower[name]: name for name in lower})
    elif single or frame.shape[1] == 1:
        price = single[0] if single else frame.columns[0]
        close = pd.to_numeric(frame[price], errors="coerce")
        frame = _of_closes(close, frame.drop(columns=price))
    else:
        frame = _of_closes(_closes_of_returns(as_labels(y), len(frame)), in_spreads(frame))
    if stamps is not None and "time" not in frame.columns:
        frame.insert(0, "time", stamps.strftime("%Y-%m-%dT%H:%M:%S%z"))
    return frame


def shows_features(X: Any) -> bool:
    """Whether the columns of X are features of bars that y makes, and no prices."""
    frame = as_frame(X)
    names = {str(name).lower() for name in frame.columns}
    return not (has_prices(frame) or names & set(SINGLE) or frame.shape[1] == 1)


def _closes_of_returns(returns: Any, rows: int) -> pd.Series:
    """(rows,) prices that begin at 100 and have these returns from each bar to the next."""
    try:
        moves = np.asarray(returns, dtype=np.float64)
    except (TypeError, ValueError):
        moves = np.full(rows, np.nan)
    if moves.shape != (rows,) or not np.isfinite(moves).all() or (moves <= -1).any():
        raise BadInput(
            "Agents trade bars: give X open, high, low and close columns or one column of prices, "
            "or a y that is the return of the next bar (0.01 is one percent)."
        )
    return pd.Series(100.0 * np.concatenate([[1.0], np.cumprod(1 + moves[:-1])]))


def _of_closes(close: pd.Series, others: pd.DataFrame) -> pd.DataFrame:
    opened = close.shift(1).fillna(close)
    both = pd.concat([opened, close], axis=1)
    bars = {"open": opened, "high": both.max(axis=1), "low": both.min(axis=1), "close": close}
    return pd.concat([pd.DataFrame(bars), others.drop(columns=[*bars], errors="ignore")], axis=1)


def create_trading(
    location: Location,
    request: Request,
    parts: Sequence[tuple[Any, Any]],
    tell: Callable[[str], None],
) -> int:
    """Create an experiment of agents on the bars of all (X, y) parts; returns its id.

    The parts follow each other in time; y may be None where X has prices. Raises BadInput for rows
    that can't be traded, PackageMissing for agents whose packages are not installed.
    """
    catalogue.select(request.selectors)
    frames = [X if isinstance(X, pd.DataFrame) else as_frame(X) for X, _ in parts]
    has_times = all(isinstance(frame.index, pd.DatetimeIndex) for frame in frames)
    rows = pd.concat(frames, ignore_index=not has_times)
    labels = [as_labels(y) for _, y in parts if y is not None]
    bars = as_bars(rows, np.concatenate(labels) if labels else None)
    market = load_market(bars, name="bars", show_columns=shows_features(rows))
    tell(
        f"{len(bars):,} bars in the order given: the first 60 % train, the next 20 % choose, the "
        "last 20 % are held out, wherever X_val begins."
    )
    for notice in market.notices:
        tell(notice)
    return create(location, request, market)
