"""Optuna's storage on Optuna's own tables, made for many processes on one store.

* one writer at a time, reads that take no lock (`engines.study.database`);
* a trial is claimed and ended conditionally, so none runs twice, and a worker that has lost its
  trial can't overwrite the one who has it now;
* our row of a trial is written in the transaction that writes Optuna's;
* a trial costs its creation, its parameters, and its end, which alone is fsynced: what was
  acknowledged survives a power cut (`engines.study.pending`);
* finished trials are read once (`engines.study.history`).
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import json
import os
import time
import uuid
import weakref
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from engines.clock import utc_now
from engines.errors import HyperionError
from engines.study import returns, study_rows, trial_rows
from engines.study.database import Database
from engines.study.events import trial_ended
from engines.study.frozen import distribution_of, trials_by_id
from engines.study.history import History
from engines.study.location import Location
from engines.study.pending import Notes, OwnTrial, WriteBehind

T = TypeVar("T")

ASK_EVERY_S = 0.1
"""Between two looks at the orders by a trial that reports more often than that."""


class TrialTaken(HyperionError):
    """The trial is no longer held by this worker: another one has it, or it has ended."""


class TrialInterrupted(BaseException):
    """An order interrupts the trial at a report; no `except Exception` of an objective stops it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known about a trial beside its state and value, written as it ends.

    duration_s: seconds of training and scoring. peak_memory_mib: of the worker so far.
    served_from: number of the trial whose score was reused instead of training again.
    returns: of an agent, (seeds, float32 bytes), see `engines.study.returns`.
    """

    duration_s: float | None = None
    seed: int | None = None
    params_hash: str | None = None
    peak_memory_mib: float | None = None
    metrics: dict[str, Any] | None = field(default=None)
    error_class: str | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    served_from: int | None = None
    returns: tuple[int, bytes] | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of our row that this fills; what is unknown keeps what it had."""
        known = {name: getattr(self, name) for name in Ending.__slots__ if name != "returns"}
        if self.metrics is not None:
            known["metrics"] = json.dumps(self.metrics)
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What never changes about a study. experiment_id is None for one that is not ours."""

    name: str
    directions: tuple[StudyDirection, ...]
    experiment_id: int | None


class HyperionStorage(BaseStorage):
    """Optuna's storage over one prepared store, for many processes and threads at once.

    Promises, each of them tested: a WAITING trial is claimed by one process only; a trial ends
    once; creation, claim and end write Optuna's row and ours or neither; reading takes no lock;
    a finished trial is durable when the call that ended it returns, with all that was noted of it.
    The store must have been prepared by `engines.study.store`.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.database = Database(location)
        self._own: dict[int, OwnTrial] = {}
        self._histories: dict[int, History] = {}
        self._facts: dict[int, StudyFacts] = {}
        self._just_ended: dict[int, int] = {}
        self._behind = WriteBehind(self._flush)
        _LIVING.add(self)
        # Whoever forgets to close it leaves no connection open behind it.
        weakref.finalize(self, self.database.close)

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["location"])  # type: ignore[misc]

    def flush(self, trial_id: int | None = None) -> None:
        """Write what is noted of one own trial, or of all, now. Raises TrialTaken if it is lost."""
        everything = trial_id is None
        chosen = [t for t in list(self._own.values()) if everything or t.trial_id == trial_id]
        for own in chosen:
            own.held_back = False
            self._flush(own)
        for own in chosen:
            if own.taken is not None:
                raise own.taken

    def close(self) -> None:
        """Write what is left and close the connections; the storage can still be used."""
        with contextlib.suppress(TrialTaken):
            self.flush()
        self.database.close()

    def remove_session(self) -> None:
        self.close()

    # -- studies -----------------------------------------------------------------------------

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        name = f"{DEFAULT_STUDY_NAME_PREFIX}{uuid.uuid4()}" if study_name is None else study_name
        try:
            study_id = self.database.write(
                lambda c: study_rows.add_study(c, name, directions),
                durable=True,
                is_done=study_rows.has_study,
            )
        except IntegrityError as error:
            raise DuplicatedStudyError(f"The study `{name}` exists.") from error
        self._forget_study(study_id)  # of an earlier one: a file gives ids again
        return study_id

    def delete_study(self, study_id: int) -> None:
        self.database.write(
            lambda c: study_rows.delete_study(c, study_id),
            durable=True,
            is_done=lambda c, _: not study_rows.has_study(c, study_id),
        )
        self._forget_study(study_id)

    def _forget_study(self, study_id: int) -> None:
        self._facts.pop(study_id, None)
        self._histories.pop(study_id, None)
        for own in [t for t in list(self._own.values()) if t.study_id == study_id]:
            self._let_go(own)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_study_attr(study_id, "user", key, json.dumps(value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_study_attr(study_id, "system", key, json.dumps(value))

    def _set_study_attr(self, study_id: int, kind: str, key: str, as_json: str) -> None:
        self.database.write(
            lambda c: study_rows.set_study_attr(c, study_id, kind, key, as_json), durable=True
        )

    def get_study_id_from_name(self, study_name: str) -> int:
        # Asked each time: another process may have deleted it, and used the name or the id again.
        study_id = self.database.read(lambda c: study_rows.study_id(c, study_name))
        known = self._facts.get(study_id)
        if known is not None and known.name != study_name:
            self._forget_study(study_id)
        return study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return list(self._study(study_id).directions)

    def _study(self, study_id: int) -> StudyFacts:
        """What is known of a study. Raises KeyError if there is none."""
        if study_id not in self._facts:
            self._facts[study_id] = StudyFacts(
                *self.database.read(lambda c: study_rows.study_facts(c, study_id))
            )
        return self._facts[study_id]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self.database.read(lambda c: study_rows.study_attrs(c, study_id, "user"))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.database.read(lambda c: study_rows.study_attrs(c, study_id, "system"))

    def get_all_studies(self) -> list[FrozenStudy]:
        return self.database.read(study_rows.all_studies)

    # -- the life of a trial -------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        durable = template_trial is not None and template_trial.state.is_finished()

        def work(connection: Connection) -> FrozenTrial:
            trial_rows.meet_foreign_trials(connection)
            trial_rows.lock_study(connection, study_id)
            return trial_rows.add_trial(connection, study_id, template_trial)

        trial = self.database.write(
            work, durable=durable, is_done=lambda c, made: trial_rows.has_trial(c, made._trial_id)
        )
        if template_trial is None:
            self.take(study_id, trial, None)
        return trial._trial_id

    def take(self, study_id: int, trial: FrozenTrial, holder: int | None) -> None:
        """Note that a RUNNING trial is in the hands of this process: of the worker `holder`."""
        self._own[trial._trial_id] = OwnTrial(study_id, trial, holder)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state.is_finished():
            self.end_trial(trial_id, state, values, Ending())
            return True
        if state == TrialState.WAITING:
            self._put_back(trial_id)
            return True
        if trial_id in self._own:
            return False  # it is running already
        claimed = self.database.write(
            lambda c: self._claim_waiting(c, trial_id),
            is_done=lambda c, found: found is not None and trial_rows.runs_since(c, found[1]),
        )
        if claimed is None:
            return False
        self.take(*claimed, None)
        return True

    def _claim_waiting(
        self, connection: Connection, trial_id: int
    ) -> tuple[int, FrozenTrial] | None:
        claimed = trial_rows.claim_waiting(connection, trial_id, None)
        if claimed is None:
            _, state = trial_rows.study_and_state(connection, trial_id)
            self.check_trial_is_updatable(trial_id, TrialState[state])
        return claimed

    def end_trial(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        ending: Ending,
    ) -> None:
        """End a RUNNING trial, with all that is noted of it, in one durable transaction.

        values: one for each direction, or None. Raises KeyError if there is no such trial,
        UpdateFinishedTrialError if it has ended, TrialTaken if this process had claimed it and
        has lost it since.
        """
        own = self._own.get(trial_id)
        if own is None:
            study_id, _ = self.database.read(lambda c: trial_rows.study_and_state(c, trial_id))
            self._write_end(study_id, trial_id, None, state, values, ending, Notes())
            return
        with own.writing:
            self._behind.drop(own)
            notes = own.take_notes()
            try:
                if own.taken is not None:
                    raise own.taken
                self._write_end(own.study_id, trial_id, own.holder, state, values, ending, notes)
            except (TrialTaken, UpdateFinishedTrialError, KeyError):
                self._let_go(own)
                raise
            except BaseException:
                own.give_back(notes)
                raise
            self._let_go(own)
            self._just_ended = {trial_id: own.study_id}

    def _write_end(
        self,
        study_id: int,
        trial_id: int,
        holder: int | None,
        state: TrialState,
        values: Sequence[float] | None,
        ending: Ending,
        notes: Notes,
    ) -> None:
        facts = self._study(study_id)
        score = float(values[0]) if values else None

        def work(connection: Connection) -> str:
            at = utc_now()
            number = trial_rows.end_trial(connection, trial_id, state.name)
            if number is None:
                self._refuse(connection, trial_id, holder)
            columns = {**notes.columns, **ending.columns(), "state": state.name}
            columns |= {"value": score, "finished_at": at}
            if not trial_rows.update_own_row(connection, trial_id, holder, columns):
                if holder is not None:
                    raise TrialTaken(trial_rows.fate(connection, trial_id))
                trial_rows.adopt_foreign_trials(connection)  # stock Optuna created it
                trial_rows.update_own_row(connection, trial_id, None, columns)
            trial_rows.write_notes(connection, trial_id, notes)
            trial_rows.write_values(connection, trial_id, values or ())
            if facts.experiment_id is not None and ending.returns is not None:
                returns.keep(connection, facts.experiment_id, trial_id, *ending.returns)
            if facts.experiment_id is not None:
                event = trial_ended(state.name, score, ending.duration_s, ending)
                study_rows.add_event(connection, facts.experiment_id, study_id, number, at, **event)
            return at

        self.database.write(
            work, durable=True, is_done=lambda c, at: trial_rows.ended_at(c, trial_id) == at
        )

    def _put_back(self, trial_id: int) -> None:
        """RUNNING -> WAITING, as Optuna's interface allows it."""
        holder = None
        own = self._own.get(trial_id)
        if own is not None:
            holder = own.holder
            self._flush(own)
            self._let_go(own)
            if own.taken is not None:
                raise own.taken

        def work(connection: Connection) -> None:
            if not trial_rows.put_back(connection, trial_id):
                self._refuse(connection, trial_id, holder)

        self.database.write(work)

    def _refuse(self, connection: Connection, trial_id: int, holder: int | None) -> None:
        """Say why a trial that was thought to be RUNNING can't be changed."""
        if holder is not None:
            raise TrialTaken(trial_rows.fate(connection, trial_id))
        _, state = trial_rows.study_and_state(connection, trial_id)
        self.check_trial_is_updatable(trial_id, TrialState[state])
        raise TrialTaken(trial_rows.fate(connection, trial_id))

    def _let_go(self, own: OwnTrial) -> None:
        self._behind.drop(own)
        self._own.pop(own.trial_id, None)

    # -- what is noted of a trial --------------------------------------------------------------

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        own = self._own.get(trial_id)
        if own is not None:
            self._check_distribution(own.study_id, param_name, distribution)
            own.set_param(param_name, param_value_internal, distribution)
            self._noted(own)
            return
        study_id, state = self.database.read(lambda c: trial_rows.study_and_state(c, trial_id))
        self.check_trial_is_updatable(trial_id, TrialState[state])
        self._check_distribution(study_id, param_name, distribution)
        described = distribution_to_json(distribution)
        notes = Notes(params={param_name: (param_value_internal, described)})
        self._write_through(trial_id, notes)

    def _check_distribution(self, study_id: int, name: str, distribution: BaseDistribution) -> None:
        """Raise ValueError if the study has used the name with another kind of distribution."""
        known = self._history(study_id).distributions
        if name not in known:
            found = self.database.read(lambda c: trial_rows.distribution(c, study_id, name))
            known[name] = distribution if found is None else distribution_of(found)
        check_distribution_compatibility(known[name], distribution)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_trial_attr(trial_id, "user", key, json.dumps(value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_trial_attr(trial_id, "system", key, json.dumps(value))

    def _set_trial_attr(self, trial_id: int, kind: str, key: str, as_json: str) -> None:
        own = self._own.get(trial_id)
        if own is None:
            note = {key: as_json}
            self._write_through(
                trial_id, Notes(user=note) if kind == "user" else Notes(system=note)
            )
            return
        (own.set_user_attr if kind == "user" else own.set_system_attr)(key, as_json)
        self._noted(own)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        own = self._own.get(trial_id)
        if own is None:
            self._write_through(trial_id, Notes(reports={step: intermediate_value}))
            return
        own.set_report(step, intermediate_value)
        self._noted(own)
        if own.interruptible and self._is_to_stop(own):
            raise TrialInterrupted

    def let_interrupt(self, trial_id: int) -> None:
        """From now on an order to pause or stop interrupts this trial at a report."""
        own = self._own.get(trial_id)
        if own is not None and own.holder is not None:
            own.interruptible = True

    def is_to_stop(self, trial_id: int) -> bool:
        """Whether an order waits for this own trial; asks the store now and then."""
        own = self._own.get(trial_id)
        return own is not None and own.holder is not None and self._is_to_stop(own)

    def _is_to_stop(self, own: OwnTrial) -> bool:
        now = time.monotonic()
        if now - own.asked_at < ASK_EVERY_S:
            return False
        own.asked_at = now
        return self.database.read(lambda c: study_rows.want(c, own.study_id)) != "run"

    def drop(self, trial_id: int) -> None:
        """Forget an own trial that somebody else has now, with all that is noted of it."""
        own = self._own.get(trial_id)
        if own is not None:
            self._let_go(own)

    def let_go(self, trial_id: int) -> None:
        """Write what is noted of an own trial and hand it over: it stays RUNNING for its holder."""
        self.flush(trial_id)
        own = self._own.get(trial_id)
        if own is not None:
            self._let_go(own)

    def experiment_of(self, study_id: int) -> int | None:
        """The experiment of a study, or None for one that is not ours. Raises KeyError."""
        return self._study(study_id).experiment_id

    def hold_back(self, trial_id: int) -> None:
        """Write nothing of an own trial until its caller, who knows when, says `flush`."""
        self._own[trial_id].held_back = True

    def note(self, trial_id: int, **columns: Any) -> None:
        """Note columns of our own row of a trial in the hands of this process."""
        self._own[trial_id].set_columns(columns)

    def _noted(self, own: OwnTrial) -> None:
        if own.taken is not None:
            raise own.taken
        if not own.held_back:
            self._behind.wake(own)

    def _flush(self, own: OwnTrial) -> None:
        """Write the notes of an own trial; if it is lost, remember that for who runs it."""
        with own.writing:
            notes = own.take_notes()
            if not notes or own.taken is not None or self._own.get(own.trial_id) is not own:
                return

            def work(connection: Connection) -> None:
                if not trial_rows.touch(connection, own.trial_id, own.holder, notes.columns):
                    raise TrialTaken(trial_rows.fate(connection, own.trial_id))
                trial_rows.write_notes(connection, own.trial_id, notes)

            try:
                self.database.write(work)
            except TrialTaken as taken:
                own.taken = taken
            except BaseException:
                own.give_back(notes)
                raise
            own.written_at = time.monotonic()

    def _write_through(self, trial_id: int, notes: Notes) -> None:
        """Write notes about a trial that is not in the hands of this process."""

        def work(connection: Connection) -> None:
            _, state = trial_rows.study_and_state(connection, trial_id)
            self.check_trial_is_updatable(trial_id, TrialState[state])
            trial_rows.write_notes(connection, trial_id, notes)

        self.database.write(work)

    # -- reading ---------------------------------------------------------------------------------

    def _history(self, study_id: int) -> History:
        return self._histories.setdefault(study_id, History())

    def get_trial(self, trial_id: int) -> FrozenTrial:
        own = self._own.get(trial_id)
        if own is not None:
            return own.frozen()
        for history in list(self._histories.values()):
            if trial_id in history.finished:
                return history.finished[trial_id]
        study_id = self._just_ended.pop(trial_id, None)
        if study_id is not None:
            # It will be read for the study's history as well: once is enough.
            self._read_history(study_id, with_finished=False)
            if trial_id in self._history(study_id).finished:
                return self._history(study_id).finished[trial_id]
        found = self.database.read(lambda c: trials_by_id(c, [trial_id]))
        if not found:
            raise KeyError(f"There is no trial with the id {trial_id}.")
        return found[0]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        for own in list(self._own.values()):
            if (own.study_id, own.number) == (study_id, trial_number):
                return own.trial_id
        return self.database.read(lambda c: trial_rows.trial_id(c, study_id, trial_number))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        with_finished = states is None or any(state in states for state in _FINISHED)
        found = self._read_history(study_id, with_finished=with_finished)
        if states is not None:
            found = [t for t in found if t.state in states]
        found.sort(key=lambda t: t.number)
        return copy.deepcopy(found) if deepcopy else found

    def _read_history(self, study_id: int, *, with_finished: bool = True) -> list[FrozenTrial]:
        """The trials of a study as they are now, in no order; those that are ours from memory."""
        # An experiment's studies are never made anew, and are asked for several times a trial.
        ours = self._study(study_id).experiment_id is not None
        history = self._history(study_id)

        def work(connection: Connection) -> list[FrozenTrial] | None:
            if ours or history.is_current(connection, study_id):
                return history.read(connection, study_id, mine)
            return None

        with history.lock:
            own = [t for t in list(self._own.values()) if t.study_id == study_id]
            mine = {t.trial_id: t.frozen() for t in own}
            unfinished = self.database.read(work)
            if unfinished is None:
                self._forget_study(study_id)
                return self._read_history(study_id, with_finished=with_finished)
            found = [t for t in unfinished if t._trial_id not in mine]
            # Another thread may have ended one of ours meanwhile.
            found += [t for t in mine.values() if t._trial_id not in history.finished]
            if with_finished:
                found += history.finished.values()
        return found


_FINISHED = tuple(state for state in TrialState if state.is_finished())

_LIVING: weakref.WeakSet[HyperionStorage] = weakref.WeakSet()


@atexit.register
def _write_what_is_left() -> None:
    """An ordinary end of the process loses nothing that was noted."""
    for storage in list(_LIVING):
        with contextlib.suppress(Exception):
            storage.flush()


def _start_afresh() -> None:
    """In a forked child: its parent's connections, trials and threads are not its own."""
    for storage in list(_LIVING):
        storage.database.forget()
        storage._own = {}
        storage._histories = {}
        storage._behind = WriteBehind(storage._flush)


os.register_at_fork(after_in_child=_start_afresh)
