"""A Transformer over patches of a series, each series alone with shared weights.

Nie et al., A Time Series is Worth 64 Words (2023), section 3.1: a channel is normalised by its
window, its end repeated `stride` times, cut into
P = (context - patch_len) / stride + 2 patches (rounded down), which are embedded linearly with
learned positions, go through a Transformer encoder, and are flattened into a linear head.

Other than in the paper:
- LayerNorm before each layer where the authors' code has BatchNorm after it: a row's forecast
  then depends on no other row, and a batch of one row trains.
- Residual attention scores between layers, which their code has and the paper does not, are out.
- Columns beside the targets' own past (the paper has none) are channels of the same encoder, and
  a linear head over all of them together adds to each forecast, before the normalisation is
  undone. It starts at zero, so that training starts from the paper's model.
- Where the targets' past is not among the columns, a linear head over all channels answers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.models.advanced.transformer import EncoderBlock
from engines.models.networks.dropout import Dropout
from engines.models.networks.normalise import check_window, restored, standardised


class PatchTST(nn.Module):
    """`e_layers` encoder blocks of width `d_model`, a multiple of `n_heads`, over patches.

    columns, context: the width and the steps of a window. The first `own` columns are the past of
    the targets; outputs: steps to forecast of each. With own = 0 the targets' past is not there,
    and `outputs` are the values (or classes) to tell for the end of the window. patch_len: steps
    of a patch, at most `context`; stride: steps from one to the next, at most `patch_len`.

    forward: (batch, context, columns) -> (batch, outputs, max(own, 1)); NaN in an own column makes
    its forecast NaN, NaN in another column the outputs of that window. Raises ValueError if a size
    does not fit.
    """

    def __init__(
        self,
        columns: int,
        context: int,
        outputs: int,
        *,
        own: int = 0,
        patch_len: int,
        stride: int,
        d_model: int,
        n_heads: int,
        e_layers: int,
        d_ff: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        if not 1 <= stride <= patch_len <= context:
            raise ValueError(
                f"stride {stride}, patch_len {patch_len} and context {context} must rise from 1"
            )
        if e_layers < 1:
            raise ValueError("e_layers must be at least 1")
        self.own = own
        self.patch_len = patch_len
        self.stride = stride
        patches = (context - patch_len) // stride + 2
        self.embedding = nn.Linear(patch_len, d_model)
        self.positions = nn.Parameter(torch.empty(patches, d_model).uniform_(-0.02, 0.02))
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(
            *(EncoderBlock(d_model, n_heads, d_ff, dropout) for _ in range(e_layers))
        )
        self.norm = nn.LayerNorm(d_model)
        read = patches * d_model
        self.readout = nn.Linear(read if own else columns * read, outputs)
        self.others: nn.Linear | None = None
        if own and columns > own:
            self.others = nn.utils.skip_init(nn.Linear, (columns - own) * read, outputs * own)
            nn.init.zeros_(self.others.weight)
            nn.init.zeros_(self.others.bias)

    def forward(self, x: Tensor) -> Tensor:
        x, level, spread = standardised(x, self.own)
        channels = self._encoded(x)
        if not self.own:
            return self.readout(channels.flatten(1)).unsqueeze(2)
        y = self.readout(channels[:, : self.own]).transpose(1, 2).flatten(1)
        if self.others is not None:
            y = y + self.others(channels[:, self.own :].flatten(1))
        return restored(y, level, spread)

    def _encoded(self, x: Tensor) -> Tensor:
        """(batch, context, columns) -> (batch, columns, patches * d_model)."""
        columns = x.shape[2]
        series = functional.pad(x.transpose(1, 2), (0, self.stride), mode="replicate")
        patches = series.unfold(2, self.patch_len, self.stride).flatten(0, 1)
        tokens = self.blocks(self.dropout(self.embedding(patches) + self.positions))
        return self.norm(tokens).flatten(1).unflatten(0, (-1, columns))
