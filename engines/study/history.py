"""A study's trials as one process has read them: finished ones once, the others each time."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, text

from engines.study.frozen import local_time, trials_above, trials_by_id

_WITNESS = text(
    "SELECT t.trial_id, t.datetime_complete FROM studies s LEFT JOIN trials t "
    "ON t.trial_id = :witness AND t.study_id = s.study_id WHERE s.study_id = :study_id"
)


class History:
    """Finished trials never change, so they are read once.

    `mark` is the highest id that was read; `open` are the trials up to it that had not ended,
    `latest` is the one that was added last.
    """

    def __init__(self) -> None:
        self.finished: dict[int, FrozenTrial] = {}
        self.open: set[int] = set()
        self.mark = -1
        self.latest: FrozenTrial | None = None
        self.distributions: dict[str, BaseDistribution] = {}
        self.lock = threading.Lock()

    def is_current(self, connection: Connection, study_id: int) -> bool:
        """Whether the study that was read is still there, and not another one in its place."""
        witness = max(self.open, default=-1) if self.latest is None else self.latest._trial_id
        row = connection.execute(_WITNESS, {"study_id": study_id, "witness": witness}).first()
        if row is None or witness == -1:
            return row is not None
        ended = None if self.latest is None else self.latest.datetime_complete
        return row[0] == witness and (ended is None or local_time(row[1]) == ended)

    def read(
        self, connection: Connection, study_id: int, own: Iterable[int] = ()
    ) -> list[FrozenTrial]:
        """Bring this up to date; returns the trials that have not ended, but for the `own` ones."""
        known = self.open.difference(own)
        fresh = trials_by_id(connection, list(known)) if known else []
        fresh += trials_above(connection, study_id, self.mark)
        self.open.difference_update(known)  # one that is gone was deleted with its study
        unfinished: list[FrozenTrial] = []
        for trial in fresh:
            self.mark = max(self.mark, trial._trial_id)
            if trial.state.is_finished():
                self.add(trial)
            else:
                self.open.add(trial._trial_id)
                unfinished.append(trial)
        return unfinished

    def add(self, trial: FrozenTrial) -> None:
        """Keep a finished trial."""
        self.open.discard(trial._trial_id)
        self.finished[trial._trial_id] = trial
        self.latest = trial
        for name, distribution in trial.distributions.items():
            self.distributions.setdefault(name, distribution)
