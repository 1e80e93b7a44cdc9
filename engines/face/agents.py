"""Trading agents: rows become bars of one market, and the call an experiment of task `trading`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engines.data.frames import as_frame, as_labels
from engines.errors import BadInput
from engines.models import catalogue
from engines.models.spec import TASKS
from engines.run.start import Request, create
from engines.study.location import Location

FAMILY, TASK = "rl_agents", "trading"
PRICES = ("open", "high", "low", "close")
SINGLE = ("close", "price")


def names_agents(word: str) -> bool:
    """Whether a selector is the family of agents, or one of them."""
    form = catalogue.normalise(word)
    members = catalogue.families().get(FAMILY, ())
    known = {"sac", "td3", "rainbowdqn", *(catalogue.normalise(spec.name) for spec in members)}
    return form == catalogue.normalise(FAMILY) or form in known


def require_agents() -> None:
    """Raise BadInput where this version has none."""
    if FAMILY not in catalogue.families() or TASK not in TASKS:
        raise BadInput(
            "Trading agents are not part of this version: see `show_model_capabilities()` for "
            "what is."
        )


def as_bars(X: Any, y: Any) -> pd.DataFrame:
    """Bars of one market, in the order of the rows, with the other columns of X beside them.

    X: (rows, columns), a frame or an array with open, high, low and close columns, or a column
    `close` or `price`, or one column, which is the price: then y is not used. Otherwise y (rows,)
    is the return of the next bar, as a part of the price, and X are features. Names are taken
    whatever their case; an index of times becomes the column `time`. With one price a bar opens
    where the last one closed. Raises BadInput for returns that no price can have.
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
        frame = _of_closes(_closes_of_returns(as_labels(y), len(frame)), frame)
    if stamps is not None and "time" not in frame.columns:
        frame.insert(0, "time", stamps.strftime("%Y-%m-%dT%H:%M:%S%z"))
    return frame


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

    Raises BadInput without agents or bars, PackageMissing without their packages.
    """
    require_agents()
    catalogue.select(request.selectors)
    frames = [X if isinstance(X, pd.DataFrame) else as_frame(X) for X, _ in parts]
    has_times = all(isinstance(frame.index, pd.DatetimeIndex) for frame in frames)
    market = pd.concat(frames, ignore_index=not has_times)
    bars = as_bars(market, np.concatenate([as_labels(y) for _, y in parts]))
    tell(
        f"{len(bars):,} bars in the order given: the first 60 % train, the next 20 % choose, the "
        "last 20 % are held out, wherever X_val begins."
    )
    with tempfile.TemporaryDirectory(prefix="hyperion-") as folder:
        path = Path(folder) / "bars.csv"
        bars.to_csv(path, index=False)
        return create(location, replace(request, data=str(path), task=TASK))
