"""The dialog that starts an experiment. What it asks for is checked by the command it starts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Input, Static

from engines.data.bundled import BUNDLED
from engines.errors import HyperionError
from hyperion_tui import children, text
from hyperion_tui.children import Request
from hyperion_tui.screens.base import Dialog
from hyperion_tui.widgets.fields import Entry, Field

_HEADER_BYTES = 65_536


class LaunchDialog(Dialog[str]):
    """Models, data and budget. Dismissed with the name of the experiment that was started."""

    KEYS = "enter start   tab next   ↑ ↓ choices   esc cancel"

    def __init__(self, selectors: Sequence[str]) -> None:
        super().__init__("Start an experiment")
        self._selectors = " ".join(selectors)
        self._filled: dict[str, str] = {}
        self._starting = False

    def content(self) -> Iterable[Widget]:
        """One line a field, then a line of help or the error."""
        yield Field("Models", self._selectors, "models, families or `all`", id="selectors")
        yield Field("Data", "", "a CSV or Parquet file, or ↑ ↓ for a bundled one", id="data")
        yield Field("Target", "", "column to predict; ↑ ↓ lists the file's columns", id="target")
        yield Field(
            "Time column", "", "blank: by its name and values; `none`: no order", id="time_column"
        )
        yield Field("Metric", "", "blank: r2; or rmse, mae, mse, mape", id="metric")
        yield Field("Trials", "", "blank: 20 a model, boosters 30", id="trials")
        yield Field("Time limit", "", "blank: none; 90s, 10m, 2h", id="time")
        yield Field("Workers", "", "blank: by cores and memory", id="workers")
        yield Field("Seed", "42", "", id="seed")
        yield Field("Name", "", "blank: named after the data", id="name")
        yield Static("", id="answer")

    def on_mount(self) -> None:
        self._entry("data" if self._selectors else "selectors").focus()
        self._entry("selectors").cursor_position = 0
        self._entry("data").choices = tuple(BUNDLED)
        self._say("bundled: " + ", ".join(BUNDLED))

    def _entry(self, name: str) -> Entry:
        return self.query_one(f"#{name}", Entry)

    # -- help while typing -----------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id != "data":
            return
        bundle = BUNDLED.get(event.value.strip())
        if bundle is not None:
            self._fill("target", bundle.target)
            self._fill("time_column", bundle.time_column or "")
            self._say(f"{bundle.description}: {bundle.rows} rows, {bundle.columns} columns")
            columns: tuple[str, ...] = ()
        else:
            columns = columns_of(event.value.strip())
            self._fill("target", "")
            self._fill("time_column", "")
            self._say(f"columns: {', '.join(columns)}" if columns else "")
        self._entry("target").choices = columns
        self._entry("time_column").choices = columns

    def _fill(self, name: str, value: str) -> None:
        """Put a value into a field, unless the person has typed another one."""
        entry = self._entry(name)
        if entry.value == self._filled.get(name, ""):
            entry.value = value
            self._filled[name] = value

    def _say(self, words: str, style: str = "dim") -> None:
        self.query_one("#answer", Static).update(Text(text.clean(words), style=style))

    # -- start -----------------------------------------------------------------------------------

    def on_input_submitted(self) -> None:
        if self._starting:
            return
        values = {name: self._entry(name).value for name in _NAMES}
        selectors = tuple(self._entry("selectors").value.replace(",", " ").split())
        if not selectors:
            self._fail(HyperionError("Name at least one model, a family, or `all`."))
            return
        self._starting = True
        self._say("starting ...")
        location = self.hyperion.location
        request = Request(selectors, **values)
        self.hyperion.in_thread(
            lambda: children.start_experiment(location, request), self._started, self._fail
        )

    def _started(self, name: str) -> None:
        if self.is_attached:
            self.dismiss(name)

    def _fail(self, error: BaseException) -> None:
        self._starting = False
        if self.is_attached:
            self._say(f"✗ {error}", "bold red")


_NAMES = ("data", "target", "time_column", "metric", "trials", "time", "workers", "seed", "name")


def columns_of(path: str) -> tuple[str, ...]:
    """The column names of a CSV file, or nothing if it is none. Reads at most 64 KiB."""
    if not path.lower().endswith((".csv", ".tsv", ".txt")):
        return ()
    try:
        file = Path(path).expanduser()
        if not file.is_file():
            return ()
        with file.open("rb") as stream:
            head = stream.read(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
        first = next(iter(head.splitlines()), "")
        dialect = "\t" if first.count("\t") > first.count(",") else ","
        if first.count(";") > first.count(dialect):
            dialect = ";"
        return tuple(name.strip() for name in next(csv.reader([first], delimiter=dialect), []))
    except (OSError, csv.Error, RuntimeError):
        return ()
