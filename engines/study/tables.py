"""Hyperion's own tables beside Optuna's, and the only source of their schema.

Every table has the prefix `hx_`. Optuna's tables are never altered and get no index of ours;
rows refer to them by `study_id` and `trial_id` without a foreign key, because Optuna deletes
studies without knowing us. Stamps are ISO 8601 text in UTC, durations are seconds.

Trial states are Optuna's words (RUNNING, WAITING, COMPLETE, PRUNED, FAIL). States of studies
and experiments are not stored at all: `engines.study.states` derives them, so they can't go stale.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Index,
    LargeBinary,
    MetaData,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

QUEUED: dict[str, Any] = {f"{d}_where": text("state = 'WAITING'") for d in ("sqlite", "postgresql")}
HELD: dict[str, Any] = {f"{d}_where": text("state = 'RUNNING'") for d in ("sqlite", "postgresql")}


class HyperionTable(DeclarativeBase):
    """Base of every table with the prefix `hx_`."""

    metadata = MetaData()
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


class Migration(HyperionTable):
    """A schema change that this file has received."""

    __tablename__ = "hx_migration"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    applied_at: Mapped[str]


class DatasetRow(HyperionTable):
    """What an experiment learned from. `sha256` is the hash of the content, not of the file."""

    __tablename__ = "hx_dataset"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    path: Mapped[str | None]
    rows: Mapped[int]
    columns: Mapped[int]
    target: Mapped[str]
    time_column: Mapped[str | None]
    notices: Mapped[list[Any]]
    group_column: Mapped[str | None]
    classes: Mapped[list[Any] | None]


class ExperimentRow(HyperionTable):
    """What is held fixed so that results may be compared, and the budget, which may change.

    facts: what models are bound to, see `engines.data.facts`. left_out: why some of the models
    that were asked for can't be used on these data, by model.
    """

    __tablename__ = "hx_experiment"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # an id names a folder: never twice

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[str]
    task: Mapped[str]
    dataset_id: Mapped[int | None]
    objective: Mapped[dict[str, Any] | None]
    metric: Mapped[str]
    direction: Mapped[str]
    seed: Mapped[int]
    split: Mapped[dict[str, Any] | None]
    sampler: Mapped[str]
    pruner: Mapped[str]
    versions: Mapped[dict[str, Any]]
    workers: Mapped[int]
    patience: Mapped[int | None]
    min_improvement: Mapped[float]
    time_limit_s: Mapped[float | None]
    time_used_s: Mapped[float] = mapped_column(default=0.0)
    trial_time_s: Mapped[float | None]
    trial_memory_mib: Mapped[float | None]
    failure: Mapped[str | None]
    facts: Mapped[dict[str, Any] | None]
    left_out: Mapped[dict[str, Any] | None]


class StudyRow(HyperionTable):
    """One model of an experiment: its order (`want`), its budget, and its held-out score.

    goal: finished trials wanted, None when only time ends the study.
    closed_at: when the study's end was settled; until then the held-out score is not shown.
    openings: how often the held-out part was opened for this study.
    rules_from: the trial number from which stopping rules count, set when a study that had
    ended is told to go on; None is the first.
    want_frozen: a pause that stops the processes where they are, instead of waiting or killing.
    plan: what is known before the first trial, see `engines.study.experiments.StudyPlan`.
    evidence: intervals and the like, see `engines.run.settle`.
    """

    __tablename__ = "hx_study"

    study_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    experiment_id: Mapped[int] = mapped_column(index=True)
    position: Mapped[int]
    model: Mapped[str]
    family: Mapped[str]
    space: Mapped[list[Any] | None]
    goal: Mapped[int | None]
    want: Mapped[str] = mapped_column(default="run")
    want_now: Mapped[bool] = mapped_column(default=False)
    want_frozen: Mapped[bool] = mapped_column(default=False, server_default=false())
    ended_by: Mapped[str | None]
    failure: Mapped[str | None]
    closing_worker: Mapped[int | None]
    closed_at: Mapped[str | None]
    held_out_score: Mapped[float | None]
    held_out_number: Mapped[int | None]
    held_out_note: Mapped[str | None]
    openings: Mapped[int] = mapped_column(default=0)
    rules_from: Mapped[int | None]
    plan: Mapped[dict[str, Any] | None]
    evidence: Mapped[dict[str, Any] | None]


class TrialRow(HyperionTable):
    """What Optuna has no place for, and the narrow copy that screens sort and filter.

    state, value and number are copies of Optuna's, written in the same transaction.
    worker_id: who holds the trial while it is RUNNING; who ran it afterwards.
    crashes: how often its process died of its own accord; requeues: how often it was put back;
    memory_kills: how often it died because the machine's memory ran out.
    seen: which other trials its suggestion knew, see `engines.search.seen`.
    """

    __tablename__ = "hx_trial"
    __table_args__ = (
        UniqueConstraint("study_id", "number", name="hx_trial_number"),
        # One for each order that a table of trials is sorted by; each holds all that skipping to a
        # page, filtering and counting ask for, so that only the rows in sight are read.
        Index("hx_trial_state", "study_id", "state", "number", "duration_s"),
        Index("hx_trial_value", "study_id", "value", "number", "state"),
        Index("hx_trial_duration", "study_id", "duration_s", "number", "state"),
        Index("hx_trial_params", "study_id", "params_hash"),
        # The queue, asked at every claim: as long as what waits in it.
        Index("hx_trial_waiting", "study_id", "number", **QUEUED),
        # Who runs what, asked ten times a second: as small as the number of workers.
        Index("hx_trial_running", "worker_id", **HELD),
    )

    trial_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    study_id: Mapped[int]
    number: Mapped[int]
    state: Mapped[str]
    value: Mapped[float | None]
    started_at: Mapped[str | None]
    finished_at: Mapped[str | None]
    duration_s: Mapped[float | None]
    worker_id: Mapped[int | None]
    seed: Mapped[int | None] = mapped_column(BigInteger)
    params_hash: Mapped[str | None]
    peak_memory_mib: Mapped[float | None]
    metrics: Mapped[dict[str, Any] | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None]
    error_traceback: Mapped[str | None]
    served_from: Mapped[int | None]
    retry_of: Mapped[int | None]
    requeues: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    memory_kills: Mapped[int] = mapped_column(default=0, server_default="0")
    seen: Mapped[dict[str, Any] | None]


class WorkerRow(HyperionTable):
    """A worker process. pid + start_ticks + boot_id name one process and no later one.

    frozen_at: since when it is stopped by a pause that freezes. flag: what is odd about it now
    (no processor time and no report for ten minutes), or None.
    """

    __tablename__ = "hx_worker"

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(index=True)
    slot: Mapped[int]
    pid: Mapped[int]
    start_ticks: Mapped[int] = mapped_column(BigInteger)
    boot_id: Mapped[str]
    host: Mapped[str]
    started_at: Mapped[str]
    ended_at: Mapped[str | None]
    end_reason: Mapped[str | None]
    frozen_at: Mapped[str | None]
    flag: Mapped[str | None]


class RunnerRow(HyperionTable):
    """A runner process; one without `ended_at` that holds no lock died."""

    __tablename__ = "hx_runner"

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(index=True)
    pid: Mapped[int]
    host: Mapped[str]
    started_at: Mapped[str]
    ended_at: Mapped[str | None]
    end_reason: Mapped[str | None]


class ReturnsRow(HyperionTable):
    """What a trial of an agent earned on each validation bar; see `engines.study.returns`.

    trial_id: 0 is buying and holding on the same bars. content: float32, little-endian, `seeds`
    rows one after another.
    """

    __tablename__ = "hx_returns"

    experiment_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    trial_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seeds: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class BaselineRow(HyperionTable):
    """A rule that learns next to nothing, scored on the same rows as the models."""

    __tablename__ = "hx_baseline"
    __table_args__ = (UniqueConstraint("experiment_id", "name", name="hx_baseline_name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int]
    name: Mapped[str]
    selection_score: Mapped[float | None]
    held_out_score: Mapped[float | None]


class EnsembleRow(HyperionTable):
    """The greedy ensemble of an experiment's finished trials; there is one once it has ended.

    worker_id: who makes it, or made it. made_at: when it was finished. members: a list of
    {study, number, weight}. evidence: as a study's. note: why there is none.
    """

    __tablename__ = "hx_ensemble"

    experiment_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker_id: Mapped[int | None]
    made_at: Mapped[str | None]
    selection_score: Mapped[float | None]
    held_out_score: Mapped[float | None]
    members: Mapped[list[Any] | None]
    evidence: Mapped[dict[str, Any] | None]
    note: Mapped[str | None]


class EventRow(HyperionTable):
    """What happened, in order. `seq` only grows, so a reader asks for what is above its mark."""

    __tablename__ = "hx_event"
    __table_args__ = (
        Index("hx_event_experiment", "experiment_id", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str]
    experiment_id: Mapped[int | None]
    study_id: Mapped[int | None]
    trial_number: Mapped[int | None]
    kind: Mapped[str]
    text: Mapped[str]
