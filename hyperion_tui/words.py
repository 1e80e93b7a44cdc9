"""What the engine knows of scores and trials, in words: the same in a terminal and in the app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines.study.records import Ensemble, Evidence, Experiment, Study, TrialDetail
from engines.study.states import FINAL
from hyperion_tui import fronts, text

FEW = 4

ORDINALS = ("first", "second", "third")

SURE = 0.001
"""Below this a probability is only said to be below it: the resamples know no better."""


def interval(bounds: tuple[float, float] | None) -> str:
    """Both ends of an interval, `0.612..0.701`, or a dash."""
    return text.ABSENT if bounds is None else f"{bounds[0]:.3g}..{bounds[1]:.3g}"


def selection_interval(evidence: Evidence | None) -> str:
    """Where the selection score would lie on other rows like these, in 95 of 100 cases."""
    return interval(evidence.selection_interval if evidence else None)


def held_out_interval(evidence: Evidence | None) -> str:
    """Where the held-out score would lie on other rows like these, in 95 of 100 cases."""
    return interval(evidence.held_out_interval if evidence else None)


def probability(p: float | None) -> str:
    """`0.03`, `<0.001`, or a dash."""
    if p is None:
        return text.ABSENT
    return f"<{SURE:g}" if p < SURE else f"{p:.2g}"


def rows_used(rows: tuple[int, int] | None) -> str:
    """`4,000 of 50,000 rows` where a model takes no more, or nothing."""
    return "" if rows is None else f"{rows[0]:,} of {rows[1]:,} rows"


def certainty(evidence: Evidence | None) -> str:
    """`0.71..0.79, held-out 0.65..0.76 (95 %), p <0.001 against mean`; "" if nothing is known."""
    if evidence is None:
        return ""
    ends = [interval(evidence.selection_interval)] if evidence.selection_interval else []
    if evidence.held_out_interval is not None:
        ends.append(f"held-out {interval(evidence.held_out_interval)}")
    told = [f"{', '.join(ends)} (95 %)"] if ends else []
    if evidence.p is not None:
        p = probability(evidence.p)
        told.append(f"p {p if p.startswith('<') else f'= {p}'} against {evidence.baseline}")
    return ", ".join(told)


def members(ensemble: Ensemble, experiment: str) -> list[tuple[str, float]]:
    """(trial, weight) of each member, the heaviest first; in its own experiment by model alone."""
    heaviest_first = sorted(ensemble.members, key=lambda m: -m["weight"])
    own = f"{experiment}/"
    return [(f"{m['study'].removeprefix(own)}#{m['number']}", m["weight"]) for m in heaviest_first]


def ensemble_line(ensemble: Ensemble, experiment: str) -> str:
    """`lightgbm#4 62 %, svr#0 38 %`."""
    return ", ".join(f"{who} {weight:.0%}" for who, weight in members(ensemble, experiment))


def classes_line(classes: tuple[str, ...], most: int = 8) -> str:
    """`3 classes: a, b, c`, the first few of many."""
    shown = [name if len(name) <= 24 else f"{name[:23]}…" for name in classes[:most]]
    more = f" and {len(classes) - most} more" if len(classes) > most else ""
    return f"{len(classes)} classes: {', '.join(shown)}{more}"


# -- trials ---------------------------------------------------------------------------------------


def why_pruned(detail: TrialDetail, experiment: Experiment) -> str:
    """Why a trial was ended early, and after how much of it."""
    folds = experiment.split.get("folds") if experiment.split else None
    done = len(detail.metrics.get("folds", ()))
    after = f" after {done} of {folds} folds" if folds and done else ""
    if experiment.pruner == "racing":
        if not detail.reports:
            return f"ended{after}: the experiment's time was up"
        return f"ended early{after}: clearly behind the best trial on the same folds (racing)"
    if folds and not detail.reports:
        return f"ended{after}: the experiment's time was up"
    return f"ended early{after} (pruner {experiment.pruner})"


def training(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label, value) of what a trial's record tells of its folds, rounds, rows and time."""
    if folds := metrics.get("folds"):
        yield "folds", "  ".join(text.number(score) for score in folds)
    if objectives := metrics.get("objectives"):
        yield "metrics", "  ".join(f"{n} {text.number(x)}" for n, x in objectives.items())
    if rounds := metrics.get("rounds"):
        yield "rounds", "  ".join(str(count) for count in rounds)
    if rows := metrics.get("rows"):
        yield "rows", f"trained on {rows_used((rows[0], rows[1]))}"
    if rows := metrics.get("epoch_rows"):
        yield "epoch", f"{rows[0]:,} of {rows[1]:,} rows, drawn anew for each: all would take long"
    if cut := metrics.get("cut_short"):
        yield "cut short", f"{text.plural(cut, 'fold')}: the time was up before training was"
    if steps := metrics.get("steps"):
        yield "steps", f"{steps[0]:,} of {steps[1]:,} a seed"
    if "median_seed" in metrics:
        yield "median seed", f"the {ORDINALS[metrics['median_seed']]} of them"
    known = {"folds", "objectives", "rounds", "rows", "epoch_rows", "cut_short", "steps"}
    for name, value in metrics.items():
        if name not in known | {"median_seed"}:
            yield name, _measure(value)


def trial_lines(detail: TrialDetail, experiment: Experiment) -> Iterator[str]:
    """What is known of a trial beside its parameters and its score, line by line."""
    trial = detail.trial
    if trial.error:
        yield f"error: {trial.error}"
    if detail.same_cause > 1:
        yield f"{text.plural(detail.same_cause - 1, 'other trial')} failed for the same reason"
    if trial.state == "pruned":
        yield why_pruned(detail, experiment)
    if trial.served_from is not None:
        yield f"not run again: the same parameters as trial {trial.served_from}"
    if trial.retry_of is not None:
        yield f"a second attempt at trial {trial.retry_of}"
    for label, value in training(detail.metrics):
        yield f"{label}: {value}"
    if trial.duration_s is not None:
        yield f"duration: {text.duration(trial.duration_s)}"
    if detail.peak_memory_mib is not None:
        yield f"peak memory: {text.number(detail.peak_memory_mib)} MiB"
    if trial.seed is not None:
        yield f"seed: {trial.seed}"
    if told := labels(trial.tags, trial.note):
        yield told
    if detail.requeues:
        yield f"put back: {text.plural(detail.requeues, 'time')}"


def _measure(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "  ".join(_measure(part) for part in value)
    return text.parameter(value)


def labels(tags: Sequence[str], note: str) -> str:
    """`tags good slow; note: for Ann`, or nothing."""
    parts = [f"tags {' '.join(tags)}"] if tags else []
    return "; ".join([*parts, *([f"note: {' '.join(note.split())}"] if note else [])])


# -- experiments ----------------------------------------------------------------------------------


def remarks(experiment: Experiment) -> Iterator[str]:
    """What a table of scores has no column for: caps, ends, the ensemble, what was left out."""
    if told := labels(experiment.tags, experiment.note):
        yield f"{experiment.name}: {told}"
    for study in experiment.studies:
        if told := labels(study.tags, study.note):
            yield f"{study.model}: {told}"
        if study.rows is not None:
            yield f"{study.model}: trained on {rows_used(study.rows)}"
        if study.state == "failed" and study.counts.failed:
            yield f"{study.model}: why, trial by trial: hyperion-tui trials {study.name}"
    yield from _endings(experiment)
    ensemble = experiment.ensemble
    if ensemble is not None and ensemble.members:
        yield f"ensemble: {ensemble_line(ensemble, experiment.name)}"
    if ensemble is not None and ensemble.note:
        yield ensemble.note
    yield from left_out(experiment.left_out)
    if experiment.failure:
        yield f"{experiment.name}: {experiment.failure}"


def _endings(experiment: Experiment) -> Iterator[str]:
    """Why studies ended or have no score: a line a reason, with their models if they are few."""
    by_message: dict[str, list[Study]] = {}
    for study in experiment.studies:
        if study.message:
            by_message.setdefault(study.message, []).append(study)
    for message, studies in by_message.items():
        who = ", ".join(study.model for study in studies)
        yield f"{who if len(studies) <= FEW else f'{len(studies)} models'}: {message}"
    timely = experiment.state in FINAL and experiment.time_limit_s is not None
    untried = [s.model for s in experiment.studies if not s.counts.finished]
    if timely and untried:
        yield f"no time for a first trial: {', '.join(untried)}"


def left_out(reasons: Mapping[str, str]) -> list[str]:
    """A line a reason, with the models that it keeps out."""
    by_reason: dict[str, list[str]] = {}
    for model, reason in reasons.items():
        by_reason.setdefault(reason, []).append(model)
    return [f"left out: {', '.join(models)}: {reason}" for reason, models in by_reason.items()]


def about_study(study: Study) -> str:
    """One sentence on where a study stands and how sure its scores are."""
    written = labels(study.tags, study.note)
    told = f": {written};" if written else ":"
    if study.message:
        return f"{study.model}{told} {study.message}"
    rows = f" ({rows_used(study.rows)})" if study.rows else ""
    c = study.counts
    parts = [f"{c.complete} complete"]
    rest = (
        ("pruned", c.pruned),
        ("failed", c.failed),
        ("running", c.running),
        ("waiting", c.waiting),
    )
    parts += [f"{n} {state}" for state, n in rest if n]
    best = f", best is trial {study.best.number}" if study.best else ""
    if study.front is not None:
        best = f", {fronts.about(study)}"
    return f"{study.model}{rows}{told} {certainty(study.evidence) or ', '.join(parts)}{best}"


def about_ensemble(experiment: Experiment) -> str:
    """What the ensemble of an experiment is made of, and how sure its scores are."""
    ensemble = experiment.ensemble
    if ensemble is None:
        return ""
    sure = certainty(ensemble.evidence)
    return f"ensemble{': ' + sure if sure else ''}: {ensemble_line(ensemble, experiment.name)}"
