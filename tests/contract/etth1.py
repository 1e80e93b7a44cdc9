"""ETTh1 at 336 -> 96 by the published protocol: the data, the windows, naive forecasts, training.

The protocol of Zhou et al. (Informer, 2021), as the linear rivals (Zeng et al., 2023) and PatchTST
(Nie et al., 2023) use it: hourly rows, all 7 columns forecast together; 8,640 rows to train, 2,880
to validate, 2,880 to test; z-scores of the training rows; the mean squared error over every window
whose 96 steps lie in the part (2,785 of the test part, the last incomplete batch included), every
step and column. A window may begin before its part. The epoch is picked by the validation windows.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.models.advanced.linear import DLinear, NLinear
from engines.models.advanced.patchtst import PatchTST
from engines.models.advanced.tft import TFT
from engines.models.advanced.transformer import Transformer
from engines.models.networks.training import Rows, Schedule, Training, predict

HORIZON = 96
LONGEST = 336
"""Rows that a model may look back on; it may read fewer, but forecasts the same windows."""

COLUMNS = 7
SEASON = 24
_TRAIN, _VALID, _TEST = 8640, 11520, 14400
_SHA256 = "f18de3ad269cef59"


class Missing(Exception):
    """The file is not here, or is not the published one; says so in a sentence."""


def find_file() -> Path:
    """The published file: $HYPERION_ETTH1, or ../shared/data/ETTh1.csv beside the repository.

    Raises Missing if it is not there or has other bytes. Its licence (CC BY-ND 4.0) is why it is
    not in the repository.
    """
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "ETTh1.csv"
    path = Path(os.environ.get("HYPERION_ETTH1", beside))
    if not path.is_file():
        raise Missing(
            "ETTh1.csv is not here: set HYPERION_ETTH1 to the file of zhouhaoyi/ETDataset"
        )
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(_SHA256):
        raise Missing(f"{path} is not the published ETTh1.csv: its sha256 does not begin {_SHA256}")
    return path


def read(path: Path) -> Tensor:
    """(14400, 7) float32, at mean 0 and deviation 1 over the first 8,640 rows."""
    raw = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 1 + COLUMNS))[:_TEST]
    known = raw[:_TRAIN]
    return torch.as_tensor((raw - known.mean(0)) / known.std(0), dtype=torch.float32)


@dataclass(frozen=True)
class Parts:
    """x: (windows, context, 7), y: (windows, 96, 7); views of one series."""

    train: Rows
    valid: Rows
    test: Rows


def cut(series: Tensor, context: int = LONGEST) -> Parts:
    """8,209, 2,785 and 2,785 windows, whatever `context` <= 336 of the 336 rows is read."""
    both = series.unfold(0, LONGEST + HORIZON, 1).transpose(1, 2)
    x, y = both[:, LONGEST - context : LONGEST], both[:, LONGEST:]

    def between(first: int, end: int) -> Rows:
        """Windows whose forecasts lie in the rows from `first` to before `end`."""
        begin, stop = first - LONGEST, end - HORIZON - LONGEST + 1
        return Rows(x[begin:stop], y[begin:stop])

    return Parts(between(LONGEST, _TRAIN), between(_TRAIN, _VALID), between(_VALID, _TEST))


def last_value(rows: Rows) -> Tensor:
    """(windows, 96, 7): the last row, 96 times."""
    return rows.x[:, -1:].expand_as(rows.y)


def seasonal(rows: Rows) -> Tensor:
    """(windows, 96, 7): the last 24 hours, 4 times."""
    return rows.x[:, -SEASON:].repeat(1, HORIZON // SEASON, 1)


def mse(predicted: Tensor, rows: Rows) -> float:
    """The mean over windows, steps and columns."""
    return float((predicted - rows.y).double().square().mean())


def mae(predicted: Tensor, rows: Rows) -> float:
    """The mean over windows, steps and columns."""
    return float((predicted - rows.y).double().abs().mean())


NAIVE: dict[str, Callable[[Rows], Tensor]] = {
    "last value": last_value,
    "seasonal naive, 24 h": seasonal,
}


@dataclass(frozen=True)
class Run:
    """One training. context: rows of the 336 that are read. quick: takes seconds."""

    network: type[nn.Module]
    schedule: Schedule
    sizes: dict[str, Any] = field(default_factory=dict)
    context: int = LONGEST
    quick: bool = False

    def described(self) -> dict[str, Any]:
        """All settings, as JSON holds them."""
        rest = {"context": self.context, "sizes": self.sizes, "schedule": asdict(self.schedule)}
        return {"network": self.network.__name__, **rest}


_PATCHES: dict[str, Any] = {
    **{"patch_len": 16, "stride": 8, "d_model": 16, "n_heads": 4, "e_layers": 3, "d_ff": 128},
    "dropout": 0.3,
}
"""The sizes of Nie et al. (2023) for ETTh1."""

RUNS = {
    "DLinear": Run(DLinear, Schedule(2e-4, batch=32, epochs=20, patience=8), quick=True),
    "NLinear": Run(
        NLinear, Schedule(2e-4, batch=16, epochs=30, weight_decay=0.3, patience=12), quick=True
    ),
    "PatchTST, 3 epochs": Run(PatchTST, Schedule(2e-3, batch=64, epochs=3), _PATCHES),
    "PatchTST": Run(PatchTST, Schedule(2e-3, batch=64, epochs=12, patience=3), _PATCHES),
    "Transformer": Run(
        Transformer,
        Schedule(1e-3, batch=64, epochs=4),
        {"d_model": 32, "n_heads": 4, "layers": 2, "d_ff": 64, "dropout": 0.2},
        context=96,
    ),
    "TFT": Run(
        TFT,
        Schedule(3e-3, batch=64, epochs=8, patience=4),
        {"hidden_size": 16, "num_attention_heads": 4, "num_layers": 1, "dropout": 0.2},
        context=96,
    ),
}
"""The linear ones have low rates and long patience: from epoch to epoch the loss on the validation
windows jumps, that on the test windows does not, and at high rates a jump picks the epoch."""

BARS: dict[str, tuple[float | None, float]] = {
    "last value": (1.294, 1.296),
    "seasonal naive, 24 h": (0.5115, 0.5125),
    "DLinear": (None, 0.380),
    "NLinear": (None, 0.378),
    "PatchTST, 3 epochs": (None, 0.385),
    "PatchTST": (None, 0.378),
    "Transformer": (None, 0.435),
    "TFT": (None, 0.435),
}
"""The mean squared error of each: at least, at most. Naive forecasts have no choice, and so check
the protocol; 0.435 is 15 % better than a day ago."""


def train(
    run: Run,
    series: Tensor,
    seed: int,
    told: Callable[[Training, float], None] = lambda training, seconds: None,
) -> dict[str, Any]:
    """Train with the product's own loop; the errors of the picked epoch on the test windows.

    told: is given the training and its processor seconds after every epoch.
    """
    parts = cut(series, run.context)
    torch.manual_seed(seed)
    network = run.network(COLUMNS, run.context, HORIZON, own=COLUMNS, **run.sizes)
    loss = nn.functional.mse_loss
    training = Training(network, loss, parts.train, parts.valid, run.schedule, seed)
    spent = 0.0
    while not training.over:
        before = time.process_time()
        training.advance()
        spent += time.process_time() - before
        told(training, spent)
    predicted = predict(training.best(), parts.test.x)
    return {
        "mse": mse(predicted, parts.test),
        "mae": mae(predicted, parts.test),
        "valid_mse": training.loss_best,
        "epochs": training.epoch,
        "best_epoch": training.best_epoch,
        "cpu_s": spent,
    }
