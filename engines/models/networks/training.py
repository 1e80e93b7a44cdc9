"""The one training loop of every network: epochs over tensors that are in memory.

A batch is a row index into two tensors, so that nothing runs in Python for each row. Training stops
early by rows that were set aside from the training rows, never by those that score the model; the
weights of their best epoch are kept. All of its state can be taken out after any epoch and put into
another process, which then goes on to the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engines.data.scoring import ScoreError
from engines.models.networks.adamw import AdamW

Loss = Callable[[Tensor, Tensor], Tensor]
"""(predicted, wanted) -> the mean over a batch."""

STATE_FORMAT = 2
"""Of what `Training.state` gives; a new number for whatever changes how a training goes on."""

MOST_PREDICTED = 256
"""Rows that go through a network at once where nothing is learned: memory grows with them, and for
windows of many columns larger parts take longer as well."""


@dataclass(frozen=True)
class Rows:
    """What a network learns from. x: (rows, ...); y: (rows, ...). Windows may be strided views."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    epochs: at most. batch: rows of a step. patience: epochs without a better loss on the rows set
    aside after which training ends; after half of them the rate is halved. clip: the largest norm
    of a gradient. rows: of an epoch, drawn anew for each; None: all.
    """

    learning_rate: float
    batch: int
    epochs: int = 100
    weight_decay: float = 0.0
    patience: int = 8
    clip: float = 1.0
    rows: int | None = None


class Training:
    """The training of one network, epoch by epoch: `while not over: advance()`, then `best()`.

    rows: train. aside: stop it early; None trains `schedule.epochs` epochs and keeps the last
    weights. loss_now, loss_best: of `aside`; NaN and infinity before the first epoch.
    epoch, best_epoch: how many were trained, and up to which the kept weights were; from 1.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        rows: Rows,
        aside: Rows | None,
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.network = network
        self.schedule = schedule
        self.epoch = self.best_epoch = 0
        self.loss_now, self.loss_best = math.nan, math.inf
        self.was_cut = False
        self._loss = loss
        self._rows = rows
        self._aside = aside
        self._halved_at = 0
        self._kept: dict[str, Tensor] = {}
        self._optimiser = AdamW(network.parameters(), schedule.learning_rate, schedule.weight_decay)
        self._random = torch.Generator().manual_seed(seed)
        # Dropout draws from torch's own generator, which belongs to everybody: it is borrowed.
        self._drawn = torch.Generator().manual_seed(seed).get_state()

    @property
    def over(self) -> bool:
        """Whether another epoch would be of no use, or is not wanted."""
        if self.was_cut or self.epoch >= self.schedule.epochs:
            return True
        return self._aside is not None and self.epoch - self.best_epoch >= self.schedule.patience

    def advance(self, deadline: float | None = None) -> None:
        """Train one epoch, then look at the rows set aside.

        deadline: `time.monotonic()` seconds; the epoch ends there, and so does the training. Raises
        ScoreError for a loss that is not finite.
        """
        total = self._train(deadline)
        if not math.isfinite(total):
            raise ScoreError(
                f"the training loss is {total:g} in epoch {self.epoch + 1}: "
                f"learning rate {self.schedule.learning_rate:g} is too high here"
            )
        self.epoch += 1
        if self._aside is None:
            self._keep()
            return
        self.loss_now = self._loss_aside()
        if self.loss_now < self.loss_best or not self._kept:
            self.loss_best = self.loss_now
            self._keep()
        elif self.epoch - max(self.best_epoch, self._halved_at) >= self._patience_of_rate:
            self._halved_at = self.epoch
            self._optimiser.rate *= 0.5

    def best(self) -> nn.Module:
        """The network with the weights of its best epoch, ready to predict."""
        if self._kept:
            self.network.load_state_dict(self._kept)
        self.network.eval()
        return self.network

    @property
    def _patience_of_rate(self) -> int:
        return max(1, self.schedule.patience // 2)

    def _train(self, deadline: float | None) -> float:
        rows, size = self._rows, self.schedule.batch
        device = rows.x.device
        order = torch.randperm(len(rows), generator=self._random)[: self.schedule.rows]
        total = torch.zeros((), device=device)
        parameters = self._optimiser.parameters
        self.network.train()
        with self._borrowed_generator():
            for index in order.to(device).split(size):
                self._optimiser.forget()
                loss = self._loss(self.network(rows.x[index]), rows.y[index])
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, self.schedule.clip)
                self._optimiser.step()
                total += loss.detach() * len(index)
                if deadline is not None and time.monotonic() >= deadline:
                    self.was_cut = True
                    break
        return float(total) / len(order)

    def _loss_aside(self) -> float:
        assert self._aside is not None
        predicted = predict(self.network, self._aside.x)
        return float(self._loss(predicted, self._aside.y))

    def _keep(self) -> None:
        self.best_epoch = self.epoch
        self._kept = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    @contextmanager
    def _borrowed_generator(self) -> Iterator[None]:
        before = torch.get_rng_state()
        torch.set_rng_state(self._drawn)
        try:
            yield
        finally:
            self._drawn = torch.get_rng_state()
            torch.set_rng_state(before)

    # -- to stop here and go on elsewhere ---------------------------------------------------

    _NUMBERS = ("epoch", "best_epoch", "loss_now", "loss_best", "was_cut", "_halved_at")

    def state(self) -> dict[str, Any]:
        """Everything that the next epochs depend on, beside what the constructor takes."""
        return {
            "format": STATE_FORMAT,
            "numbers": {name: getattr(self, name) for name in self._NUMBERS},
            "network": self.network.state_dict(),
            "kept": self._kept,
            "optimiser": self._optimiser.state(),
            "random": self._random.get_state(),
            "drawn": self._drawn,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken: same network, rows, schedule and seed.

        A state of another format, of an earlier version of this program, is left alone: the
        training then begins anew.
        """
        if state.get("format") != STATE_FORMAT:
            return
        for name in self._NUMBERS:
            setattr(self, name, state["numbers"][name])
        self.network.load_state_dict(state["network"])
        self._kept = state["kept"]
        self._optimiser.restore(state["optimiser"])
        self._random.set_state(state["random"])
        self._drawn = state["drawn"]


def predict(network: nn.Module, x: Tensor) -> Tensor:
    """What a network says of all rows of `x`, without learning from them."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(part) for part in x.split(MOST_PREDICTED)])
