"""The Temporal Fusion Transformer: columns are selected, a LSTM reads, attention looks back.

Lim et al., Temporal Fusion Transformers for Interpretable Multi-horizon Time Series Forecasting
(2021): gated residual network eq. 2-5, variable selection eq. 6-8, interpretable attention eq.
13-16, the layers of the decoder section 4.5 and eq. 17-22.

Other than in the paper:
- A point forecast: the last layer gives one value a step and target, no quantiles (eq. 23).
- No static covariates: no context vectors, and the LSTM starts from zero.
- Of the future only the number of the step is known: a learned vector a step, in the place of
  known inputs. A selection among one input is that input.
- Columns are numbers, whose embeddings (section 4.2) are affine; the dense layers straight after
  them are so too, and the product of the two is what is learned.
- The selection's weights come without the last LayerNorm (eq. 2), which over two columns would
  leave only a sign.
- The targets' own columns are normalised by their window and the forecast is put back.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.models.networks.dropout import Dropout
from engines.models.networks.normalise import check_window, restored, standardised


class TFT(nn.Module):
    """Width `hidden_size`, a multiple of `num_attention_heads`; `num_layers` of LSTM a side.

    columns, context: the width and the steps of a window. The first `own` columns are the past of
    the targets; outputs: steps to forecast of each. With own = 0 the targets' past is not there,
    the decoder takes one step, and `outputs` are the values (or classes) it tells.

    forward: (batch, context, columns) -> (batch, outputs, max(own, 1)); NaN in a window makes the
    outputs of that window NaN. Memory to train: about 50 * (columns + 5) * batch * context *
    hidden_size bytes. Raises ValueError if a size does not fit.
    """

    def __init__(
        self,
        columns: int,
        context: int,
        outputs: int,
        *,
        own: int = 0,
        hidden_size: int,
        num_attention_heads: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_window(columns, context, outputs, own)
        if min(hidden_size, num_layers) < 1:
            raise ValueError("hidden_size and num_layers must be at least 1")
        self.own = own
        self.selection = _Selection(columns, hidden_size, dropout)
        steps = outputs if own else 1
        self.steps = nn.Parameter(torch.empty(steps, hidden_size).normal_(std=0.1))
        between = dropout if num_layers > 1 else 0.0
        sizes = (hidden_size, hidden_size, num_layers)
        self.past = nn.LSTM(*sizes, batch_first=True, dropout=between)
        self.future = nn.LSTM(*sizes, batch_first=True, dropout=between)
        self.read = _GatedSkip(hidden_size, dropout)
        self.enrich = _GatedResidual(hidden_size, dropout)
        self.attention = _InterpretableAttention(hidden_size, num_attention_heads, dropout)
        self.attended = _GatedSkip(hidden_size, dropout)
        self.refine = _GatedResidual(hidden_size, dropout)
        self.refined = _GatedSkip(hidden_size, dropout)
        self.readout = nn.Linear(hidden_size, own or outputs)

    def forward(self, x: Tensor) -> Tensor:
        x, level, spread = standardised(x, self.own)
        selected, _ = self.selection(x)
        ahead = self.steps.expand(len(x), -1, -1)
        known, state = self.past(selected)
        following, _ = self.future(ahead, state)
        # Eq. 17: the LSTM's states over past and future, gated onto what it read.
        temporal = self.read(torch.cat((selected, ahead), 1), torch.cat((known, following), 1))
        enriched = self.enrich(temporal)
        # Eq. 19-22, from here for the steps to forecast alone: no other is asked for.
        steps = len(self.steps)
        queries = enriched[:, -steps:]
        attended = self.attended(queries, self.attention(queries, enriched))
        decoded = self.refined(temporal[:, -steps:], self.refine(attended))
        return restored(self.readout(decoded).flatten(1), level, spread)

    def weights(self, x: Tensor) -> Tensor:
        """(batch, context, columns) -> the same shape: each column's share, eq. 6. Sums to 1."""
        x, _, _ = standardised(x, self.own)
        return self.selection(x)[1]


class _GatedSkip(nn.Module):
    """LayerNorm(a + GLU(dropout(b))): eq. 2 and 5; eq. 17, 20 and 22 are the same."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.norm(a + functional.glu(self.gate(self.dropout(b))))


class _GatedResidual(nn.Module):
    """GRN(a) without a context: eq. 2-5. (..., width) -> the same shape."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.into = nn.Linear(width, width)
        self.across = nn.Linear(width, width)
        self.out = _GatedSkip(width, dropout)

    def forward(self, a: Tensor) -> Tensor:
        return self.out(a, self.across(functional.elu(self.into(a))))


class _Selection(nn.Module):
    """Eq. 6-8: every column through a GRN of its own, then their mean by learned weights.

    One column at a time with all its steps: on 30 columns 2.7 times faster on a CPU than all
    columns in one product, whose tensors no cache holds.
    """

    def __init__(self, columns: int, width: int, dropout: float) -> None:
        super().__init__()
        # A weight among one is 1, and would have no gradient.
        self.shares = _Shares(columns, width, dropout) if columns > 1 else None
        bound = width**-0.5

        def drawn(*shape: int, bound: float = bound) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        # Of each column: the scale and the shift of its embedding and of the hidden layer on top.
        self.embedding = drawn(columns, 2, width, bound=1.0)
        self.into = drawn(columns, 2, width, bound=1.0)
        self.across = drawn(columns, width, width)
        self.across_bias = drawn(columns, width)
        self.gate = drawn(columns, width, 2 * width)
        self.gate_bias = drawn(columns, 2 * width)
        self.gain = nn.Parameter(torch.ones(columns, width))
        self.shift = nn.Parameter(torch.zeros(columns, width))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, context, columns) -> (batch, context, width) and the weights, shaped as x."""
        shares = torch.ones_like(x) if self.shares is None else self.shares(x)
        # An index would cost a gradient as large as all columns together; unbind costs one.
        parameters = (
            *(self.embedding, self.into, self.across, self.across_bias),
            *(self.gate, self.gate_bias, self.gain, self.shift),
        )
        values, weights = x.flatten(0, 1).split(1, 1), shares.flatten(0, 1).split(1, 1)
        seen = map(self._seen, values, weights, *(p.unbind(0) for p in parameters))
        return functools.reduce(torch.add, seen).unflatten(0, x.shape[:2]), shares

    def _seen(
        self,
        value: Tensor,
        weight: Tensor,
        embedding: Tensor,
        into: Tensor,
        across: Tensor,
        across_bias: Tensor,
        gate: Tensor,
        gate_bias: Tensor,
        gain: Tensor,
        shift: Tensor,
    ) -> Tensor:
        """The GRN of one column times its weight, both (rows, 1) -> (rows, width)."""
        embedded = torch.addcmul(embedding[1], value, embedding[0])
        hidden = functional.elu(torch.addcmul(into[1], value, into[0]))
        hidden = self.dropout(torch.addmm(across_bias, hidden, across))
        gated = functional.glu(torch.addmm(gate_bias, hidden, gate))
        return weight * functional.layer_norm(embedded + gated, gain.shape, gain, shift)


class _Shares(nn.Module):
    """Softmax(GRN(all columns)): eq. 6."""

    def __init__(self, columns: int, width: int, dropout: float) -> None:
        super().__init__()
        self.into = nn.Linear(columns, width)
        self.across = nn.Linear(width, width)
        self.gate = nn.Linear(width, 2 * columns)
        self.skip = nn.Linear(columns, columns)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.across(functional.elu(self.into(x))))
        return (self.skip(x) + functional.glu(self.gate(hidden))).softmax(-1)


class _InterpretableAttention(nn.Module):
    """Eq. 13-16: heads look each their own way, at values that they share.

    queries: (batch, steps, width), the last steps of keys: (batch, context + steps, width). A step
    sees what lies not after it. Returns (batch, steps, width).
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads do not divide a hidden_size of {width}")
        self.heads = heads
        # Without biases: that of the keys would move no weight of attention.
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width // heads, bias=False)
        self.join = nn.Linear(width // heads, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        q = self.query(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k = self.key(keys).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)
        steps, seen = queries.shape[1], keys.shape[1]
        later = torch.ones(steps, seen, dtype=torch.bool, device=q.device)
        later = later.triu(seen - steps + 1)
        scores = (q @ k) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(later, -torch.inf).softmax(-1)
        return self.join(self.dropout(weights).mean(1) @ self.value(keys))
