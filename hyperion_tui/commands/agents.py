"""Trading agents in `run`, `show` and `compare`: their terms, their table, what is luck in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engines.analysis.agents import of_all, told
from engines.study.records import Dataset, Experiment, Study
from hyperion_tui import text, words
from hyperion_tui.output import print_table

if TYPE_CHECKING:
    from engines.data.datasets import Dataset as DataToTrade

TRADING = "trading"

EXPLAINED = (
    "p: how often luck alone gives such a lead over the baseline on the test period",
    "DSR: chance that the best of so many trials truly has a Sharpe ratio above 0 in selection;",
    "cross: by the trials' own spread; effective: so many of them differ; overfitting: how often",
    "the best trial on half of the validation bars is below the middle on the other half",
)


def describe_start(experiment: Experiment, data: Dataset) -> Iterator[str]:
    """What a person should know before the first score: bars, periods, terms."""
    split = experiment.split or {}
    yield (
        f"{experiment.name}: {data.name}, {data.rows:,} bars, {split['bars_per_year']:g} a year, "
        f"metric {experiment.metric}, seed {experiment.seed}"
    )
    yield (
        f"split: train on {split['train_rows']:,} bars, choose on {split['validation_rows']:,}, "
        f"test on {split['held_out_rows']:,}, in time order, embargo {split['embargo_rows']} bars"
    )
    yield (
        f"trade: fee {split['fee']:g}, slippage {split['slippage']:g}, spread {split['spread']:g}, "
        f"positions up to {split['max_position']:g}; {split['steps']:,} steps for each of "
        f"{split['seeds']} seeds a trial"
    )
    for notice in data.notices:
        yield f"note: {notice}"


def print_ranking(experiment: Experiment) -> None:
    """Agents from best to worst and the baselines among them; drawdown and trades are tested ones.

    DSR: the deflated Sharpe ratio of the study's best trial.
    """
    rows = [_study_row(study) for study in experiment.studies]
    for baseline in experiment.baselines:
        scores = [baseline.selection_score, baseline.held_out_score]
        blank = [text.ABSENT] * 5
        rows.append([baseline.name, *scores, *blank, "baseline", text.ABSENT])
    rows.sort(key=lambda row: (row[1] is None, -(row[1] or 0.0)))
    places = itertools.count(1)
    ranked = [
        [str(next(places)) if row[1] is not None and row[-2] != "baseline" else "", *row]
        for row in rows
    ]
    headers = ["", "agent", experiment.metric, "test", "95 %", "DSR", "drawdown", "trades"]
    print_table([*headers, "trials", "state", "time"], ranked)


def _study_row(study: Study) -> list[Any]:
    best, known = study.best, told(study)
    return [
        study.model,
        best.selection_score if best else None,
        best.held_out_score if best else None,
        words.held_out_interval(study.evidence),
        chance(known.get("dsr_null")),
        percent(known.get("max_drawdown")),
        count(known.get("num_trades")),
        f"{study.counts.finished}/{study.counts.goal or '-'}",
        study.state,
        text.duration(study.train_s),
    ]


def print_certainty(experiment: Experiment) -> None:
    """What is left of each score when the number of tries is counted; nothing before the test."""
    rows = [_luck_row(study.model, told(study), study) for study in experiment.ranked]
    known = [row for row in rows if row is not None]
    leader = experiment.ranked[0] if experiment.studies else None
    if not known or leader is None:
        return
    if len(experiment.studies) > 1 and experiment.ensemble is not None:
        over_all = _luck_row("best of all", of_all(experiment, leader), None)
        known += [over_all] if over_all is not None else []
    headers = ["agent", "selection 95 %", "test 95 %", "p", "against", "DSR", "DSR cross"]
    print_table([*headers, "trials", "effective", "overfitting"], known)
    for line in EXPLAINED:
        print(line)
    for study in experiment.ranked:
        line = _seeds_line(study)
        if line:
            print(text.clean(line))


def _luck_row(name: str, known: Any, study: Study | None) -> list[Any] | None:
    if "trials" not in known:
        return None
    evidence = study.evidence if study is not None else None
    effective = known.get("effective_trials")
    return [
        name,
        words.selection_interval(evidence),
        words.held_out_interval(evidence),
        words.probability(evidence.p if evidence else None),
        evidence.baseline if evidence else None,
        chance(known.get("dsr_null")),
        chance(known.get("dsr_cross")),
        known["trials"],
        text.ABSENT if effective is None else f"{effective:.1f}",
        chance(known.get("pbo")),
    ]


def _seeds_line(study: Study) -> str:
    known = told(study)
    if not known.get("held_out_seeds") or not known.get("seeds"):
        return ""
    chosen, tested = known["seeds"], known["held_out_seeds"]
    pairs = ", ".join(
        f"{text.number(a)} / {text.number(b)}" for a, b in zip(chosen, tested, strict=True)
    )
    return (
        f"{study.model}: seeds {pairs} (selection / test); `backtest {study.name}` takes seed "
        f"{known['median_seed'] + 1}"
    )


def deflated(studies: Sequence[Study]) -> list[str]:
    """The deflated Sharpe ratio of each study; nothing where no agent has one."""
    found = [told(study).get("dsr_null") for study in studies]
    return [chance(one) for one in found] if any(one is not None for one in found) else []


def unfit_models(data: DataToTrade, metric: str | None) -> dict[str, str]:
    """Why models can't be used on bars, by model. Raises BadInput as `run` would."""
    from engines.data.scoring import find_metric
    from engines.models import catalogue
    from engines.run.bars import split_of

    if metric is not None:
        find_metric(metric, TRADING)
    split_of(data)
    reasons = {name: s.reason_unfit(TRADING, {}) for name, s in catalogue.models().items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def chance(value: float | None) -> str:
    """`0.973`, or a dash."""
    return text.ABSENT if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """`-12.3%`, or a dash."""
    return text.ABSENT if value is None else f"{value:.1%}"


def count(value: float | None) -> str:
    """`1,234`, or a dash."""
    return text.ABSENT if value is None else f"{value:,.0f}"
