"""From rows of the database to the records that readers hand out."""

from __future__ import annotations

import functools
import json
import sys
from array import array
from dataclasses import replace
from typing import Any

from engines.study.fronts import best_of
from engines.study.records import (
    Baseline,
    Best,
    Dataset,
    Ensemble,
    Evidence,
    Experiment,
    Front,
    Study,
    Trial,
)
from engines.study.states import (
    FINAL,
    TRIAL_WORDS,
    Counts,
    awaits_ensemble,
    experiment_state,
    study_state,
)
from engines.study.tallies import Tally


def experiment_of(
    row: Any,
    studies: tuple[Study, ...],
    baselines: tuple[Baseline, ...],
    ensemble: Ensemble | None,
    dataset: Dataset | None,
    runner: tuple[int, str | None] | None,
    trouble: str | None,
) -> Experiment:
    """An experiment with what belongs to it, from its row of `hx_experiment`."""
    pid, host = runner or (None, None)
    states = [study.state for study in studies]
    pending = row["failure"] is None and awaits_ensemble(
        states,
        wanted=row["dataset_id"] is not None
        and row["objective"] is None
        and any(study.planned for study in studies),
        made=ensemble is not None,
    )
    state = experiment_state(states, row["failure"], awaits_ensemble=pending)
    return Experiment(
        experiment_id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        state=state,
        task=row["task"],
        dataset=dataset,
        objective=json.loads(row["objective"]) if row["objective"] else None,
        metric=row["metric"],
        maximize=row["direction"] == "maximize",
        seed=row["seed"],
        split=json.loads(row["split"]) if row["split"] else None,
        sampler=row["sampler"],
        pruner=row["pruner"],
        workers=row["workers"],
        time_limit_s=row["time_limit_s"],
        time_used_s=row["time_used_s"],
        failure=row["failure"],
        versions=json.loads(row["versions"]),
        runner_pid=pid,
        runner_host=host,
        # A runner looks for room once a second: what has ended waits for nothing.
        trouble=None if state in FINAL else trouble,
        studies=studies,
        baselines=baselines,
        ensemble=ensemble,
        left_out=json.loads(row["left_out"]) if row["left_out"] else {},
        facts=json.loads(row["facts"]) if row["facts"] else {},
    )


def ensemble_of(row: Any) -> Ensemble:
    """An ensemble from its row."""
    return Ensemble(
        selection_score=row["selection_score"],
        held_out_score=row["held_out_score"],
        members=tuple(json.loads(row["members"] or "[]")),
        evidence=evidence_of(row["evidence"]),
        note=row["note"],
    )


def evidence_of(stored: str | None) -> Evidence | None:
    """Evidence from its JSON, or None where there is none."""
    if stored is None:
        return None
    found = json.loads(stored)
    selection, held_out = found.get("selection_interval"), found.get("held_out_interval")
    return Evidence(
        selection_interval=tuple(selection) if selection else None,
        held_out_interval=tuple(held_out) if held_out else None,
        baseline=found.get("baseline"),
        p=found.get("p_beats_baseline"),
        trading=found.get("trading"),
        held_out_values=found.get("held_out_values", {}),
    )


def capped_rows(plan: str | None) -> tuple[int, int] | None:
    """(used, there are) training rows of a fold from a study's plan, or None if all are used."""
    used, there = (json.loads(plan).get("rows") if plan else None) or (0, 0)
    return (used, there) if used < there else None


def study_of(
    row: Any,
    tally: Tally,
    frozen: int = 0,
    front: Front | None = None,
) -> Study:
    """A study from its row, with Optuna's `study_name`. frozen: jobs that stand still.

    front: where it has several metrics.
    """
    counts = Counts(**{w: tally.counts[s] for s, w in TRIAL_WORDS.items()}, goal=row["goal"])
    best = None if tally.best is None else Best(*tally.best, None)
    if front is not None:
        best = best_of(front)
    closed = row["closed_at"] is not None
    state = study_state(
        want=row["want"],
        counts=counts,
        closed=closed,
        ended_by=row["ended_by"],
        failure=row["failure"],
        closing=row["closing_worker"] is not None,
        frozen=frozen,
    )
    opened = state in ("done", "stopped") and best and row["held_out_number"] == best.number
    if best is not None and opened:
        best = replace(best, held_out_score=row["held_out_score"])
    return Study(
        study_id=row["study_id"],
        experiment_id=row["experiment_id"],
        name=row["study_name"],
        model=row["model"],
        family=row["family"],
        state=state,
        want=row["want"],
        counts=counts,
        best=best,
        message=row["failure"] or row["ended_by"] or row["held_out_note"],
        openings=row["openings"],
        train_s=tally.train_s,
        median_s=tally.median_s,
        evidence=evidence_of(row["evidence"]) if opened else None,
        rows=capped_rows(row["plan"]),
        planned=row["plan"] is not None,
        front=front,
    )


def trial_of(row: Any, params: dict[str, Any]) -> Trial:
    """A trial from its row, with the slot of its worker."""
    error = None
    if row["error_class"] is not None:
        error = f"{row['error_class']}: {row['error_message'] or ''}".rstrip(": ")
    return Trial(
        trial_id=row["trial_id"],
        study_id=row["study_id"],
        number=row["number"],
        state=TRIAL_WORDS[row["state"]],
        value=row["value"],
        params=params,
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        duration_s=row["duration_s"],
        worker=row["slot"],
        seed=row["seed"],
        error=error,
        served_from=row["served_from"],
        retry_of=row["retry_of"],
    )


def external(value: float, distribution_json: str) -> Any:
    """A parameter as its user wrote it, from Optuna's number and its distribution."""
    kind, choices = distribution(distribution_json)
    if choices is not None:
        return choices[int(value)]
    return int(value) if kind.startswith("Int") else value


@functools.lru_cache(maxsize=4096)
def distribution(distribution_json: str) -> tuple[str, list[Any] | None]:
    """Its name, and the choices of a categorical one. Thousands of rows repeat a few of them."""
    distribution = json.loads(distribution_json)
    return distribution["name"], distribution["attributes"].get("choices")


def returns_of(seeds: int, content: bytes) -> list[array[float]]:
    """The returns of each seed, as `engines.study.returns` keeps them; NumPy is not needed."""
    values = array("f", content)
    if sys.byteorder == "big":
        values.byteswap()
    bars = len(values) // seeds
    return [values[at * bars : (at + 1) * bars] for at in range(seeds)]
