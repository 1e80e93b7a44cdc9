"""What training a network costs on one core, by counting, so that an epoch can be kept short.

The sizes that a search may choose lie three powers of ten apart in time: with thousands of windows
the largest would train for hours. Counted and not measured, because what is left out must not
depend on how busy the machine is.

The constants are rough, of one server core: they tell dear sizes from cheap ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PRODUCT_S = 5e-11
VALUE_S = 5e-9
CALL_S = 2e-4
WEIGHT_S = 2e-8
"""Seconds of a training step for each product of a weight and a value and each value that a layer
puts out, both a row; for each call of a layer and each weight, both a step."""

EPOCH_S, FIT_S = 1.5, 45.0
"""On a CPU an epoch takes as many rows, and a training as many epochs, as fit into these, counted;
but never fewer than the two below."""

LEAST_ROWS, LEAST_EPOCHS = 128, 10


@dataclass(frozen=True)
class Work:
    """Seconds of training: row_s for a row, step_s for a step beside its rows."""

    row_s: float
    step_s: float

    def epoch_rows(self, rows: int, batch: int) -> int:
        """How many of `rows` an epoch takes in steps of `batch` rows."""
        return min(rows, max(LEAST_ROWS, int(EPOCH_S / self._seconds(1, batch))))

    def epochs(self, rows: int, batch: int) -> int:
        """How many epochs of so many rows a training takes at most."""
        return max(LEAST_EPOCHS, int(FIT_S / self._seconds(rows, batch)))

    def _seconds(self, rows: int, batch: int) -> float:
        return rows * (self.row_s + self.step_s / batch)


def count(network: nn.Module, x: Tensor) -> Work:
    """What a network costs in training. x: one row for it, (1, ...)."""
    found = {"products": 0, "values": 0, "calls": 0}

    def add(layer: nn.Module, _: object, out: Tensor | tuple[Tensor, object]) -> None:
        values = (out if isinstance(out, Tensor) else out[0]).numel()
        found["calls"] += 1
        found["values"] += values
        found["products"] += _products(layer, values)

    hooks = [
        layer.register_forward_hook(add) for layer in network.modules() if not [*layer.children()]
    ]
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(x)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    weights = sum(each.numel() for each in network.parameters())
    return Work(
        row_s=found["products"] * PRODUCT_S + found["values"] * VALUE_S,
        step_s=found["calls"] * CALL_S + weights * WEIGHT_S,
    )


def _products(layer: nn.Module, values: int) -> int:
    if isinstance(layer, nn.Linear):
        return values * layer.in_features
    if isinstance(layer, nn.Conv1d):
        return values * math.prod(layer.kernel_size) * layer.in_channels // layer.groups
    if isinstance(layer, nn.LSTM):
        # Every weight, once a step of time: `values` are steps x hidden.
        steps = values // layer.hidden_size
        return steps * sum(each.numel() for each in layer.parameters())
    return 0
