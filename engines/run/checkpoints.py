"""Checkpoints: how a trial can be interrupted in the middle and go on where it was.

A trial that saves its whole state (weights, optimiser, random numbers, position) now and then says
so here. An order to pause then interrupts it at its next report instead of waiting for its end,
and whoever takes it up again finds its folder and the step that it had reached.

    from engines.run.checkpoints import Checkpoint

    def objective(trial):
        checkpoint = Checkpoint(trial)
        model, first = new_model(trial), 0
        if checkpoint.step is not None:
            model, first = load(checkpoint.folder), checkpoint.step + 1
        for epoch in range(first, 100):
            loss = train(model)
            save(model, checkpoint.folder)
            checkpoint.saved(epoch)
            trial.report(loss, epoch)
        return loss

The folder lies beside the store and goes when the trial ends.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engines.files import make_private_folder
from engines.study.location import Location
from engines.study.supervision import CHECKPOINT_KEY

if TYPE_CHECKING:
    import optuna


class Checkpoint:
    """The place for the state of one trial; it exists and is private to the user.

    folder: where to save. With a storage that is not Hyperion's it is a temporary one, and nothing
    is ever interrupted.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        from engines.study.storage import HyperionStorage

        self._trial = trial
        self._storage = trial.storage if isinstance(trial.storage, HyperionStorage) else None
        if self._storage is None:
            self.folder = Path(tempfile.mkdtemp(prefix="hyperion-checkpoint-"))
            return
        owner = self._storage.experiment_of(trial.study._study_id) or 0
        self.folder = make_private_folder(self._storage.location.checkpoint(owner, trial._trial_id))

    @property
    def step(self) -> int | None:
        """The last step that was saved, by whatever process; None before the first."""
        attributes = self._trial.storage.get_trial_system_attrs(self._trial._trial_id)
        step = attributes.get(CHECKPOINT_KEY)
        return None if step is None else int(step)

    def saved(self, step: int) -> None:
        """The folder holds all that is needed to go on behind `step`; call it after saving."""
        self._trial.storage.set_trial_system_attr(self._trial._trial_id, CHECKPOINT_KEY, step)
        if self._storage is not None:
            # At once: who takes the trial up after a kill must not believe in an older step.
            self._storage.flush(self._trial._trial_id)
            self._storage.let_interrupt(self._trial._trial_id)


def forget(location: Location, experiment_id: int, trial_id: int) -> None:
    """Remove the checkpoint of a trial that has ended, if it has one."""
    shutil.rmtree(location.checkpoint(experiment_id, trial_id), ignore_errors=True)
