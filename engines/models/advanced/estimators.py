"""The networks of the family `advanced` as estimators, for numbers and for classes."""

from __future__ import annotations

from torch import nn

from engines.models.advanced.linear import DLinear, NLinear
from engines.models.advanced.patchtst import PatchTST
from engines.models.advanced.tft import TFT
from engines.models.advanced.transformer import Transformer
from engines.models.networks.estimator import (
    MOST_EPOCHS,
    NetworkClassifier,
    NetworkRegressor,
    ReadsWindows,
)


class _Linear(ReadsWindows):
    def __init__(
        self,
        context_length: int = 48,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-3,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 8,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.context_length = context_length
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device


class _DLinear(_Linear):
    def _network(self, columns: int, outputs: int) -> nn.Module:
        return DLinear(columns, self.context_length, outputs, own=self.own)


class _NLinear(_Linear):
    def _network(self, columns: int, outputs: int) -> nn.Module:
        return NLinear(columns, self.context_length, outputs, own=self.own)


class _PatchTST(ReadsWindows):
    """overlap: the share of a patch that the next one repeats; 0 or 0.5 in the paper.

    A patch is at most the context, so that every combination of parameters is a model.
    """

    def __init__(
        self,
        context_length: int = 48,
        patch_len: int = 12,
        overlap: float = 0.5,
        d_model: int = 32,
        n_heads: int = 4,
        e_layers: int = 2,
        d_ff: int = 64,
        dropout: float = 0.2,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 6,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.context_length = context_length
        self.patch_len = patch_len
        self.overlap = overlap
        self.d_model = d_model
        self.n_heads = n_heads
        self.e_layers = e_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device

    def _network(self, columns: int, outputs: int) -> nn.Module:
        patch = min(self.patch_len, self.context_length)
        return PatchTST(
            columns,
            self.context_length,
            outputs,
            own=self.own,
            patch_len=patch,
            stride=max(1, round(patch * (1.0 - self.overlap))),
            d_model=self.d_model,
            n_heads=self.n_heads,
            e_layers=self.e_layers,
            d_ff=self.d_ff,
            dropout=self.dropout,
        )


class _Transformer(ReadsWindows):
    def __init__(
        self,
        context_length: int = 24,
        d_model: int = 32,
        n_heads: int = 4,
        layers: int = 2,
        d_ff: int = 64,
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 6,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.context_length = context_length
        self.d_model = d_model
        self.n_heads = n_heads
        self.layers = layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device

    def _network(self, columns: int, outputs: int) -> nn.Module:
        return Transformer(
            columns,
            self.context_length,
            outputs,
            own=self.own,
            d_model=self.d_model,
            n_heads=self.n_heads,
            layers=self.layers,
            d_ff=self.d_ff,
            dropout=self.dropout,
        )


class _TFT(ReadsWindows):
    def __init__(
        self,
        context_length: int = 24,
        hidden_size: int = 32,
        num_attention_heads: int = 4,
        num_layers: int = 1,
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 6,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.context_length = context_length
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.num_layers = num_layers
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device

    def _network(self, columns: int, outputs: int) -> nn.Module:
        return TFT(
            columns,
            self.context_length,
            outputs,
            own=self.own,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
            num_layers=self.num_layers,
            dropout=self.dropout,
        )


class DLinearRegressor(NetworkRegressor, _DLinear):
    """Two linear maps, of the trend of a window and of the rest."""


class DLinearClassifier(NetworkClassifier, _DLinear):
    """Two linear maps, of the trend of a window and of the rest."""


class NLinearRegressor(NetworkRegressor, _NLinear):
    """A linear map of a window relative to its last row."""


class NLinearClassifier(NetworkClassifier, _NLinear):
    """A linear map of a window relative to its last row."""


class PatchTSTRegressor(NetworkRegressor, _PatchTST):
    """A Transformer over patches of each column."""


class PatchTSTClassifier(NetworkClassifier, _PatchTST):
    """A Transformer over patches of each column."""


class TransformerRegressor(NetworkRegressor, _Transformer):
    """A Transformer encoder over the latest rows."""


class TransformerClassifier(NetworkClassifier, _Transformer):
    """A Transformer encoder over the latest rows."""


class TFTRegressor(NetworkRegressor, _TFT):
    """The Temporal Fusion Transformer over the latest rows."""


class TFTClassifier(NetworkClassifier, _TFT):
    """The Temporal Fusion Transformer over the latest rows."""
