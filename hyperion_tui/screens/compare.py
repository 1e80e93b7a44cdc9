"""Studies side by side: scores, effort, and the parameters of the best trials that differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from textual.widget import Widget
from textual.widgets import Static

from engines.analysis.compare import differences, gap
from engines.errors import HyperionError
from engines.run.orders import Target
from engines.study.records import Experiment, Study
from hyperion_tui import actions, text
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.export import ExportDialog, Scope
from hyperion_tui.widgets.lines import Piece
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable

LABELS = 22
STUDY = 12


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
    """A table with one column a study."""

    SCOPES = ("back", "compared")
    BINDINGS = actions.bindings("compared")

    def __init__(self, study_ids: Sequence[int]) -> None:
        super().__init__()
        self._ids = tuple(study_ids)
        self._only_different = False
        self._params: dict[tuple[int, int], dict[str, Any]] = {}
        self._compared: list[Compared] = []

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield Static("", classes="gap")
        yield WindowTable(fixed=1, id="comparison")

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
        reason = why_not_ranked(e for e, _ in found)
        ranked = _ranked(self._compared) if reason is None else self._compared
        rows = _rows(ranked, mark_best=reason is None)
        if self._only_different:
            rows = [row for row in rows if len({cell[0] for cell in row.cells[1:]}) > 1]
        columns = [Column("", LABELS, most=28)]
        columns += [Column(_heading(c, ranked), STUDY, "right", most=22) for c in ranked]
        table = self.table
        table.show(ListRows(rows), columns, follow=table.current_key)
        order = reason or f"best {text.clean(ranked[0].experiment.metric)} first" if ranked else ""
        number = text.plural(len(ranked), "study", "studies")
        table.call(f"Comparison of {number}  {order}  lines")
        self.hint("scores rank by selection; held-out is for believing, not for choosing")

    def _best_params(self, study: Study) -> dict[str, Any]:
        if study.best is None:
            return {}
        key = (study.study_id, study.best.number)
        if key not in self._params:
            self._params[key] = self.hyperion.feed.pages.best_params(*key)
        return self._params[key]

    def action_changed(self) -> None:
        """Hide lines in which all studies agree, or show them again."""
        self._only_different = not self._only_different
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


def _ranked(compared: list[Compared]) -> list[Compared]:
    if not compared:
        return []
    sign = -1.0 if compared[0].experiment.maximize else 1.0
    return sorted(
        compared,
        key=lambda c: (
            c.study.best is None,
            sign * (c.study.best.selection_score if c.study.best else 0),
        ),
    )


def _heading(one: Compared, everyone: Sequence[Compared]) -> str:
    several = len({c.experiment.experiment_id for c in everyone}) > 1
    return text.clean(one.study.name if several else one.study.model)


def _rows(compared: Sequence[Compared], *, mark_best: bool) -> list[Row]:
    def row(label: str, cells: Iterable[Piece], style: str = "") -> Row:
        return Row(label, ((label, style or "dim"), *cells))

    rows = [
        row("state", (text.state(c.study.state) for c in compared)),
        row("selection score", _scores(compared, mark_best)),
        row("held-out score", ((text.number(_held_out(c)), "") for c in compared)),
        row("gap", (_gap(c) for c in compared)),
        row("trials", ((_trials(c.study), "") for c in compared)),
        row("failed", ((str(c.study.counts.failed), "") for c in compared)),
        row("time in trials", ((text.duration(c.study.train_s), "") for c in compared)),
        row("median trial", ((text.duration(c.study.median_s), "") for c in compared)),
    ]
    names = list(dict.fromkeys(name for c in compared for name in c.params))
    if names:
        rows.append(row("best parameters", (("", "") for _ in compared), "strong"))
    for name in names:
        values = [
            text.parameter(c.params[name]) if name in c.params else text.ABSENT for c in compared
        ]
        label = "  " + text.clean(name)
        rows.append(Row(("parameter", name), ((label, "dim"), *((v, "") for v in values))))
    return rows


def _scores(compared: Sequence[Compared], mark_best: bool) -> list[Piece]:
    cells: list[Piece] = []
    for place, c in enumerate(compared):
        score = text.number(c.study.best.selection_score if c.study.best else None)
        best = mark_best and place == 0 and c.study.best is not None and len(compared) > 1
        cells.append((f"★ {score}", "strong") if best else (score, ""))
    return cells


def _held_out(c: Compared) -> float | None:
    return c.study.best.held_out_score if c.study.best else None


def _gap(c: Compared) -> Piece:
    score = c.study.best.selection_score if c.study.best else None
    difference = gap(score, _held_out(c), c.experiment.maximize)
    worse = difference is not None and difference < 0
    return text.number(difference, sign=True), "warn" if worse else ""


def _trials(study: Study) -> str:
    goal = study.counts.goal
    return f"{study.counts.finished}" if goal is None else f"{study.counts.finished}/{goal}"
