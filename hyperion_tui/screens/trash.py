"""The trash: what was deleted, to be brought back or removed for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from textual.widget import Widget
from textual.widgets import Static

from engines.study import trash
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment
from hyperion_tui import actions, orders, text
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.confirm import Confirm, ConfirmByName
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable, fitted

COLUMNS = (
    Column("experiment", 16, most=40),
    Column("state", 11),
    Column("trials", 8, "right"),
    Column("time", 8, "right"),
    Column("files", 10, "right"),
    Column("created", 16),
)

MANY_TRIALS = 1_000
"""Who removes more than so many trials types the name of what is lost."""


class TrashTable(WindowTable):
    """Rows of deleted experiments, which can be marked."""

    BINDINGS = actions.bindings("marks")

    def action_mark(self) -> None:
        """Mark an experiment."""
        self.toggle_mark()


class TrashScreen(Upper):
    """Every deleted experiment, with what it holds."""

    SCOPES = ("back", "trash")
    BINDINGS = actions.bindings("trash")

    def __init__(self) -> None:
        super().__init__()
        self._deleted: list[tuple[Experiment, int]] = []
        self._others: list[int] | None = None

    def body(self) -> Iterable[Widget]:
        """One table."""
        yield Static("", classes="gap")
        yield TrashTable(COLUMNS, id="trash")

    @property
    def table(self) -> TrashTable:
        """The table."""
        return self.query_one(TrashTable)

    def on_mount(self) -> None:
        self.table.explain_emptiness(["looking ..."])
        self.table.focus()
        self.table.call("Trash")

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Look again if something else was deleted, or brought back."""
        others = [experiment.experiment_id for experiment in snapshot.experiments]
        if others != self._others:
            self._others = others
            self._look()

    def _look(self) -> None:
        location = self.hyperion.location
        self.hyperion.in_thread(lambda: _contents(location), self._show, self._fail)

    def _show(self, deleted: list[tuple[Experiment, int]]) -> None:
        if not self.is_attached:
            return
        self._deleted = deleted
        rows = [_row(experiment, size) for experiment, size in deleted]
        table = self.table
        table.marked &= {row.key for row in rows}
        delete = actions.key_of("delete")
        table.explain_emptiness(
            ["The trash is empty.", "", f"{delete} in the list of experiments deletes one."]
        )
        table.show(ListRows(rows), fitted(COLUMNS, rows), follow=table.current_key)
        size = sum(size for _, size in deleted)
        table.call(f"Trash  {text.size(size)} of files" if deleted else "Trash")

    def _fail(self, error: BaseException) -> None:
        self.say(str(error))

    def _chosen(self) -> list[Experiment]:
        """The marked experiments, or the one under the cursor."""
        table = self.table
        wanted = table.marked or {table.current_key}
        return [e for e, _ in self._deleted if e.experiment_id in wanted]

    # -- keys ----------------------------------------------------------------------------------

    def action_restore(self) -> None:
        """Bring experiments back, as they were."""
        chosen, location = self._chosen(), self.hyperion.location
        if chosen:
            self.hyperion.in_thread(
                lambda: orders.restore(location, chosen), lambda told: self._done(chosen, told)
            )

    def action_purge(self) -> None:
        """Remove experiments for good, if that is really meant."""
        chosen = self._chosen()
        if not chosen:
            return
        trials = sum(e.finished for e in chosen)
        spent = sum(s.train_s for e in chosen for s in e.studies)
        what = chosen[0].name if len(chosen) == 1 else text.plural(len(chosen), "experiment")
        question = (
            f"Remove {what} for good?",
            f"{text.plural(trials, 'trial')}, {text.duration(spent)} of training, their models "
            "and logs are lost. Nothing brings them back.",
        )
        if trials > MANY_TRIALS:
            dialog: Confirm | ConfirmByName = ConfirmByName("Purge", question, chosen[0].name)
        else:
            dialog = Confirm("Purge", question, "Purge", "Keep it")
        self.app.push_screen(dialog, lambda yes: self._purge(chosen) if yes else None)

    def _purge(self, chosen: Sequence[Experiment]) -> None:
        location = self.hyperion.location
        self.say("removing ...")
        self.hyperion.in_thread(
            lambda: orders.purge(location, chosen),
            lambda told: self._done(chosen, told),
            self._stopped,
        )

    def _stopped(self, error: BaseException) -> None:
        """Those before the one that can't be removed are gone."""
        self.hyperion.show_error(error)
        self._look()

    def _done(self, chosen: Sequence[Experiment], told: str) -> None:
        # What is no longer in the trash can't be brought back by an undo.
        out = {experiment.experiment_id for experiment in chosen}
        left = [[e for e in group if e.experiment_id not in out] for group in self.hyperion.deleted]
        self.hyperion.deleted = [group for group in left if group]
        self.hyperion.say(told)
        self._look()


def _contents(location: Location) -> list[tuple[Experiment, int]]:
    """What is in the trash, with the bytes of its files. Called in a thread."""
    if not location.may_exist:
        return []
    with contextlib.closing(Reader(location)) as reader:
        deleted = reader.trash()
    return [
        (e, sum(trash.size(folder) for folder in location.folders(e.experiment_id)))
        for e in deleted
    ]


def _row(experiment: Experiment, size: int) -> Row:
    spent = sum(study.train_s for study in experiment.studies)
    return Row(
        experiment.experiment_id,
        (
            (text.clean(experiment.name), ""),
            text.state(experiment.state),
            (text.count(experiment.finished), ""),
            (text.duration(spent), "dim"),
            (text.size(size), "dim"),
            (text.day(experiment.created_at), "dim"),
        ),
    )
