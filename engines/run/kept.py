"""The files that one kept trial consists of: written once, and trusted only if they are unchanged.

models.pickle       the list of fold models
predictions.npz     for each fold the numbers of its validation rows, and the predictions
kept.json           value, seconds, versions, and the hashes of the other two

A pickle is code, so it is read only from a folder that nobody else can write to, and only if it is
the one whose hash was recorded. Which trials are kept, and how long, `engines.run.artefacts` says.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import pickle
import platform
import stat
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.errors import one_line
from engines.run.space import free_mib
from engines.study.versions import library_versions

Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]
FoldPredictions: TypeAlias = tuple[Rows, Floats]
"""Row numbers (rows,), and what is predicted there: (rows,) or (rows, classes)."""

MODELS, PREDICTIONS, RECORD = "models.pickle", "predictions.npz", "kept.json"
LAYOUT = 1

ROOM_LEFT_MIB = 256.0
"""So much of the disk is not for models: a full disk would stop the store itself."""

DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile)
"""What reading files raises that are missing or not as they were written."""


class NotKept(Exception):
    """Nothing of a trial is here, or nothing that can be trusted; the message says why."""


class _TooLarge(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial that is kept, as far as its small record tells. bytes: of its files, as they are.

    seconds: that the trial took. rows: (used, there were) where a cap left some out. kept_at:
    seconds since 1970. facts: what the caller wanted remembered.
    """

    study_id: int
    number: int
    value: float
    maximize: bool
    seconds: float | None
    rows: tuple[int, int] | None
    kept_at: float
    bytes: int
    has_models: bool
    facts: Mapping[str, Any]

    @property
    def rank(self) -> tuple[float, int]:
        """Smaller is better; of equal values the earlier trial is."""
        return (-self.value if self.maximize else self.value), self.number


@dataclass(frozen=True, slots=True)
class Kept:
    """What a trial left behind. models: None if there are none to use, `why_no_models` says why."""

    entry: Entry
    folds: list[FoldPredictions]
    models: list[Any] | None
    why_no_models: str | None


# -- writing -------------------------------------------------------------------------------


def write_trial(
    folder: Path,
    models: Sequence[Any] | None,
    folds: Sequence[FoldPredictions],
    most_model_bytes: int,
    **about: Any,
) -> str | None:
    """Fill an empty folder; returns why the models are not among the files, or None.

    about: the fields of an `Entry` that the caller knows. Raises OSError, and ValueError for
    predictions that don't fit their rows or are not finite.
    """
    files: dict[str, Any] = {}
    with _sealing(folder / PREDICTIONS, files) as file:
        _write_predictions(file, folds)
    why = "there are none" if models is None else None
    if models is not None:
        why = _write_models(folder / MODELS, models, files, most_model_bytes)
    record = {
        **about,
        "layout": LAYOUT,
        "kept_at": time.time(),
        "versions": _versions(),
        "files": files,
        "why_no_models": why,
    }
    with _create(folder / RECORD) as file:
        file.write(json.dumps(record).encode())
    return why


def _write_models(
    path: Path, models: Sequence[Any], files: dict[str, Any], most_bytes: int
) -> str | None:
    spare = max(0.0, (free_mib(path.parent) - ROOM_LEFT_MIB) * 1024**2)
    try:
        with _sealing(path, files, min(most_bytes, spare)) as file:
            pickle.Pickler(file, protocol=5).dump(list(models))
        return None
    except _TooLarge:
        why = f"the models are larger than {in_mib(most_bytes)}"
        if spare < most_bytes:
            why = f"the models are larger than what the disk has to spare, {in_mib(spare)}"
    except Exception as error:  # the border: models run code of their own to be pickled
        why = f"the models can't be kept: {type(error).__name__}: {one_line(error, 200)}"
    path.unlink(missing_ok=True)
    return why


def _write_predictions(file: IO[bytes], folds: Sequence[FoldPredictions]) -> None:
    """As float32, around the mean where they are values of a target.

    A date or a price in millions has digits that 24 bits would cut off.
    """
    arrays: dict[str, Any] = {"folds": np.array(len(folds))}
    for i, (rows, predicted) in enumerate(folds):
        values = np.asarray(predicted, dtype=np.float64)
        if values.ndim not in (1, 2) or len(values) != len(rows):
            raise ValueError(f"fold {i}: predictions {values.shape} for {len(rows)} rows")
        if not np.isfinite(values).all():
            raise ValueError(f"fold {i}: predictions are not finite")
        centre = float(values.mean()) if values.ndim == 1 and values.size else 0.0
        with np.errstate(over="ignore"):
            small = (values - centre).astype(np.float32)
        arrays[f"rows{i}"] = np.asarray(rows, dtype=np.int64)
        arrays[f"centre{i}"] = np.array(centre)
        # Values that float32 does not reach stay as they are.
        arrays[f"predicted{i}"] = small if np.isfinite(small).all() else values - centre
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    file.write(content.getbuffer())


class _Sealed:
    """A file that counts and hashes what is written to it, and takes so many bytes."""

    def __init__(self, file: IO[bytes], most: float) -> None:
        self._file = file
        self._most = most
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.size + view.nbytes > self._most:
            raise _TooLarge
        self.size += view.nbytes
        self.hash.update(view)
        return self._file.write(view)


@contextlib.contextmanager
def _sealing(path: Path, files: dict[str, Any], most: float = math.inf) -> Iterator[Any]:
    """A new file whose size and hash are put into `files` once it is written."""
    with _create(path) as file:
        sealed = _Sealed(file, most)
        yield sealed
    files[path.name] = {"bytes": sealed.size, "sha256": sealed.hash.hexdigest()}


def _create(path: Path) -> IO[bytes]:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb")


# -- reading -------------------------------------------------------------------------------


def read_entry(folder: Path, study_id: int, number: int) -> Entry:
    """What the small record tells. Raises one of DAMAGE."""
    record = _read_record(folder)
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    rows = record["rows"]
    entry = Entry(
        study_id=study_id,
        number=number,
        value=float(record["value"]),
        maximize=bool(record["maximize"]),
        seconds=record["seconds"],
        rows=None if rows is None else (int(rows[0]), int(rows[1])),
        kept_at=float(record["kept_at"]),
        bytes=sum(_size(path) or 0 for path in files),
        has_models=_size(folder / MODELS) is not None,
        facts=record["facts"],
    )
    if not math.isfinite(entry.value):
        raise ValueError(f"{folder / RECORD} has no finite value")
    return entry


def _read_record(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / RECORD).read_bytes())
    if record["layout"] != LAYOUT or PREDICTIONS not in record["files"]:
        raise ValueError(f"{folder / RECORD} is of another layout")
    return dict(record)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def read_trial(folder: Path, study_id: int, number: int, *, with_models: bool) -> Kept:
    """All that a folder holds. Raises NotKept if it is missing, damaged or open to others."""
    try:
        entry = read_entry(folder, study_id, number)
        _require_private(folder.parent.parent, folder.parent, folder)
        record = _read_record(folder)
        with _open_sealed(folder / PREDICTIONS, record) as file:
            folds = _read_predictions(file)
    except DAMAGE as error:
        if isinstance(error, FileNotFoundError) and not folder.exists():
            raise NotKept(f"nothing is kept of trial {number}") from None
        raise NotKept(f"what trial {number} left can't be used: {one_line(error)}") from error
    models, why = _load_models(folder, record) if with_models else (None, "not asked for")
    return Kept(entry, folds, models, why)


def _read_predictions(file: IO[bytes]) -> list[FoldPredictions]:
    with np.load(file, allow_pickle=False) as arrays:
        return [
            (
                arrays[f"rows{i}"],
                arrays[f"predicted{i}"].astype(np.float64) + arrays[f"centre{i}"],
            )
            for i in range(int(arrays["folds"]))
        ]


def _load_models(folder: Path, record: dict[str, Any]) -> tuple[list[Any] | None, str | None]:
    """(models, None) or (None, why not)."""
    if MODELS not in record["files"]:
        return None, record.get("why_no_models") or "no models were kept"
    if not (folder / MODELS).exists():
        return None, "the models were removed to make room"
    changes = _changes(record["versions"])
    if changes:
        return None, f"the models are of other versions: {'; '.join(changes)}"
    try:
        with _open_sealed(folder / MODELS, record) as file:
            return list(pickle.load(file)), None
    except Exception as error:  # the border: classes that have changed raise what they like
        logging.warning("models in %s", folder, exc_info=True)
        return None, f"the models can't be read: {type(error).__name__}: {one_line(error, 200)}"


@contextlib.contextmanager
def _open_sealed(path: Path, record: dict[str, Any]) -> Iterator[IO[bytes]]:
    """A file that is ours and as it was written. Raises ValueError if it is not, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        _require_own(path, os.fstat(descriptor))
        if hashlib.file_digest(file, "sha256").hexdigest() != record["files"][path.name]["sha256"]:
            raise ValueError(f"{path.name} is not as it was written")
        file.seek(0)
        yield file


def _require_private(*folders: Path) -> None:
    for folder in folders:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise ValueError(f"{folder} is not a folder")
        _require_own(folder, found)


def _require_own(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ValueError(f"{path} can be written by others")


@cache
def _versions() -> dict[str, str]:
    """What a pickle depends on. Optuna is not part of any model."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | {k: v for k, v in library_versions().items() if k != "optuna"}


def _changes(before: Mapping[str, str]) -> list[str]:
    """`numpy was 2.3.0, is 2.4.0` for what has changed; what came later was not needed then."""
    now = _versions()
    return [
        f"{name} was {version}, is {now.get(name, 'absent')}"
        for name, version in before.items()
        if now.get(name) != version
    ]


def drop_models(folder: Path) -> int:
    """Remove the models and leave the rest; returns the bytes, 0 if there are none."""
    path = folder / MODELS
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return 0
    return size


def in_mib(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 1024**2:.0f} MiB"
