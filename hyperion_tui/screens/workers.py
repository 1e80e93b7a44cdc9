"""The workers of the open experiment: what each runs, for how long, and what it uses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from textual.widget import Widget
from textual.widgets import Static

from engines.study.records import Worker
from hyperion_tui import actions, text
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper
from hyperion_tui.usage import Meter, Usage
from hyperion_tui.widgets.lines import LineView, Piece
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable

LOOK_S = 2.0
"""How often the machine is asked: a look at a worker takes some milliseconds of a thread."""

COLUMNS = (
    Column("#", 2, "right"),
    Column("state", 9),
    Column("runs", 18, most=34),
    Column("for", 8, "right"),
    Column("cores", 6, "right"),
    Column("memory", 10, "right"),
    Column("up", 8, "right"),
    Column("pid", 7, "right"),
)


class WorkersScreen(Upper):
    """A row for each worker."""

    SCOPES = ("back",)

    def __init__(self) -> None:
        super().__init__()
        self._meter = Meter()
        self._used: Mapping[int, Usage] = {}
        self._asked: set[int] = set()
        self._looking = False

    def body(self) -> Iterable[Widget]:
        """A line about the experiment and the table."""
        yield Static("", id="about", markup=False)
        yield WindowTable(COLUMNS, fixed=2, id="workers")

    def on_mount(self) -> None:
        self.query_one(WindowTable).focus()
        self.set_interval(LOOK_S, self._look)
        self._look()

    def _look(self) -> None:
        if not self._looking and self.is_current:
            self._looking = True
            self.run_worker(self._measure())

    async def _measure(self) -> None:
        workers = self.hyperion.snapshot.workers
        try:
            self._used = await asyncio.to_thread(self._meter.look, workers)
            self._asked = {worker.worker_id for worker in workers}
        finally:
            self._looking = False
        self.show_snapshot(self.hyperion.snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show who works now, with what was measured last."""
        experiment = snapshot.current
        name = text.clean(experiment.name) if experiment else "no experiment"
        state = text.state(experiment.state)[0] if experiment else ""
        self.query_one("#about", Static).update(f" {name}  {state}")
        table = self.query_one(WindowTable)
        resume = actions.key_of("resume")
        table.explain_emptiness(["Nobody works now.", "", f"{resume} on the main screen goes on."])
        rows = [
            _row(worker, self._used.get(worker.worker_id), worker.worker_id in self._asked)
            for worker in snapshot.workers
        ]
        table.show(ListRows(rows), COLUMNS, follow=table.current_key)
        table.call("Workers")
        self._tell()

    def on_line_view_moved(self, _: LineView.Moved) -> None:
        self._tell()

    def _tell(self) -> None:
        row = self.query_one(WindowTable).current
        self.hint(row.note if row is not None else "")


def _row(worker: Worker, used: Usage | None, asked: bool) -> Row:
    state, style = ("! odd", "warn") if worker.flag else ("● works", "accent")
    if worker.flag == "frozen":
        state = "‖ frozen"
    elif worker.trial is None and not worker.flag:
        state, style = "○ idle", "dim"
    cores = None if used is None or used.cores is None else f"{used.cores:.2f}"
    memory = None if used is None or not used.memory_mib else f"{used.memory_mib:.0f} MiB"
    since = None if worker.trial is None else _since(worker.trial_started_at)
    cells: list[Piece] = [
        (str(worker.slot), "dim"),
        (state, style),
        (text.clean(worker.trial) if worker.trial else text.ABSENT, ""),
        (text.duration(since), ""),
        (cores or text.ABSENT, ""),
        (memory or text.ABSENT, ""),
        (text.duration(_since(worker.started_at)), "dim"),
        (str(worker.pid), "dim"),
    ]
    note = f"worker {worker.slot}: {text.clean(worker.flag)}" if worker.flag else ""
    elsewhere = f"worker {worker.slot}: its process is not to be seen from here"
    return Row(worker.worker_id, tuple(cells), note or (elsewhere if asked and not used else ""))


def _since(stamp: str | None) -> float | None:
    """Whole seconds since an ISO stamp."""
    try:
        then = datetime.fromisoformat(stamp or "")
    except ValueError:
        return None
    return float(max(0, round((datetime.now(UTC) - then).total_seconds())))
