"""The trials of a study: a window on any number of them, read page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget
from textual.widgets import Static

from engines.errors import HyperionError
from engines.models import catalogue
from engines.run.orders import Target
from engines.study.labels import NONE, Labels, Subject
from engines.study.pages import TRIAL_ORDERS
from engines.study.records import Study, Trial
from hyperion_tui import actions, text, words
from hyperion_tui.messages import Snapshot
from hyperion_tui.query import Query, parse
from hyperion_tui.screens.asking import AskingView
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.charts import ChartsScreen
from hyperion_tui.screens.columns import ColumnsDialog
from hyperion_tui.screens.export import ExportDialog, Scope
from hyperion_tui.screens.labelling import LabellingView
from hyperion_tui.screens.ordering import OrderingView
from hyperion_tui.screens.trial import TrialScreen
from hyperion_tui.widgets.lines import LineView, Piece
from hyperion_tui.widgets.window_table import (
    Column,
    ListRows,
    PagedRows,
    Row,
    Rows,
    WindowTable,
)

SORTS = tuple(TRIAL_ORDERS)
STATES = ("", "complete", "failed", "pruned", "running", "waiting")
FIXED = (
    Column("#", 6, "right"),
    Column("state", 10),
    Column("value", 11, "right"),
)
"""Columns that stay at the left and are always there."""

OTHERS = {
    "duration": Column("duration", 8, "right"),
    "worker": Column("worker", 6, "right"),
    "tags": Column("tags", 8, most=20),
}
"""Columns that can be hidden, by name; those of parameters are called `params_<name>`."""

_PARAM = "params_"

MOST_LABELLED = 10_000
"""So many trials with tags are looked through for a filter."""


class TrialsScreen(Upper, OrderingView, LabellingView, AskingView):
    """A table of trials, the newest first until another order is asked for."""

    SCOPES = ("back", "orders", "labels", "table", "trials")
    BINDINGS = actions.bindings("trials")

    def __init__(self, study_id: int) -> None:
        super().__init__()
        self._study_id = study_id
        self._sort, self._descending = "number", True
        self._states: tuple[str, ...] = ()
        self._words = ""
        self._query = Query()
        self._params: list[str] = []
        self._labelled: dict[int, Labels] = {}
        self._shown: tuple[object, ...] = ()
        self._best: int | None = None

    def body(self) -> Iterable[Widget]:
        """A line about the study and the table."""
        yield Static("", id="about", markup=False)
        yield WindowTable(FIXED, fixed=3, id="trials")
        yield self.prompt()

    @property
    def table(self) -> WindowTable:
        """The table."""
        return self.query_one(WindowTable)

    @property
    def target(self) -> Target | None:
        """The study with its experiment."""
        return self.hyperion.snapshot.study(self._study_id)

    def targets(self) -> tuple[str, list[Target]]:
        """This study."""
        target = self.target
        return ("", []) if target is None else (target[1].name, [target])

    def on_mount(self) -> None:
        self.table.focus()

    def on_screen_resume(self) -> None:
        """Tags may have been written on a screen above."""
        self._shown = ()
        super().on_screen_resume()

    # -- content -------------------------------------------------------------------------------

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Read the trials in sight again if the study has moved on."""
        found = snapshot.study(self._study_id)
        if found is None:
            self.say("this study is no longer in the store")
            return
        experiment, study = found
        stand = (study.counts, study.state, self._sort, self._descending, self._states)
        if stand == self._shown:
            return
        self._shown = stand
        self._best = study.best.number if study.best else None
        if not self._params:
            spec = catalogue.models().get(study.model)
            can = spec is not None and spec.does(experiment.task)
            past = (experiment.split or {}).get("past_target", False)
            form = spec.form(experiment.task, past=past) if spec and can else None
            self._params = list(form.defaults) if form else []
        self._say_about(study)
        self._read()

    def _say_about(self, study: Study) -> None:
        c = study.counts
        state, _ = text.state(study.state)
        goal = "" if c.goal is None else f"/{c.goal}"
        best = text.number(study.best.selection_score) if study.best else text.ABSENT
        about = (
            f" {text.clean(study.name)}  {state}  {c.finished}{goal} trials  best {best}  "
            f"{c.failed} failed  {c.running} running"
        )
        self.query_one("#about", Static).update(about)

    def _read(self) -> None:
        table, pages = self.table, self.hyperion.feed.pages
        follow = table.current_key if table.cursor else None
        try:
            self._labelled = pages.labelled_trials(self._study_id)
            if self._query.tags:
                rows: Rows = ListRows(self._tagged())
            else:
                total = pages.trial_count(self._study_id, self._states)
                rows = PagedRows(total, self._load)
            rows.row(table.cursor)
            if self._descending and self._sort == "number" and rows.find(follow) is None:
                follow = None
            table.show(rows, self._columns(), follow=follow)
        except HyperionError as error:
            self.say(str(error))
            return
        one = self._states[0] if len(self._states) == 1 and not self._words else ""
        only = f"  only {one}" if one else f"  /{text.clean(self._words)}" if self._words else ""
        order = "largest first" if self._descending else "smallest first"
        nothing = f"No trial is {one}." if one else "No trial yet."
        table.explain_emptiness(["No trial matches." if self._words else nothing])
        table.call(f"Trials  by {self._sort}, {order}{only}")

    def _load(self, offset: int, limit: int) -> list[Row]:
        trials = self.hyperion.feed.pages.trials(
            self._study_id,
            order=self._sort,
            descending=self._descending,
            states=self._states,
            limit=limit,
            offset=offset,
        )
        return self._rows(trials)

    def _tagged(self) -> list[Row]:
        """Rows of trials with the tags that are looked for: few, so they are sorted here."""
        numbers = [
            number for number, given in self._labelled.items() if self._query.wants_tags(given.tags)
        ]
        trials = self.hyperion.feed.pages.numbered(self._study_id, numbers[:MOST_LABELLED])
        wanted = [t for t in trials if not self._states or t.state in self._states]
        column = TRIAL_ORDERS[self._sort]
        known = [t for t in wanted if getattr(t, column) is not None]
        known.sort(key=lambda t: (getattr(t, column), t.number), reverse=self._descending)
        return self._rows([*known, *(t for t in wanted if getattr(t, column) is None)])

    def _rows(self, trials: Sequence[Trial]) -> list[Row]:
        known = set(self._params)
        self._params += [
            n for n in dict.fromkeys(n for t in trials for n in t.params) if n not in known
        ]
        shown = self._shown_names()
        return [_row(trial, shown, trial.number == self._best) for trial in trials]

    def _names(self) -> list[str]:
        """The columns that there are, beside those that are always there."""
        there = [name for name in OTHERS if name != "tags" or self._labelled]
        return [*there, *(f"{_PARAM}{name}" for name in self._params)]

    def _shown_names(self) -> list[str]:
        hidden = self._hidden()
        return [name for name in self._names() if name not in hidden]

    def _hidden(self) -> set[str]:
        """What the person has hidden for this model, as long as the app is open."""
        target = self.target
        model = target[1].model if target else ""
        return self.hyperion.hidden_columns.setdefault(model, set())

    def _columns(self) -> tuple[Column, ...]:
        return (*FIXED, *(_column(name) for name in self._shown_names()))

    # -- keys ----------------------------------------------------------------------------------

    def on_line_view_moved(self, _: LineView.Moved) -> None:
        if not self._shown:
            return
        row = self.table.current
        self.hint(row.note if row is not None else "")

    def on_line_view_chosen(self, _: LineView.Chosen) -> None:
        key = self.table.current_key
        if isinstance(key, int):
            self.app.push_screen(TrialScreen(self._study_id, key))

    def on_window_table_sort_asked(self, message: WindowTable.SortAsked) -> None:
        if message.reverse:
            self._descending = not self._descending
        else:
            self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._read_from_the_top()

    def action_charts(self) -> None:
        """History and importance of this study."""
        self.app.push_screen(ChartsScreen(self._study_id))

    def action_states(self) -> None:
        """Show one state after the other, then all."""
        place = STATES.index(self._states[0] if self._states else "")
        state = STATES[(place + 1) % len(STATES)]
        self._states = (state,) if state else ()
        self._words, self._query = "", Query()
        self._read_from_the_top()

    def action_filter(self) -> None:
        """Ask which trials to show."""
        question = "state:failed, tag:odd ... (enter; empty shows all)"
        self.ask(self._words, question, self._filter)

    def _filter(self, typed: str) -> None:
        asked = parse(typed)
        if asked.words or asked.models:
            self.say("of trials, only state: and tag: can be asked for")
            return
        states = tuple(s for s in STATES[1:] if asked.wants_state(s)) if asked.states else ()
        if asked.states and not states:
            self.say(f"states are {', '.join(STATES[1:])}")
            return
        self._words, self._query, self._states = typed.strip(), asked, states
        self._read_from_the_top()

    def action_columns(self) -> None:
        """Ask which columns to show."""
        names = self._names()
        self.app.push_screen(ColumnsDialog(names, self._hidden()), self._hide)

    def _hide(self, hidden: set[str] | None) -> None:
        if hidden is None:
            return
        kept = self._hidden()
        kept -= set(self._names())
        kept |= hidden
        self.table.shifted = 0
        self.labelled()

    # -- tags and notes ------------------------------------------------------------------------

    def subjects(self) -> list[Subject]:
        """The trial under the cursor."""
        target, key = self.target, self.table.current_key
        return [Subject(*target, key)] if target is not None and isinstance(key, int) else []

    def labels_of(self, subject: Subject) -> Labels:
        """What the trial has now."""
        return self._labelled.get(subject.number or 0, NONE)

    def labelled(self) -> None:
        """Read the page again."""
        self._shown = ()
        self.show_snapshot(self.hyperion.snapshot)

    def _read_from_the_top(self) -> None:
        self._shown = ()
        self.table.move_to(0)
        self.show_snapshot(self.hyperion.snapshot)

    def action_export(self) -> None:
        """Ask what to write, the trials or the model, and where."""
        target = self.target
        if target is not None:
            experiment, study = target
            scopes = [Scope.trials_of(study.name, f"trials of {study.name}")]
            if study.best is not None and experiment.dataset is not None:
                scopes.append(Scope.model_of(study.name))
            self.app.push_screen(ExportDialog(scopes))


def _column(name: str) -> Column:
    if not name.startswith(_PARAM):
        return OTHERS[name]
    label = name.removeprefix(_PARAM)
    return Column(text.clean(label), max(10, min(16, len(label))), "right")


def _row(trial: Trial, names: Sequence[str], is_best: bool) -> Row:
    value = text.number(trial.value)
    cells: list[Piece] = [
        (str(trial.number), "strong" if is_best else ""),
        text.state(trial.state),
        (f"★ {value}" if is_best else value, "strong" if is_best else ""),
        *(_cell(trial, name) for name in names),
    ]
    return Row(trial.number, tuple(cells), _about(trial))


def _cell(trial: Trial, name: str) -> Piece:
    if name == "duration":
        return text.duration(trial.duration_s), "dim"
    if name == "worker":
        return (text.ABSENT if trial.worker is None else str(trial.worker)), "dim"
    if name == "tags":
        return text.clean(" ".join(trial.tags)), "accent"
    label = name.removeprefix(_PARAM)
    if label not in trial.params:
        return text.ABSENT, "dim"
    return text.parameter(trial.params[label]), ""


def _about(trial: Trial) -> str:
    written = words.labels(trial.tags, trial.note)
    about = _what_happened(trial)
    return f"{text.clean(written)}; {about}" if written else about


def _what_happened(trial: Trial) -> str:
    if trial.error:
        return text.clean(trial.error)
    if trial.served_from is not None:
        return (
            f"trial {trial.number}: the same parameters as trial {trial.served_from}, not run again"
        )
    if trial.retry_of is not None:
        return f"trial {trial.number}: a second attempt at trial {trial.retry_of}"
    return f"trial {trial.number}: {trial.state}"
