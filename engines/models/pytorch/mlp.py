"""A plain network on the columns of a table: layers of one width.

Gorishniy et al., Revisiting Deep Learning Models for Tabular Data (2021), section 3.1: a block is
Dropout(ReLU(Linear(x))), and a linear layer reads out. Left out: embeddings of categories, since
the columns arrive as numbers.
"""

from __future__ import annotations

from torch import Tensor, nn

from engines.models.networks.dropout import Dropout


class MLP(nn.Module):
    """`depth` hidden layers of `width` units.

    forward: (batch, columns) -> (batch, outputs); NaN in a row makes that row's outputs NaN.
    Raises ValueError if a size is below 1.
    """

    def __init__(
        self, columns: int, outputs: int, *, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        if min(columns, outputs, width, depth) < 1:
            raise ValueError("columns, outputs, width and depth must be at least 1")
        layers: list[nn.Module] = []
        for inputs in (columns, *(width,) * (depth - 1)):
            layers += [nn.Linear(inputs, width), nn.ReLU(), Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.hidden(x))
