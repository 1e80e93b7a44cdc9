"""The data of an experiment as its workers read it: arrays and the split, in one file.

Made once, with the experiment. A worker loads it in milliseconds and without pandas, and a
file that its owner changes later changes nothing for a study that runs or resumes.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.data.splits import Fold, Split
from engines.errors import HyperionError
from engines.files import make_private_folder

if TYPE_CHECKING:
    # pandas comes with it, 0.3 s that a worker does not need.
    from engines.data.datasets import Dataset

FILE = "data.npz"


@dataclass(frozen=True)
class Snapshot:
    """X: float64 (rows, columns), NaN is missing. y: float64 (rows,), finite.

    categories: by column number, how many codes a category column has; the rest are numbers.
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    categories: dict[int, int]
    split: Split

    @property
    def train_rows(self) -> int:
        """Rows of the smallest training fold: what bounds a model's sizes."""
        return min(len(fold.train) for fold in self.split.folds)


def write_snapshot(folder: Path, dataset: Dataset, split: Split) -> None:
    """Write the file whole or not at all."""
    make_private_folder(folder)
    meta = {
        "categories": {
            str(i): len(f.categories)
            for i, f in enumerate(dataset.features)
            if f.kind == "category"
        },
        "ordered": split.ordered,
        "embargo": split.embargo,
        "folds": len(split.folds),
    }
    arrays = {"X": dataset.X, "y": dataset.y, "search": split.search, "held_out": split.held_out}
    for i, fold in enumerate(split.folds):
        arrays[f"train{i}"], arrays[f"valid{i}"] = fold.train, fold.valid
    partial = folder / f"{FILE}.part"
    with open(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        np.savez(file, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder / FILE)


def read_snapshot(folder: Path) -> Snapshot:
    """Read it back. Raises HyperionError if it is missing or damaged."""
    try:
        # Opened here: np.load leaves a file open that turns out to be damaged.
        with open(folder / FILE, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            meta = json.loads(str(arrays["meta"]))
            folds = tuple(
                Fold(arrays[f"train{i}"], arrays[f"valid{i}"]) for i in range(meta["folds"])
            )
            return Snapshot(
                X=arrays["X"],
                y=arrays["y"],
                categories={int(i): n for i, n in meta["categories"].items()},
                split=Split(
                    meta["ordered"], arrays["search"], arrays["held_out"], folds, meta["embargo"]
                ),
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HyperionError(
            f"The data of this experiment can't be read from {folder / FILE} ({error}): "
            "start it again from its source."
        ) from error
