"""The trials of a study: a window on any number of them, read page by page."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Static

from engines.errors import HyperionError
from engines.models import catalogue
from engines.run.orders import Target
from engines.study.pages import TRIAL_ORDERS
from engines.study.records import Study, Trial
from hyperion_tui import actions, text
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.charts import ChartsScreen
from hyperion_tui.screens.export import ExportDialog, Scope
from hyperion_tui.screens.ordering import OrderingView
from hyperion_tui.screens.trial import TrialScreen
from hyperion_tui.widgets.lines import LineView, Piece
from hyperion_tui.widgets.window_table import Column, PagedRows, Row, WindowTable

SORTS = tuple(TRIAL_ORDERS)
STATES = ("", "complete", "failed", "pruned", "running", "waiting")
COLUMNS = (
    Column("#", 6, "right"),
    Column("state", 10),
    Column("value", 11, "right"),
    Column("duration", 8, "right"),
    Column("worker", 6, "right"),
)


class TrialsScreen(Upper, OrderingView):
    """A table of trials, the newest first until another order is asked for."""

    SCOPES = ("back", "orders", "table", "trials")
    BINDINGS = actions.bindings("trials")

    def __init__(self, study_id: int) -> None:
        super().__init__()
        self._study_id = study_id
        self._sort, self._descending = "number", True
        self._states: tuple[str, ...] = ()
        self._params: list[str] = []
        self._shown: tuple[object, ...] = ()
        self._best: int | None = None

    def body(self) -> Iterable[Widget]:
        """A line about the study and the table."""
        yield Static("", id="about", markup=False)
        yield WindowTable(COLUMNS, fixed=3, id="trials")

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
        table = self.table
        follow = table.current_key if table.cursor else None
        try:
            total = self.hyperion.feed.pages.trial_count(self._study_id, self._states)
            rows = PagedRows(total, self._load)
            rows.row(table.cursor)
            if self._descending and self._sort == "number" and rows.find(follow) is None:
                follow = None
            table.show(rows, self._columns(), follow=follow)
        except HyperionError as error:
            self.say(str(error))
            return
        only = f"  only {self._states[0]}" if self._states else ""
        order = "largest first" if self._descending else "smallest first"
        table.explain_emptiness(
            [f"No trial{' is ' + self._states[0] if self._states else ' yet'}."]
        )
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
        known = set(self._params)
        self._params += [
            n for n in dict.fromkeys(n for t in trials for n in t.params) if n not in known
        ]
        return [_row(trial, self._params, trial.number == self._best) for trial in trials]

    def _columns(self) -> tuple[Column, ...]:
        named = (Column(text.clean(n), max(10, min(16, len(n))), "right") for n in self._params)
        return (*COLUMNS, *named)

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
        self._read_from_the_top()

    def _read_from_the_top(self) -> None:
        self._shown = ()
        self.table.move_to(0)
        self.show_snapshot(self.hyperion.snapshot)

    def action_export(self) -> None:
        """Ask where to write the trials."""
        target = self.target
        if target is not None:
            name = target[1].name
            self.app.push_screen(ExportDialog([Scope.trials_of(name, f"trials of {name}")]))


def _row(trial: Trial, names: list[str], is_best: bool) -> Row:
    value = text.number(trial.value)
    cells: list[Piece] = [
        (str(trial.number), "strong" if is_best else ""),
        text.state(trial.state),
        (f"★ {value}" if is_best else value, "strong" if is_best else ""),
        (text.duration(trial.duration_s), "dim"),
        (text.ABSENT if trial.worker is None else str(trial.worker), "dim"),
    ]
    for name in names:
        given = name in trial.params
        cells.append((text.parameter(trial.params[name]), "") if given else (text.ABSENT, "dim"))
    return Row(trial.number, tuple(cells), _about(trial))


def _about(trial: Trial) -> str:
    if trial.error:
        return text.clean(trial.error)
    if trial.served_from is not None:
        return (
            f"trial {trial.number}: the same parameters as trial {trial.served_from}, not run again"
        )
    if trial.retry_of is not None:
        return f"trial {trial.number}: a second attempt at trial {trial.retry_of}"
    return f"trial {trial.number}: {trial.state}"
