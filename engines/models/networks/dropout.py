"""Dropout that draws less than torch's: on a CPU, drawing is what most of its time goes into.

Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting (2014), section
10 for the scale. torch draws one random number of 32 bits or more for each element; 16 bits are
enough to tell whether it stays, and four such come out of one draw.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_EQUAL = 2**16
"""Values that 16 bits have."""

_PER_DRAW = 4


class Dropout(nn.Dropout):
    """Zero each element with probability `p`, to 1 / 131,072, and scale the others by 1 / (1 - p).

    It draws from torch's own generator. Raises ValueError unless 0 <= p <= 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        stay = round((1 - self.p) * _EQUAL)
        if not self.training or stay == _EQUAL:
            return x
        if x.device.type != "cpu" or stay == 0:
            return functional.dropout(x, self.p)
        count = x.numel()
        draws = torch.empty(-(-count // _PER_DRAW), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[:count].view(x.shape)
        kept = (bits < stay - _EQUAL // 2).to(x.dtype)
        return x * kept.mul_(_EQUAL / stay)
