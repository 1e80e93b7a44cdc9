"""What is kept back of an experiment's time for what comes after the search.

A study that has ended is settled: its best predictor is loaded, or trained once more where rows
have an order, and scored on the held-out part with its intervals. The ensemble comes last. Under
a time limit all of that belongs to the time that was asked for, so the search ends earlier by as
much as it is expected to take: a pure function of what the store says, the same for the runner,
which ends the search, and for whoever claims a trial before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.study.plain import Connection

STUDY_S = 0.035
"""For one study of few rows, whatever its model, with its claim."""

ROW_S = 2e-6
RANKED_ROW_S = 5e-5
"""For each row that the intervals of a score are drawn from; the second for a score that sorts."""

RANKED = ("roc_auc",)

LOADED = 0.05
"""Loading the fold models of a trial and predicting with them, as a part of what it took."""

ENSEMBLE_S, ENSEMBLE_ROW_S = 0.35, 3e-5
MEMBERS = 4
"""The best trials of so many studies stand for all members, most of which are cheaper."""

WINDOWS, HOLDOUT = 2.0, 1.25
"""The search part, which a study of ordered rows learns from when it is settled, in lengths of the
mean window before it; of the only one, where a fifth was left out."""

MOST = 0.4
"""Of the time that was asked for. However much there is to settle, there is time to search."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A study that has a score. value: its best; seconds: what that trial took.

    capped: whether its model takes fewer rows than a fold has. settled: whether its end is.
    """

    value: float
    seconds: float
    capped: bool = False
    settled: bool = False


def best_trials(way: str, experiment: str) -> str:
    """The statement for `scored`. way: ASC or DESC; experiment: the mark of its one value."""
    return (
        "SELECT t.value, t.duration_s, s.plan, s.closed_at FROM hx_study s JOIN hx_trial t "
        "ON t.trial_id = (SELECT b.trial_id FROM hx_trial b WHERE b.study_id = s.study_id "
        "AND coalesce(b.state, '') = 'COMPLETE' AND b.value IS NOT NULL "
        f"AND b.served_from IS NULL ORDER BY b.value {way} LIMIT 1) "
        f"WHERE s.experiment_id = {experiment} AND s.plan IS NOT NULL AND s.failure IS NULL "
        "AND s.want IN ('run', 'stop')"
    )


def scored(rows: Iterable[Sequence[Any]], parse: Callable[[Any], Any]) -> list[Scored]:
    """The rows of `best_trials`. parse: what makes a JSON column a value."""
    return [
        Scored(value, seconds or 0.0, _is_capped(parse(plan)), closed_at is not None)
        for value, seconds, plan, closed_at in rows
    ]


def _is_capped(plan: Mapping[str, Any]) -> bool:
    used, there = plan.get("rows") or (0, 0)
    return bool(used < there)


def settling_s(
    studies: Sequence[Scored],
    split: Mapping[str, Any] | None,
    *,
    metric: str,
    maximize: bool,
    workers: int,
) -> float:
    """Seconds from the end of the search to that of the experiment; 0.0 before the first score.

    split: its description in the store; None for an objective of the user's own, which has no
    held-out part. Studies are settled by all workers at once, the ensemble is made by one.
    """
    if split is None or not studies:
        return 0.0
    rows = _drawn_rows(split)
    intervals_s = rows * (RANKED_ROW_S if metric.split(",")[0] in RANKED else ROW_S)
    ends = [STUDY_S + intervals_s + _predictor_s(s, split) for s in studies if not s.settled]
    settled_s = max([sum(ends) / max(1, workers), *ends]) if ends else 0.0
    leaders = sorted(studies, key=lambda s: s.value, reverse=maximize)[:MEMBERS]
    members_s = sum(_predictor_s(s, split) for s in leaders)
    return settled_s + ENSEMBLE_S + rows * ENSEMBLE_ROW_S + intervals_s + members_s


def settling_now_s(connection: Connection, experiment_id: int) -> float:
    """`settling_s` of an experiment as it stands; 0.0 if it is gone."""
    head = connection.execute(
        "SELECT split, metric, direction, workers FROM hx_experiment WHERE id = ?",
        (experiment_id,),
    ).fetchone()
    if head is None or head["split"] is None:
        return 0.0
    maximize = head["direction"] == "maximize"
    question = best_trials("DESC" if maximize else "ASC", "?")
    return settling_s(
        scored(connection.execute(question, (experiment_id,)).fetchall(), json.loads),
        json.loads(head["split"]),
        metric=head["metric"],
        maximize=maximize,
        workers=head["workers"],
    )


def _drawn_rows(split: Mapping[str, Any]) -> float:
    """The rows that are scored: each fold's, and the held-out ones."""
    folds, held_out = split["folds"], split["held_out_rows"]
    part = 1 / 5 if folds == 1 else folds / (folds + 1) if split["ordered"] else 1.0
    return float(held_out + part * split["search_rows"])


def _predictor_s(study: Scored, split: Mapping[str, Any]) -> float:
    # Agents, whose split tells their steps, are kept and not trained again.
    if not split["ordered"] or "steps" in split:
        return LOADED * study.seconds
    growth = 1.0 if study.capped else WINDOWS if split["folds"] > 1 else HOLDOUT
    return float(study.seconds / split["folds"] * growth)


def search_limit_s(limit_s: float, settling_s: float) -> float:
    """The part of a time limit that is for the search, in seconds from its beginning."""
    return limit_s - min(settling_s, MOST * limit_s)


def limit_with(search_s: float, settling_s: float) -> float:
    """The time limit of which `search_limit_s` leaves `search_s`."""
    return min(search_s + settling_s, search_s / (1 - MOST))
