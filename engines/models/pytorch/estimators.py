"""The networks of the family `pytorch` as estimators, for numbers and for classes."""

from __future__ import annotations

from torch import nn

from engines.models.networks.estimator import (
    MOST_EPOCHS,
    Network,
    NetworkClassifier,
    NetworkRegressor,
    ReadsWindows,
)
from engines.models.pytorch.cnn import CNN
from engines.models.pytorch.deep_mlp import DeepMLP
from engines.models.pytorch.lstm import LSTM
from engines.models.pytorch.mlp import MLP


class _Layers(Network):
    """width, depth: units of a hidden layer, and how many layers or blocks. dropout: a share."""

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 12,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device


class _Simple(_Layers):
    def _network(self, columns: int, outputs: int) -> nn.Module:
        return MLP(columns, outputs, width=self.width, depth=self.depth, dropout=self.dropout)


class _Deep(_Layers):
    def _network(self, columns: int, outputs: int) -> nn.Module:
        return DeepMLP(columns, outputs, width=self.width, depth=self.depth, dropout=self.dropout)


class _Recurrent(ReadsWindows):
    """hidden, layers: width of the state, and LSTM layers on top of each other."""

    def __init__(
        self,
        context_length: int = 24,
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 8,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.context_length = context_length
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device

    def _network(self, columns: int, outputs: int) -> nn.Module:
        return LSTM(
            columns,
            self.context_length,
            outputs,
            hidden=self.hidden,
            layers=self.layers,
            dropout=self.dropout,
        )


class _Convolving(ReadsWindows):
    """channels, depth, kernel: of dilated causal convolutions; each layer doubles the dilation."""

    def __init__(
        self,
        context_length: int = 24,
        channels: int = 32,
        depth: int = 3,
        kernel: int = 3,
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_epochs: int = MOST_EPOCHS,
        patience: int = 8,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.context_length = context_length
        self.channels = channels
        self.depth = depth
        self.kernel = kernel
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.device = device

    def _network(self, columns: int, outputs: int) -> nn.Module:
        sizes = {"channels": self.channels, "depth": self.depth, "kernel": self.kernel}
        return CNN(columns, self.context_length, outputs, dropout=self.dropout, **sizes)


class SimpleMLPRegressor(NetworkRegressor, _Simple):
    """A plain network of equal hidden layers."""


class SimpleMLPClassifier(NetworkClassifier, _Simple):
    """A plain network of equal hidden layers."""


class DeepMLPRegressor(NetworkRegressor, _Deep):
    """Residual blocks with normalised inputs."""


class DeepMLPClassifier(NetworkClassifier, _Deep):
    """Residual blocks with normalised inputs."""


class LSTMRegressor(NetworkRegressor, _Recurrent):
    """A recurrent network over the latest rows."""


class LSTMClassifier(NetworkClassifier, _Recurrent):
    """A recurrent network over the latest rows."""


class CNNRegressor(NetworkRegressor, _Convolving):
    """Causal convolutions over the latest rows."""


class CNNClassifier(NetworkClassifier, _Convolving):
    """Causal convolutions over the latest rows."""
