"""The results of an experiment in one table: studies by selection score, ensemble, baselines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from engines.analysis.compare import gap as gap_between
from engines.study.records import Evidence, Experiment, Study
from hyperion_tui import actions, text, words
from hyperion_tui.widgets.lines import Piece
from hyperion_tui.widgets.window_table import (
    Column,
    ListRows,
    Row,
    WindowTable,
    by_room,
    fitted,
    without_empty,
)

COLUMNS = (
    Column("#", 2, "right"),
    Column("model", 12, most=24),
    Column("state", 9, most=11),
    Column("done", 6, "right", most=7),
    Column("score", 8, "right"),
    Column("held-out", 8, "right"),
    Column("95 %", 12, "right"),
    Column("gap", 8, "right"),
    Column("time", 7, "right"),
    Column("p", 6, "right"),
    Column("rows", 6, "right"),
    Column("tags", 6, most=20),
)
LATE = ("tags", "rows", "p", "time", "95 %", "gap", "done", "state")
"""Columns that stand last where not all have room, what can be done without most easily first."""

SOMETIMES = {"95 %", "p", "rows", "tags"}
"""Columns that are left out where no row has anything in them."""

Scores = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A study, an ensemble or a baseline, with the numbers that are compared.

    trial: whether it is a study, which alone has a rank.
    """

    key: tuple[str, object]
    name: str
    state: str
    done: str
    score: float | None
    held_out: float | None
    gap: float | None
    seconds: float | None
    trial: bool
    evidence: Evidence | None = None
    rows: tuple[int, int] | None = None
    tags: tuple[str, ...] = ()


def lines(experiment: Experiment) -> list[Line]:
    """The studies in tree order, then the ensemble and the baselines."""
    shown = [_study_line(study, experiment.maximize) for study in experiment.studies]
    ensemble = experiment.ensemble
    if ensemble is not None and ensemble.selection_score is not None:
        scores: Scores = (ensemble.selection_score, ensemble.held_out_score)
        shown.append(_other_line("ensemble", "ensemble", scores, experiment, ensemble.evidence))
    for baseline in experiment.baselines:
        scores = (baseline.selection_score, baseline.held_out_score)
        shown.append(_other_line("baseline", baseline.name, scores, experiment))
    return shown


def _other_line(
    kind: str,
    name: str,
    scores: Scores,
    experiment: Experiment,
    evidence: Evidence | None = None,
) -> Line:
    gap = gap_between(*scores, experiment.maximize)
    return Line((kind, name), name, kind, "", *scores, gap, None, trial=False, evidence=evidence)


def _study_line(study: Study, maximize: bool) -> Line:
    score = study.best.selection_score if study.best else None
    held_out = study.best.held_out_score if study.best else None
    gap = gap_between(score, held_out, maximize)
    seconds = study.train_s if study.counts.finished else None
    return Line(
        ("study", study.study_id),
        study.model,
        study.state,
        done_of(study),
        *(score, held_out, gap, seconds),
        trial=True,
        evidence=study.evidence,
        rows=study.rows,
        tags=study.tags,
    )


def done_of(study: Study) -> str:
    """Finished trials and the goal: `12/20`, or `20` when it is reached."""
    done, goal = study.counts.finished, study.counts.goal
    return str(done) if goal is None or done == goal else f"{done}/{goal}"


_KEYS: dict[str, Callable[[Line], float | str | None]] = {
    "score": lambda line: line.score,
    "held-out": lambda line: line.held_out,
    "gap": lambda line: line.gap,
    "time": lambda line: line.seconds,
    "model": lambda line: line.name,
    "tree": lambda line: None,
}
SORTS = tuple(_KEYS)


def ordered(shown: list[Line], sort: str, reverse: bool, maximize: bool) -> list[Line]:
    """Lines by a key, the best or smallest first; those without a value stay last."""
    key = _KEYS[sort]
    known = [line for line in shown if _is_value(key(line))]
    descending = (sort in ("score", "held-out") and maximize) or sort == "gap"
    known.sort(key=lambda line: key(line), reverse=descending != reverse)  # type: ignore[arg-type, return-value]
    rest = [line for line in shown if not _is_value(key(line))]
    return known + (rest[::-1] if reverse and not known else rest)


def _is_value(value: float | str | None) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


class ResultsTable(WindowTable):
    """Studies, ensemble and baselines of the open experiment."""

    BINDINGS = actions.bindings("marks")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(without_empty(COLUMNS, (), SOMETIMES)[0], fixed=2, id=id)
        self.sort = "score"
        self.reversed = False
        self._experiment: Experiment | None = None

    def show_experiment(self, experiment: Experiment | None) -> None:
        """Show how the studies of an experiment stand."""
        before, self._experiment = self._experiment, experiment
        if before and experiment and before.experiment_id != experiment.experiment_id:
            self.marked.clear()
        if experiment is None:
            self.show(ListRows())
            return
        shown = lines(experiment)
        ranks = _ranks(experiment)
        rows = [
            _row(line, ranks.get(line.key))
            for line in ordered(shown, self.sort, self.reversed, experiment.maximize)
        ]
        columns, rows = without_empty(COLUMNS, rows, SOMETIMES)
        columns, rows = by_room(fitted(columns, rows), rows, self.size.width, LATE)
        follow = self.current_key if self.cursor else None
        self.show(ListRows(rows), columns, follow=follow)

    def on_resize(self) -> None:
        """Other columns have room now."""
        self.show_experiment(self._experiment)

    @property
    def current_study(self) -> Study | None:
        """The study under the cursor; an ensemble or a baseline is none."""
        return self._study(self.current_key)

    def marked_studies(self) -> list[Study]:
        """The studies that are marked, in the order of the tree."""
        studies = self._experiment.studies if self._experiment else ()
        return [study for study in studies if ("study", study.study_id) in self.marked]

    def _study(self, key: object) -> Study | None:
        studies = self._experiment.studies if self._experiment else ()
        return next((s for s in studies if ("study", s.study_id) == key), None)

    def about_current(self) -> str:
        """A sentence about the row under the cursor."""
        study, key = self.current_study, self.current_key
        if study is not None:
            return words.about_study(study)
        if not isinstance(key, tuple) or self._experiment is None:
            return ""
        if key[0] == "baseline":
            return "a baseline: what a rule scores that learns next to nothing"
        return words.about_ensemble(self._experiment)

    def moved(self) -> None:
        """Say in the border by what is sorted and which rows are to be seen."""
        if self._experiment is None:
            self.title("2 Results")
            return
        turned = ", reversed" if self.reversed else ""
        order = "in tree order" if self.sort == "tree" else f"by {self.sort}"
        marked = f"{len(self.marked)} marked  " if self.marked else ""
        self.title(
            f"2 Results  {order}{turned}  {self.position()}",
            f"{marked}{self.hidden_columns()}".strip(),
        )

    def action_sort(self) -> None:
        """The next order."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self.show_experiment(self._experiment)

    def action_reverse(self) -> None:
        """The same order turned round."""
        self.reversed = not self.reversed
        self.show_experiment(self._experiment)

    def action_mark(self) -> None:
        """Mark a study; ensemble and baselines are in every comparison anyway."""
        if self.current_study is not None:
            self.toggle_mark()


def _ranks(experiment: Experiment) -> dict[tuple[str, object], int]:
    scored = [study for study in experiment.ranked if study.best is not None]
    return {("study", study.study_id): rank for rank, study in enumerate(scored, start=1)}


def _row(line: Line, rank: int | None) -> Row:
    quiet = "" if line.trial else "dim"
    gap_style = "warn" if line.gap is not None and line.gap < 0 else quiet
    cells: tuple[Piece, ...] = (
        ("" if rank is None else str(rank), "strong" if rank == 1 else "dim"),
        (text.clean(line.name), "strong" if rank == 1 else quiet),
        text.state(line.state) if line.trial else (line.state, "dim"),
        (line.done, "dim"),
        (text.number(line.score), "strong" if rank == 1 else quiet),
        (text.number(line.held_out), quiet),
        (words.held_out_interval(line.evidence) if line.evidence else "", "dim"),
        (text.number(line.gap, sign=True), gap_style),
        (text.duration(line.seconds) if line.trial else "", "dim"),
        (words.probability(line.evidence.p) if line.evidence else "", "dim"),
        (f"{line.rows[0]:,}" if line.rows else "", "warn"),
        (text.clean(" ".join(line.tags)), "accent"),
    )
    return Row(line.key, cells)
