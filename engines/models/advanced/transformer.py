"""A Transformer encoder over a window of time: one token a step, all columns in it.

Vaswani et al., Attention Is All You Need (2017): multi-head attention eq. 1 and section 3.2.2,
feed-forward layers eq. 2, sinusoidal positions section 3.5. Two changes, both usual since: a block
normalises its input, not its output (Xiong et al., On Layer Normalization in the Transformer
Architecture, 2020), so that it trains without a warm-up; and GELU stands for ReLU. Left out: the
decoder. All steps of the horizon are read off the encoder at once, as Zhou et al. (Informer, 2021)
found better than step by step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.models.networks.dropout import Dropout
from engines.models.networks.normalise import check_window, restored, standardised


class Transformer(nn.Module):
    """`layers` encoder blocks of width `d_model`, a multiple of `n_heads`.

    columns, context: the width and the steps of a window. The first `own` columns are the past of
    the targets; outputs: steps to forecast of each. With own = 0 the targets' past is not there,
    and `outputs` are the values (or classes) to tell for the end of the window. head: what is read
    out, all tokens side by side ("flatten") or the last one ("last").

    forward: (batch, context, columns) -> (batch, outputs, max(own, 1)); NaN in a window makes the
    outputs of that window NaN. Raises ValueError if a size does not fit.
    """

    positions: Tensor

    def __init__(
        self,
        columns: int,
        context: int,
        outputs: int,
        *,
        own: int = 0,
        d_model: int,
        n_heads: int,
        layers: int,
        d_ff: int,
        dropout: float,
        head: str = "flatten",
    ) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        if layers < 1:
            raise ValueError("layers must be at least 1")
        if head not in ("flatten", "last"):
            raise ValueError(f"head is {head!r}, but must be 'flatten' or 'last'")
        self.own = own
        self.head = head
        self.embedding = nn.Linear(columns, d_model)
        # Not saved: a function of the sizes.
        self.register_buffer("positions", sinusoids(context, d_model), persistent=False)
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(
            *(EncoderBlock(d_model, n_heads, d_ff, dropout) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(d_model)
        read = context * d_model if head == "flatten" else d_model
        self.readout = nn.Linear(read, outputs * max(own, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, level, spread = standardised(x, self.own)
        tokens = self.blocks(self.dropout(self.embedding(x) + self.positions))
        read = tokens if self.head == "flatten" else tokens[:, -1:]
        return restored(self.readout(self.norm(read).flatten(1)), level, spread)


class EncoderBlock(nn.Module):
    """(batch, tokens, width) -> the same shape: attention, then a feed-forward layer, each added.

    Raises ValueError unless `heads` divides `width`.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        if min(width, heads, inner) < 1:
            raise ValueError("the width, the heads and the feed-forward width must be at least 1")
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        # Without biases, as in the paper: that of the keys would move no weight of attention.
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.join = nn.Linear(width, width)
        self.norm_inner = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.join(self._attend(self.norm(x))))
        inner = self.dropout(functional.gelu(self.widen(self.norm_inner(x))))
        return x + self.dropout(self.narrow(inner))

    def _attend(self, x: Tensor) -> Tensor:
        # (batch, tokens, 3 * width) -> three of (batch, heads, tokens, width / heads)
        parts = self.project(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts.unbind(0))
        return seen.transpose(1, 2).flatten(2)


def sinusoids(steps: int, width: int) -> Tensor:
    """(steps, width): section 3.5 of Vaswani et al., a sine and a cosine of each frequency."""
    turns = torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    angles = torch.arange(steps).unsqueeze(1) * turns.exp()
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[:, :width]
