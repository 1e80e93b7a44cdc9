"""What networks do to the columns that are the targets' own past, and undo at the end."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_VARIANCE = 1e-5


def check_window(columns: int, context: int, outputs: int, own: int) -> None:
    """Raise ValueError unless all sizes are at least 1 and 0 <= own <= columns."""
    if min(columns, context, outputs) < 1:
        raise ValueError("columns, context and outputs must be at least 1")
    if not 0 <= own <= columns:
        raise ValueError(f"own is {own}, but must lie between 0 and the {columns} columns")


def standardised(x: Tensor, own: int) -> tuple[Tensor, Tensor, Tensor]:
    """The windows with their own columns at mean 0 and deviation 1, and what was taken off.

    Kim et al., Reversible Instance Normalization (2022), eq. 1, without its learned scale and
    shift: a series on a new level is forecast as it was on the old. Other columns stay as they
    are, as their level may be what tells. x: (batch, context, columns). Returns x so changed, the
    means and the deviations, both (batch, 1, own).
    """
    level = x[..., :own].mean(1, keepdim=True)
    past = x[..., :own] - level
    spread = (past.square().mean(1, keepdim=True) + _LEAST_VARIANCE).sqrt()
    return torch.cat((past / spread, x[..., own:]), 2), level, spread


def restored(y: Tensor, level: Tensor, spread: Tensor) -> Tensor:
    """(batch, outputs * max(own, 1)) -> (batch, outputs, max(own, 1)), `standardised` undone."""
    own = level.shape[2]
    y = y.unflatten(1, (-1, max(own, 1)))
    return torch.addcmul(level, y, spread) if own else y
