"""What a claim knows of the studies of an experiment, from a few rows each.

Nothing here reads all the trials of a study: the best scores and the latest durations are the ends
of indexes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from engines.search.allocation import StudyView, loading_s, view_plan
from engines.study import reserve
from engines.study.database import sql

RECENT = 5
"""So many of a study's latest trials say what the next one takes."""


def _score(place: int, way: str) -> str:
    # Inside a function the state can't be looked up in an index: it shall only filter what the
    # index on the value finds in its order.
    return (
        "(SELECT t.value FROM hx_trial t WHERE t.study_id = s.study_id "
        "AND coalesce(t.state, '') = 'COMPLETE' AND t.value IS NOT NULL "
        f"ORDER BY t.value {way} LIMIT 1 OFFSET {place})"
    )


_SCORES = {
    direction: sql(
        f"SELECT s.study_id, {_score(0, way)} AS best, {_score(1, way)} AS second, "
        f"{_score(4, way)} AS fifth, "
        "(SELECT t.duration_s FROM hx_trial t WHERE t.study_id = s.study_id AND t.number = 0 "
        "AND t.state = 'COMPLETE' AND t.served_from IS NULL) AS first_s, "
        "(SELECT avg(r.duration_s) FROM (SELECT t.duration_s FROM hx_trial t "
        "WHERE t.study_id = s.study_id AND t.duration_s IS NOT NULL AND t.served_from IS NULL "
        "AND coalesce(t.state, '') IN ('COMPLETE', 'PRUNED') "
        f"ORDER BY t.number DESC LIMIT {RECENT}) r) AS recent_s "
        "FROM hx_study s WHERE s.experiment_id = :id"
    )
    for direction, way in (("maximize", "DESC"), ("minimize", "ASC"))
}


_BEST_TRIALS = {
    direction: sql(reserve.best_trials(way, ":id"))
    for direction, way in (("maximize", "DESC"), ("minimize", "ASC"))
}


def as_data(column: Any) -> Any:
    """A JSON column: SQLite answers its text, a server what it means. Never change it."""
    return _parsed(column) if isinstance(column, str) else column


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    return json.loads(text)


def seconds_left(experiment: Row[Any]) -> float | None:
    """What is left of an experiment's time, as far as its runner has accounted for it."""
    if experiment.time_limit_s is None:
        return None
    left: float = experiment.time_limit_s - experiment.time_used_s
    return left


def seconds_to_search(connection: Connection, experiment: Row[Any]) -> float | None:
    """`seconds_left` without what settling the studies and the ensemble will take."""
    left = seconds_left(experiment)
    if left is None:
        return None
    found = connection.execute(_BEST_TRIALS[experiment.direction], {"id": experiment.id})
    settling = reserve.settling_s(
        reserve.scored([tuple(row) for row in found], as_data),
        as_data(experiment.split),
        metric=experiment.metric,
        maximize=experiment.direction == "maximize",
        workers=experiment.workers,
    )
    limit: float = experiment.time_limit_s
    return left - limit + reserve.search_limit_s(limit, settling)


def may_run(study: Row[Any]) -> bool:
    """Whether a study may get another trial."""
    if study.gone or study.want != "run" or study.failure is not None or study.ended_by is not None:
        return False
    return study.goal is None or study.finished + study.running < study.goal


def views_of(
    connection: Connection,
    experiment: Row[Any],
    studies: Sequence[Row[Any]],
    loaded: Collection[str],
) -> dict[int, StudyView]:
    """The studies as `engines.search.allocation` judges them, by id, in their order.

    Scores and durations are read under a time limit only. loaded: families that the asking worker
    has imported.
    """
    scores: dict[int, Any] = {}
    if experiment.time_limit_s is not None:
        found = connection.execute(_SCORES[experiment.direction], {"id": experiment.id})
        scores = {row.study_id: row for row in found}
    return {study.study_id: _view(study, scores.get(study.study_id), loaded) for study in studies}


def _view(study: Row[Any], scores: Any, loaded: Collection[str]) -> StudyView:
    known: dict[str, Any] = view_plan(as_data(study.plan))
    if scores is not None:
        names = ("best", "second", "fifth", "first_s", "recent_s")
        known |= {name: getattr(scores, name) for name in names}
    return StudyView(
        study_id=study.study_id,
        is_open=may_run(study),
        goal=study.goal,
        finished=study.finished,
        running=study.running,
        waiting=study.waiting,
        loading_s=loading_s(study.family, loaded),
        **known,
    )
