"""What the best trials of a study leave behind: their fold models and validation predictions.

With the models the predictor of a study exists the moment that the study ends, and with the
predictions an ensemble of all studies costs no training. Both can be made again from a trial's
parameters, so nothing here is worth failing a trial for: what can't be kept is not, with a reason.

<artefacts of the experiment>/<study id>/<trial number>/    the files of `engines.run.kept`

Workers write at the same time and without a lock, because any of them may be stopped for hours: a
folder appears whole, by a rename, and what is to go is a function of what lies there, so that two
who decide at once decide the same. Whoever is the one to rename a folder away has removed it.

A trial is kept just before its end is recorded. If its worker dies in between, it is done again
under the same number and replaces what lies here; so ask the store which trials are complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.errors import one_line
from engines.files import make_private_folder
from engines.run.kept import (
    DAMAGE,
    Entry,
    FoldPredictions,
    Kept,
    NotKept,
    drop_models,
    in_mib,
    read_entry,
    read_trial,
    write_trial,
)
from engines.study.location import Location

__all__ = ["Artefacts", "Entry", "Evicted", "FoldPredictions", "Kept", "NotKept", "Outcome"]

MOST_BYTES = 2 * 1024**3
MOST_MODEL_BYTES = 400 * 1024**2
"""Models larger than this are fitted again when they are needed: a forest on many rows takes
gigabytes, and writing them takes longer than many a trial."""

MOST_TRIALS = 3

STALE_S = 600.0
"""A half-written folder that is older, and that no process holds, has lost its writer."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """What was removed to make room. what: the whole trial, or its models alone."""

    study_id: int
    number: int
    bytes: int
    what: Literal["trial", "models"]
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial that was to be kept. reason: why it was not kept whole, or None."""

    kept: Literal["whole", "predictions", "nothing"]
    reason: str | None = None
    evicted: tuple[Evicted, ...] = ()


class Artefacts:
    """The best trials of one experiment.

    most_bytes: of all its studies together. most_trials: of each study. most_model_bytes: of one
    trial. A folder that does not exist is an empty one; it is made when something is kept.
    """

    def __init__(
        self,
        location: Location,
        experiment_id: int,
        *,
        most_bytes: int = MOST_BYTES,
        most_trials: int = MOST_TRIALS,
        most_model_bytes: int = MOST_MODEL_BYTES,
    ) -> None:
        self.root = location.artefacts(experiment_id)
        self.most_bytes = most_bytes
        self.most_trials = most_trials
        self.most_model_bytes = min(most_model_bytes, most_bytes)

    def entries(self, study_id: int | None = None) -> list[Entry]:
        """What is kept, of one study or of all, the best of each study first."""
        studies = _numbered(self.root) if study_id is None else [self.root / str(study_id)]
        found = []
        for study in studies:
            for folder in _numbered(study):
                with contextlib.suppress(*DAMAGE):
                    found.append(read_entry(folder, int(study.name), int(folder.name)))
        return sorted(found, key=lambda entry: (entry.study_id, *entry.rank))

    def wants(self, study_id: int, value: float, maximize: bool) -> bool:
        """Whether a new trial with this value is among the best of its study.

        A value that is not finite never is, nor one that only equals the last of a full list.
        """
        if not math.isfinite(value):
            return False
        sign = -1.0 if maximize else 1.0
        as_good = sum(sign * entry.value <= sign * value for entry in self.entries(study_id))
        return as_good < self.most_trials

    def load(self, study_id: int, number: int, *, with_models: bool = True) -> Kept:
        """What a trial left behind. Raises NotKept if it is missing or damaged.

        The predictions hold whatever the libraries are now; they come back as float64 that was
        stored with 24 bits. The models are None, with the reason, if they were not kept, are
        damaged, or were pickled under other versions: then they must be fitted again.
        """
        folder = self.folder(study_id, number)
        return read_trial(folder, study_id, number, with_models=with_models)

    def keep(
        self,
        study_id: int,
        number: int,
        value: float,
        models: Sequence[Any] | None,
        folds: Sequence[FoldPredictions],
        *,
        maximize: bool,
        seconds: float | None = None,
        rows: tuple[int, int] | None = None,
        facts: Mapping[str, Any] | None = None,
        more: Callable[[Path], None] | None = None,
    ) -> Outcome:
        """Keep a trial, whole or not at all, then remove what is no longer to be kept.

        models: picklable predictors, one a fold, or None. folds: their validation rows and
        predictions. facts: anything that JSON takes. more: writes what else belongs into the
        folder. Without room, or with models that are too large or can't be pickled, less is kept
        and the outcome says why; that is no error of the trial.
        Raises ValueError for a value or predictions that are not finite, or don't fit their rows.
        """
        if not math.isfinite(value):
            raise ValueError(f"`value` must be finite, got {value}")
        about = {
            "value": float(value),
            "maximize": bool(maximize),
            "seconds": seconds,
            "rows": None if rows is None else [int(n) for n in rows],
            "facts": dict(facts or {}),
        }
        try:
            with _partial_folder(self.root / str(study_id), number) as partial:
                if more is not None:
                    more(partial)
                why = write_trial(partial, models, folds, self.most_model_bytes, **about)
                _publish(partial, self.folder(study_id, number))
        except OSError as error:
            reason = f"not kept: {error.strerror or one_line(error)}"
            return Outcome("nothing", reason, tuple(self._tidy()))
        evicted = tuple(self._tidy())
        for gone in evicted:
            if (gone.study_id, gone.number) == (study_id, number):
                return Outcome(
                    "nothing" if gone.what == "trial" else "predictions", gone.why, evicted
                )
        return Outcome("whole" if why is None else "predictions", why, evicted)

    def forget(self, study_id: int) -> int:
        """Remove all that a study left behind; returns the bytes. Nothing there is no error."""
        gone = sum(entry.bytes for entry in self.entries(study_id))
        return gone if _remove(self.root / str(study_id)) else 0

    def folder(self, study_id: int, number: int) -> Path:
        """Where a trial is kept, if it is."""
        return self.root / str(int(study_id)) / str(int(number))

    # -- what is to go ---------------------------------------------------------------------

    def _tidy(self) -> Iterator[Evicted]:
        """Remove leftovers, what is beyond the number of trials, what is beyond the bytes."""
        for folder in (self.root, *_numbered(self.root)):
            _sweep(folder)
        for trial in (trial for study in _numbered(self.root) for trial in _numbered(study)):
            if _is_damaged(trial):
                _remove(trial)  # nobody can use it, and nothing counts it
        ranked: dict[int, list[Entry]] = {}
        for entry in self.entries():
            ranked.setdefault(entry.study_id, []).append(entry)
        for entries in ranked.values():
            for entry in entries[self.most_trials :]:
                yield from self._evict(entry, f"no longer among the best {self.most_trials}")
        yield from self._make_room(
            [entries[0] for entries in ranked.values()],
            [entry for entries in ranked.values() for entry in entries[1 : self.most_trials]],
        )

    def _make_room(self, bests: Sequence[Entry], others: Sequence[Entry]) -> Iterator[Evicted]:
        """Remove the oldest of `others`, and if that is not enough, models of `bests`.

        The predictions of a study's best trial stay, for the ensemble: they are small.
        """
        total = sum(entry.bytes for entry in (*bests, *others))
        why = f"to stay within {in_mib(self.most_bytes)} for the experiment"
        for entry in sorted(others, key=lambda e: (e.kept_at, e.study_id, e.number)):
            if total <= self.most_bytes:
                return
            total -= entry.bytes
            yield from self._evict(entry, why)
        for entry in sorted(bests, key=lambda e: (-e.bytes, e.study_id)):
            if total <= self.most_bytes:
                return
            freed = drop_models(self.folder(entry.study_id, entry.number))
            total -= freed
            if freed:
                yield Evicted(entry.study_id, entry.number, freed, "models", why)

    def _evict(self, entry: Entry, why: str) -> Iterator[Evicted]:
        if _remove(self.folder(entry.study_id, entry.number)):
            yield Evicted(entry.study_id, entry.number, entry.bytes, "trial", why)


@contextlib.contextmanager
def _partial_folder(study: Path, number: int) -> Iterator[Path]:
    """A folder to fill and rename, removed if it is still there in the end. Raises OSError.

    Its lock says that its writer lives, however long it is stopped.
    """
    make_private_folder(study)
    folder = study / f".{int(number)}.{secrets.token_hex(4)}.part"
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _publish(partial: Path, folder: Path) -> None:
    for is_last in (False, False, True):
        try:
            partial.rename(folder)
            return
        except OSError as error:
            if is_last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _remove(folder)  # what the same trial left when it was interrupted at its end


def _sweep(folder: Path) -> None:
    """Remove what dead writers left, and what somebody began to remove."""
    for name in _names(folder):
        path = folder / name
        if name.endswith(".gone") or (name.endswith(".part") and _is_abandoned(path)):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        # Between its making and its lock a folder is young; afterwards the lock decides.
        if time.time() - folder.stat().st_mtime < STALE_S:
            return False
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_damaged(folder: Path) -> bool:
    try:
        read_entry(folder, 0, 0)
    except OSError as error:
        # Any other reason may pass. A folder never appears without its record.
        return isinstance(error, FileNotFoundError)
    except DAMAGE:
        return True
    return False


def _remove(folder: Path) -> bool:
    """Remove a folder; False if it was not there, or somebody else does."""
    away = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.gone")
    try:
        folder.rename(away)
    except OSError:
        return False
    shutil.rmtree(away, ignore_errors=True)
    return True


def _numbered(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder) if name.isdecimal()]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
