"""Held-out error of what each peer returns for the same rows, seconds, core and seed."""

from __future__ import annotations

import argparse
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from quality import data, peers, warm
from quality.cells import Cell, Settings

KIND = "compare"
ROOT = Path(__file__).resolve().parents[2]
MODES = {
    "any": (30, 10, 60),
    "lightgbm": (30, 10),
    "xgboost": (30,),
    "random_forest": (30,),
    "svr": (30,),
}
"""Budgets of each mode, the decisive one first."""
SEEDS = (0, 1, 2)
OUR_CODE = ("engines", "hyperion_tui", "simulator")


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """The selected cells, the decisive ones first: seed by seed, any model and 30 s before the
    rest, and the peers next to each other so that they meet the same weather."""
    asked = [
        (mode, seconds)
        for mode, budgets in MODES.items()
        if mode in options.modes
        for seconds in budgets
        if options.seconds is None or seconds in options.seconds
    ]
    seen = set()
    for seed, (mode, seconds), name, peer in itertools.product(
        options.seeds, asked, options.sets, options.peers
    ):
        if not peers.offers(peer, mode):
            continue
        cell = _cell(mode, 0 if peer in peers.TIMELESS else seconds, name, seed, peer)
        if cell.name not in seen:
            seen.add(cell.name)
            yield cell


def _cell(mode: str, seconds: int, name: str, seed: int, peer: str) -> Cell:
    return Cell(
        kind=KIND,
        name=f"{mode}-{seconds}s-{name}-s{seed}-{peer}",
        settings={
            **{"kind": KIND, "mode": mode, "seconds": seconds},
            **{"set": name, "seed": seed, "peer": peer},
        },
        # Peers may spend more than asked (support vectors on 33,000 rows take minutes), not ever.
        limit_s=300.0 + 6 * seconds,
        needs=peer,
    )


def measure(settings: Settings, _: Path) -> dict[str, Any]:
    """One cell: split, warm up, fit, predict, score."""
    peer, name, seed = settings["peer"], settings["set"], settings["seed"]
    X, y, X_test, y_test = data.split(*data.load(name), seed)
    predicted, fitted, spent = peers.run(
        peer, (X, y, X_test), settings["seconds"], seed, settings["mode"]
    )
    if predicted.shape != y_test.shape or not np.isfinite(predicted).all():
        raise ValueError(f"{peer} predicted {predicted.shape}, not all of it finite numbers")
    rmse = float(np.sqrt(np.mean((y_test - predicted) ** 2)))
    r2 = 1 - rmse**2 / float(np.var(y_test))
    return {
        "rmse": rmse,
        "r2": r2,
        **spent,
        "selection": {"score": fitted.selection, "metric": fitted.metric},
        "trials": fitted.trials,
        "chosen": _plain(fitted.chosen),
        "rows": {"train": len(y), "test": len(y_test), "columns": X.shape[1]},
        "peak_memory_mib": round(peers.peak_memory_mib()),
        "versions": warm.versions() | fitted.extra.pop("versions", {}),
        "source": source(peer),
        **fitted.extra,
        "shown": {"R2": f"{r2:.4f}", "fit": f"{spent['fit_s']:.1f} s"},
    }


def source(peer: str) -> str:
    """What the code that a peer stands for looked like; of a library, its version says it."""
    digest = hashlib.blake2b(digest_size=8)
    if peer == "hyperion":
        files = [file for package in OUR_CODE for file in sorted((ROOT / package).rglob("*.py"))]
    else:
        files = [Path(__file__).with_name(name) for name in ("peers.py", "spaces.py", "tuned.py")]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """As JSON has it; what it does not have, as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
