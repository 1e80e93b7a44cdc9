"""A small agent that really learns, by random search: a weight for each feature, no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.market import load_market
from engines.data.periods import split_bars
from engines.data.snapshot import Snapshot, read_snapshot, write_snapshot
from engines.data.terms import Terms
from engines.models.rl_agents.stages import Stages
from simulator import layout as at
from simulator.bars import Bars
from simulator.features import LOOK_BACK
from simulator.market import Market
from simulator.synthetic import ornstein_uhlenbeck

Floats = npt.NDArray[np.float64]


class Weighted:
    """Positions from -1 to 1: the weighted sum of the features of a bar."""

    def __init__(self, weights: Floats) -> None:
        self.weights = weights

    def positions(self, market: Market) -> Floats:
        """(bars,) fractions of equity."""
        features = market.table[:, at.FEATURES :]
        return np.clip(features @ self.weights, -1.0, 1.0)


class RandomSearch:
    """Each step tries other weights on the training bars, and keeps them if they earn more."""

    def __init__(self, market: Market, seed: int) -> None:
        self._market = market
        self._rng = np.random.default_rng(seed)
        self._weights = self._rng.normal(size=len(market.feature_names))
        self._earned = -np.inf
        self.steps_done = 0

    def advance(self, to_step: int) -> None:
        """Try weights until so many steps are done."""
        moves = np.append(np.diff(np.log(self._market.bars.close)), 0.0)
        while self.steps_done < to_step:
            tried = self._weights + 0.3 * self._rng.normal(size=len(self._weights))
            earned = float(Weighted(tried).positions(self._market) @ moves)
            if earned > self._earned:
                self._weights, self._earned = tried, earned
            self.steps_done += 1

    def policy(self) -> Weighted:
        """What it would do now."""
        return Weighted(self._weights.copy())

    def pack(self) -> bytes:
        """All that is needed to go on."""
        return json.dumps(
            {
                "weights": self._weights.tolist(),
                "earned": self._earned,
                "steps": self.steps_done,
                "rng": self._rng.bit_generator.state,
            }
        ).encode()

    @classmethod
    def unpack(cls, state: bytes, market: Market, seed: int) -> RandomSearch:
        """Go on where `pack` was called."""
        read: dict[str, Any] = json.loads(state)
        found = cls(market, seed)
        found._weights = np.array(read["weights"])
        found._earned, found.steps_done = read["earned"], read["steps"]
        found._rng.bit_generator.state = read["rng"]
        return found


def snapshot_of(bars: Bars, folder: Path) -> Snapshot:
    """The bars as an experiment stores them."""
    market = load_market(bars.to_frame().drop(columns="signal", errors="ignore"))
    write_snapshot(folder, market, split_bars(len(bars), LOOK_BACK))
    return read_snapshot(folder)


def stages_of(folder: Path, terms: Terms, bars: int = 700) -> Stages:
    """The periods of a market that swings round its mean."""
    return Stages(snapshot_of(ornstein_uhlenbeck(bars, seed=3), folder), terms)
