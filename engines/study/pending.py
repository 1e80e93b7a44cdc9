"""What a process knows about its own trials and has not written yet.

A trial that this process created or claimed is in its hands alone, so its parameters, attributes
and reports are kept here and written together: all parameters in one transaction, reports at most
once a second, and whatever is left in the transaction that ends the trial. A process that is killed
loses at most what its unfinished trial noted in the last moment, never a finished trial. It is what
Optuna promises of its own cache, too: what was noted before is stored when a trial's state is.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from engines.errors import one_line

FIRST_DELAY_S = 0.02
"""From the first thing noted to its writing: long enough for a whole set of parameters."""

LATER_DELAY_S = 1.0
"""Between two writings of one trial."""

IDLE_S = 5.0
"""After so long without anything to write the thread ends; the next note starts another."""


@dataclass
class Notes:
    """Rows to be written for one trial, by Optuna's table, and columns of our own row."""

    params: dict[str, tuple[float, str]] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.params or self.user or self.system or self.reports or self.columns)

    def over(self, earlier: Notes) -> Notes:
        """These notes and the earlier ones that they don't replace."""
        return Notes(
            {**earlier.params, **self.params},
            {**earlier.user, **self.user},
            {**earlier.system, **self.system},
            {**earlier.reports, **self.reports},
            {**earlier.columns, **self.columns},
        )


class OwnTrial:
    """A RUNNING trial of this process: as it is now, and what of it is not written yet.

    study_id: its study. holder: the worker that claimed it, or None outside a worker. taken: an
    error that says that somebody else has it now, to be raised at the next touch. held_back:
    whether its notes wait for who makes them.
    """

    def __init__(self, study_id: int, frozen: FrozenTrial, holder: int | None) -> None:
        self.study_id = study_id
        self.holder = holder
        self.notes = Notes()
        self.taken: Exception | None = None
        self.held_back = False
        # Whether an order may interrupt it, and when the orders were last looked at.
        self.interruptible = False
        self.asked_at = 0.0
        # Held while notes are written, so that the end of the trial waits for them.
        self.writing = threading.RLock()
        self.written_at = -LATER_DELAY_S
        self._frozen = frozen
        self._lock = threading.Lock()

    @property
    def trial_id(self) -> int:
        """Optuna's id of the trial."""
        return self._frozen._trial_id

    @property
    def number(self) -> int:
        """The trial's number in its study."""
        return self._frozen.number

    def frozen(self) -> FrozenTrial:
        """A copy that its receiver may change."""
        with self._lock:
            mine = copy.copy(self._frozen)
            for name in ("_params", "_distributions", "_user_attrs", "_system_attrs"):
                setattr(mine, name, dict(getattr(mine, name)))
            mine.intermediate_values = dict(mine.intermediate_values)
        return mine

    def set_param(self, name: str, internal: float, distribution: BaseDistribution) -> None:
        """Note a parameter, in Optuna's internal representation."""
        with self._lock:
            self._frozen.params[name] = distribution.to_external_repr(internal)
            self._frozen.distributions[name] = distribution
            self.notes.params[name] = (internal, distribution_to_json(distribution))

    def set_user_attr(self, key: str, as_json: str) -> None:
        """Note an attribute of the user."""
        with self._lock:
            self._frozen.user_attrs[key] = json.loads(as_json)
            self.notes.user[key] = as_json

    def set_system_attr(self, key: str, as_json: str) -> None:
        """Note an attribute of Optuna."""
        with self._lock:
            self._frozen.system_attrs[key] = json.loads(as_json)
            self.notes.system[key] = as_json

    def set_report(self, step: int, value: float) -> None:
        """Note an intermediate value."""
        with self._lock:
            self._frozen.intermediate_values[step] = value
            self.notes.reports[step] = value

    def set_columns(self, columns: dict[str, Any]) -> None:
        """Note columns of our own row."""
        with self._lock:
            self.notes.columns.update(columns)

    def take_notes(self) -> Notes:
        """What is to be written now; it is somebody else's business from here."""
        with self._lock:
            notes, self.notes = self.notes, Notes()
        return notes

    def give_back(self, notes: Notes) -> None:
        """Keep notes that could not be written."""
        with self._lock:
            self.notes = self.notes.over(notes)


class WriteBehind:
    """Calls `flush` for trials whose notes have waited long enough, in a thread of its own."""

    def __init__(self, flush: Callable[[OwnTrial], None]) -> None:
        self._flush = flush
        self._due: dict[int, tuple[float, OwnTrial]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self, trial: OwnTrial) -> None:
        """See to it that the trial's notes are written in time."""
        with self._changed:
            if trial.trial_id in self._due:
                return
            now = time.monotonic()
            due = max(now + FIRST_DELAY_S, trial.written_at + LATER_DELAY_S)
            self._due[trial.trial_id] = (due, trial)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="hyperion-write-behind", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def drop(self, trial: OwnTrial) -> None:
        """The trial's notes have been written otherwise."""
        with self._changed:
            self._due.pop(trial.trial_id, None)

    def _run(self) -> None:
        while (trial := self._next()) is not None:
            try:
                self._flush(trial)
            except Exception as error:
                # The trial's own thread meets the same error where it can be told: at its end.
                logging.getLogger("hyperion").warning(
                    "notes of trial %d are not written yet: %s", trial.number, one_line(error)
                )

    def _next(self) -> OwnTrial | None:
        with self._changed:
            while True:
                now = time.monotonic()
                first = min(self._due.values(), key=lambda entry: entry[0], default=None)
                if first is None:
                    if not self._changed.wait(IDLE_S) and not self._due:
                        self._thread = None
                        return None
                elif first[0] <= now:
                    del self._due[first[1].trial_id]
                    return first[1]
                else:
                    self._changed.wait(first[0] - now)
