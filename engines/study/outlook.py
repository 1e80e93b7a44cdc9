"""What a runner reads: what was ordered, who holds which trial, and what is left to do.

Plain SQL, in three pieces, because a runner looks ten times a second: the facts of an experiment
and who holds what are a few rows, counting its trials is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engines.study.plain import Connection
from engines.study.states import (
    TRIAL_WORDS,
    Counts,
    awaits_ensemble,
    experiment_state,
    study_state,
)

ENSEMBLE = -1
"""Stands for the ensemble where a study's id stands for the settling of its end."""

Tallies = dict[int, dict[str, int]]
"""Trials by study and by state, in our words."""


@dataclass(frozen=True, slots=True)
class Held:
    """A RUNNING trial and how often it was lost before."""

    trial_id: int
    study_id: int
    number: int
    model: str
    started_at: str
    crashes: int
    memory_kills: int = 0


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A study as far as its order and its end go; see `tables.StudyRow`."""

    study_id: int
    model: str
    want: str
    interrupt: bool
    freeze: bool
    goal: int | None
    ended_by: str | None
    failure: str | None
    closing_worker: int | None
    closed: bool
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """An experiment as far as its runner is concerned, without its trials.

    has_data: whether it learns from data, by declared models. ensemble_worker: who makes the
    ensemble or made it; ensemble_made: whether it is finished.
    """

    name: str
    failure: str | None
    workers: int
    time_limit_s: float | None
    time_used_s: float
    trial_time_s: float | None
    trial_memory_mib: float | None
    studies: tuple[StudyFacts, ...]
    has_data: bool = False
    ensemble_worker: int | None = None
    ensemble_made: bool = False

    @property
    def wants_ensemble(self) -> bool:
        """Whether an ensemble is its last row, see `states.awaits_ensemble`."""
        return self.has_data and any(s.planned for s in self.studies)

    @property
    def failed(self) -> bool:
        """Whether nothing of it may go on."""
        return self.failure is not None or (
            bool(self.studies) and all(s.failure is not None for s in self.studies)
        )

    @property
    def interrupted(self) -> frozenset[int]:
        """The studies whose trials are to be put back at once."""
        return frozenset(s.study_id for s in self.studies if s.interrupt)

    @property
    def frozen(self) -> frozenset[int]:
        """The studies whose processes are to stand still."""
        return frozenset(s.study_id for s in self.studies if s.want == "pause" and s.freeze)

    @property
    def closing(self) -> dict[int, int]:
        """The studies that a worker settles the end of now, by worker; `ENSEMBLE` is the last."""
        found = {
            s.closing_worker: s.study_id
            for s in self.studies
            if s.closing_worker is not None and not s.closed
        }
        if self.ensemble_worker is not None and not self.ensemble_made:
            found[self.ensemble_worker] = ENSEMBLE
        return found


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an experiment still needs: `claimable` jobs now, and whether it is over or paused."""

    state: str
    claimable: int


def facts(connection: Connection, experiment_id: int) -> Facts | None:
    """What was asked for, or None if the experiment is gone."""
    row = connection.execute(
        "SELECT e.*, m.worker_id AS ensemble_worker, m.made_at AS ensemble_made_at "
        "FROM hx_experiment e LEFT JOIN hx_ensemble m ON m.experiment_id = e.id WHERE e.id = ?",
        (experiment_id,),
    ).fetchone()
    if row is None:
        return None
    studies = connection.execute(
        "SELECT study_id, model, want, want_now, want_frozen, goal, ended_by, failure, "
        "closing_worker, closed_at, plan IS NOT NULL AS planned FROM hx_study "
        "WHERE experiment_id = ? ORDER BY position",
        (experiment_id,),
    ).fetchall()
    return Facts(
        name=row["name"],
        failure=row["failure"],
        workers=row["workers"],
        time_limit_s=row["time_limit_s"],
        time_used_s=row["time_used_s"],
        trial_time_s=row["trial_time_s"],
        trial_memory_mib=row["trial_memory_mib"],
        studies=tuple(map(_study_facts, studies)),
        has_data=row["dataset_id"] is not None and row["objective"] is None,
        ensemble_worker=row["ensemble_worker"],
        ensemble_made=row["ensemble_made_at"] is not None,
    )


def _study_facts(row: Any) -> StudyFacts:
    return StudyFacts(
        study_id=row["study_id"],
        model=row["model"],
        want=row["want"],
        interrupt=bool(row["want_now"]),
        freeze=bool(row["want_frozen"]),
        goal=row["goal"],
        ended_by=row["ended_by"],
        failure=row["failure"],
        closing_worker=row["closing_worker"],
        closed=row["closed_at"] is not None,
        planned=bool(row["planned"]),
    )


_HELD = (
    "SELECT t.worker_id, t.trial_id, t.study_id, t.number, t.started_at, t.crashes, "
    "t.memory_kills, s.model FROM hx_study s JOIN hx_trial t ON t.study_id = s.study_id "
    "WHERE {} AND t.state = 'RUNNING' AND t.worker_id IS NOT NULL ORDER BY t.started_at DESC"
)


def held(connection: Connection, experiment_id: int) -> dict[int, list[Held]]:
    """The RUNNING trials of each worker: one, or none; more only after a fault, and then all."""
    found: dict[int, list[Held]] = {}
    rows = connection.execute(_HELD.format("s.experiment_id = ?"), (experiment_id,)).fetchall()
    for row in rows:
        found.setdefault(row["worker_id"], []).append(_held(row))
    return found


def held_by(connection: Connection, worker_id: int) -> list[Held]:
    """The RUNNING trials of one worker."""
    rows = connection.execute(_HELD.format("t.worker_id = ?"), (worker_id,)).fetchall()
    return [_held(row) for row in rows]


def _held(row: Any) -> Held:
    return Held(
        trial_id=row["trial_id"],
        study_id=row["study_id"],
        number=row["number"],
        model=row["model"],
        started_at=row["started_at"],
        crashes=row["crashes"],
        memory_kills=row["memory_kills"],
    )


def reports(connection: Connection, trial_id: int) -> int:
    """How much a trial has reported so far."""
    row = connection.execute(
        "SELECT count(*) FROM trial_intermediate_values WHERE trial_id = ?", (trial_id,)
    ).fetchone()
    return int(row[0])


def tallies(connection: Connection, experiment_id: int) -> Tallies:
    """The trials of each study, counted by state."""
    found: Tallies = {}
    for row in connection.execute(
        "SELECT study_id, state, count(*) AS n FROM hx_trial WHERE study_id IN "
        "(SELECT study_id FROM hx_study WHERE experiment_id = ?) GROUP BY study_id, state",
        (experiment_id,),
    ).fetchall():
        found.setdefault(row["study_id"], {})[TRIAL_WORDS[row["state"]]] = row["n"]
    return found


FROZEN = (
    "SELECT t.study_id FROM hx_worker w "
    "JOIN hx_trial t ON t.worker_id = w.id AND t.state = 'RUNNING' "
    "WHERE w.ended_at IS NULL AND w.frozen_at IS NOT NULL UNION ALL "
    "SELECT s.study_id FROM hx_worker w JOIN hx_study s ON s.closing_worker = w.id "
    "WHERE w.ended_at IS NULL AND w.frozen_at IS NOT NULL AND s.closed_at IS NULL"
)
"""A row for each trial, and each settling of an end, whose processes stand still."""


def frozen_jobs(connection: Connection) -> dict[int, int]:
    """How many jobs of each study are in the hands of a worker that stands still."""
    found: dict[int, int] = {}
    for row in connection.execute(FROZEN).fetchall():
        found[row["study_id"]] = found.get(row["study_id"], 0) + 1
    return found


def look_ahead(connection: Connection, experiment_id: int) -> Outlook | None:
    """What is left to do, or None if the experiment is gone."""
    known = facts(connection, experiment_id)
    if known is None:
        return None
    still = frozen_jobs(connection) if known.frozen else {}
    return conclude(known, tallies(connection, experiment_id), still)


def conclude(known: Facts, counted: Tallies, still: dict[int, int]) -> Outlook:
    """What is left to do, from the pieces. still: see `frozen_jobs`."""
    states: list[str] = []
    claimable = 0
    for study in known.studies:
        counts = Counts(**counted.get(study.study_id, {}), goal=study.goal)
        state = study_state(
            want=study.want,
            counts=counts,
            closed=study.closed,
            ended_by=study.ended_by,
            failure=study.failure,
            closing=study.closing_worker is not None,
            frozen=still.get(study.study_id, 0),
        )
        states.append(state)
        claimable += _claimable(study, counts, state)
    pending = awaits_ensemble(states, wanted=known.wants_ensemble, made=known.ensemble_made)
    pending = pending and known.failure is None
    state = experiment_state(states, known.failure, awaits_ensemble=pending)
    return Outlook(state, claimable + int(pending))


def _claimable(study: StudyFacts, counts: Counts, state: str) -> int:
    """How many workers could be busy with a study, those at work on it now included."""
    if state in ("failed", "done", "cancelled", "stopped", "paused"):
        return 0
    if study.want in ("pause", "cancel"):
        return max(counts.running, int(study.closing_worker is not None))
    if counts.reached or study.ended_by is not None or study.want == "stop":
        return max(1, counts.running)
    return 1_000_000 if counts.goal is None else counts.goal - counts.finished
