"""Tables as files: comparisons and trials as CSV and Markdown, written whole or not at all.

Trials keep the column names of Optuna's `trials_dataframe()` and add ours behind them. Floats
are written in full, stamps are ISO 8601 with offset, missing values are empty. Text that a
spreadsheet would take for a formula gets an apostrophe in front (OWASP ASVS 1.2.10).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engines.analysis.agents import LUCK
from engines.analysis.compare import Group, Lead, Pinned, changed_parameters, gap
from engines.errors import BadInput
from engines.study.records import Baseline, Ensemble, Evidence, Experiment, Study, Trial

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


_WHAT = frozenset(
    [
        "experiment",
        "data",
        "data_sha256",
        "target",
        "group_column",
        "metric",
        "direction",
        "seed",
        "family",
        "state",
        "baseline",
        "complete",
        "failed",
        "pruned",
        "goal",
        "rows_used",
        "rows_there",
    ]
)
"""Columns that tell what was asked and how far it got; where all rows agree they tell nothing."""


def comparison_rows(
    groups: Sequence[Group],
    params_of: Callable[[Study], dict[str, Any]],
    *,
    only_changed: bool = False,
    pinned: Pinned | None = None,
) -> list[dict[str, Any]]:
    """One row a study, an ensemble and a baseline; studies best first within each question.

    kind: `study`, `ensemble` or `baseline`; only studies have a rank. only_changed: without the
    parameters, and the columns about the question, that are the same in all studies. pinned: adds
    by how much each is better than that one.
    """
    rows: list[dict[str, Any]] = []
    for number, group in enumerate(groups, start=1):
        params = [params_of(study) for _, study in group.rows]
        shown = set(changed_parameters(params)) if only_changed else None
        for rank, ((experiment, study), own) in enumerate(
            zip(group.rows, params, strict=True), start=1
        ):
            kept = {k: v for k, v in own.items() if shown is None or k in shown}
            row = _study_row(number, rank, experiment, study, kept, group.maximize)
            rows.append(row | _lead_columns(pinned, ("study", study.study_id)))
        for e, one in group.ensembles:
            row = _ensemble_row(number, e, one, group.maximize)
            rows.append(row | _lead_columns(pinned, ("ensemble", e.experiment_id)))
        experiment = group.rows[0][0]
        for b in group.baselines:
            row = _baseline_row(number, experiment, b, group.maximize)
            rows.append(row | _lead_columns(pinned, ("baseline", b.name)))
    return _without_the_same(rows) if only_changed else rows


def _without_the_same(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the columns of `_WHAT` in which all studies agree."""
    studies = [row for row in rows if row["kind"] == "study"]
    same = {name for name in _WHAT if len({repr(row.get(name)) for row in studies}) < 2}
    return [{k: v for k, v in row.items() if k not in same} for row in rows]


def _lead_columns(pinned: Pinned | None, key: tuple[str, int | str]) -> dict[str, Any]:
    if pinned is None:
        return {}
    lead = pinned.lead(key)
    found = (None, None, None, None) if lead is None else _numbers(lead)
    names = ("difference", "difference_low", "difference_high", "p_better")
    return {"against": pinned.name, **dict(zip(names, found, strict=True))}


def _numbers(lead: Lead) -> tuple[float, float, float, float]:
    return lead.difference, lead.low, lead.high, lead.p


def _ensemble_row(
    group: int, experiment: Experiment, ensemble: Ensemble, maximize: bool
) -> dict[str, Any]:
    scores = (ensemble.selection_score, ensemble.held_out_score)
    members = (f"{m['study']}#{m['number']} {m['weight']:.3g}" for m in ensemble.members)
    return {
        **_question_columns(group, experiment),
        "rank": None,
        "kind": "ensemble",
        "model": "ensemble",
        "selection_score": scores[0],
        "held_out_score": scores[1],
        "gap": gap(*scores, maximize),
        **_evidence_columns(ensemble.evidence),
        "members": "; ".join(members),
    }


def _baseline_row(
    group: int, experiment: Experiment, baseline: Baseline, maximize: bool
) -> dict[str, Any]:
    scores = (baseline.selection_score, baseline.held_out_score)
    return {
        **_question_columns(group, experiment),
        "rank": None,
        "kind": "baseline",
        "model": baseline.name,
        "family": "baseline",
        "selection_score": scores[0],
        "held_out_score": scores[1],
        "gap": gap(*scores, maximize),
    }


def _evidence_columns(evidence: Evidence | None) -> dict[str, Any]:
    """The bounds of both 95 % intervals, and the baseline with the odds of luck against it."""
    found = evidence or Evidence()
    selection = found.selection_interval or (None, None)
    held_out = found.held_out_interval or (None, None)
    return {
        "selection_low": selection[0],
        "selection_high": selection[1],
        "held_out_low": held_out[0],
        "held_out_high": held_out[1],
        "baseline": found.baseline,
        "p_beats_baseline": found.p,
        **({name: found.trading.get(name) for name in LUCK} if found.trading else {}),
    }


def _question_columns(group: int, experiment: Experiment) -> dict[str, Any]:
    data = experiment.dataset
    return {
        "group": group,
        "experiment": experiment.name,
        "data": data.name if data else None,
        "data_sha256": data.sha256 if data else None,
        "target": data.target if data else None,
        "group_column": data.group_column if data else None,
        "metric": experiment.metric,
        "direction": "maximize" if experiment.maximize else "minimize",
        "seed": experiment.seed,
    }


def _study_row(
    group: int,
    rank: int,
    experiment: Experiment,
    study: Study,
    params: dict[str, Any],
    maximize: bool,
) -> dict[str, Any]:
    best = study.best
    used, there = study.rows or (None, None)
    return {
        **_question_columns(group, experiment),
        "rank": rank if best else None,
        "kind": "study",
        "study": study.name,
        "model": study.model,
        "family": study.family,
        "state": study.state,
        "selection_score": best.selection_score if best else None,
        "held_out_score": best.held_out_score if best else None,
        "gap": gap(best.selection_score, best.held_out_score, maximize) if best else None,
        **_evidence_columns(study.evidence),
        "rows_used": used,
        "rows_there": there,
        "best_number": best.number if best else None,
        "complete": study.counts.complete,
        "failed": study.counts.failed,
        "pruned": study.counts.pruned,
        "goal": study.counts.goal,
        "train_s": study.train_s,
        "tags": " ".join(study.tags) or None,
        "note": study.note or None,
        **{f"params_{name}": value for name, value in params.items()},
    }


def trial_rows(
    experiment: Experiment,
    study: Study,
    trials: Iterable[Trial],
    attributes: Mapping[int, Mapping[str, Any]] | None = None,
    scores: Mapping[int, Sequence[float]] | None = None,
) -> list[dict[str, Any]]:
    """One row a trial: Optuna's columns first (parameters by name), then ours.

    attributes: `Reader.attributes` of the study, Optuna's columns `user_attrs_*` and the like.
    scores: `Reader.scores` of a study of several metrics, Optuna's columns `values_*`.
    """
    attributes = attributes or {}
    extras = sorted(
        {name for own in attributes.values() for name in own},
        key=lambda name: (not name.startswith("user"), name),
    )
    words = {"complete": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED"}
    trials = list(trials)
    names = sorted({name for trial in trials for name in trial.params})
    data = experiment.dataset
    return [
        {
            "number": trial.number,
            "value": trial.value,
            **_values(experiment, (scores or {}).get(trial.number)),
            "datetime_start": trial.started_at,
            "datetime_complete": trial.finished_at,
            "duration": _duration(trial),
            **{f"params_{name}": trial.params.get(name) for name in names},
            **{name: attributes.get(trial.trial_id, {}).get(name) for name in extras},
            "state": words.get(trial.state, trial.state.upper()),
            "study": study.name,
            "model": study.model,
            "data": data.name if data else None,
            "data_sha256": data.sha256 if data else None,
            "metric": experiment.metric,
            "seed": trial.seed,
            "duration_s": trial.duration_s,
            "worker": trial.worker,
            "error": trial.error,
            "served_from": trial.served_from,
            "retry_of": trial.retry_of,
            "tags": " ".join(trial.tags) or None,
            "note": trial.note or None,
        }
        for trial in trials
    ]


def _values(experiment: Experiment, found: Sequence[float] | None) -> dict[str, float | None]:
    if not experiment.has_several:
        return {}
    values: Sequence[float | None] = found or [None] * len(experiment.metrics)
    return {f"values_{n}": x for n, x in zip(experiment.metrics, values, strict=True)}


def _duration(trial: Trial) -> str | None:
    """`0 days 00:00:01.250000`, as pandas prints the difference of the two stamps."""
    if trial.started_at is None or trial.finished_at is None:
        return None
    delta = datetime.fromisoformat(trial.finished_at) - datetime.fromisoformat(trial.started_at)
    seconds = delta.seconds
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{delta.days} days {clock}.{delta.microseconds:06d}"


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV with a header; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = _Lines()
    writer = csv.writer(lines)
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return "".join(lines)


def to_markdown(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], *, with_params: bool = True
) -> str:
    """Rows as a table of Markdown: floats with four digits, columns without a value left out.

    columns: those to show, in their order; the parameters follow if `with_params`.
    """
    there = list(dict.fromkeys(name for row in rows for name in row))
    wanted = [name for name in columns if name in there]
    wanted += [name for name in there if with_params and name.startswith("params_")]
    wanted = [name for name in wanted if any(row.get(name) is not None for row in rows)]
    is_number = {
        name: all(isinstance(row.get(name), int | float | None) for row in rows) for name in wanted
    }
    lines = [
        [_word(_heading(name)) for name in wanted],
        ["--:" if is_number[name] else ":--" for name in wanted],
        *([_word(row.get(name)) for name in wanted] for row in rows),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


_MARKS = str.maketrans({c: f"\\{c}" for c in "\\|`*_<>[]"})
"""What Markdown or HTML would take for more than text."""


def _heading(name: str) -> str:
    own = name.removeprefix("params_")
    return own if own != name else name.replace("_", " ")


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split()).translate(_MARKS)


class _Lines(list[str]):
    """A file for the csv module, which quotes a carriage return only where one ends its lines."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return float.__repr__(value)  # of NumPy's floats, too, the number alone
    if isinstance(value, int):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def write_whole(path: Path, text: str, *, force: bool = False) -> None:
    """Write a file by a temporary one beside it and a rename.

    Raises BadInput if it exists (unless `force`) or its folder can't be written.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder: name a file in it.")
    if path.exists() and not force:
        raise BadInput(f"{path} exists: name another file, or add --force to replace it.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8", errors="replace")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadInput(f"{path} can't be written: {error.strerror}.") from error
