"""The list of all experiments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rich.text import Text
from textual import events
from textual.widget import Widget

from engines.run.orders import Target
from engines.study import trash
from engines.study.labels import Subject
from engines.study.records import Experiment, Study
from hyperion_tui import actions, orders, text, words
from hyperion_tui.messages import Snapshot
from hyperion_tui.query import Query, parse
from hyperion_tui.screens.asking import AskingView
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.compare import CompareScreen
from hyperion_tui.screens.labelling import LabellingView
from hyperion_tui.screens.ordering import OrderingView
from hyperion_tui.screens.trash import TrashScreen
from hyperion_tui.widgets.lines import LineView
from hyperion_tui.widgets.status import TextLine
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
    Column("experiment", 16, most=40),
    Column("state", 11),
    Column("models", 6, "right"),
    Column("done", 9, "right"),
    Column("best", 9, "right"),
    Column("model", 12, most=24),
    Column("ETA", 7, "right"),
    Column("created", 16),
    Column("tags", 10, most=24),
)

LATE = ("created", "models", "ETA", "tags", "model", "done")
"""Columns that stand last where not all have room, what can be done without most easily first."""

NOTHING = "There is no experiment yet: r on the main screen starts one."

SORTS = ("created", "name", "state")


class ExperimentsTable(WindowTable):
    """Rows of experiments, which can be marked."""

    BINDINGS = actions.bindings("marks")

    def action_mark(self) -> None:
        """Mark an experiment, to compare it."""
        self.toggle_mark()


class ExperimentsScreen(Upper, OrderingView, LabellingView, AskingView):
    """Every experiment of the store; enter opens one."""

    SCOPES = ("back", "orders", "labels", "experiments", "table")
    BINDINGS = actions.bindings("experiments")

    def __init__(self) -> None:
        super().__init__()
        self._sort, self._reversed = "created", False
        self._experiments: tuple[Experiment, ...] = ()
        self._words = ""

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield TextLine(id="away", classes="gap")
        yield ExperimentsTable(COLUMNS, id="experiments")
        yield self.prompt()

    @property
    def table(self) -> ExperimentsTable:
        """The table."""
        return self.query_one(ExperimentsTable)

    def on_mount(self) -> None:
        self.table.explain_emptiness([NOTHING])
        self.table.focus()
        self._tell_what_happened()
        # Not only when it comes to the front: keys of the same burst find the rows there.
        self.show_snapshot(self.hyperion.snapshot)

    def _tell_what_happened(self) -> None:
        """What happened since the person last looked: once, as long as this screen is open."""
        told, self.hyperion.away = self.hyperion.away, ""
        self.query_one("#away", TextLine).show(Text(f" {text.clean(told)}" if told else ""))

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """List the experiments."""
        self._experiments = snapshot.experiments
        asked = parse(self._words)
        shown = [e for e in snapshot.experiments if _is_asked_for(e, asked)]
        if self._sort == "name":
            shown.sort(key=lambda e: e.name)
        elif self._sort == "state":
            shown.sort(key=lambda e: (e.state != "running", e.state))
        if self._reversed:
            shown.reverse()
        rows = [_row(e, is_open=e.experiment_id == snapshot.current_id) for e in shown]
        table = self.table
        columns = [
            replace(c, width=max(c.width, _widest(rows))) if c.label == "state" else c
            for c in COLUMNS
        ]
        room = self.app.size.width - 2
        shown_columns, rows = without_empty(fitted(columns, rows), rows, {"tags"})
        shown_columns, rows = by_room(shown_columns, rows, room, LATE)
        table.show(ListRows(rows), shown_columns, follow=table.current_key)
        turned = ", reversed" if self._reversed else ""
        found = f"  /{text.clean(self._words)}" if self._words else ""
        table.call(f"Experiments  by {self._sort}{turned}{found}")
        self._tell()

    def on_resize(self, _: events.Resize) -> None:
        """Other columns have room now."""
        self.show_snapshot(self.hyperion.snapshot)

    def on_window_table_sort_asked(self, message: WindowTable.SortAsked) -> None:
        if message.reverse:
            self._reversed = not self._reversed
        else:
            self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.show_snapshot(self.hyperion.snapshot)

    def on_line_view_chosen(self, _: LineView.Chosen) -> None:
        key = self.table.current_key
        if isinstance(key, int):
            self.app.pop_screen()
            self.hyperion.open_experiment(key)

    def on_line_view_moved(self, _: LineView.Moved) -> None:
        self._tell()

    def _tell(self) -> None:
        experiment = self._current()
        if experiment is not None:
            written = words.labels(experiment.tags, experiment.note)
            about = experiment.failure or f"seed {experiment.seed}, {_data(experiment)}"
            self.hint(f"{written}; {about}" if written else about)

    def _current(self) -> Experiment | None:
        return self.hyperion.snapshot.experiment(_id(self.table.current_key))

    def targets(self) -> tuple[str, list[Target]]:
        """The studies of the experiment under the cursor."""
        experiment = self._current()
        if experiment is None:
            return "", []
        return experiment.name, [(experiment, study) for study in experiment.studies]

    def subjects(self) -> list[Subject]:
        """The marked experiments, or the one under the cursor."""
        return [Subject(experiment) for experiment in self._chosen()]

    def action_filter(self) -> None:
        """Ask what to show."""
        question = "words, state:done, tag:good, model:xgb* ... (enter; empty shows all)"
        self.ask(self._words, question, self._filter)

    def _filter(self, typed: str) -> None:
        self._words = typed.strip()
        no_match = f"No experiment matches: {actions.key_of('filter')} asks for others."
        self.table.explain_emptiness([no_match if self._words else NOTHING])
        self.show_snapshot(self.hyperion.snapshot)

    def action_compare(self) -> None:
        """All studies of the marked experiments, or of the one under the cursor."""
        ids = [study.study_id for experiment in self._chosen() for study in experiment.studies]
        if ids:
            self.app.push_screen(CompareScreen(ids))

    def action_delete(self) -> None:
        """Put the marked experiments, or the one under the cursor, into the trash."""
        chosen = self._chosen()
        busy = [e for e in chosen if e.state not in trash.AT_REST]
        if busy:
            end, delete = actions.key_of("cancel"), actions.key_of("delete")
            self.say(f"{busy[0].name} is {busy[0].state}: {end} ends it, then {delete} deletes it")
        elif chosen:
            location = self.hyperion.location
            self.hyperion.in_thread(
                lambda: orders.delete(location, chosen), lambda told: self._deleted(chosen, told)
            )

    def _deleted(self, experiments: list[Experiment], told: str) -> None:
        self.hyperion.deleted.append(experiments)
        if self.is_attached:
            self.table.marked.difference_update(e.experiment_id for e in experiments)
        self.hyperion.say(told)

    def action_undo(self) -> None:
        """Bring back what was deleted last while this app is open."""
        if not self.hyperion.deleted:
            key = actions.key_of("trash")
            self.say(f"nothing was deleted here; {key} shows what was before")
            return
        experiments, location = self.hyperion.deleted.pop(), self.hyperion.location

        def failed(error: BaseException) -> None:
            self.hyperion.deleted.append(experiments)
            self.hyperion.show_error(error)

        self.hyperion.in_thread(
            lambda: orders.restore(location, experiments), self.hyperion.say, failed
        )

    def action_trash(self) -> None:
        """What was deleted."""
        self.app.push_screen(TrashScreen())

    def _chosen(self) -> list[Experiment]:
        """The marked experiments, or the one under the cursor."""
        marked = [e for e in self._experiments if e.experiment_id in self.table.marked]
        current = self._current()
        return marked or ([current] if current else [])


def _is_asked_for(experiment: Experiment, asked: Query) -> bool:
    """Whether it, or one of its studies, is what is looked for."""
    held: tuple[Experiment | Study, ...] = (experiment, *experiment.studies)
    tags = [tag for one in held for tag in one.tags]
    models = [study.model for study in experiment.studies] or [""]

    def said() -> str:
        data = experiment.dataset.name if experiment.dataset else ""
        return " ".join([experiment.name, data, *(one.note for one in held)])

    return any(asked.matches(experiment.state, model, said, tags) for model in models)


def _widest(rows: list[Row]) -> int:
    """The width of the states: an experiment without its runner says what to do."""
    return max((len(row.cells[1][0]) for row in rows), default=0)


def _id(key: object) -> int | None:
    return key if isinstance(key, int) else None


def _data(experiment: Experiment) -> str:
    d = experiment.dataset
    return "no data" if d is None else f"data {d.name}: {text.count(d.rows)} × {d.columns}"


def _row(experiment: Experiment, *, is_open: bool) -> Row:
    best = next((s for s in experiment.ranked if s.best), None)
    goal = experiment.goal
    done = str(experiment.finished) if goal is None else f"{experiment.finished}/{goal}"
    state, style = text.state(experiment.state)
    if experiment.is_orphaned:
        state, style = f"{state} (no runner: {actions.key_of('resume')} resumes)", "warn"
    eta = experiment.eta_s if experiment.state == "running" else None
    return Row(
        experiment.experiment_id,
        (
            (text.clean(experiment.name), "strong" if is_open else ""),
            (state, style),
            (str(len(experiment.studies)), ""),
            (done, "dim"),
            (text.number(best.best.selection_score if best and best.best else None), ""),
            (text.clean(best.model) if best else text.ABSENT, ""),
            (text.eta(eta), "dim"),
            (text.day(experiment.created_at), "dim"),
            (text.clean(" ".join(experiment.tags)), "accent"),
        ),
    )
