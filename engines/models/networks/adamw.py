"""AdamW without `torch.optim.Optimizer`, whose first use in a process imports torch's compiler.

Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2. The arithmetic is
torch's, by the function that its optimiser calls; only what keeps the moments is ours. The compiler
(`torch._dynamo`) takes longer to import than many a training takes, and nothing here compiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """Moves parameters against their gradients; those without one stay as they are.

    rate: may be changed between steps. decay: of the weights, in a step by `rate * decay`.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, decay: float) -> None:
        self.parameters = [each for each in parameters if each.requires_grad]
        self.rate = rate
        self.decay = decay
        self._means = [torch.zeros_like(each) for each in self.parameters]
        self._squares = [torch.zeros_like(each) for each in self.parameters]
        self._steps = [torch.zeros((), device=each.device) for each in self.parameters]

    def forget(self) -> None:
        """Drop the gradients of the last step."""
        for each in self.parameters:
            each.grad = None

    def step(self) -> None:
        """One step, with the gradients that the parameters have."""
        at = [i for i, each in enumerate(self.parameters) if each.grad is not None]
        moments = (self._means, self._squares, self._steps)
        means, squares, steps = ([kept[i] for i in at] for kept in moments)
        with torch.no_grad():
            adamw(
                [self.parameters[i] for i in at],
                [g for i in at if (g := self.parameters[i].grad) is not None],
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self.rate,
                weight_decay=self.decay,
                eps=1e-8,
                maximize=False,
            )

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on, beside the parameters."""
        moments = {"means": self._means, "squares": self._squares, "steps": self._steps}
        return {"rate": self.rate, **moments}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the same parameters."""
        self.rate = state["rate"]
        for name in ("means", "squares", "steps"):
            for mine, kept in zip(getattr(self, f"_{name}"), state[name], strict=True):
                mine.copy_(kept)
