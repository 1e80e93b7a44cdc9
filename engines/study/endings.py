"""How studies and experiments end in the store: held-out scores, evidence, the ensemble."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row

from engines.clock import utc_now
from engines.study import events, fronts, study_rows
from engines.study.database import sql
from engines.study.storage import HyperionStorage


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What settling the end of a study found.

    score, number: the held-out score and the trial it belongs to, or None with a `note` that says
    why there is none. opened: whether the held-out part was looked at for this. evidence: see
    `engines.run.settle`.
    """

    score: float | None
    number: int | None
    note: str | None = None
    opened: bool = False
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The best complete trial of a study as far as its predictor needs it.

    values: by each of several metrics; else ().
    """

    study_id: int
    model: str
    number: int
    trial_id: int
    value: float
    seed: int
    metrics: dict[str, Any]
    duration_s: float
    values: tuple[float, ...] = ()


def best_trials(storage: HyperionStorage, study_id: int, limit: int = 1) -> list[BestTrial]:
    """The best complete trials of a study, the best first and the earliest among equals.

    Of several metrics: the knee of their front, alone.
    """

    def work(connection: Connection) -> list[BestTrial]:
        maximize = several_metrics(connection, study_id)
        if maximize is not None:
            return _knee(connection, study_id, maximize)
        head = connection.execute(
            sql(
                "SELECT s.model, e.direction FROM hx_study s "
                "JOIN hx_experiment e ON e.id = s.experiment_id WHERE s.study_id = :id"
            ),
            {"id": study_id},
        ).one()
        order = "DESC" if head.direction == "maximize" else "ASC"
        rows = connection.execute(
            sql(
                f"SELECT {_BEST} FROM hx_trial "
                "WHERE study_id = :id AND state = 'COMPLETE' AND value IS NOT NULL "
                f"AND served_from IS NULL ORDER BY value {order}, number LIMIT :limit"
            ),
            {"id": study_id, "limit": limit},
        ).all()
        return [_best_trial(study_id, head.model, row) for row in rows]

    return storage.database.read(work)


def several_metrics(connection: Connection, study_id: int) -> tuple[bool, ...] | None:
    """Which of several metrics are maximised; None where there is one."""
    found = connection.execute(sql(fronts.directions(":id")), {"id": study_id}).all()
    return fronts.maximized([tuple(row) for row in found]) if len(found) > 1 else None


def scores(connection: Connection, study_id: int, metrics: int) -> fronts.Points:
    """The scores of complete trials in so many metrics, by number."""
    found = connection.execute(sql(fronts.values(":id")), {"id": study_id}).all()
    return fronts.points_of([tuple(row) for row in found], metrics)


def _knee(connection: Connection, study_id: int, maximize: tuple[bool, ...]) -> list[BestTrial]:
    front = fronts.front_of(scores(connection, study_id, len(maximize)), maximize)
    found = fronts.knee_of(front)
    if found is None:
        return []
    return [replace(_trial_of(connection, study_id, found[0]), values=found[1])]


def best_of_studies(storage: HyperionStorage, experiment_id: int, limit: int) -> list[BestTrial]:
    """The best trial of each of the best studies of an experiment, the best study first."""

    def work(connection: Connection) -> list[BestTrial]:
        maximize = (
            connection.execute(
                sql("SELECT direction FROM hx_experiment WHERE id = :id"), {"id": experiment_id}
            ).scalar_one()
            == "maximize"
        )
        way, least = ("DESC", "max") if maximize else ("ASC", "min")
        rows = connection.execute(
            sql(
                f"SELECT t.study_id, s.model, {least}(t.value) AS best FROM hx_study s "
                "JOIN hx_trial t ON t.study_id = s.study_id "
                "WHERE s.experiment_id = :id AND t.state = 'COMPLETE' AND t.value IS NOT NULL "
                f"GROUP BY t.study_id, s.model ORDER BY best {way} LIMIT :limit"
            ),
            {"id": experiment_id, "limit": limit},
        ).all()
        found = []
        for row in rows:
            trial = connection.execute(
                sql(
                    f"SELECT {_BEST} FROM hx_trial WHERE study_id = :id AND state = 'COMPLETE' "
                    "AND value = :value ORDER BY number LIMIT 1"
                ),
                {"id": row.study_id, "value": row.best},
            ).one()
            found.append(_best_trial(row.study_id, row.model, trial))
        return found

    return storage.database.read(work)


def trial_of(storage: HyperionStorage, study_id: int, number: int) -> BestTrial:
    """A complete trial by its number. Raises KeyError if there is none."""

    return storage.database.read(lambda c: _trial_of(c, study_id, number))


def _trial_of(connection: Connection, study_id: int, number: int) -> BestTrial:
    row = connection.execute(
        sql(
            "SELECT t.*, s.model FROM hx_trial t JOIN hx_study s ON s.study_id = t.study_id "
            "WHERE t.study_id = :id AND t.number = :number AND t.value IS NOT NULL"
        ),
        {"id": study_id, "number": number},
    ).first()
    if row is None:
        raise KeyError(f"study {study_id} has no complete trial {number}")
    return _best_trial(study_id, row.model, row)


_BEST = "number, trial_id, value, seed, metrics, duration_s"


def _best_trial(study_id: int, model: str, row: Row[Any]) -> BestTrial:
    return BestTrial(
        study_id,
        model,
        row.number,
        row.trial_id,
        float(row.value),
        int(row.seed or 0),
        _plain(row.metrics) or {},
        float(row.duration_s or 0.0),
    )


def _plain(found: Any) -> Any:
    """Plain SQL gives JSON as text on SQLite and as objects on PostgreSQL."""
    return json.loads(found) if isinstance(found, str) else found


def last_failure(storage: HyperionStorage, study_id: int) -> str | None:
    """Why the latest failed trial of a study failed, or None if none did."""
    row = storage.database.read(
        lambda c: c.execute(
            sql(
                "SELECT number, error_class, error_message FROM hx_trial WHERE study_id = :id "
                "AND state = 'FAIL' ORDER BY number DESC LIMIT 1"
            ),
            {"id": study_id},
        ).first()
    )
    if row is None:
        return None
    return f"trial {row.number} failed: {row.error_class}: {row.error_message}"


def held_out_before(
    storage: HyperionStorage, study_id: int, number: int
) -> tuple[float, dict[str, Any] | None] | None:
    """(score, evidence) if the held-out part was opened for this very trial before."""
    row = storage.database.read(
        lambda c: c.execute(
            sql(
                "SELECT held_out_score, evidence FROM hx_study WHERE study_id = :id "
                "AND held_out_number = :number AND held_out_score IS NOT NULL"
            ),
            {"id": study_id, "number": number},
        ).first()
    )
    return None if row is None else (row.held_out_score, _plain(row.evidence))


def close_study(storage: HyperionStorage, study_id: int, worker_id: int, found: HeldOut) -> None:
    """Settle the end of a study that this worker had claimed."""

    def work(connection: Connection) -> None:
        study = connection.execute(
            sql("SELECT * FROM hx_study WHERE study_id = :id"), {"id": study_id}
        ).one_or_none()
        if study is None or study.closing_worker != worker_id or study.want == "cancel":
            return
        if study.closed_at is not None:  # by this worker, and the server's answer got lost
            return
        # Nothing completed: a failure if anything was tried, and no news if time came first.
        tried = connection.execute(
            sql("SELECT 1 FROM hx_trial WHERE study_id = :id AND state IN ('FAIL', 'PRUNED')"),
            {"id": study_id},
        ).first()
        timely = study.ended_by is None or tried is not None
        lost = found.number is None and study.want == "run" and timely
        connection.execute(
            sql(
                "UPDATE hx_study SET closed_at = :at, held_out_score = :score, "
                "held_out_number = :number, held_out_note = :note, openings = :openings, "
                "evidence = :evidence, failure = :failure WHERE study_id = :id"
            ),
            {
                "at": utc_now(),
                "score": found.score,
                "number": found.number,
                "note": found.note,
                "openings": study.openings + int(found.opened),
                "evidence": None if found.evidence is None else json.dumps(found.evidence),
                "failure": found.note if lost else study.failure,
                "id": study_id,
            },
        )
        said = f"{found.note}"
        if found.score is not None:
            said = f"held-out {found.score:.6g} for trial {found.number}"
        study_rows.add_event(
            connection,
            study.experiment_id,
            study_id,
            None,
            utc_now(),
            kind=events.STUDY,
            text=f"finished: {said}",
        )

    storage.database.write(work, durable=found.number is not None)


def closed_studies(storage: HyperionStorage, experiment_id: int) -> list[tuple[int, str]]:
    """(id, model) of the studies of an experiment that may have something for its ensemble."""
    return storage.database.read(
        lambda c: [
            (row.study_id, row.model)
            for row in c.execute(
                sql(
                    "SELECT study_id, model FROM hx_study WHERE experiment_id = :id "
                    "AND want <> 'cancel' ORDER BY position"
                ),
                {"id": experiment_id},
            )
        ]
    )


def best_baseline(
    storage: HyperionStorage, experiment_id: int, among: Collection[str] | None = None
) -> str | None:
    """The baseline with the best selection score, or None. among: only one of these names."""

    def work(connection: Connection) -> str | None:
        rows = connection.execute(
            sql(
                "SELECT b.name, b.selection_score, e.direction FROM hx_baseline b "
                "JOIN hx_experiment e ON e.id = b.experiment_id "
                "WHERE b.experiment_id = :id AND b.selection_score IS NOT NULL ORDER BY b.id"
            ),
            {"id": experiment_id},
        ).all()
        sign = -1.0 if rows and rows[0].direction == "maximize" else 1.0
        known = [row for row in rows if among is None or row.name in among]
        best = min(known, key=lambda row: sign * row.selection_score, default=None)
        return None if best is None else str(best.name)

    return storage.database.read(work)


def add_note(storage: HyperionStorage, experiment_id: int, study_id: int, text: str) -> None:
    """An event of a study."""
    storage.database.write(
        lambda c: study_rows.add_event(
            c, experiment_id, study_id, None, utc_now(), kind=events.STUDY, text=text
        )
    )
