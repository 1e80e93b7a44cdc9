"""What agents earned bar by bar on the validation bars: kept for every trial, pruned ones too.

Skill is told from luck by all that was tried, so these go into the store with the end of their
trial and not beside it with what the best trials leave behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from engines.study.database import Database, sql


@dataclass(frozen=True, slots=True)
class Tried:
    """The returns of a finished trial: float32, little-endian, `seeds` rows one after another."""

    study_id: int
    number: int
    seeds: int
    content: bytes


def keep(
    connection: Connection, experiment_id: int, trial_id: int, seeds: int, content: bytes
) -> None:
    """Write the returns of a trial; those of an earlier attempt at it are replaced."""
    connection.execute(
        sql(
            "INSERT INTO hx_returns (experiment_id, trial_id, seeds, content) "
            "VALUES (:experiment_id, :trial_id, :seeds, :content) "
            "ON CONFLICT (experiment_id, trial_id) DO UPDATE "
            "SET seeds = excluded.seeds, content = excluded.content"
        ),
        {
            "experiment_id": experiment_id,
            "trial_id": trial_id,
            "seeds": seeds,
            "content": content,
        },
    )


def tried(database: Database, study_ids: Sequence[int]) -> list[Tried]:
    """The complete and the pruned trials of some studies that were trained, in their order.

    Left out are those served from the record, which tried nothing new, and those that ended
    before their first report.
    """

    def work(connection: Connection) -> list[Tried]:
        return [
            Tried(study_id, row.number, row.seeds, bytes(row.content))
            for study_id in study_ids
            for row in connection.execute(
                sql(
                    "SELECT t.number, r.seeds, r.content FROM hx_trial t "
                    "JOIN hx_study s ON s.study_id = t.study_id "
                    "JOIN hx_returns r ON r.experiment_id = s.experiment_id "
                    "AND r.trial_id = t.trial_id WHERE t.study_id = :id "
                    "AND t.state IN ('COMPLETE', 'PRUNED') AND t.served_from IS NULL "
                    "ORDER BY t.number"
                ),
                {"id": study_id},
            )
        ]

    return database.read(work)
