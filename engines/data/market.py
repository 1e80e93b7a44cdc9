"""Bars as a data set of an experiment: read and checked by the simulator, stored like any other.

The columns of a snapshot of bars are open, high, low and close, and volume where it is known; its
target is the simple return of each bar.
"""

from __future__ import annotations

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
from simulator.samples import SAMPLES, load_sample

TARGET = "close"


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
) -> MarketData:
    """Bars from a CSV or Parquet file, a sample's name, or a table.

    What a table must have, and what is checked, says `simulator.bars.load_bars`. name: of a table.
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
    return _dataset(bars, label, path, time_column)


def _dataset(bars: Bars, name: str, path: str | None, clock: str | None) -> MarketData:
    columns = {price: getattr(bars, price) for price in PRICES}
    if bars.volume is not None:
        columns["volume"] = bars.volume
    notices = bars.notices
    if bars.columns:
        unused = ", ".join(list(bars.columns)[:4])
        more = f" and {len(bars.columns) - 4} more" if len(bars.columns) > 4 else ""
        notices = (*notices, f"agents see built-in features only, not the columns {unused}{more}")
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
    columns = [np.array(column) for column in np.asarray(snapshot.X).T]
    return Bars(
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=columns[4] if len(columns) > 4 else None,
        stamps=None,
        bars_per_year=bars_per_year,
    )
