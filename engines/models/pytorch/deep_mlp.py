"""A deep network on the columns of a table: residual blocks, normalised before each.

The ResNet of Gorishniy et al., Revisiting Deep Learning Models for Tabular Data (2021), section
3.2:

    ResNet(x) = Linear(ReLU(Norm(block(... block(Linear(x))))))
    block(x) = x + Dropout(Linear(Dropout(ReLU(Linear(Norm(x))))))

Norm is LayerNorm where the paper has BatchNorm: a row's outputs then depend on no other row, and
a batch of one row trains. Left out: embeddings of categories, since the columns arrive as numbers.
"""

from __future__ import annotations

from torch import Tensor, nn

from engines.models.networks.dropout import Dropout

_WIDER = 2
"""The hidden layer of a block, in widths; the paper searches 1 to 4."""


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, _WIDER * width)
        self.narrow = nn.Linear(_WIDER * width, width)
        self.activation = nn.ReLU()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.activation(self.widen(self.norm(x))))
        return x + self.dropout(self.narrow(inner))


class DeepMLP(nn.Module):
    """`depth` residual blocks of `width` units, of two layers each.

    forward: (batch, columns) -> (batch, outputs); NaN in a row makes that row's outputs NaN.
    Raises ValueError if a size is below 1.
    """

    def __init__(
        self, columns: int, outputs: int, *, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        if min(columns, outputs, width, depth) < 1:
            raise ValueError("columns, outputs, width and depth must be at least 1")
        self.embedding = nn.Linear(columns, width)
        self.blocks = nn.Sequential(*(_Block(width, dropout) for _ in range(depth)))
        self.readout = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.blocks(self.embedding(x)))
