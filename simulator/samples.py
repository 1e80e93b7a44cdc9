"""Real bars from packages that carry some: read where they are installed, never copied here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from simulator.bars import Bars, load_bars
from simulator.errors import PackageNeeded, SimulatorError


@dataclass(frozen=True)
class Sample:
    """A data set inside a package. read: its table, with a date index or column."""

    package: str
    description: str
    read: Callable[[], pd.DataFrame]


def _arch(name: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        frame = importlib.import_module(f"arch.data.{name}").load()
        # The table also has closes adjusted for dividends, which are not what orders fill at.
        return pd.DataFrame(frame.drop(columns="Adj Close"))

    return read


def _bokeh(name: str) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        stocks = importlib.import_module("bokeh_sampledata.stocks")
        return pd.DataFrame(getattr(stocks, name))

    return read


SAMPLES: dict[str, Sample] = {
    "sp500": Sample("arch", "S&P 500, days, 1999 to 2018", _arch("sp500")),
    "nasdaq": Sample("arch", "Nasdaq composite, days, 1999 to 2018", _arch("nasdaq")),
    "aapl": Sample("bokeh-sampledata", "Apple, days, 2000 to 2013", _bokeh("AAPL")),
    "ibm": Sample("bokeh-sampledata", "IBM, days, 2000 to 2013", _bokeh("IBM")),
    "msft": Sample("bokeh-sampledata", "Microsoft, days, 2000 to 2013", _bokeh("MSFT")),
}


def load_sample(name: str) -> Bars:
    """The bars of a sample. Raises PackageNeeded if its package is not installed."""
    sample = SAMPLES.get(name.casefold())
    if sample is None:
        raise SimulatorError(f"no sample {name!r}; there are {', '.join(SAMPLES)}")
    try:
        frame = sample.read()
    except ImportError as reason:
        raise PackageNeeded(
            f"{name} is in the package {sample.package}, which is not installed; "
            "add it with: pip install 'hyperion-tui[data]'"
        ) from reason
    return load_bars(frame, name=name.casefold())
