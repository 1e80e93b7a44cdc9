"""The score card of an exported predictor: what it is worth, and how that is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.analysis.compare import gap
from engines.analysis.report import verdict
from engines.export.agent_card import about_agent
from engines.study.records import Evidence, Experiment

SAME = 1e-9
"""Two scores that are as near as this are one."""


@dataclass(frozen=True)
class Made:
    """How a predictor came to be.

    name: the study, or `<experiment>/ensemble`. refit: whether it learned from the held-out rows
    too. retrained: members whose models were not kept, so that they were trained again. members:
    study, trial, weight, parameters and the record of the trial (`metrics`). verdict: on this
    predictor alone. context_rows: of the data, which lie in the folder for models that read
    windows, and whether the target's values are among them. again: the held-out score of what lies
    in the folder, None where there is nothing to compare it with. own: the held-out score of the
    one that lies in the folder, as it is on record, where `held_out_score` is of more than that
    (see `held_out_is_of`).
    """

    name: str
    selection_score: float | None
    held_out_score: float | None
    evidence: Evidence | None
    openings: int
    members: Sequence[Mapping[str, Any]]
    formats: Sequence[str]
    versions: Mapping[str, str]
    how: str
    verdict: str
    context_rows: int = 0
    context_has_target: bool = False
    refit: bool = False
    retrained: Sequence[str] = ()
    again: float | None = None
    own: float | None = None
    held_out_is_of: str = "this predictor"


def card_document(experiment: Experiment, made: Made) -> dict[str, Any]:
    """The card as plain data. Whatever the record of a trial holds (`metrics`) is in it as well."""
    data, evidence = experiment.dataset, made.evidence or Evidence()
    assert data is not None
    whose = "the predictor before the refit" if made.refit else made.held_out_is_of
    return {
        "predictor": made.name,
        "how": made.how,
        "refit_on_all_rows": made.refit,
        "trained_again": list(made.retrained),
        "formats": list(made.formats),
        "members": [dict(member) for member in made.members],
        "task": experiment.task,
        "data": {
            "name": data.name,
            "sha256": data.sha256,
            "rows": data.rows,
            "columns": data.columns,
            "target": data.target,
            "time_column": data.time_column,
            "group_column": data.group_column,
            "classes": list(data.classes),
            "notices": list(data.notices),
        },
        "split": experiment.split,
        "seed": experiment.seed,
        "metric": experiment.metric,
        "direction": "maximize" if experiment.maximize else "minimize",
        "scores": {
            "selection": made.selection_score,
            "selection_interval": evidence.selection_interval,
            "held_out": made.held_out_score,
            "held_out_interval": evidence.held_out_interval,
            "held_out_is_of": whose,
            "held_out_of_this": made.held_out_score if made.own is None else made.own,
            "held_out_again": made.again,
            "held_out_openings": made.openings,
            "gap": gap(made.selection_score, made.held_out_score, experiment.maximize),
            "baseline": evidence.baseline,
            "p_beats_baseline": evidence.p,
        },
        "baselines": [
            {
                "name": b.name,
                "selection_score": b.selection_score,
                "held_out_score": b.held_out_score,
            }
            for b in experiment.baselines
        ],
        "verdict": made.verdict,
        "verdict_of_experiment": verdict(experiment),
        "context_rows": made.context_rows,
        "context_has_target": made.context_has_target,
        "versions": dict(made.versions),
        "searched_with": dict(experiment.versions),
    }


def card_text(card: Mapping[str, Any]) -> str:
    """The same for people, in Markdown."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    data, scores, metric = card["data"], card["scores"], card["metric"]
    better = "larger" if card["direction"] == "maximize" else "smaller"
    yield f"# {_plain(card['predictor'])}"
    yield ""
    does = "Says after each bar which position to hold, as a fraction of equity."
    if "trading" not in card:
        does = f"Predicts `{_code(data['target'])}` ({card['task']})."
    yield f"{does} {_plain(card['verdict'])}"
    yield ""
    yield f"| {metric} ({better} is better) | selection | 95 % | held-out | 95 % | gap |"
    yield "|---|---|---|---|---|---|"
    cells = (
        *(_plain(card["predictor"]), _number(scores["selection"])),
        *(_ends(scores["selection_interval"]), _number(scores["held_out"])),
        *(_ends(scores["held_out_interval"]), _number(scores["gap"])),
    )
    yield f"| {' | '.join(cells)} |"
    for baseline in card["baselines"]:
        selection, held_out = baseline["selection_score"], baseline["held_out_score"]
        name = f"baseline {_plain(baseline['name'])}"
        yield f"| {name} | {_number(selection)} | | {_number(held_out)} | | |"
    yield ""
    if scores["p_beats_baseline"] is not None:
        yield (
            f"Luck alone gives such a lead over {_plain(scores['baseline'])} on the held-out rows "
            f"with p = {scores['p_beats_baseline']:.2g}."
        )
        yield ""
    yield from _about_scores(card)
    if "trading" in card:
        yield from about_agent(card["trading"])
    yield "## Where it comes from"
    yield ""
    yield f"- {card['how']}"
    if card["trained_again"]:
        names = ", ".join(_plain(name) for name in card["trained_again"])
        yield f"- Trained again for this folder, from seed and parameters: {names}."
    if card["context_rows"]:
        target = "with" if card["context_has_target"] else "without"
        yield (
            f"- The folder holds the last {card['context_rows']:,} rows of the data ({target} the "
            "target), because a model in it reads the rows before those that it predicts."
        )
    yield f"- Data: {_plain(data['name'])}, {data['rows']:,} rows, sha256 `{data['sha256']}`."
    split = card["split"] or {}
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in split.items())
    yield f"- Split: {told}; seed {card['seed']}."
    yield f"- Formats: {', '.join(card['formats'])}. Reading them runs no code from the files."
    told = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    yield f"- Versions: {told}."
    yield ""
    yield "## Members"
    yield ""
    for member in card["members"]:
        params = ", ".join(f"{k} = {v}" for k, v in member["params"].items()) or "no parameters"
        name = f"{member['study']} trial {member['trial']}"
        yield f"- {_plain(name)}, weight {member['weight']:.3g}: {_plain(params)}"


def differs_from_record(card: Mapping[str, Any]) -> bool:
    """Whether what lies in the folder scores otherwise on the held-out rows than is on record."""
    again, before = card["scores"]["held_out_again"], card["scores"]["held_out_of_this"]
    return again is not None and not math.isclose(again, before, rel_tol=SAME, abs_tol=SAME)


def _about_scores(card: Mapping[str, Any]) -> Iterator[str]:
    scores = card["scores"]
    if card["refit_on_all_rows"]:
        yield (
            "**The held-out score is that of the predictor before:** this one was trained once "
            "more, on all rows, those that were held out among them, and nothing is left that "
            "could score it."
        )
        yield ""
    elif scores["held_out"] is None:
        yield "There is no held-out score for this predictor."
        yield ""
    elif differs_from_record(card):
        yield (
            f"Read back from this folder it scores {scores['held_out_again']!r} on the held-out "
            f"rows; on record is {scores['held_out_of_this']!r}."
        )
        yield ""
    if scores["held_out_openings"] > 1:
        yield f"The held-out rows were looked at {scores['held_out_openings']} times."
        yield ""


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.6g}"


def _ends(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.4g} to {bounds[1]:.4g}"


def _plain(text: str) -> str:
    """Names of people's own, so that they are neither markup nor orders to a terminal."""
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in shown)


def _code(text: str) -> str:
    return "".join(c if c.isprintable() and c != "`" else "�" for c in text)
