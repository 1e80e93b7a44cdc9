"""Networks of the family `pytorch`: spaces and known-good defaults, as data."""

from __future__ import annotations

from typing import Any

from engines.models.networks.declare import CONTEXT, INSTALL, TRAINING, network, training
from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Int

_PLACE = "engines.models.pytorch.estimators"


def _forms(name: str, *rest: Any, **more: Any) -> dict[Any, Form]:
    return {
        "regression": network(f"{_PLACE}:{name}Regressor", *rest, **more),
        "classification": network(f"{_PLACE}:{name}Classifier", *rest, **more),
    }


MODELS = (
    ModelSpec(
        name="simple_mlp",
        family="pytorch",
        summary="a plain network of equal layers, with dropout",
        package="torch",
        install=INSTALL,
        trials=25,
        forms=_forms(
            "SimpleMLP",
            {"width": Int(32, 512, log=True), "depth": Int(1, 3), **TRAINING},
            (
                {"width": 128, "depth": 2, **training(2e-3, 0.1)},
                {"width": 256, "depth": 3, **training(1e-3, 0.2)},
            ),
            Cost(1.6, rows=0.8, columns=0.1),
            50_000,
            0.6,
        ),
    ),
    ModelSpec(
        name="deep_mlp",
        family="pytorch",
        summary="residual blocks with normalised inputs",
        package="torch",
        install=INSTALL,
        trials=25,
        forms=_forms(
            "DeepMLP",
            {"width": Int(32, 256, log=True), "depth": Int(4, 8), **TRAINING},
            (
                {"width": 96, "depth": 4, **training(1e-3, 0.1)},
                {"width": 192, "depth": 4, **training(5e-4, 0.25)},
            ),
            Cost(1.6, rows=0.8, columns=0.1),
            30_000,
            0.6,
        ),
    ),
    ModelSpec(
        name="lstm",
        family="pytorch",
        summary="a recurrent network over the latest rows",
        package="torch",
        install=INSTALL,
        trials=25,
        forms=_forms(
            "LSTM",
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
    ),
    ModelSpec(
        name="cnn",
        family="pytorch",
        summary="causal convolutions over the latest rows",
        package="torch",
        install=INSTALL,
        trials=25,
        forms=_forms(
            "CNN",
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
    ),
)
