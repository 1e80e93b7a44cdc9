"""Networks of the family `pytorch`: spaces and known-good defaults, as data."""

from __future__ import annotations

from engines.models.networks.declare import CONTEXT, TRAINING, network, training
from engines.models.spec import Cost
from engines.search.space import Choice, Int

MODELS = (
    network(
        "pytorch",
        "simple_mlp",
        "SimpleMLP",
        "a plain network of equal layers, with dropout",
        {"width": Int(32, 512, log=True), "depth": Int(1, 3), **TRAINING},
        (
            {"width": 128, "depth": 2, **training(2e-3, 0.1)},
            {"width": 256, "depth": 3, **training(1e-3, 0.2)},
        ),
        Cost(1.6, rows=0.8, columns=0.1),
        50_000,
        0.6,
    ),
    network(
        "pytorch",
        "deep_mlp",
        "DeepMLP",
        "residual blocks with normalised inputs",
        {"width": Int(32, 256, log=True), "depth": Int(4, 8), **TRAINING},
        (
            {"width": 96, "depth": 4, **training(1e-3, 0.1)},
            {"width": 192, "depth": 4, **training(5e-4, 0.25)},
        ),
        Cost(1.6, rows=0.8, columns=0.1),
        30_000,
        0.6,
    ),
    network(
        "pytorch",
        "lstm",
        "LSTM",
        "a recurrent network over the latest rows",
        {
            "context_length": CONTEXT,
            "hidden": Int(16, 128, log=True),
            "layers": Int(1, 2),
            **TRAINING,
        },
        (
            {"context_length": 24, "hidden": 48, "layers": 1, **training(3e-3, 0.1)},
            {"context_length": 48, "hidden": 64, "layers": 1, **training(1e-3, 0.2)},
        ),
        Cost(1.3, rows=0.9, columns=0.1),
        10_000,
        0.4,
        windows=True,
    ),
    network(
        "pytorch",
        "cnn",
        "CNN",
        "causal convolutions over the latest rows",
        {
            "context_length": CONTEXT,
            "channels": Int(16, 128, log=True),
            "depth": Int(1, 4),
            "kernel": Choice((3, 5, 7)),
            **TRAINING,
        },
        (
            {
                **{"context_length": 24, "channels": 32, "depth": 3, "kernel": 3},
                **training(2e-3, 0.1),
            },
            {
                **{"context_length": 48, "channels": 64, "depth": 4, "kernel": 3},
                **training(1e-3, 0.2),
            },
        ),
        Cost(2.0, rows=0.9, columns=0.1),
        10_000,
        0.4,
        windows=True,
    ),
)
