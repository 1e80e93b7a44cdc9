"""An experiment as a document (the JSON of `run`, `show` and `list`), and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engines.analysis import agents
from engines.study.records import (
    Baseline,
    Ensemble,
    Evidence,
    Experiment,
    Front,
    Study,
    Trial,
    TrialDetail,
)

BEATS = 0.01
"""A lead over the baseline on held-out rows counts when luck alone gives it less often."""

ParamsOf = Callable[[Study], dict[str, Any]]


def experiment_document(experiment: Experiment, params_of: ParamsOf | None) -> dict[str, Any]:
    """The experiment as plain data. params_of: best parameters of a study; None leaves them out."""
    data = experiment.dataset
    return {
        "experiment": experiment.name,
        "id": experiment.experiment_id,
        "state": experiment.state,
        "runner": experiment.runner_pid,
        "trouble": experiment.trouble,
        "created_at": experiment.created_at,
        "task": experiment.task,
        "data": {
            "name": data.name if data else None,
            "sha256": data.sha256 if data else None,
            "rows": data.rows if data else None,
            "columns": data.columns if data else None,
            "target": data.target if data else None,
            "time_column": data.time_column if data else None,
            "group_column": data.group_column if data else None,
            "classes": list(data.classes) if data else [],
            "notices": list(data.notices) if data else [],
        },
        "objective": experiment.objective,
        "split": experiment.split,
        "metric": experiment.metric,
        "direction": "maximize" if experiment.maximize else "minimize",
        **_metrics(experiment),
        "seed": experiment.seed,
        "workers": experiment.workers,
        "time_used_s": experiment.time_used_s,
        "eta_s": experiment.eta_s,
        "studies": [
            _study_document(study, params_of, experiment.metrics) for study in experiment.ranked
        ],
        "baselines": [_baseline_document(baseline) for baseline in experiment.baselines],
        "ensemble": _ensemble_document(experiment.ensemble),
        "ensemble_note": experiment.ensemble.note if experiment.ensemble else None,
        **_luck(experiment),
        "left_out": dict(experiment.left_out),
        "verdict": verdict(experiment),
        "tags": list(experiment.tags),
        "note": experiment.note or None,
    }


def _luck(experiment: Experiment) -> dict[str, Any]:
    """Of agents: what the best one is worth with the trials of all studies counted."""
    if experiment.task != "trading":
        return {}
    leader = experiment.ranked[0]
    return {"luck": {name: agents.of_all(experiment, leader).get(name) for name in agents.LUCK}}


def _metrics(experiment: Experiment) -> dict[str, Any]:
    """Of several metrics: each with its direction, the one of the selection score first."""
    front = experiment.studies[0].front if experiment.studies else None
    if front is None:
        return {}
    ways = ["maximize" if up else "minimize" for up in front.maximize]
    return {"metrics": dict(zip(experiment.metrics, ways, strict=True))}


def _front(front: Front | None, metrics: Sequence[str]) -> dict[str, Any]:
    """Of several metrics: the numbers of the trials that no other one beats, and their scores."""
    if front is None:
        return {}
    points = [
        {"number": number, "values": dict(zip(metrics, scores, strict=True))}
        for number, scores in front.points
    ]
    return {"pareto": [number for number, _ in front.points], "front": points}


def _study_document(
    study: Study, params_of: ParamsOf | None, metrics: Sequence[str]
) -> dict[str, Any]:
    counts = study.counts
    best: dict[str, Any] | None = None
    if study.best is not None:
        best = {
            "number": study.best.number,
            "selection_score": study.best.selection_score,
            "held_out_score": study.best.held_out_score,
        }
        if study.front is not None:
            best["values"] = dict(zip(metrics, study.best.values, strict=True))
        if params_of is not None:
            best["params"] = params_of(study)
    return {
        "study": study.name,
        "model": study.model,
        "family": study.family,
        "state": study.state,
        "message": study.message,
        "trials": {
            "complete": counts.complete,
            "failed": counts.failed,
            "pruned": counts.pruned,
            "running": counts.running,
            "waiting": counts.waiting,
            "goal": counts.goal,
        },
        "best": best,
        **_front(study.front, metrics),
        "evidence": _evidence_document(study.evidence),
        "rows": list(study.rows) if study.rows else None,
        "held_out_openings": study.openings,
        "seconds": study.train_s,
        "tags": list(study.tags),
        "note": study.note or None,
    }


def _evidence_document(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {
        "selection_interval": evidence.selection_interval,
        "held_out_interval": evidence.held_out_interval,
        "baseline": evidence.baseline,
        "p_beats_baseline": evidence.p,
        **({"trading": dict(evidence.trading)} if evidence.trading else {}),
        **({"held_out_values": dict(evidence.held_out_values)} if evidence.held_out_values else {}),
    }


def _ensemble_document(ensemble: Ensemble | None) -> dict[str, Any] | None:
    if ensemble is None or ensemble.selection_score is None:
        return None
    return {
        "selection_score": ensemble.selection_score,
        "held_out_score": ensemble.held_out_score,
        "members": list(ensemble.members),
        "evidence": _evidence_document(ensemble.evidence),
    }


def _baseline_document(baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.name,
        "selection_score": baseline.selection_score,
        "held_out_score": baseline.held_out_score,
    }


def trial_document(trial: Trial) -> dict[str, Any]:
    """A trial as plain data."""
    return {
        "number": trial.number,
        "state": trial.state,
        "value": trial.value,
        "params": trial.params,
        "started_at": trial.started_at,
        "finished_at": trial.finished_at,
        "duration_s": trial.duration_s,
        "worker": trial.worker,
        "seed": trial.seed,
        "error": trial.error,
        "served_from": trial.served_from,
        "retry_of": trial.retry_of,
        "tags": list(trial.tags),
        "note": trial.note or None,
    }


def trial_detail_document(detail: TrialDetail) -> dict[str, Any]:
    """All that is known of a trial: what `trial_document` tells, its folds, rounds and reports."""
    return {
        **trial_document(detail.trial),
        "metrics": detail.metrics,
        "reports": [list(report) for report in detail.reports],
        "peak_memory_mib": detail.peak_memory_mib,
        "requeues": detail.requeues,
        "same_cause": detail.same_cause,
        "traceback": detail.traceback,
    }


def best_baseline(experiment: Experiment) -> Baseline | None:
    """The baseline with the best selection score."""
    scored = [b for b in experiment.baselines if b.selection_score is not None]
    sign = -1.0 if experiment.maximize else 1.0
    return min(scored, key=lambda b: sign * (b.selection_score or 0.0), default=None)


def verdict(experiment: Experiment) -> str:
    """One sentence on what the experiment has found, and nothing that it has not."""
    if experiment.task == "trading":
        return agents.verdict(experiment)
    leader = experiment.ranked[0] if experiment.studies else None
    if leader is None or leader.best is None:
        return "No trial has completed."
    score, metric = leader.best.selection_score, experiment.metrics[0]
    others = other_scores(experiment, leader)
    baseline = best_baseline(experiment)
    compared = ""
    if baseline is not None and baseline.selection_score is not None:
        rival = baseline.selection_score
        if not (score > rival if experiment.maximize else score < rival):
            return (
                f"No model beats the baseline: {baseline.name} has {metric} {rival:.4g}, "
                f"{leader.model} {score:.4g}{others}."
            )
        compared = f"; the best baseline ({baseline.name}) has {rival:.4g}"
    evidence = leader.evidence
    if evidence is not None and evidence.p is not None and evidence.p >= BEATS:
        return (
            f"No model beats the baseline: the lead of {leader.model} over {evidence.baseline} on "
            f"held-out data may be luck (p = {evidence.p:.2g})."
        )
    over = "so far leads" if experiment.state in ("running", "pausing", "paused") else "leads"
    held_out = ""
    if leader.best.held_out_score is not None:
        held_out = f", {leader.best.held_out_score:.4g} on held-out data"
        if evidence is not None and evidence.p is not None:
            held_out += f" (better than {evidence.baseline}: p {_p(evidence.p)})"
    if leader.front is not None:
        count = len(leader.front.points)
        return (
            f"{leader.model} is proposed with {metric} {score:.4g}{others} in selection{held_out}"
            f"{compared}: the knee of {count} trial{'' if count == 1 else 's'} that none beats"
            f"{_look_first(experiment)}."
        )
    return (
        f"{leader.model} {over} with {metric} {score:.4g} in selection{held_out}{compared}"
        f"{_look_first(experiment)}."
    )


def _look_first(experiment: Experiment) -> str:
    """`; but column 'x' equals the target 'y': look there first`, or nothing."""
    if not experiment.leaks:
        return ""
    first, *others = experiment.leaks
    more = f" (and {len(others)} more)" if others else ""
    return f"; but {first}{more}: look there first"


def other_scores(experiment: Experiment, study: Study) -> str:
    """`, fit_time 0.21` of several metrics, or nothing."""
    values = study.best.values if study.best is not None else ()
    pairs = list(zip(experiment.metrics, values, strict=False))[1:]
    return "".join(f", {name} {value:.4g}" for name, value in pairs)


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 0.001 else "< 0.001"
