"""What an agent has learned, as a function of what it sees: numpy alone, and files without code.

A policy is saved as `policy.json` and `weights.npz`; neither can make the program that reads it run
anything. Its forward pass is that of the torch network it came from, up to rounding.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.scoring import ScoreError
from engines.errors import BadInput
from simulator import layout as at
from simulator.market import Market

Seen = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Layer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""(weights (outputs, inputs), biases (outputs,))."""

FORMAT = 1
CARD_FILE, WEIGHTS_FILE = "policy.json", "weights.npz"
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error),
)
"""What reading a file raises of which some bytes are others."""

_BALANCE = 10_000.0
"""Where a policy is run for its positions; fractions of equity don't depend on it."""


@dataclass(frozen=True)
class Card:
    """What is known of a policy beside its weights.

    agent: the model's name. activation: relu, tanh or elu. max_position: the fraction of equity
    that an action of 1 asks for. levels: what the actions of a discrete agent stand for, shares of
    the limit; empty for a continuous one. support: (lowest, highest) of its returns if it has a
    distribution of them. window, feature_names: what it sees, see `simulator.market.Market`.
    """

    agent: str
    activation: str
    max_position: float
    levels: tuple[float, ...]
    support: tuple[float, float] | None
    window: int
    feature_names: tuple[str, ...]

    @property
    def observation_size(self) -> int:
        """Numbers that it sees."""
        return self.window * len(self.feature_names) + 2


class AgentPolicy:
    """The deterministic policy of a trained agent.

    layers: of a continuous agent `{"actor": [...]}`, whose output is squashed by tanh; of a
    discrete one `advantage`, and if it has them `trunk` before it and `value` beside it. The
    activation follows every layer but the last of each part; a trunk ends with one.
    """

    def __init__(self, card: Card, layers: Mapping[str, Sequence[Layer]]) -> None:
        self.card = card
        self.layers = {name: list(part) for name, part in layers.items()}
        self._bend = _ACTIVATIONS[card.activation]
        self._levels = np.array(card.levels)

    @property
    def max_position(self) -> float:
        """The fraction of equity that an action of 1 asks for; it never asks for more."""
        return self.card.max_position

    def act(self, observations: npt.ArrayLike) -> npt.NDArray[Any]:
        """Actions as the simulator takes them.

        observations: (n, d) or (d,). Returns float32 (n, 1) in [-1, 1] from a continuous agent,
        int64 (n,) numbers of levels from a discrete one; (1,) and () for a single observation.
        Raises ScoreError if the network gives no finite number.
        """
        if self.card.levels:
            found = np.asarray(self.values(observations)).argmax(axis=-1)
            return np.asarray(found, dtype=np.int64)
        return self._finite(np.tanh(self._through("actor", _rows(observations))))

    def values(self, observations: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """What each action of a discrete agent is worth, float32 (n, levels) or (levels,)."""
        seen = _rows(observations)
        if "trunk" in self.layers:
            for weights, biases in self.layers["trunk"]:
                seen = self._bend(seen @ weights.T + biases)
        levels = len(self.card.levels)
        scores = self._through("advantage", seen)
        scores = scores.reshape(*scores.shape[:-1], levels, -1)
        if "value" in self.layers:
            value = self._through("value", seen)[..., None, :]
            scores = value + scores - scores.mean(axis=-2, keepdims=True)
        if self.card.support is None:
            return self._finite(scores[..., 0])
        atoms = np.linspace(*self.card.support, scores.shape[-1], dtype=np.float32)
        odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return self._finite((odds / odds.sum(axis=-1, keepdims=True)) @ atoms)

    def shares(self, observations: npt.ArrayLike) -> Floats:
        """The part of the limit that is asked for, float64 (n,) in [-1, 1]."""
        actions = self.act(np.atleast_2d(np.asarray(observations)))
        if self.card.levels:
            return self._levels[actions]
        return actions[:, 0].astype(np.float64)

    def positions(
        self, market: Market, first: int | None = None, last: int | None = None
    ) -> Floats:
        """The targets that it decides on along a market, float64 (bars,), fractions of equity.

        positions[t] is decided at the close of bar t, with the account as it then is: run through
        the market's core from bar `first`, flat, to bar `last`; without them from the market's
        first to its last. What is decided at the close of the last one is for a bar that is not
        there, and is traded by nobody. 0 where nothing is decided, and after an early end.
        `simulator.simulator.backtest` trades them to the same equity. Raises BadInput if the market
        shows other features than the agent was trained on.
        """
        from simulator import core

        self._check_market(market)
        wanted = np.zeros(len(market.bars))
        state = market.start(_BALANCE, first, last)
        seen = core.observe(market.table, state[None], market.window)[0]
        while state[at.STATUS] < at.HALTED:
            action = self.act(seen)
            share = self._levels[action] if self.card.levels else float(action[0])
            target = share * self.max_position
            wanted[int(state[at.BAR])] = target
            if state[at.BAR] == state[at.LAST]:
                break
            core.step_one(market.table, market.parameters, state, target, seen)
        return wanted

    def save(self, folder: Path) -> None:
        """Write `policy.json` and `weights.npz` into an existing folder."""
        arrays: dict[str, Any] = {}
        for part, layers in self.layers.items():
            for number, (weights, biases) in enumerate(layers):
                arrays[f"{part}.{number}.weights"] = weights
                arrays[f"{part}.{number}.biases"] = biases
        with (folder / WEIGHTS_FILE).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        body = {"format": FORMAT, **asdict(self.card)}
        body["layers"] = {part: len(layers) for part, layers in self.layers.items()}
        (folder / CARD_FILE).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> AgentPolicy:
        """Read what `save` wrote. Nothing in the files is run.

        Raises BadInput if they are missing, damaged, or of another version.
        """
        try:
            body = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
            if body["format"] != FORMAT:
                raise BadInput(
                    f"{folder}: an agent in format {body['format']}; this version reads {FORMAT}."
                )
            card = _card(body)
            counts = {str(part): int(count) for part, count in body["layers"].items()}
            weights = folder / WEIGHTS_FILE
            with weights.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                layers = {
                    part: [_layer(arrays, f"{part}.{n}") for n in range(count)]
                    for part, count in counts.items()
                }
            policy = cls(card, layers)
            policy._check_shapes()
        except FileNotFoundError as reason:
            raise BadInput(f"{folder}: no saved agent ({reason.filename} is missing).") from reason
        except _DAMAGED as reason:
            raise BadInput(f"{folder}: the saved agent is damaged ({reason}).") from reason
        return policy

    def _through(self, part: str, seen: Seen) -> Seen:
        *hidden, last = self.layers[part]
        for weights, biases in hidden:
            seen = self._bend(seen @ weights.T + biases)
        weights, biases = last
        return seen @ weights.T + biases

    def _finite(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not np.isfinite(numbers).all():
            raise ScoreError(f"the {self.card.agent} agent's network gives no finite number")
        return numbers

    def _check_market(self, market: Market) -> None:
        card = self.card
        if (market.window, market.feature_names) == (card.window, card.feature_names):
            return
        raise BadInput(
            f"{market.bars.name}: the agent was trained on {card.window} bars of "
            f"{', '.join(card.feature_names) or 'no features'}; this market shows {market.window} "
            f"of {', '.join(market.feature_names) or 'none'}."
        )

    def _check_shapes(self) -> None:
        """Raise ValueError unless one layer's output is the next one's input."""
        parts = {"advantage", "trunk", "value"} if self.card.levels else {"actor"}
        head = "advantage" if self.card.levels else "actor"
        if not set(self.layers) <= parts or not self.layers.get(head):
            raise ValueError(f"parts {', '.join(self.layers)}")
        begin = self.card.observation_size
        for weights, biases in self.layers.get("trunk", []):
            begin = _follows(begin, weights, biases)
        for part in sorted(set(self.layers) - {"trunk"}):
            size = begin
            for weights, biases in self.layers[part]:
                size = _follows(size, weights, biases)
        # One pass finds what is left: atoms, levels, numbers that are not finite.
        self.act(np.zeros((1, self.card.observation_size), np.float32))


def _rows(observations: npt.ArrayLike) -> Seen:
    return np.asarray(observations, dtype=np.float32)


def _relu(x: Seen) -> Seen:
    return np.maximum(x, np.float32(0.0))


def _elu(x: Seen) -> Seen:
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0.0))))


_ACTIVATIONS: dict[str, Any] = {"relu": _relu, "tanh": np.tanh, "elu": _elu}


def _card(body: dict[str, Any]) -> Card:
    known = {field.name: body[field.name] for field in fields(Card)}
    known["max_position"] = float(known["max_position"])
    known["levels"] = tuple(float(level) for level in known["levels"])
    known["feature_names"] = tuple(str(name) for name in known["feature_names"])
    if known["support"] is not None:
        low, high = known["support"]
        known["support"] = (float(low), float(high))
    if known["activation"] not in _ACTIVATIONS:
        raise ValueError(f"activation {known['activation']!r}")
    if not 0 < known["max_position"] < float("inf"):
        raise ValueError(f"max_position {known['max_position']!r}")
    return Card(**known)


def _layer(arrays: Any, name: str) -> Layer:
    weights, biases = arrays[f"{name}.weights"], arrays[f"{name}.biases"]
    if weights.dtype != np.float32 or biases.dtype != np.float32:
        raise ValueError(f"{name} is {weights.dtype}")
    return weights, biases


def _follows(size: int, weights: npt.NDArray[Any], biases: npt.NDArray[Any]) -> int:
    if weights.ndim != 2 or weights.shape[1] != size or biases.shape != weights.shape[:1]:
        raise ValueError(f"a layer of shape {weights.shape} after {size} numbers")
    return int(weights.shape[0])
