"""What is kept of a trial that trains for long, so that pause or a kill costs seconds of it.

Finished folds are kept whole; of the fold in training the state of its latest epochs. An order
that waits interrupts the trial after the epoch it is in; a kill loses what came after the last
`SAVE_EVERY_S` seconds. Whoever takes the trial up ends with the same scores as without.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.run.checkpoints import Checkpoint
from engines.study.storage import HyperionStorage, TrialInterrupted

if TYPE_CHECKING:
    import optuna

    from engines.models.fit import FoldOutcome

SAVE_EVERY_S = 2.0
"""Between two saves of the same training; a longer epoch is saved at its end."""

SAVING = 0.05
"""At most this part of the time goes into saving: what is large is saved less often."""


class TrialKeeper:
    """The checkpoint of one trial of a declared model; nothing is written before it has to be."""

    def __init__(self, storage: HyperionStorage, trial: optuna.Trial, steps_per_fold: int) -> None:
        self._storage = storage
        self._trial = trial
        self._steps = steps_per_fold
        self._checkpoint: Checkpoint | None = None
        self._unsaved: dict[int, FoldOutcome] = {}
        self._saved_at = time.monotonic()
        self._save_took = 0.0

    def outcome(self, index: int) -> FoldOutcome | None:
        """What an earlier process made of a fold, if it finished that one."""
        found: FoldOutcome | None = self._read(f"fold-{index}")
        return found

    def done(self, index: int, outcome: FoldOutcome) -> None:
        """A fold is finished. Folds of milliseconds are written together."""
        self._unsaved[index] = outcome
        if self.is_due:
            self._save((index + 1) * self._steps - 1)

    def saver(self, index: int) -> FoldSaver:
        """What keeps the state of the training of a fold."""
        return FoldSaver(self, index, self._read(f"training-{index}"))

    def is_to_stop(self) -> bool:
        """Whether an order waits."""
        return self._storage.is_to_stop(self._trial._trial_id)

    @property
    def is_due(self) -> bool:
        """Whether the last save is long ago."""
        pause = max(SAVE_EVERY_S, self._save_took / SAVING)
        return time.monotonic() - self._saved_at >= pause

    def save(self, index: int, round_: int, pack: Callable[[], bytes]) -> None:
        """Keep the state of a training behind one of its epochs, and the folds before it."""
        begun = time.monotonic()
        self._write(f"training-{index}", pack())
        self._save(index * self._steps + round_)
        self._save_took = time.monotonic() - begun

    @property
    def _place(self) -> Checkpoint:
        if self._checkpoint is None:
            self._checkpoint = Checkpoint(self._trial)
        return self._checkpoint

    def _read(self, name: str) -> Any:
        place = self._place
        if place.step is None:
            return None
        file = place.folder / f"{name}.pickle"
        return pickle.loads(file.read_bytes()) if file.exists() else None

    def _save(self, step: int) -> None:
        for index, outcome in self._unsaved.items():
            self._write(f"fold-{index}", outcome)
        self._unsaved.clear()
        self._place.saved(step)
        self._saved_at = time.monotonic()

    def _write(self, name: str, what: Any) -> None:
        """Whole or not at all: a kill leaves what was there before."""
        file = self._place.folder / f"{name}.pickle"
        _replace(file, pickle.dumps(what, protocol=pickle.HIGHEST_PROTOCOL))


class FoldSaver:
    """Keeps the training of one fold; see `engines.models.learner.Saver`."""

    def __init__(self, keeper: TrialKeeper, index: int, state: bytes | None) -> None:
        self.state = state
        self._keeper = keeper
        self._index = index

    def __call__(self, round_: int, pack: Callable[[], bytes]) -> None:
        """Save if it is time to, or if an order waits; then that interrupts the trial."""
        asked = self._keeper.is_to_stop()
        if asked or self._keeper.is_due:
            self._keeper.save(self._index, round_, pack)
        if asked:
            raise TrialInterrupted


def _replace(file: Path, content: bytes) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(file)
