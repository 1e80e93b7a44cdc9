"""Networks of the family `advanced`: spaces and known-good defaults, as data.

Widths and numbers of heads are powers of two, and no width is below the largest number of heads, so
that heads always divide widths; a stride follows from its patch and leaves no gap. DLinear and
NLinear (Zeng et al., "Are Transformers effective for time series forecasting?", arXiv 2205.13504)
are there because whoever claims more for attention should beat them first.
"""

from __future__ import annotations

from engines.models.networks.declare import CONTEXT, TRAINING, network, training
from engines.models.spec import Cost, ModelSpec
from engines.search.space import Choice, Int, Parameter

_LINEAR: dict[str, Parameter] = {
    "context_length": CONTEXT,
    **{name: TRAINING[name] for name in ("learning_rate", "weight_decay", "batch_size")},
}
_LINEAR_DEFAULTS = {
    **{"context_length": 48, "learning_rate": 3e-3},
    **{"weight_decay": 1e-3, "batch_size": 64},
}


def _linear(name: str, build: str, summary: str) -> ModelSpec:
    return network(
        "advanced",
        name,
        build,
        summary,
        _LINEAR,
        (_LINEAR_DEFAULTS,),
        Cost(0.3, 0.9, 0.2),
        50_000,
        0.3,
        windows=True,
        own=True,
    )


MODELS = (
    network(
        "advanced",
        "tft",
        "TFT",
        "Temporal Fusion Transformer: picks columns, attends to rows",
        {
            "context_length": CONTEXT,
            "hidden_size": Choice((16, 32, 64, 128, 256)),
            "num_attention_heads": Choice((1, 2, 4, 8)),
            "num_layers": Int(1, 4),
            **TRAINING,
        },
        (
            {
                **{"context_length": 24, "hidden_size": 16, "num_attention_heads": 2},
                **{"num_layers": 1, **training(3e-3, 0.1)},
            },
            {
                **{"context_length": 24, "hidden_size": 32, "num_attention_heads": 4},
                **{"num_layers": 1, **training(1e-3, 0.1)},
            },
        ),
        Cost(8.0, 0.9, 0.5),
        4_000,
        0.4,
        windows=True,
        own=True,
    ),
    network(
        "advanced",
        "patchtst",
        "PatchTST",
        "a Transformer over patches of each column",
        {
            "context_length": Int(16, 192, log=True, at_most="context_rows"),
            "patch_len": Choice((8, 12, 16, 24)),
            "overlap": Choice((0.0, 0.5)),
            "d_model": Choice((16, 32, 64, 128, 256)),
            "n_heads": Choice((4, 8, 16)),
            "e_layers": Int(1, 4),
            "d_ff": Choice((32, 64, 128, 256)),
            **TRAINING,
        },
        (
            {
                **{"context_length": 48, "patch_len": 12, "overlap": 0.5, "d_model": 16},
                **{"n_heads": 4, "e_layers": 2, "d_ff": 32, **training(2e-3, 0.2)},
            },
            {
                **{"context_length": 96, "patch_len": 16, "overlap": 0.5, "d_model": 32},
                **{"n_heads": 4, "e_layers": 2, "d_ff": 64, **training(1e-3, 0.2)},
            },
        ),
        Cost(12.0, 0.9, 0.9),
        4_000,
        0.4,
        windows=True,
        own=True,
    ),
    network(
        "advanced",
        "transformer",
        "Transformer",
        "a Transformer encoder over the latest rows",
        {
            "context_length": CONTEXT,
            "d_model": Choice((16, 32, 64, 128, 256)),
            "n_heads": Choice((2, 4, 8, 16)),
            "layers": Int(1, 4),
            "d_ff": Choice((32, 64, 128, 256)),
            **TRAINING,
        },
        (
            {
                **{"context_length": 24, "d_model": 32, "n_heads": 4, "layers": 2},
                **{"d_ff": 64, **training(1e-3, 0.1)},
            },
            {
                **{"context_length": 48, "d_model": 64, "n_heads": 4, "layers": 2},
                **{"d_ff": 128, **training(5e-4, 0.2)},
            },
        ),
        Cost(3.3, 0.9, 0.1),
        8_000,
        0.4,
        windows=True,
        own=True,
    ),
    _linear("dlinear", "DLinear", "linear maps of a window's trend and of the rest"),
    _linear("nlinear", "NLinear", "a linear map of a window, less its last row"),
)
