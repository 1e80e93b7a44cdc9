"""Studies compared: the scores of all in one ranked table, or side by side with parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textual import events
from textual.widget import Widget
from textual.widgets import Static

from engines.analysis.compare import Group, differences, gap, group_comparable
from engines.errors import HyperionError
from engines.run.orders import Target
from engines.study.records import Evidence, Experiment, Study, best_first
from hyperion_tui import actions, text, words
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.export import ExportDialog, Scope
from hyperion_tui.widgets.lines import LineView, Piece
from hyperion_tui.widgets.window_table import (
    Column,
    ListRows,
    Row,
    WindowTable,
    by_room,
    fitted,
    without_empty,
)

LABELS = 22
STUDY = 12
SCORES = (
    Column("#", 2, "right"),
    Column("study", 15, most=34),
    Column("score", 8, "right"),
    Column("95 %", 12, "right"),
    Column("held-out", 8, "right"),
    Column("95 %", 12, "right"),
    Column("gap", 8, "right"),
    Column("p", 6, "right"),
    Column("state", 9),
    Column("trials", 7, "right"),
    Column("time", 7, "right"),
    Column("rows", 10, most=24),
    Column("tags", 6, most=20),
)
LATE = ("tags", "rows", "95 %", "time", "trials", "state")
"""Columns that stand last where not all have room, what can be done without most easily first."""

SOMETIMES = {"95 %", "p", "rows", "tags"}
"""Columns that are left out where no row has anything in them."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One column: a study, its experiment and the parameters of its best trial."""

    experiment: Experiment
    study: Study
    params: dict[str, Any]


def why_not_ranked(experiments: Iterable[Experiment]) -> str | None:
    """What differs that must be equal before scores say which is better, or None."""
    different = differences(experiments)
    return f"not ranked: {' and '.join(different)} differ" if different else None


class CompareScreen(Upper):
    """A table with one row a study, the ensembles and baselines below; or one column a study."""

    SCOPES = ("back", "compared")
    BINDINGS = actions.bindings("compared")

    def __init__(self, study_ids: Sequence[int]) -> None:
        super().__init__()
        self._ids = tuple(study_ids)
        self._side_by_side = False
        self._only_different = False
        self._params: dict[tuple[int, int], dict[str, Any]] = {}
        self._compared: list[Compared] = []

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield Static("", classes="gap")
        yield WindowTable(fixed=2, id="comparison")

    @property
    def table(self) -> WindowTable:
        """The table."""
        return self.query_one(WindowTable)

    def on_mount(self) -> None:
        self.table.focus()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Compare the studies as they stand."""
        found = [pair for i in self._ids if (pair := snapshot.study(i)) is not None]
        try:
            self._compared = [Compared(e, s, self._best_params(s)) for e, s in found]
        except HyperionError as error:
            self.say(str(error))
            return
        if self._side_by_side:
            self._show_side_by_side()
        else:
            self._show_scores()

    def _show_scores(self) -> None:
        pairs = [(c.experiment, c.study) for c in self._compared]
        groups = group_comparable(pairs)
        several = len({e.experiment_id for e, _ in pairs}) > 1
        apart = len(groups) > 1
        rows = [
            row
            for number, group in enumerate(groups)
            for row in _group_rows(number, group, several=several, titled=apart)
        ]
        if apart:
            order = f"ranked apart: {' and '.join(differences(e for e, _ in pairs))} differ"
        else:
            order = f"best {text.clean(pairs[0][0].metric)} first" if pairs else ""
        columns, rows = without_empty(SCORES, rows, SOMETIMES)
        room = self.app.size.width - 2
        columns, rows = by_room(fitted(columns, rows), rows, room, LATE)
        self._show(rows, columns, 2, f"Scores of {_studies(pairs)}  {order}")

    def _show_side_by_side(self) -> None:
        reason = why_not_ranked(c.experiment for c in self._compared)
        ranked = _ranked(self._compared) if reason is None else self._compared
        sides = [*_sides(ranked, mark_best=reason is None), *_others(ranked)]
        rows = _rows(sides)
        if self._only_different:
            # Ensembles and baselines have no parameters: they would differ from all.
            rows = [r for r in rows if len({cell[0] for cell in r.cells[1 : 1 + len(ranked)]}) > 1]
        columns = [Column("", LABELS, most=28)]
        columns += [Column(side.heading, STUDY, "right", most=22) for side in sides]
        order = reason or f"best {text.clean(ranked[0].experiment.metric)} first" if ranked else ""
        self._show(rows, columns, 1, f"Comparison of {_studies(ranked)}  {order}  lines")

    def _show(
        self, rows: Sequence[Row], columns: Sequence[Column], fixed: int, caption: str
    ) -> None:
        table = self.table
        table.fixed = fixed
        table.show(ListRows(rows), columns, follow=table.current_key)
        table.call(caption)
        self._tell()

    def on_resize(self, _: events.Resize) -> None:
        """Other columns have room now."""
        self.show_snapshot(self.hyperion.snapshot)

    def on_line_view_moved(self, _: LineView.Moved) -> None:
        self._tell()

    def _tell(self) -> None:
        row = self.table.current
        about = row.note if row is not None else ""
        self.hint(about or "scores rank by selection; held-out is for believing, not for choosing")

    def _best_params(self, study: Study) -> dict[str, Any]:
        if study.best is None:
            return {}
        key = (study.study_id, study.best.number)
        if key not in self._params:
            self._params[key] = self.hyperion.feed.pages.best_params(*key)
        return self._params[key]

    def action_turn(self) -> None:
        """From the scores of all to studies side by side, and back."""
        self._side_by_side = not self._side_by_side
        self.table.shifted = 0
        self.table.move_to(0)
        self.show_snapshot(self.hyperion.snapshot)

    def action_changed(self) -> None:
        """Side by side: hide lines in which all studies agree, or show them again."""
        self._only_different = not (self._side_by_side and self._only_different)
        self._side_by_side = True
        self.table.shifted = 0
        self.show_snapshot(self.hyperion.snapshot)

    def action_export(self) -> None:
        """Ask where to write the comparison."""
        if not self._compared:
            return
        experiments = {c.experiment.name: c.experiment for c in self._compared}
        whole = {s.study_id for e in experiments.values() for s in e.studies}
        names = list(experiments)
        if whole != {c.study.study_id for c in self._compared}:
            names = [c.study.name for c in self._compared]
        self.app.push_screen(ExportDialog([Scope.comparison(names, next(iter(experiments)))]))

    def targets(self) -> list[Target]:
        """The studies that are compared."""
        return [(c.experiment, c.study) for c in self._compared]


def _studies(compared: Sequence[object]) -> str:
    return text.plural(len(compared), "study", "studies")


# -- the scores of all ----------------------------------------------------------------------------


def _group_rows(number: int, group: Group, *, several: bool, titled: bool) -> list[Row]:
    """Studies that may be ranked against each other, then what they are measured by.

    several: studies of more than one experiment are shown, so names need that of theirs.
    titled: the question that these studies answer is said in a line above.
    """
    rows = [_title_row(number, group)] if titled else []
    rows += [
        _study_row(place, study, group, name=study.name if several else study.model)
        for place, (_, study) in enumerate(group.rows, start=1)
    ]
    for experiment, ensemble in group.ensembles:
        name = f"{experiment.name}/ensemble" if several else "ensemble"
        scores = (ensemble.selection_score, ensemble.held_out_score)
        rows.append(
            _other_row(
                ("ensemble", experiment.experiment_id),
                (text.clean(name), ""),
                _score_cells(scores, ensemble.evidence, group.maximize, ""),
                (("ensemble", "dim"), (str(len(ensemble.members)), "dim")),
                words.about_ensemble(experiment),
            )
        )
    for baseline in group.baselines:
        scores = (baseline.selection_score, baseline.held_out_score)
        rows.append(
            _other_row(
                ("baseline", (number, baseline.name)),
                (text.clean(baseline.name), "dim"),
                _score_cells(scores, None, group.maximize, "dim"),
                (("baseline", "dim"), ("", "")),
                "a baseline: what a rule scores that learns next to nothing",
            )
        )
    return rows


def _title_row(number: int, group: Group) -> Row:
    experiment = group.rows[0][0]
    data = experiment.dataset
    short = f"{data.name if data else experiment.name}, {experiment.metric}"
    blank = (("", ""),) * (len(SCORES) - 2)
    return Row(
        ("question", number), (("", ""), (text.clean(short), "head"), *blank), group.question
    )


def _study_row(place: int, study: Study, group: Group, *, name: str) -> Row:
    best = study.best
    style = "strong" if place == 1 and best is not None else ""
    scores: Scores = (best.selection_score, best.held_out_score) if best else (None, None)
    return Row(
        ("study", study.study_id),
        (
            (str(place) if best else "", style or "dim"),
            (text.clean(name), style),
            *_score_cells(scores, study.evidence, group.maximize, style),
            text.state(study.state),
            (_trials(study), "dim"),
            (text.duration(study.train_s), "dim"),
            (words.rows_used(study.rows), "warn"),
            (text.clean(" ".join(study.tags)), "accent"),
        ),
        words.about_study(study),
    )


_BLANKS: tuple[Piece, ...] = (("", ""),) * 3
"""Of what is no study: time, rows and tags."""


def _other_row(
    key: tuple[str, object],
    name: Piece,
    scores: tuple[Piece, ...],
    state_and_trials: tuple[Piece, Piece],
    about: str,
) -> Row:
    return Row(key, (("", ""), name, *scores, *state_and_trials, *_BLANKS), about)


Scores = tuple[float | None, float | None]


def _score_cells(
    scores: Scores, evidence: Evidence | None, maximize: bool, style: str
) -> tuple[Piece, ...]:
    """Both scores with their intervals, the gap between them, and the odds of luck."""
    selection, held_out = scores
    return (
        (text.number(selection), style),
        (words.selection_interval(evidence) if evidence else "", "dim"),
        (text.number(held_out), style),
        (words.held_out_interval(evidence) if evidence else "", "dim"),
        _gap(gap(selection, held_out, maximize)),
        (words.probability(evidence.p) if evidence else "", "dim"),
    )


def _gap(difference: float | None) -> Piece:
    worse = difference is not None and difference < 0
    return text.number(difference, sign=True), "warn" if worse else ""


# -- side by side ---------------------------------------------------------------------------------


def _ranked(compared: list[Compared]) -> list[Compared]:
    if not compared:
        return []
    order = best_first([one.study for one in compared], compared[0].experiment.maximize)
    return [compared[at] for at in order]


def _heading(one: Compared, everyone: Sequence[Compared]) -> str:
    several = len({c.experiment.experiment_id for c in everyone}) > 1
    return text.clean(one.study.name if several else one.study.model)


@dataclass(frozen=True, slots=True)
class Side:
    """One column: what stands beside each label, and the parameters of a study's best trial."""

    heading: str
    cells: Mapping[str, Piece]
    params: Mapping[str, Any] = field(default_factory=dict)


LINES = (
    *("state", "selection score", "selection 95 %", "held-out score", "held-out 95 %", "gap"),
    *("p against baseline", "trials", "failed", "time in trials", "median trial", "rows"),
    *("tags", "note"),
)


def _sides(compared: Sequence[Compared], *, mark_best: bool) -> Iterator[Side]:
    """The studies."""
    for place, c in enumerate(compared):
        study = c.study
        first = mark_best and place == 0 and study.best is not None and len(compared) > 1
        score = text.number(study.best.selection_score if study.best else None)
        cells: dict[str, Piece] = {
            "state": text.state(study.state),
            "selection score": (f"★ {score}", "strong") if first else (score, ""),
            **_sure(study.evidence),
            "held-out score": (text.number(_held_out(c)), ""),
            "gap": _gap_of(c),
            "p against baseline": (_luck(study), ""),
            "trials": (_trials(study), ""),
            "failed": (str(study.counts.failed), ""),
            "time in trials": (text.duration(study.train_s), ""),
            "median trial": (text.duration(study.median_s), ""),
        }
        if any(other.study.rows for other in compared):
            cells["rows"] = (words.rows_used(study.rows), "warn")
        if any(other.study.tags for other in compared):
            cells["tags"] = (text.clean(" ".join(study.tags)), "")
        if any(other.study.note for other in compared):
            cells["note"] = (text.clean(" ".join(study.note.split())), "")
        yield Side(_heading(c, compared), cells, c.params)


def _others(compared: Sequence[Compared]) -> Iterator[Side]:
    """What the studies are measured by: ensembles, then baselines."""
    groups = group_comparable([(c.experiment, c.study) for c in compared])
    several = len({c.experiment.experiment_id for c in compared}) > 1
    for group in groups:
        for experiment, ensemble in group.ensembles:
            name = f"{experiment.name}/ensemble" if several else "ensemble"
            scores = (ensemble.selection_score, ensemble.held_out_score)
            yield _other(name, "ensemble", scores, ensemble.evidence, group.maximize)
        of = f"{group.rows[0][0].name}/" if len(groups) > 1 else ""
        for baseline in group.baselines:
            scores = (baseline.selection_score, baseline.held_out_score)
            yield _other(of + baseline.name, "baseline", scores, None, group.maximize)


def _other(name: str, kind: str, scores: Scores, evidence: Evidence | None, maximize: bool) -> Side:
    cells = {
        "state": (kind, "dim"),
        "selection score": (text.number(scores[0]), ""),
        "held-out score": (text.number(scores[1]), ""),
        **_sure(evidence),
        "gap": _gap(gap(*scores, maximize)),
    }
    if evidence is not None:
        cells["p against baseline"] = (words.probability(evidence.p), "")
    return Side(text.clean(name), cells)


def _sure(evidence: Evidence | None) -> dict[str, Piece]:
    return {
        "selection 95 %": (words.selection_interval(evidence), ""),
        "held-out 95 %": (words.held_out_interval(evidence), ""),
    }


def _rows(sides: Sequence[Side]) -> list[Row]:
    rows = [
        Row(label, ((label, "dim"), *(side.cells.get(label, ("", "")) for side in sides)))
        for label in LINES
        if any(label in side.cells for side in sides)
    ]
    names = list(dict.fromkeys(name for side in sides for name in side.params))
    if names:
        label = "best parameters"
        rows.append(Row(label, ((label, "strong"), *(("", "") for _ in sides))))
    for name in names:
        cells = (_value(side, name) for side in sides)
        rows.append(Row(("parameter", name), (("  " + text.clean(name), "dim"), *cells)))
    return rows


def _value(side: Side, name: str) -> Piece:
    if not side.params:
        return "", ""
    return text.parameter(side.params[name]) if name in side.params else text.ABSENT, ""


def _held_out(c: Compared) -> float | None:
    return c.study.best.held_out_score if c.study.best else None


def _gap_of(c: Compared) -> Piece:
    score = c.study.best.selection_score if c.study.best else None
    return _gap(gap(score, _held_out(c), c.experiment.maximize))


def _luck(study: Study) -> str:
    return words.probability(study.evidence.p if study.evidence else None)


def _trials(study: Study) -> str:
    goal = study.counts.goal
    return f"{study.counts.finished}" if goal is None else f"{study.counts.finished}/{goal}"
