"""Bars as a data set of an experiment: read and checked by the simulator, stored like any other.

The columns of a snapshot of bars are open, high, low and close, volume where it is known, and those
of a person's own that agents see beside the built-in features; its target is the simple return of
each bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from engines.data.datasets import Dataset, Feature, content_hash, open_source
from engines.data.memory import Room
from engines.data.scoring import TRADING
from engines.data.snapshot import Snapshot
from engines.errors import BadInput, PackageMissing, one_line
from simulator.bars import PRICES, Bars, load_bars
from simulator.errors import PackageNeeded, SimulatorError
from simulator.features import BUILT_IN, LOOK_BACK
from simulator.samples import SAMPLES, load_sample

TARGET = "close"

LISTED = 4


@dataclass(frozen=True, eq=False)
class MarketData(Dataset):
    """Bars ready to be traded, as a data set. bars: what it was made of."""

    bars: Bars = field(kw_only=True)


def load_market(
    source: str | pd.DataFrame,
    *,
    time_column: str | None = None,
    bars_per_year: float | None = None,
    name: str | None = None,
    room: Room | None = None,
    show_columns: bool = False,
) -> MarketData:
    """Bars from a CSV or Parquet file, a sample's name, or a table.

    What a table must have, and what is checked, says `simulator.bars.load_bars`. name: of a table.
    show_columns: whether agents see its other columns of numbers, which are to be of order 1.
    Raises BadInput for bars that can't be traded, PackageMissing for a sample without its package.
    """
    try:
        if isinstance(source, pd.DataFrame):
            frame, label, path = source, name or "bars", None
        elif source.casefold() in SAMPLES and not Path(source).exists():
            bars = load_bars(load_sample(source), bars_per_year=bars_per_year)
            return _dataset(bars, source.casefold(), None, time_column)
        else:
            table, label, path = open_source(source, None, room)
            frame = table.frame
        bars = load_bars(
            frame, bars_per_year=bars_per_year, time_column=time_column, name=path or label
        )
    except PackageNeeded as error:
        raise PackageMissing(f"{error}.") from None
    except SimulatorError as error:
        raise BadInput(f"{one_line(error)}.") from None
    return _dataset(bars, label, path, time_column, show_columns=show_columns)


def seen(bars: Bars) -> list[str] | None:
    """What agents see of bars, as `simulator.features` takes it."""
    return [*BUILT_IN, *bars.columns] if bars.columns else None


def as_seen(bars: Bars, names: Sequence[str]) -> Bars:
    """Bars whose columns are what an agent that was trained on features `names` sees of them.

    What is no built-in feature was a column of the rows that it was trained on: that column is
    taken, in spreads as there. Raises BadInput for one that is not there.
    """
    own = [name for name in names if name not in BUILT_IN]
    if not own:
        return replace(bars, columns={})
    scaled = in_spreads(pd.DataFrame(dict(bars.columns)))
    absent = [name for name in own if name not in scaled]
    if absent:
        there = ", ".join(list(bars.columns)[:LISTED]) or "none beside the prices"
        raise BadInput(
            f"{bars.name}: no column {', '.join(absent[:LISTED])}, which the agent was trained on; "
            f"there are {there}."
        )
    return replace(bars, columns={name: scaled[name].to_numpy(np.float64) for name in own})


def in_spreads(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers as agents see them: distances from their mean so far, in spreads so far.

    Row t is scaled by rows up to t alone, so nothing of the future is in it; the first rows are
    NaN, a missing value is the last known one. 0 where a column has never changed. Columns that are
    no numbers are left out. Names of built-in features get an `x_` in front.
    """
    numbers = frame.select_dtypes(["number", "bool"]).astype(np.float64).ffill()
    so_far = numbers.expanding(LOOK_BACK)
    spread = so_far.std()
    scaled = ((numbers - so_far.mean()) / spread.where(spread > 0)).where(spread != 0, 0.0)
    return scaled.rename(columns={name: f"x_{name}" for name in numbers if name in BUILT_IN})


def _dataset(
    bars: Bars, name: str, path: str | None, clock: str | None, *, show_columns: bool = False
) -> MarketData:
    columns = {price: getattr(bars, price) for price in PRICES}
    if bars.volume is not None:
        columns["volume"] = bars.volume
    notices = bars.notices
    if show_columns:
        columns |= bars.columns
    elif bars.columns:
        unused = ", ".join(list(bars.columns)[:LISTED])
        left = len(bars.columns) - LISTED
        more = f" and {left} more" if left > 0 else ""
        notices = (*notices, f"agents see built-in features only, not the columns {unused}{more}")
        bars = replace(bars, columns={})
    times = None if bars.stamps is None else bars.stamps.astype("datetime64[ns]").astype(np.int64)
    dataset = MarketData(
        name=name,
        path=path,
        sha256="",
        rows=len(bars),
        features=tuple(Feature(label, "number") for label in columns),
        target=TARGET,
        time_column=clock,
        ordered=True,
        X=np.column_stack(list(columns.values())),
        y=bars.returns,
        times=times,
        notices=notices,
        task=TRADING,
        bars=bars,
    )
    return replace(dataset, sha256=content_hash(dataset))


def bars_of(snapshot: Snapshot, bars_per_year: float) -> Bars:
    """The bars that a snapshot of a market holds; their stamps are not in it."""
    values = np.asarray(snapshot.X).T
    columns = {
        name: np.array(one) for (name, _), one in zip(snapshot.features, values, strict=True)
    }
    return Bars(
        open=columns.pop("open"),
        high=columns.pop("high"),
        low=columns.pop("low"),
        close=columns.pop("close"),
        volume=columns.pop("volume", None),
        stamps=None,
        bars_per_year=bars_per_year,
        columns=columns,
    )
