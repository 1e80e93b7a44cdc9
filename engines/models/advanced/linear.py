"""The linear rivals: what a network on a series must beat.

Zeng et al., Are Transformers Effective for Time Series Forecasting? (2023), section 3.3: DLinear
takes a window apart into a moving average and the rest and maps each linearly onto the horizon;
NLinear subtracts the last value, maps linearly and adds it again. One map serves all channels.

Added here: other columns, which the paper does not have, go through a linear map of their own,
which starts at zero so that training starts from the paper's model; and where the targets' past
is not among the columns, one linear map of the whole window tells the values.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from engines.models.networks.normalise import check_window


class DLinear(nn.Module):
    """A linear map of the trend plus a linear map of the rest.

    columns, context: the width and the steps of a window. The first `own` columns are the past of
    the targets; outputs: steps to forecast of each. With own = 0 the targets' past is not there,
    and `outputs` are the values (or classes) to tell for the end of the window. kernel: steps of
    the moving average, odd.

    forward: (batch, context, columns) -> (batch, outputs, max(own, 1)); NaN in a column makes what
    depends on it NaN. Raises ValueError if a size does not fit.
    """

    def __init__(
        self, columns: int, context: int, outputs: int, *, own: int = 0, kernel: int = 25
    ) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}, but must be odd and at least 1")
        self.own = own
        self.kernel = kernel
        inputs = context if own else columns * context
        self.trend = nn.Linear(inputs, outputs)
        self.rest = nn.Linear(inputs, outputs)
        self.others = _others(columns - own, context, outputs, own)

    def forward(self, x: Tensor) -> Tensor:
        series = x.transpose(1, 2)
        if self.own:
            series = series[:, : self.own]
        trend = moving_average(series, self.kernel)
        rest = series - trend
        if not self.own:
            trend, rest = trend.flatten(1).unsqueeze(1), rest.flatten(1).unsqueeze(1)
        y = self.trend(trend) + self.rest(rest)
        if self.others is not None:
            y = y + self.others(x[..., self.own :].flatten(1)).unflatten(1, (self.own, -1))
        return y.transpose(1, 2)


class NLinear(nn.Module):
    """A linear map of the window's distance from its last value.

    columns, context, outputs, own, forward, NaN and errors as in `DLinear`. With own = 0 there is
    no last value to return to, and nothing is subtracted.
    """

    def __init__(self, columns: int, context: int, outputs: int, *, own: int = 0) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        self.own = own
        self.map = nn.Linear(context if own else columns * context, outputs)
        self.others = _others(columns - own, context, outputs, own)

    def forward(self, x: Tensor) -> Tensor:
        if not self.own:
            return self.map(x.transpose(1, 2).flatten(1)).unsqueeze(2)
        series = x[..., : self.own].transpose(1, 2)
        last = series[..., -1:]
        y = self.map(series - last) + last
        if self.others is not None:
            y = y + self.others(x[..., self.own :].flatten(1)).unflatten(1, (self.own, -1))
        return y.transpose(1, 2)


def moving_average(series: Tensor, kernel: int) -> Tensor:
    """(..., context) -> the same shape: the mean of `kernel` steps, the edges' values repeated."""
    side = (kernel - 1) // 2
    padded = functional.pad(series, (side, side), mode="replicate")
    return functional.avg_pool1d(padded, kernel, stride=1)


def _others(columns: int, context: int, outputs: int, own: int) -> nn.Linear | None:
    """The map of columns beside the targets' own past, or None where there are none."""
    if not own or not columns:
        return None
    linear = nn.utils.skip_init(nn.Linear, columns * context, outputs * own)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
