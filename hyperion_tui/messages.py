"""What the app hears from its feed: one immutable picture of the store at a time."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from engines.study.records import Event, Experiment, Study, Worker


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store at one moment, as far as screens need it.

    experiments: all of them, the newest first. current_id: the one that is open, or None.
    workers: of the open one. events: of the open one, those that no earlier snapshot brought;
    last_seq: the number of the newest of them. problem: why the store can't be read, or None.
    note: in which other way than as it is now the store is shown, or None.
    """

    experiments: tuple[Experiment, ...] = ()
    current_id: int | None = None
    workers: tuple[Worker, ...] = ()
    events: tuple[Event, ...] = ()
    last_seq: int = 0
    problem: str | None = None
    note: str | None = None

    @property
    def current(self) -> Experiment | None:
        """The open experiment."""
        return self.experiment(self.current_id)

    def experiment(self, experiment_id: int | None) -> Experiment | None:
        """The experiment with this id, or None."""
        return next((e for e in self.experiments if e.experiment_id == experiment_id), None)

    def study(self, study_id: int) -> tuple[Experiment, Study] | None:
        """A study with its experiment, or None if it is gone."""
        for experiment in self.experiments:
            for study in experiment.studies:
                if study.study_id == study_id:
                    return experiment, study
        return None


class SnapshotRead(Message):
    """The feed has read the store and something differs from what was shown."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        """A newer picture makes an older one pointless: events are read from what was accepted."""
        return isinstance(message, SnapshotRead)
