"""A recurrent network on a window of time, which answers from its last state.

Hochreiter & Schmidhuber, Long Short-Term Memory (1997), with the forget gate of Gers et al. (2000)
and its bias of 1 at the start, so that early steps are not forgotten before anything is learned
(Jozefowicz et al., An Empirical Exploration of Recurrent Network Architectures, 2015). Dropout
lies between layers and before the read-out, never inside the recurrence (Zaremba et al., 2014).
"""

from __future__ import annotations

from torch import Tensor, nn

from engines.models.networks.dropout import Dropout
from engines.models.networks.normalise import check_window, restored, standardised


class LSTM(nn.Module):
    """`layers` recurrent layers of `hidden` units.

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
        hidden: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        if min(hidden, layers) < 1:
            raise ValueError("hidden and layers must be at least 1")
        self.own = own
        self.core = nn.LSTM(
            columns,
            hidden,
            layers,
            batch_first=True,
            # torch warns where there is no second layer to put it before.
            dropout=dropout if layers > 1 else 0.0,
        )
        self.dropout = Dropout(dropout)
        self.readout = nn.Linear(hidden, outputs * max(own, 1))
        for layer in range(layers):
            # torch orders the gates input, forget, cell, output.
            nn.init.ones_(getattr(self.core, f"bias_ih_l{layer}")[hidden : 2 * hidden])

    def forward(self, x: Tensor) -> Tensor:
        x, level, spread = standardised(x, self.own)
        states, _ = self.core(x)
        return restored(self.readout(self.dropout(states[:, -1])), level, spread)
