"""The data of an experiment as its workers read it: arrays and the split, in a folder.

Made once, with the experiment. A worker loads it in milliseconds and without pandas, and a
file that its owner changes later changes nothing for a study that runs or resumes. X is mapped
into memory, so that all workers of a machine share one copy of it.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.data.past import Past
from engines.data.scoring import FORECAST
from engines.data.splits import Fold, Rows, Split
from engines.errors import HyperionError
from engines.files import make_private_folder

if TYPE_CHECKING:
    # pandas comes with it, 0.3 s that a worker does not need.
    from engines.data.datasets import Dataset

MOST_SPREAD = 50
"""A category column is spread out into at most so many columns; the rarer codes share one."""

MOST_CONTEXT = 512
"""Rows of the past that are handed to a model that reads windows; none may ask for more."""

FILE = "data.json"
"""What the arrays are, and their checksums. Written last: without it there is no snapshot."""

X_FILE, REST_FILE = "X.npy", "rest.npz"
EARLIER_FILE = "data.npz"
"""Everything in one file, as versions before 0.2 wrote it; still read."""

_CHUNK = 1 << 24

Column: TypeAlias = tuple[str, tuple[str, ...] | None]
"""A name, and the categories in the order of their codes, or None for a column of numbers."""


@dataclass(frozen=True)
class Snapshot:
    """X: float64 (rows, columns), NaN is missing, read-only. y: float64 (rows,), finite.

    categories: by column number, how many codes a category column has; the rest are numbers.
    task: "regression", "classification" or "forecast", whose y is (rows, horizon). classes: the
    labels whose codes y holds, () without. groups: int64 (rows,) codes of rows that belong
    together, or None. past: the target's own past, if models may read it. features: the name of
    each column of X, and the texts behind its codes, None for numbers; () in a snapshot of an
    earlier version. times: int64 epoch nanoseconds (rows,), or None.
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    categories: dict[int, int]
    split: Split
    task: str = "regression"
    classes: tuple[str, ...] = ()
    groups: Rows | None = None
    past: Past | None = None
    features: tuple[Column, ...] = ()
    times: Rows | None = None

    @cached_property
    def truth(self) -> npt.NDArray[np.float64]:
        """What predictions are scored against: y, and for forecasts what else metrics need."""
        if self.task != FORECAST:
            return self.y
        from engines.data.futures import truth

        assert self.past is not None
        return truth(self.past, self.split)

    def before(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The rows of X right before the first of `rows`, `MOST_CONTEXT` at most: its past."""
        first = int(rows[0]) if len(rows) else 0
        return np.array(self.X[max(0, first - MOST_CONTEXT) : first])

    @property
    def train_rows(self) -> int:
        """Rows of the smallest training fold: what bounds a model's sizes."""
        return min(len(fold.train) for fold in self.split.folds)


def write_snapshot(folder: Path, dataset: Dataset, split: Split) -> None:
    """Write the files; when it fails, what was there before is still whole."""
    make_private_folder(folder)
    meta: dict[str, Any] = {
        "categories": {
            str(i): len(f.categories)
            for i, f in enumerate(dataset.features)
            if f.kind == "category"
        },
        "features": [
            [f.name, list(f.categories) if f.kind == "category" else None] for f in dataset.features
        ],
        "task": dataset.task,
        "classes": list(dataset.classes),
        "ordered": split.ordered,
        "embargo": split.embargo,
        "stratified": split.stratified,
        "grouped": split.grouped,
        "folds": len(split.folds),
    }
    arrays = {"y": dataset.y, "search": split.search, "held_out": split.held_out}
    if dataset.groups is not None:
        arrays["groups"] = dataset.groups
    if dataset.past is not None:
        past = dataset.past
        arrays["series"], arrays["at"] = past.series, past.at
        arrays["series_times"], arrays["later"] = past.times, past.later
        meta["past"] = {"horizon": past.horizon, "season": past.season, "base": past.base}
    if dataset.times is not None:
        arrays["times"] = dataset.times
    for i, fold in enumerate(split.folds):
        arrays[f"train{i}"], arrays[f"valid{i}"] = fold.train, fold.valid
    x = np.ascontiguousarray(dataset.X)
    _write_part(folder / X_FILE, lambda file: np.save(file, x, allow_pickle=False))
    _write_part(folder / REST_FILE, lambda file: np.savez(file, allow_pickle=False, **arrays))
    sums = {name: _checksum(_part(folder / name)) for name in (X_FILE, REST_FILE)}
    meta["checksums"] = sums
    text = json.dumps({"meta": meta, "checksum": _sum_of_meta(meta)}).encode()
    _write_part(folder / FILE, lambda file: file.write(text))
    # Only whole files get here; between the renames the checksums don't fit, which is said.
    for name in (X_FILE, REST_FILE, FILE):
        _part(folder / name).rename(folder / name)
    (folder / EARLIER_FILE).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _write_part(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write the file beside `path` that will become it, down to the disk, for the owner alone."""
    descriptor = os.open(_part(path), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _sum_of_meta(meta: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total = zlib.crc32(chunk, total)
    return total


def read_snapshot(folder: Path) -> Snapshot:
    """Read it back. Raises HyperionError if it is missing or damaged."""
    path = folder / FILE
    if not path.exists() and (folder / EARLIER_FILE).exists():
        path = folder / EARLIER_FILE
    try:
        return _read_earlier(path) if path.name == EARLIER_FILE else _read(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise HyperionError(
            f"The data of this experiment can't be read from {path} ({error}): "
            "start it again from its source."
        ) from error


def _read(folder: Path) -> Snapshot:
    document = json.loads((folder / FILE).read_bytes())
    meta = document["meta"]
    if document["checksum"] != _sum_of_meta(meta):
        raise ValueError("it is not what was written")
    for name, checksum in meta["checksums"].items():
        if _checksum(folder / name) != checksum:
            raise ValueError(f"{name} is not what was written")
    x = np.load(folder / X_FILE, mmap_mode="r", allow_pickle=False)
    with open(folder / REST_FILE, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _snapshot(np.asarray(x), meta, dict(arrays))


def _read_earlier(path: Path) -> Snapshot:
    # Opened here: np.load leaves a file open that turns out to be damaged.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        return _snapshot(arrays["X"], meta, dict(arrays))


def _snapshot(x: npt.NDArray[np.float64], meta: dict[str, Any], arrays: dict[str, Any]) -> Snapshot:
    """Both layouts have the same names; what an earlier one lacks has its value from then."""
    folds = tuple(Fold(arrays[f"train{i}"], arrays[f"valid{i}"]) for i in range(meta["folds"]))
    return Snapshot(
        X=x,
        y=arrays["y"],
        categories={int(i): n for i, n in meta["categories"].items()},
        split=Split(
            ordered=meta["ordered"],
            search=arrays["search"],
            held_out=arrays["held_out"],
            folds=folds,
            embargo=meta["embargo"],
            stratified=meta.get("stratified", False),
            grouped=meta.get("grouped", False),
        ),
        task=meta.get("task", "regression"),
        classes=tuple(meta.get("classes", ())),
        groups=arrays.get("groups"),
        past=_past(meta.get("past"), arrays),
        features=tuple(
            (name, None if labels is None else tuple(labels))
            for name, labels in meta.get("features", ())
        ),
        times=arrays.get("times"),
    )


def _past(meta: dict[str, Any] | None, arrays: dict[str, Any]) -> Past | None:
    if meta is None:
        return None
    return Past(
        series=arrays["series"],
        at=arrays["at"],
        times=arrays["series_times"],
        later=arrays["later"],
        **meta,
    )
