"""The dialog that starts an experiment. What it asks for is checked by the command it starts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text
from textual import events
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, Static

from engines.data.bundled import data_sets
from engines.data.scoring import metric_names
from engines.errors import HyperionError
from engines.models import catalogue
from engines.models.spec import TASKS
from hyperion_tui import children, estimate, text, words
from hyperion_tui.children import Look, Request
from hyperion_tui.screens.base import Dialog
from hyperion_tui.widgets.fields import Entry, Field

_HEADER_BYTES = 65_536

SAMPLERS = ("tpe", "random", "gp", "cmaes", "qmc", "grid")
PRUNERS = ("racing", "none", "median", "halving", "wilcoxon")
"""Repeated here because their modules load Optuna; a test holds both together."""

DEVICES = ("cpu", "cuda")

FIELDS = (
    ("data", "Data", "a CSV or Parquet file, or ↑ ↓ for a bundled one"),
    ("target", "Target", "column to predict; ↑ ↓ lists the file's columns"),
    ("task", "Task", "blank: by the target; ↑ ↓ regression, classification, forecast"),
    ("metric", "Metric", "blank: r2 or accuracy; ↑ ↓ for others"),
    ("trials", "Trials", "blank: 20 a model, boosters 30"),
    ("time", "Time limit", "blank: none; 90s, 10m, 2h"),
    ("workers", "Workers", "blank: by cores and memory"),
    ("name", "Name", "blank: named after the data"),
    ("seed", "Seed", ""),
    ("horizon", "Horizon", "rows ahead, for the task forecast"),
    ("time_column", "Time column", "blank: by its name and values; `none`: no order"),
    ("past_target", "Past target", "blank: no; ↑ ↓ yes: models may read it"),
    ("groups", "Groups", "a column: rows of one group stay in one part"),
    ("sampler", "Sampler", f"blank: tpe; ↑ ↓ {', '.join(SAMPLERS[1:])}"),
    ("pruner", "Pruner", f"blank: racing; ↑ ↓ {', '.join(PRUNERS[1:])}"),
    ("patience", "Patience", "blank: none; trials without improvement"),
    ("min_improvement", "Improvement", "blank: any; what counts as one, in units"),
    ("trial_time", "Trial time", "blank: no limit; of one trial, such as 60s"),
    ("trial_memory", "Trial memory", "blank: no limit; of one trial, such as 2G"),
    ("space", "Space", "blank: the models' own; a TOML file that narrows it"),
    ("device", "Device", "of networks; blank: a GPU if there is one; ↑ ↓ cpu"),
)
"""Name, label and help of each field behind the models, the most needed first."""

ABOUT_DATA = (
    *("data", "target", "task", "horizon", "past_target", "metric", "time_column"),
    *("groups", "seed"),
)

ABOUT_TIME = ("selectors", "trials", "time", "workers")
"""Fields that change how long it will take, while the data stay the same."""

ROOM_AROUND = 11
"""Lines of the dialog that are no field: frame, padding, the line of what is below, the answer."""


MOST_WARNINGS = 2


@dataclass
class Draft:
    """What was typed when the dialog was left without a start, to go on with."""

    values: dict[str, str] = field(default_factory=dict)
    look: Look | None = None


class LaunchDialog(Dialog[str]):
    """Models, data and budget. Dismissed with the name of the experiment that was started."""

    KEYS = "enter start   tab next   ↑ ↓ choices   esc cancel"

    def __init__(self, selectors: Sequence[str], draft: Draft | None = None) -> None:
        super().__init__("Start an experiment")
        self._selectors = " ".join(selectors)
        self._draft = draft or Draft()
        self._filled: dict[str, str] = {}
        self._looked_at: list[str] = []
        self._starting = False

    def content(self) -> Iterable[Widget]:
        """One line a field, as many as there is room for, then a line of help or the error."""
        own = str(self.hyperion.settings.values.get("data", ""))
        known = {"seed": "42", "data": own, **self._draft.values}
        models = Field("Models", self._selectors, "models, families or `all`", id="selectors")
        others = (Field(label, known.get(n, ""), about, id=n) for n, label, about in FIELDS)
        yield VerticalScroll(models, *others, id="fields", can_focus=False)
        yield Static("", id="more")
        yield Static("", id="answer")

    def on_mount(self) -> None:
        self._entry("selectors").cursor_position = 0
        self._entry("data").choices = tuple(data_sets())
        self._entry("task").choices = ("", *TASKS)
        self._entry("past_target").choices = ("", "yes")
        self._entry("device").choices = ("", *DEVICES)
        self._entry("sampler").choices = ("", *SAMPLERS)
        self._entry("pruner").choices = ("", *PRUNERS)
        self._offer_metrics()
        self._offer_columns(columns_of(self._entry("data").value.strip()))
        self._say("bundled: " + ", ".join(data_sets()))
        self._entry("data" if self._selectors else "selectors").focus()
        self._look()

    def on_resize(self, _: events.Resize) -> None:
        room = int(self.app.size.height * 0.9) - ROOM_AROUND
        self.query_one("#fields").styles.max_height = max(4, room)
        self.call_after_refresh(self._tell_more)

    def on_descendant_focus(self) -> None:
        self.call_after_refresh(self._tell_more)

    def _tell_more(self) -> None:
        fields = self.query_one("#fields")
        below = fields.max_scroll_y - round(fields.scroll_y)
        told = f"↓ {text.plural(below, 'more field')}: tab" if below > 0 else ""
        self.query_one("#more", Static).update(Text(told, style="dim"))

    def _entry(self, name: str) -> Entry:
        return self.query_one(f"#{name}", Entry)

    def _request(self) -> Request:
        selectors = tuple(self._entry("selectors").value.replace(",", " ").split())
        return Request(selectors, **{name: self._entry(name).value for name, *_ in FIELDS})

    # -- help while typing -----------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "task":
            self._offer_metrics()
        if event.input.id in ABOUT_TIME and self._draft.look is not None and not self._starting:
            self._tell_look(self._draft.look)
        if event.input.id != "data":
            return
        bundle = data_sets().get(event.value.strip())
        if bundle is not None:
            self._fill("target", bundle.target)
            self._fill("time_column", bundle.time_column or "")
            self._say(f"{bundle.description}: {bundle.rows} rows, {bundle.columns} columns")
            columns: tuple[str, ...] = ()
        else:
            columns = columns_of(event.value.strip())
            if event.value != self._draft.values.get("data"):
                self._fill("target", "")
                self._fill("time_column", "")
            self._say(f"columns: {', '.join(columns)}" if columns else "")
        self._offer_columns(columns)

    def _offer_columns(self, columns: tuple[str, ...]) -> None:
        for name in ("target", "time_column", "groups"):
            self._entry(name).choices = columns

    def _offer_metrics(self) -> None:
        task = self._entry("task").value.strip()
        if not task and self._draft.look is not None:
            task = self._draft.look.task
        fit = metric_names(task if task in TASKS else None)
        self._entry("metric").choices = ("", *fit)

    def _fill(self, name: str, value: str) -> None:
        """Put a value into a field, unless the person has typed another one."""
        entry = self._entry(name)
        if entry.value == self._filled.get(name, ""):
            entry.value = value
            self._filled[name] = value

    def _say(self, told: str, style: str = "dim", more: Iterable[str] = ()) -> None:
        lines = "\n".join(map(text.clean, (told, *more)))
        self.query_one("#answer", Static).update(Text(lines, style=style))

    # -- a look at the data ----------------------------------------------------------------------

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if event.widget.id in (*ABOUT_DATA, "selectors") and not self._starting:
            self._look()

    def _look(self) -> None:
        """Read the data in a child, if they are named and what is asked of them is new."""
        request = self._request()
        asked = request.about_data()
        if not asked or asked == self._looked_at:
            if asked and self._draft.look is not None:
                self._tell_look(self._draft.look)
            return
        self._looked_at, self._draft.look = asked, None
        self._say("looking at the data ...")
        location = self.hyperion.location
        self.hyperion.in_thread(
            lambda: children.look_at_data(location, request), lambda found: self._seen(asked, found)
        )

    def _seen(self, asked: list[str], look: Look) -> None:
        if asked != self._looked_at or not self.is_attached or self._starting:
            return
        self._draft.look = look
        self._offer_metrics()
        self._tell_look(look)

    def _tell_look(self, look: Look) -> None:
        if look.problem:
            self._say(look.problem, "")
            return
        kept_out, request = self._kept_out(look), self._request()
        long = estimate.told(request, look)
        told = [*([long] if long else []), *_warned(look), *kept_out]
        self._say(look.about, "" if kept_out or look.warnings else "dim", told)

    def _kept_out(self, look: Look) -> list[str]:
        """Why some of the models named above can't be used on the data."""
        selectors = self._request().selectors
        try:
            chosen = catalogue.select(selectors)
        except HyperionError:
            return []
        by_name = {catalogue.find(w).name for w in selectors if not catalogue.is_group(w)}
        unfit = {s.name: look.unfit[s.name] for s in chosen if s.name in look.unfit}
        refused = [f"✗ {name}: {reason}" for name, reason in unfit.items() if name in by_name]
        return refused + words.left_out({n: r for n, r in unfit.items() if n not in by_name})

    # -- start -----------------------------------------------------------------------------------

    def action_cancel(self) -> None:
        """Close; what was typed is there when the dialog is opened again."""
        self._draft.values = {name: self._entry(name).value for name, *_ in FIELDS}
        self.dismiss(None)

    def on_input_submitted(self) -> None:
        if self._starting:
            return
        request = self._request()
        if not request.selectors:
            self._fail(HyperionError("Name at least one model, a family, or `all`."))
            return
        self._starting = True
        self._say("starting ...")
        location = self.hyperion.location
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


def _warned(look: Look) -> list[str]:
    """What would spoil a result: the first few of it, as there is little room."""
    shown = [f"! {warning}" for warning in look.warnings[:MOST_WARNINGS]]
    left = len(look.warnings) - len(shown)
    more = f"! {text.plural(left, 'more warning')}: hyperion-tui data check"
    return [*shown, *([more] if left else [])]


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
