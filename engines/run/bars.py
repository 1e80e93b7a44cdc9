"""Bars for an experiment in which agents trade: read, split in time, with the terms of trading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.data.datasets import Dataset
from engines.data.market import MarketData, load_market, seen
from engines.data.memory import Room
from engines.data.periods import split_bars
from engines.data.scoring import TRADING, Metric, default_metric, find_metrics
from engines.data.splits import Split
from engines.data.terms import DEFAULT_STEPS, Terms, steps_of
from engines.errors import BadInput, one_line
from engines.run.capacity import free_memory_mib
from simulator.errors import SimulatorError
from simulator.features import LOOK_BACK, build_features

if TYPE_CHECKING:
    from engines.run.start import Request


@dataclass(frozen=True, slots=True)
class Prepared:
    """Bars, split and metrics. described: the split with the terms of trading, for the store."""

    data: MarketData
    split: Split
    metrics: tuple[Metric, ...]
    described: dict[str, Any]
    facts: dict[str, Any]


def prepare(request: Request, dataset: Dataset | None) -> Prepared:
    """What a request needs to become a plan.

    dataset: as `engines.data.market.load_market` gives it, in the place of `request.data`. Raises
    BadInput for bars that can't be traded or are too few, and for options that don't apply.
    """
    _check(request)
    market = _market(request, dataset)
    split, warm_up = split_of(market)
    terms = _terms(request, market, len(split.folds[0].train) - warm_up - 1)
    return Prepared(
        market,
        split,
        find_metrics(request.metric or default_metric(TRADING), TRADING),
        {**_described(split), **terms.describe()},
        _facts(market, split, terms),
    )


def split_of(market: Dataset) -> tuple[Split, int]:
    """(periods of the bars, bars before the first one whose features are all known).

    Raises BadInput for too few bars, and for features that can't be computed.
    """
    assert isinstance(market, MarketData)
    try:
        warm_up = max(LOOK_BACK, build_features(market.bars, seen(market.bars)).first)
    except SimulatorError as error:
        raise BadInput(f"{market.name}: {one_line(error)}.") from None
    return split_bars(market.rows, warm_up), warm_up


def _check(request: Request) -> None:
    if request.pruner == "racing":
        raise BadInput(
            "--pruner racing compares folds, which agents don't have: take median, halving, "
            "wilcoxon or none."
        )
    options = {"--target": request.target, "--groups": request.groups, "--sample": request.sample}
    wrong = [name for name, value in options.items() if value is not None]
    if wrong:
        raise BadInput(f"{wrong[0]} is not for agents, which trade bars: leave it out.")


def _market(request: Request, dataset: Dataset | None) -> MarketData:
    if isinstance(dataset, MarketData):
        return dataset
    if dataset is not None or request.data is None:
        raise BadInput(
            "Agents trade bars: name a CSV or Parquet file with open, high, low and close columns "
            "with --data."
        )
    return load_market(
        request.data,
        time_column=request.time_column,
        bars_per_year=request.costs.get("bars_per_year"),
        room=Room(int(free_memory_mib() * 2**20), request.tell),
    )


def _terms(request: Request, market: MarketData, decisions: int) -> Terms:
    """decisions: bars of the training period at which an agent decides."""
    given: Mapping[str, Any] = {k: v for k, v in request.costs.items() if v is not None}
    wanted = {**given, "bars_per_year": market.bars.bars_per_year}
    return Terms(**wanted, steps=steps_of(request.episodes, decisions))


def _described(split: Split) -> dict[str, Any]:
    fold = split.folds[0]
    return {
        **split.describe(),
        "kind": "holdout 60/20/20 in time",
        "train_rows": len(fold.train),
        "validation_rows": len(fold.valid),
    }


def _facts(market: MarketData, split: Split, terms: Terms) -> dict[str, Any]:
    """What spaces are bound to. folds: trainings of the usual length that a trial takes."""
    return {
        "rows": market.rows,
        "search_rows": len(split.search),
        "train_rows": len(split.folds[0].train),
        "columns": len(market.features),
        "wide_columns": len(market.features),
        "ordered": True,
        "grouped": False,
        "task": TRADING,
        "bars_per_year": terms.bars_per_year,
        "folds": terms.seeds * terms.steps / DEFAULT_STEPS,
    }
