"""The results of an experiment: studies and baselines in one table, ranked by selection score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from engines.analysis.compare import gap as gap_between
from engines.study.records import Experiment, Study
from hyperion_tui import actions, text
from hyperion_tui.widgets.lines import Piece
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable, fitted

COLUMNS = (
    Column("#", 2, "right"),
    Column("model", 12, most=24),
    Column("state", 9, most=11),
    Column("done", 6, "right", most=7),
    Column("score", 9, "right"),
    Column("held-out", 9, "right"),
    Column("gap", 9, "right"),
    Column("time", 7, "right"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A study or a baseline, with the numbers that are compared."""

    key: tuple[str, object]
    name: str
    state: str
    done: str
    score: float | None
    held_out: float | None
    gap: float | None
    seconds: float | None
    trial: bool


def lines(experiment: Experiment) -> list[Line]:
    """The studies in tree order, then the baselines."""
    shown = [_study_line(study, experiment.maximize) for study in experiment.studies]
    for baseline in experiment.baselines:
        score, held_out = baseline.selection_score, baseline.held_out_score
        gap = gap_between(score, held_out, experiment.maximize)
        key = ("baseline", baseline.name)
        shown.append(
            Line(key, baseline.name, "baseline", "", score, held_out, gap, None, trial=False)
        )
    return shown


def _study_line(study: Study, maximize: bool) -> Line:
    score = study.best.selection_score if study.best else None
    held_out = study.best.held_out_score if study.best else None
    gap = gap_between(score, held_out, maximize)
    seconds = study.train_s if study.counts.finished else None
    key = ("study", study.study_id)
    return Line(
        key, study.model, study.state, done_of(study), score, held_out, gap, seconds, trial=True
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
    """Studies and baselines of the open experiment."""

    BINDINGS = actions.bindings("marks")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(COLUMNS, fixed=2, id=id)
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
        ranks = _ranks(shown, experiment.maximize)
        rows = [
            _row(line, ranks.get(line.key))
            for line in ordered(shown, self.sort, self.reversed, experiment.maximize)
        ]
        follow = self.current_key if self.cursor else None
        self.show(ListRows(rows), fitted(COLUMNS, rows), follow=follow)

    @property
    def current_study(self) -> Study | None:
        """The study under the cursor; a baseline is none."""
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
        study = self.current_study
        if study is None:
            return (
                "a baseline: what a rule scores that learns next to nothing" if self.current else ""
            )
        if study.message:
            return f"{study.model}: {study.message}"
        c = study.counts
        parts = [f"{c.complete} complete", f"{c.pruned} pruned", f"{c.failed} failed"]
        if c.running:
            parts.append(f"{c.running} running")
        if c.waiting:
            parts.append(f"{c.waiting} waiting")
        best = f", best is trial {study.best.number}" if study.best else ""
        return f"{study.model}: {', '.join(parts)}{best}"

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
        """Mark a study; baselines are in every comparison anyway."""
        if self.current_study is not None:
            self.toggle_mark()


def _ranks(shown: list[Line], maximize: bool) -> dict[tuple[str, object], int]:
    studies = [line for line in shown if line.trial and _is_value(line.score)]
    best_first = ordered(studies, "score", False, maximize)
    return {line.key: rank for rank, line in enumerate(best_first, start=1)}


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
        (text.number(line.gap, sign=True), gap_style),
        (text.duration(line.seconds) if line.trial else "", "dim"),
    )
    return Row(line.key, cells)
