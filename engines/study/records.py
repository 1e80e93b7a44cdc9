"""What the store tells a reader: frozen values, safe to hand to any thread or layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.search import pareto
from engines.study.states import FINAL, Counts

BUY_AND_HOLD = 0
"""Stands for a trial's id where returns are asked for: always the largest long position."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial of a study. held_out_score is None until the study is done or stopped.

    values: by each of several metrics, the first of which is the selection score; else ().
    """

    number: int
    selection_score: float
    held_out_score: float | None
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Front:
    """The trials of a study of several metrics that no other one beats.

    maximize: of each metric, whether larger is better. points: (number, scores) by number.
    """

    maximize: tuple[bool, ...]
    points: tuple[tuple[int, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """How sure the scores of a predictor are. See `engines.run.settle` for how they came to be.

    Intervals are 95 % each. p: the probability of such a lead over `baseline` on the held-out
    rows by luck alone. trading: of an agent, see `engines.run.agents`. held_out_values: by each of
    several metrics, None for one that says nothing of predictions; {} for a single one.
    """

    selection_interval: tuple[float, float] | None = None
    held_out_interval: tuple[float, float] | None = None
    baseline: str | None = None
    p: float | None = None
    trading: Mapping[str, Any] | None = None
    held_out_values: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The greedy ensemble of an experiment's trials. members: {study, number, weight} each.

    note: why there is none, or None.
    """

    selection_score: float | None
    held_out_score: float | None
    members: tuple[dict[str, Any], ...]
    evidence: Evidence | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Study:
    """One model of one experiment, as it stands.

    name: `<experiment>/<model>`. state: see `engines.study.states`. message: why it failed or
    ended early, or why there is no held-out score. train_s: seconds spent in finished trials.
    median_s: median seconds of a finished trial, None before the first.
    evidence: of the best trial, once the held-out part was opened for it. rows: (used, there are)
    training rows of a fold, where the model takes no more than it uses; else None. planned:
    whether it was made with a plan, as those of earlier versions were not. front: of several
    metrics; the best trial is its knee then. tags, note: a person's, see `engines.study.labels`.
    """

    study_id: int
    experiment_id: int
    name: str
    model: str
    family: str
    state: str
    want: str
    counts: Counts
    best: Best | None
    message: str | None
    openings: int
    train_s: float
    median_s: float | None
    evidence: Evidence | None = None
    rows: tuple[int, int] | None = None
    planned: bool = False
    front: Front | None = None
    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A rule that learns next to nothing, scored on the same rows."""

    name: str
    selection_score: float | None
    held_out_score: float | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """What an experiment learns from."""

    name: str
    path: str | None
    sha256: str
    rows: int
    columns: int
    target: str
    time_column: str | None
    notices: tuple[str, ...]
    group_column: str | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment with its studies, as it stands.

    runner_pid: the process that drives it now, or None; `is_orphaned` then says that it should
    be running and nobody drives it.
    runner_host: its machine, where that is not this one. trouble: what its runner waits for, or
    None. eta_s: seconds to go at the present pace, None if unknown.
    ensemble: None until all studies have ended. left_out: why models that were asked for can't
    be used on these data, by model. facts: what models are bound to, see `engines.data.facts`;
    empty for an experiment of an earlier version, and for an objective of one's own.
    split: the description made when it was created. metric: its name, or several with commas
    between. maximize: whether larger scores are better, by the first.
    """

    experiment_id: int
    name: str
    created_at: str
    state: str
    task: str
    dataset: Dataset | None
    objective: dict[str, Any] | None
    metric: str
    maximize: bool
    seed: int
    split: dict[str, Any] | None
    sampler: str
    pruner: str
    workers: int
    time_limit_s: float | None
    time_used_s: float
    failure: str | None
    versions: dict[str, str]
    runner_pid: int | None
    studies: tuple[Study, ...]
    baselines: tuple[Baseline, ...] = ()
    runner_host: str | None = None
    trouble: str | None = None
    ensemble: Ensemble | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def leaks(self) -> tuple[str, ...]:
        """Columns that tell the target, a phrase each: `column 'x' equals the target 'y'`."""
        return tuple(self.facts.get("leaks", ()))

    @property
    def is_orphaned(self) -> bool:
        """Whether it should be running and no runner lives."""
        return self.runner_pid is None and self.state in ("running", "waiting", "pausing")

    @property
    def finished(self) -> int:
        """Finished trials of all studies."""
        return sum(study.counts.finished for study in self.studies)

    @property
    def goal(self) -> int | None:
        """Finished trials wanted in all, or None if a study is ended by time alone."""
        goals = [study.counts.goal for study in self.studies]
        return None if None in goals else sum(goal for goal in goals if goal is not None)

    @property
    def progress(self) -> float:
        """The used part of the budget, in [0, 1]: of trials, or of time where there is no goal."""
        if self.goal:
            return min(1.0, self.finished / self.goal)
        if self.time_limit_s:
            return min(1.0, self.time_used_s / self.time_limit_s)
        return 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds to go: missing trials at each study's median, shared by the workers.

        None where it is not known, or where nobody is at work.
        """
        if self.is_orphaned:
            return None
        missing = 0.0
        for study in self.studies:
            left = (study.counts.goal or 0) - study.counts.finished
            if left <= 0 or study.want != "run" or study.state in FINAL:
                continue
            if study.median_s is None:
                return None
            missing += left * study.median_s
        by_trials = missing / max(1, self.workers) if self.goal else None
        by_time = None if self.time_limit_s is None else self.time_limit_s - self.time_used_s
        known = [eta for eta in (by_trials, by_time) if eta is not None]
        return max(0.0, min(known)) if known else None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its metrics, most often one; the first is the selection score's."""
        return tuple(self.metric.split(","))

    @property
    def has_several(self) -> bool:
        """Whether trials are judged by several metrics."""
        return len(self.metrics) > 1

    @property
    def ranked(self) -> tuple[Study, ...]:
        """Studies from best to worst selection score; those without one last, in tree order.

        Of several metrics: by the compromise that their best trials are, as a knee is chosen.
        """
        return tuple(self.studies[at] for at in best_first(self.studies, self.maximize))


def best_first(studies: Sequence[Study], maximize: bool) -> list[int]:
    """Where the best studies of the same metrics are, from the first on; see `ranked`."""
    scored = [(at, study.best) for at, study in enumerate(studies) if study.best is not None]
    rest = [at for at, study in enumerate(studies) if study.best is None]
    front = studies[scored[0][0]].front if scored else None
    if front is not None:
        order = pareto.order([best.values for _, best in scored], front.maximize)
        return [scored[at][0] for at in order] + rest
    sign = -1.0 if maximize else 1.0
    return [at for at, _ in sorted(scored, key=lambda s: sign * s[1].selection_score)] + rest


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as tables show it. state: complete, failed, pruned, running or waiting."""

    trial_id: int
    study_id: int
    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    started_at: str | None
    finished_at: str | None
    duration_s: float | None
    worker: int | None
    seed: int | None
    error: str | None
    served_from: int | None
    retry_of: int | None
    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrialDetail:
    """Everything known about one trial. reports: (step, value) as they were reported."""

    trial: Trial
    traceback: str | None
    metrics: dict[str, Any]
    reports: tuple[tuple[int, float | None], ...]
    peak_memory_mib: float | None
    requeues: int
    same_cause: int = 0
    best_params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log. model: of the study, or None. kind: see `engines.study.events`."""

    seq: int
    at: str
    kind: str
    text: str
    study_id: int | None = None
    model: str | None = None
    trial_number: int | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that runs now, and the trial in its hands: `<model>#<number>`, or None.

    flag: what is odd about it, or None. trial_started_at: when that trial was claimed. pid with
    start_ticks and boot_id name one process of one machine, see `engines.run.process`.
    """

    worker_id: int
    slot: int
    pid: int
    started_at: str
    trial: str | None
    flag: str | None = None
    trial_started_at: str | None = None
    start_ticks: int = 0
    boot_id: str = ""
