"""The three periods of an experiment as markets: to learn on, to be chosen on, to be judged on."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engines.data.market import bars_of, seen
from engines.data.snapshot import Snapshot
from engines.data.splits import Rows
from engines.data.terms import Terms
from simulator.costs import Costs
from simulator.market import Market, build_market

Floats = npt.NDArray[np.float64]


class Stages:
    """Markets on the bars of an experiment. Each ends where its period does.

    Features of a later period look back on the bars before it, as they would when traded; every
    account begins flat at the period's first bar.
    """

    def __init__(self, snapshot: Snapshot, terms: Terms) -> None:
        self._split = snapshot.split
        self._bars = bars_of(snapshot, terms.bars_per_year)
        self._terms = terms

    @cached_property
    def train(self) -> Market:
        """What agents learn on."""
        return self._market(self._split.folds[0].train)

    @cached_property
    def validation(self) -> Market:
        """What trials are scored on."""
        return self._market(self._split.folds[0].valid)

    @cached_property
    def test(self) -> Market:
        """What is opened for the chosen trial alone."""
        return self._market(self._split.held_out)

    def _market(self, rows: Rows) -> Market:
        terms = self._terms
        market = build_market(
            self._bars.head(int(rows[-1]) + 1),
            costs=Costs(
                terms.fee, terms.slippage, terms.spread, terms.borrow_rate, terms.funding_rate
            ),
            features=seen(self._bars),
            max_position=terms.max_position,
        )
        return replace(market, first=max(market.first, int(rows[0])))
