"""Optuna's RDB storage with what SQLite needs to be safe for parallel work.

* WAL, a busy timeout and patience beyond it, so that a stopped lock holder kills nobody;
* write transactions that begin IMMEDIATE, reads that take no lock;
* a trial is claimed and ended conditionally, so none runs twice, and a worker that has lost its
  trial can't overwrite the one who has it now;
* our row of a trial is written in the transaction that writes Optuna's, and the commit that
  ends a trial is fsynced: an acknowledged trial survives a power cut.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.orm import Session

from engines.clock import utc_now
from engines.errors import HyperionError, StoreUnavailable
from engines.study.events import trial_ended
from engines.study.frozen import read_trials
from engines.study.location import Location
from engines.study.sqlite import begin_immediate, set_pragmas
from engines.study.tables import EventRow, StudyRow, TrialRow

PATIENCE_S = 600.0
"""How long a worker waits for the write lock beyond the busy timeout before it gives up."""


class TrialTaken(HyperionError):
    """The trial is no longer held by this worker: another one has it, or it has ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known about a trial beside its state and value, written as it ends.

    duration_s: seconds of training and scoring. peak_memory_mib: of the worker so far.
    served_from: number of the trial whose score was reused instead of training again.
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


class _Mode(threading.local):
    """How the next transaction of this thread begins."""

    reading = False
    durable = False


def connect(path: str) -> sqlite3.Connection:
    """A connection whose transactions are ours. The path means itself, `?` and `%` included."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    set_pragmas(connection)
    return connection


class HyperionStorage(RDBStorage):
    """Optuna's storage over one prepared SQLite file, for many processes at once.

    Promises, each of them tested: a WAITING trial is claimed by one process only; a trial ends
    once; creation, claim and end write Optuna's row and ours or neither; reading takes no lock.
    The file must have been prepared by `engines.study.store`.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._endings: dict[int, Ending] = {}
        self._holders: dict[int, int] = {}
        super().__init__(
            "sqlite://",
            engine_kwargs={
                "creator": functools.partial(connect, str(location.path)),
                "poolclass": sqlalchemy.pool.QueuePool,
            },
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        self._mode = _Mode()
        event.listen(self.engine, "begin", self._begin)
        try:
            # It opens a second connection inside a session: with a lock it would wait for itself.
            with self.reading():
                self._version_manager.check_table_schema_compatibility()
        except RuntimeError as error:
            raise StoreUnavailable(f"{location.path}: {error}") from error

    def __getstate__(self) -> dict[Any, Any]:
        return {"location": self.location}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self.__init__(state["location"])  # type: ignore[misc]

    @staticmethod
    def _fill_storage_url_template(template: str) -> str:
        return template

    # -- transactions ----------------------------------------------------------------------

    def _begin(self, connection: sqlalchemy.Connection) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        if self._mode.reading:
            raw.execute("BEGIN")
            return
        # Ignored inside a transaction, so it comes before BEGIN. It costs microseconds.
        raw.execute(f"PRAGMA synchronous = {'FULL' if self._mode.durable else 'NORMAL'}")
        begin_immediate(raw, PATIENCE_S)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Session]:
        """One write transaction on both sets of tables; `durable` ones are fsynced."""
        before = self._mode.durable
        self._mode.durable = durable
        try:
            with _create_scoped_session(self.scoped_session) as session:
                yield session
        finally:
            self._mode.durable = before

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Transactions inside take no write lock."""
        before = self._mode.reading
        self._mode.reading = True
        try:
            yield
        finally:
            self._mode.reading = before

    # -- reading trials: plain statements, because the object mapper was a third of a trial ----

    def get_trial(self, trial_id: int) -> FrozenTrial:
        found = self._read("trial_id = ?", (trial_id,))
        if not found:
            raise KeyError(models.NOT_FOUND_MSG)
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        older = sorted(i for i in included_trial_ids if i <= trial_id_greater_than)
        found = self._read(
            "study_id = ? AND (trial_id > ? OR trial_id IN (SELECT value FROM json_each(?)))",
            (study_id, trial_id_greater_than, json.dumps(older)),
        )
        if not found and trial_id_greater_than < 0:
            self.get_study_name_from_id(study_id)  # raises KeyError for a study that is gone
        return found if states is None else [t for t in found if t.state in states]

    def _read(self, where: str, values: Sequence[Any]) -> list[FrozenTrial]:
        with contextlib.closing(self.engine.raw_connection()) as connection:
            raw = connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            return read_trials(raw, where, values)

    # -- trials ----------------------------------------------------------------------------

    def attach(self, trial_id: int, ending: Ending) -> None:
        """Keep `ending` for the transaction that will end this trial."""
        self._endings[trial_id] = ending

    def hold(self, trial_id: int, worker_id: int) -> None:
        """This process runs the trial as `worker_id`: it can end it only while it holds it."""
        self._holders[trial_id] = worker_id

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> models.TrialModel:
        trial = super()._get_prepared_new_trial(study_id, template_trial, session)
        row = _new_row(trial)
        if template_trial is not None and len(template_trial.values or ()) == 1:
            row.value = template_trial.values[0]
        session.add(row)
        return trial

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state == TrialState.RUNNING:
            return self._claim_waiting(trial_id)
        with self.transaction(durable=state.is_finished()) as session:
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)
            row = self._held_row(session, trial)
            for objective, value in enumerate(values or ()):
                self._set_trial_value_without_commit(session, trial, objective, value)
            trial.state = state
            row.state = state.name
            if state.is_finished():
                trial.datetime_complete = datetime.now()
                self._write_ending(session, row, values)
        self._endings.pop(trial_id, None)
        self._holders.pop(trial_id, None)
        return True

    def _claim_waiting(self, trial_id: int) -> bool:
        """WAITING -> RUNNING for one caller only; False for everybody else."""
        with self.transaction() as session:
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)
            return self.take_waiting(session, trial_id) is not None

    def take_waiting(self, session: Session, trial_id: int) -> TrialRow | None:
        """Claim a queued trial by one conditional UPDATE, inside the caller's transaction."""
        now = datetime.now(UTC).replace(tzinfo=None)
        result = session.execute(
            sqlalchemy.update(models.TrialModel)
            .where(
                models.TrialModel.trial_id == trial_id,
                models.TrialModel.state == TrialState.WAITING,
            )
            .values(state=TrialState.RUNNING, _datetime_start_utc=now)
            .execution_options(synchronize_session=False)
        )
        if result.rowcount == 0:  # type: ignore[attr-defined]
            return None
        session.expire_all()
        self._holders.pop(trial_id, None)  # of an earlier attempt, which was put back
        row = self._held_row(session, models.TrialModel.find_or_raise_by_id(trial_id, session))
        row.state = "RUNNING"
        row.started_at = utc_now()
        return row

    def _held_row(self, session: Session, trial: Any) -> TrialRow:
        """Our row of a trial, made now if stock Optuna created the trial.

        Raises TrialTaken if this process claimed the trial and no longer holds it.
        """
        row = session.get(TrialRow, trial.trial_id)
        if row is None:
            row = _new_row(trial)
            session.add(row)
        holder = self._holders.get(trial.trial_id)
        if holder is not None and row.worker_id != holder:
            raise TrialTaken(f"Trial {trial.number} was given to another worker.")
        return row

    def _write_ending(
        self, session: Session, row: TrialRow, values: Sequence[float] | None
    ) -> None:
        row.value = float(values[0]) if values is not None and len(values) == 1 else None
        row.finished_at = utc_now()
        ending = self._endings.get(row.trial_id, Ending())
        for name in Ending.__slots__:
            value = getattr(ending, name)
            if value is not None:
                setattr(row, name, value)
        study = session.get(StudyRow, row.study_id)
        if study is not None:
            session.add(
                EventRow(
                    at=row.finished_at,
                    experiment_id=study.experiment_id,
                    study_id=row.study_id,
                    trial_number=row.number,
                    **trial_ended(row.state, row.value, row.duration_s, ending),
                )
            )


def _new_row(trial: Any) -> TrialRow:
    running = trial.state == TrialState.RUNNING
    return TrialRow(
        trial_id=trial.trial_id,
        study_id=trial.study_id,
        number=trial.number,
        state=trial.state.name,
        started_at=utc_now() if running else None,
        requeues=0,
        crashes=0,
    )


_READS = (
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_all_trials",
    "get_trial_param",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "get_trial_id_from_study_id_trial_number",
    "get_best_trial",
    "_get_best_trial_id",
    "get_current_version",
)


def _without_lock(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def read(self: HyperionStorage, *args: Any, **kwargs: Any) -> Any:
        with self.reading():
            return method(self, *args, **kwargs)

    return read


for _name in _READS:
    setattr(HyperionStorage, _name, _without_lock(_name))
