"""Studies side by side, and whether they may be ranked against each other at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.study.records import Baseline, Ensemble, Experiment, Study, best_first

Pair = tuple[Experiment, Study]


@dataclass(frozen=True, slots=True)
class Group:
    """Studies that answer the same question: same data, split, task and metric.

    ensembles: those of the studies' experiments that have a score, best first. They are made of
    the studies, so they are shown beside them and never ranked among them.
    """

    question: str
    maximize: bool
    rows: tuple[Pair, ...]
    baselines: tuple[Baseline, ...]
    ensembles: tuple[tuple[Experiment, Ensemble], ...] = ()


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much something scores better than the pinned one on the same held-out rows.

    In units of the metric, above 0 for better. low, high: its 95 % interval. p: the share of
    resamples of the rows in which there is no lead.
    """

    difference: float
    low: float
    high: float
    p: float


Key = tuple[str, int | str]
"""What a lead is of: ("study", its id), ("ensemble", its experiment's id), ("baseline", name)."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """What everything else is held against. name: as it is shown. leads: of all but itself."""

    name: str
    key: Key
    leads: Mapping[Key, Lead]

    def lead(self, key: Key) -> Lead | None:
        """None for the pinned one itself, and where one of the two has no held-out score."""
        return self.leads.get(key)


def group_comparable(pairs: Sequence[Pair]) -> list[Group]:
    """Groups that may each be ranked, in the order in which they first appear.

    Rows are sorted from the best selection score to the worst, those without one last.
    """
    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(tuple(_identity(pair[0]).values()), []).append(pair)
    return [_group(rows) for rows in groups.values()]


def differences(experiments: Iterable[Experiment]) -> list[str]:
    """Names of what must be equal before scores say which is better, and is not."""
    facts = [_identity(experiment) for experiment in experiments]
    names = facts[0] if facts else {}
    return [name for name in names if len({fact[name] for fact in facts}) > 1]


def _identity(experiment: Experiment) -> dict[str, Any]:
    data = experiment.dataset
    objective = experiment.objective or {}
    split = experiment.split or {}
    # Random folds of another seed hold out other rows; ordered ones never depend on it.
    seed = None if split.get("ordered") else experiment.seed
    return {
        "data": data.sha256 if data else (objective.get("sha256"), objective.get("function")),
        "target": data.target if data else None,
        "groups": data.group_column if data else None,
        "task": experiment.task,
        # A metric of one's own may be asked for either way.
        "metric": (experiment.metric, experiment.maximize),
        "split": tuple(sorted(split.items())),
        "seed": seed,
    }


def _group(pairs: list[Pair]) -> Group:
    experiment = pairs[0][0]
    sign = -1.0 if experiment.maximize else 1.0
    order = best_first([study for _, study in pairs], experiment.maximize)
    rows = [pairs[at] for at in order]
    return Group(
        question=describe_question(experiment),
        maximize=experiment.maximize,
        rows=tuple(rows),
        baselines=tuple(
            sorted(
                experiment.baselines,
                key=lambda b: (b.selection_score is None, sign * (b.selection_score or 0.0)),
            )
        ),
        ensembles=_ensembles([e for e, _ in pairs], sign),
    )


def _ensembles(
    experiments: Sequence[Experiment], sign: float
) -> tuple[tuple[Experiment, Ensemble], ...]:
    known = {e.experiment_id: e for e in experiments}.values()
    made = [(e, e.ensemble) for e in known if e.ensemble is not None]
    scored = [(e, one) for e, one in made if one.selection_score is not None]
    return tuple(sorted(scored, key=lambda pair: sign * (pair[1].selection_score or 0.0)))


def describe_question(experiment: Experiment) -> str:
    """What an experiment asks, in a few words: data, target, groups, metric, split, seed."""
    if experiment.dataset is None:
        reference = (experiment.objective or {}).get("reference", "objective")
        return f"{reference}, {experiment.metric}, seed {experiment.seed}"
    data = experiment.dataset
    split = experiment.split or {}
    groups = f", groups by {data.group_column}" if data.group_column else ""
    return (
        f"{data.name} ({data.rows} x {data.columns}, {data.sha256[:8]}), target {data.target}"
        f"{groups}, {experiment.metric}, {split.get('folds')} {split.get('kind')}, "
        f"seed {experiment.seed}"
    )


def gap(selection: float | None, held_out: float | None, maximize: bool) -> float | None:
    """The held-out score against the selection score, in units of the metric.

    Below zero: worse on data that the search never saw. None while one of the two is missing.
    """
    if selection is None or held_out is None:
        return None
    return held_out - selection if maximize else selection - held_out


def changed_parameters(params: Sequence[dict[str, Any]]) -> list[str]:
    """Names of parameters that are not the same in all of several sets, in order of appearance."""
    names = list(dict.fromkeys(name for one in params for name in one))
    absent = object()
    return [n for n in names if len({repr(one.get(n, absent)) for one in params}) > 1]
