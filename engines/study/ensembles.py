"""The last row of an experiment: who makes the ensemble of its finished trials, and what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from engines.clock import utc_now
from engines.study import events, study_rows
from engines.study.database import sql
from engines.study.states import Counts, awaits_ensemble, study_state
from engines.study.storage import HyperionStorage


def take(
    connection: Connection, experiment: Row[Any], studies: Sequence[Row[Any]], worker_id: int
) -> bool:
    """Let a worker make the ensemble, if it is its time and nobody does; whether it is to."""
    if experiment.failure is not None or experiment.ensemble_worker is not None:
        return False
    wanted = experiment.dataset_id is not None and experiment.objective is None
    wanted = wanted and any(study.plan is not None for study in studies)
    made = experiment.ensemble_made_at is not None
    if not awaits_ensemble([_state(s) for s in studies], wanted=wanted, made=made):
        return False
    connection.execute(
        sql(
            "INSERT INTO hx_ensemble (experiment_id, worker_id) VALUES (:id, :worker_id) "
            "ON CONFLICT (experiment_id) DO UPDATE SET worker_id = excluded.worker_id"
        ),
        {"id": experiment.id, "worker_id": worker_id},
    )
    return True


def _state(study: Row[Any]) -> str:
    if study.gone:
        return "failed"
    return study_state(
        want=study.want,
        counts=Counts(complete=study.finished, running=study.running, goal=study.goal),
        closed=study.closed_at is not None,
        ended_by=study.ended_by,
        failure=study.failure,
        closing=study.closing_worker is not None,
    )


def forget(connection: Connection, experiment: Row[Any]) -> None:
    """Have it made anew at the end: there is more to do before."""
    if experiment.ensemble is not None:
        connection.execute(
            sql("DELETE FROM hx_ensemble WHERE experiment_id = :id"), {"id": experiment.id}
        )


def maker(connection: Connection, experiment: str) -> int | None:
    """The worker that makes an experiment's ensemble now."""
    found: int | None = connection.execute(
        sql(
            "SELECT m.worker_id FROM hx_ensemble m JOIN hx_experiment e ON e.id = m.experiment_id "
            "WHERE e.name = :name AND m.made_at IS NULL"
        ),
        {"name": experiment},
    ).scalar()
    return found


def keep_ensemble(
    storage: HyperionStorage,
    experiment_id: int,
    worker_id: int,
    *,
    selection_score: float | None,
    held_out_score: float | None,
    members: Sequence[Mapping[str, Any]] = (),
    evidence: Mapping[str, Any] | None = None,
    note: str | None = None,
) -> None:
    """Settle the ensemble that this worker had claimed; nothing if it has lost it since.

    members: {study, number, weight} each. Without scores a `note` says why there is none.
    """

    def work(connection: Connection) -> None:
        made = connection.execute(
            sql(
                "UPDATE hx_ensemble SET made_at = :at, selection_score = :selection_score, "
                "held_out_score = :held_out_score, members = :members, evidence = :evidence, "
                "note = :note WHERE experiment_id = :id AND worker_id = :worker_id "
                "AND made_at IS NULL"
            ),
            {
                "id": experiment_id,
                "worker_id": worker_id,
                "at": utc_now(),
                "selection_score": selection_score,
                "held_out_score": held_out_score,
                "members": json.dumps([dict(member) for member in members]),
                "evidence": None if evidence is None else json.dumps(dict(evidence)),
                "note": note,
            },
        ).rowcount
        if made:
            count = f"{len(members)} member{'' if len(members) == 1 else 's'}"
            score = f"{selection_score:.6g} with {count}" if selection_score is not None else note
            study_rows.add_event(
                connection,
                experiment_id,
                None,
                None,
                utc_now(),
                kind=events.EXPERIMENT,
                text=f"ensemble: {score}",
            )

    storage.database.write(work, durable=True)
