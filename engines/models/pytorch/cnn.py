"""A convolutional network on a window of time: each step sees itself and what came before.

The temporal convolutional network of Bai et al., An Empirical Evaluation of Generic Convolutional
and Recurrent Networks for Sequence Modeling (2018), section 3 and figure 1: residual blocks of two
causal convolutions, whose dilation doubles from block to block, each followed by ReLU and dropout;
the last step answers. Left out: weight normalisation, which costs time on a CPU and which blocks
as few as these train without.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from engines.models.networks.dropout import Dropout
from engines.models.networks.normalise import check_window, restored, standardised


class _Block(nn.Module):
    def __init__(
        self, inputs: int, channels: int, kernel: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, channels, kernel, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.skip = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()
        self.dropout = Dropout(dropout)
        self.before = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for convolve in (self.first, self.second):
            inner = convolve(functional.pad(inner, (self.before, 0)))
            inner = self.dropout(functional.relu(inner))
        return functional.relu(inner + self.skip(x))


class CNN(nn.Module):
    """`depth` blocks of `channels` channels, with kernels of `kernel` steps.

    The answer sees the last `reach` = 1 + 2 (kernel - 1) (2^depth - 1) steps of the window (the
    mean and deviation of own columns come from all of it).

    columns, context: the width and the steps of a window. The first `own` columns are the past of
    the targets; outputs: steps to forecast of each. With own = 0 the targets' past is not there,
    and `outputs` are the values (or classes) to tell for the end of the window.

    forward: (batch, context, columns) -> (batch, outputs, max(own, 1)); NaN in a window makes the
    outputs of that window NaN. Raises ValueError if a size does not fit.
    """

    def __init__(
        self,
        columns: int,
        context: int,
        outputs: int,
        *,
        own: int = 0,
        channels: int,
        depth: int,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        if min(channels, depth) < 1 or kernel < 2:
            raise ValueError("channels and depth must be at least 1, and kernel at least 2")
        self.own = own
        self.reach = 1 + 2 * (kernel - 1) * (2**depth - 1)
        self.blocks = nn.Sequential(
            *(
                _Block(channels if level else columns, channels, kernel, 2**level, dropout)
                for level in range(depth)
            )
        )
        self.readout = nn.Linear(channels, outputs * max(own, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, level, spread = standardised(x, self.own)
        return restored(self.readout(self.hidden(x)[..., -1]), level, spread)

    def hidden(self, x: Tensor) -> Tensor:
        """(batch, context, columns) -> (batch, channels, context); step t knows steps 0 to t."""
        return self.blocks(x.transpose(1, 2))
