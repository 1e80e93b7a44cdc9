"""Data to learn from: chosen among those used before, bundled sets and files, and looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.containers import Container
from textual.widget import Widget
from textual.widgets import Static

from engines.errors import HyperionError
from engines.files import typed_path
from engines.study.records import Experiment
from hyperion_tui import actions, children, sources, text, words
from hyperion_tui.children import Checked, Request
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.asking import AskingView
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.launch import columns_of
from hyperion_tui.sources import BUNDLE, FILE, FOLDER, USED, Folder, Source
from hyperion_tui.widgets.lines import LineView, Piece
from hyperion_tui.widgets.text_pane import TextPane
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable

COLUMNS = (
    Column("data", 20, most=34),
    Column("rows", 9, "right"),
    Column("columns", 7, "right"),
    Column("target or size", 14, most=22),
    Column("", 16, most=30),
)

Line = tuple[Piece, ...]
Values = dict[str, str]
"""What to put into fields of the launch dialog, by their names."""

HEADING = "heading"
"""The first part of the key of a line that is only a title."""

_STYLES = {"error": ("✗", "bad"), "warning": ("!", "warn"), "info": ("·", "dim")}


@dataclass(frozen=True, slots=True)
class Start:
    """What the launch dialog is to begin with. selectors: models; none keeps the marked ones."""

    values: Values
    selectors: tuple[str, ...] = ()


class SourcesTable(WindowTable):
    """Rows of data under headings, over which the cursor steps."""

    def action_move(self, by: int) -> None:
        """Another line that is no heading."""
        before = self.cursor
        super().action_move(by)
        if self._is_heading():
            super().action_move(1 if by > 0 else -1)
        if self._is_heading():
            # There is none further up: only the heading comes into sight.
            self.move_to(before, top=0)

    def action_page(self, by: int) -> None:
        """One page further, to a line that is no heading."""
        super().action_page(by)
        if self._is_heading():
            self.move_to(self.cursor + 1, top=self.top)

    def action_edge(self, to: int) -> None:
        """To the first or the last line that is no heading."""
        super().action_edge(to)
        if self._is_heading():
            self.move_to(self.cursor + 1, top=self.top)

    def _is_heading(self) -> bool:
        key = self.current_key
        return isinstance(key, tuple) and key[0] == HEADING


class DataScreen(Upper, AskingView):
    """What there is at the left or above, and what was found in it."""

    SCOPES = ("back", "data")
    BINDINGS = actions.bindings("data")

    def __init__(self, start: Callable[[Start], None]) -> None:
        super().__init__()
        self._start = start
        self._folder: Folder | None = None
        self._used: list[Source] = []
        self._sources: dict[tuple[str, str, str], Source] = {}
        self._found: dict[tuple[str, str, str], Checked | HyperionError] = {}
        self._looking: tuple[str, str, str] | None = None
        self._beginning = True

    def body(self) -> Iterable[Widget]:
        """The list, what is known of the line under the cursor, and a prompt for a path."""
        yield Static("", classes="gap")
        yield Container(
            SourcesTable(COLUMNS, fixed=1, id="sources"), TextPane(id="findings"), id="data"
        )
        yield self.prompt()

    @property
    def table(self) -> SourcesTable:
        """The list."""
        return self.query_one(SourcesTable)

    def on_mount(self) -> None:
        self.table.focus()
        self.show_snapshot(self.hyperion.snapshot)
        self._go(sources.starting_folder())

    # -- the list ------------------------------------------------------------------------------

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Other data may have been used meanwhile."""
        used = sources.used_before(snapshot.experiments)
        if used != self._used or not self._sources:
            self._used = used
            self._list()

    def _go(self, path: Path, select: str = "") -> None:
        """List another folder. select: the path of the entry to put the cursor on."""
        self.hyperion.in_thread(
            lambda: sources.list_folder(path), lambda folder: self._listed(folder, select)
        )

    def _listed(self, folder: Folder, select: str) -> None:
        if not self.is_attached:
            return
        self._folder = folder
        self._list()
        beginning, self._beginning = self._beginning and not select, False
        if beginning:
            # It has its height by now: with the line, its heading is in sight.
            self.table.move_to(self.table.cursor, top=0)
            return
        key = next((s.key for s in folder.entries if s.named == select), None)
        if select and key is None:
            name = text.clean(Path(select).name)
            self.say(f"{name} is not listed: the launch dialog takes any file")
        title = (HEADING, FILE, "")
        place = self.table.rows.find(key if key is not None else title)
        if place is not None:
            first = place if key is not None else place + 1
            # What the folder holds comes into sight with its name.
            self.table.move_to(first, top=place if key is None else None)

    def _list(self) -> None:
        parts = [("Used before", USED, self._used), ("Bundled", BUNDLE, sources.bundled())]
        if self._folder is not None:
            more = self._folder.left_out
            out = f"  ({text.plural(more, 'more entry', 'more entries')})" if more else ""
            parts.append(
                (f"{_short(self._folder.path)}{out}", FILE, list(self._folder.entries)),
            )
        self._sources = {s.key: s for _, _, listed in parts for s in listed}
        rows: list[Row] = []
        for title, kind, listed in parts:
            if listed:
                rows.append(Row((HEADING, kind, ""), ((text.clean(title), "head"),)))
                rows += [_row(source) for source in listed]
        table = self.table
        table.show(ListRows(rows), follow=table.current_key)
        if self._source() is None and len(rows) > 1:
            table.move_to(1)
        table.call("Data")
        self._tell()

    def _source(self) -> Source | None:
        key = self.table.current_key
        return self._sources.get(key) if isinstance(key, tuple) else None

    # -- what is known of the line under the cursor ---------------------------------------------

    def on_line_view_moved(self, message: LineView.Moved) -> None:
        if message.view is self.table:
            self._tell()

    def _tell(self) -> None:
        source = self._source()
        pane = self.query_one(TextPane)
        if source is None:
            pane.title("")
            pane.show([])
            self.hint("")
            return
        pane.show(self._lines(source))
        more = "tab ↓ for more" if pane.line_count() > pane.window > 0 else ""
        pane.title(text.clean(source.label), more)
        self.hint(_hint(source))

    def _lines(self, source: Source) -> Sequence[Line]:
        if source.kind == FOLDER:
            return [(("enter opens the folder", "dim"),)]
        found = self._found.get(source.key)
        if isinstance(found, HyperionError):
            return [((f"✗ {text.clean(found)}", "bad"),)]
        if found is not None:
            return _told(found, source, self.hyperion.snapshot.experiments)
        lines = _known(source)
        if source.key == self._looking:
            return [*lines, _BLANK, (("looking at the data ...", "dim"),)]
        use = actions.key_of("use")
        return [*lines, _BLANK, ((f"enter looks for what is wrong   {use} starts", "dim"),)]

    def on_line_view_chosen(self, _: LineView.Chosen) -> None:
        source = self._source()
        if source is None:
            return
        if source.kind == FOLDER:
            came_from = str(self._folder.path) if self._folder and source.label == "../" else ""
            self._go(Path(source.named), came_from)
        elif self._looking is None:
            self._look(source)
        else:
            self.say("it still looks at the data before")

    def _look(self, source: Source) -> None:
        """Read the data in a child, which may load what this process never does."""
        self._looking = source.key
        self._found.pop(source.key, None)
        self._tell()
        location, request = self.hyperion.location, Request((), **_values(source))
        self.hyperion.in_thread(
            lambda: children.check_data(location, request),
            lambda found: self._seen(source, found),
            lambda error: self._seen(source, error),
        )

    def _seen(self, source: Source, found: Checked | BaseException) -> None:
        if isinstance(found, BaseException) and not isinstance(found, HyperionError):
            found = HyperionError(f"{type(found).__name__}: {found}")
        self._looking = None
        self._found[source.key] = found
        if self.is_attached:
            self._tell()

    # -- keys ----------------------------------------------------------------------------------

    def action_use(self) -> None:
        """Ask what to start with these data."""
        source = self._usable()
        if source is not None:
            self._leave_for(Start(_values(source)))

    def action_swap(self) -> None:
        """Ask whether to start the models of the open experiment on these data."""
        source, experiment = self._usable(), self.hyperion.snapshot.current
        if source is None:
            return
        if experiment is None or not experiment.studies:
            self.say(f"no experiment is open: {actions.key_of('use')} starts one with these data")
            return
        # Whatever scores they reach, they are another experiment's: it gets a name of its own.
        asked = {**_settings(experiment), **_values(source)}
        columns, data = columns_of(source.named), experiment.dataset
        if not source.target and data is not None and data.target in (columns or [data.target]):
            asked["target"] = data.target
        self._leave_for(Start(asked, tuple(s.model for s in experiment.studies)))

    def _usable(self) -> Source | None:
        source = self._source()
        if source is None or source.kind == FOLDER:
            self.say("this is no data set: put the cursor on a set or a file")
            return None
        return source

    def _leave_for(self, start: Start) -> None:
        self.app.pop_screen()
        self._start(start)

    def action_up_folder(self) -> None:
        """The folder above."""
        if self._folder is not None and self._folder.path != self._folder.path.parent:
            self._go(self._folder.path.parent, str(self._folder.path))

    def action_type_path(self) -> None:
        """Ask for a path."""
        folder = self._folder.path if self._folder else Path.home()
        value = f"{str(folder).rstrip('/')}/"
        self.ask(value, "a folder or a file ... (enter; esc)", self._go_to)

    def _go_to(self, typed: str) -> None:
        typed = typed.strip()
        if typed:
            self.hyperion.in_thread(lambda: _folder_of(typed), lambda found: self._go(*found))


_BLANK: Line = (("", ""),)


def _folder_of(typed: str) -> tuple[Path, str]:
    """(folder, path of the file in it, or "") that a person means. Called in a thread.

    Raises HyperionError if there is nothing.
    """
    try:
        path = typed_path(typed)
        if path.is_dir():
            return path, ""
        if path.exists():
            return path.parent, str(path)
    except (OSError, ValueError, HyperionError):
        pass
    raise HyperionError(f"There is no file or folder {typed}.")


def _values(source: Source) -> Values:
    given = {
        "data": source.named,
        "target": source.target,
        "time_column": source.time_column,
        "task": source.task,
        "horizon": source.horizon,
        "past_target": source.past_target,
    }
    return {name: value for name, value in given.items() if value}


def _settings(experiment: Experiment) -> Values:
    """Of an experiment, what another one with other data has in common with it."""
    goals = {study.counts.goal for study in experiment.studies}
    goal = goals.pop() if len(goals) == 1 else None
    limit = experiment.time_limit_s
    values = {
        "task": experiment.task if experiment.task in sources.ASKED_FOR else "",
        **sources.past_of(experiment),
        "metric": experiment.metric,
        "seed": str(experiment.seed),
        "workers": str(experiment.workers),
        "sampler": experiment.sampler,
        "trials": "" if goal is None else str(goal),
        "time": "" if limit is None else f"{limit:.15g}s",
    }
    return {name: value for name, value in values.items() if value}


def _short(path: Path) -> str:
    """The heading of a folder, with a slash behind it."""
    return f"Files in {text.short_path(path).rstrip('/')}/"


def _row(source: Source) -> Row:
    rows = "" if source.rows is None else text.count(source.rows)
    columns = "" if source.columns is None else str(source.columns)
    middle = source.target
    if source.kind == FILE:
        middle = "" if source.size is None else text.size(source.size)
    about = source.about
    if source.modified is not None:
        about = time.strftime("%Y-%m-%d %H:%M", time.localtime(source.modified))
    style = "accent" if source.kind == FOLDER else ""
    return Row(
        source.key,
        (
            (f"  {text.clean(source.label)}", style),
            (rows, ""),
            (columns, "dim"),
            (text.clean(middle), ""),
            (text.clean(about), "dim"),
        ),
    )


def _hint(source: Source) -> str:
    return source.named if source.kind in (FILE, FOLDER) else source.about


def _known(source: Source) -> list[Line]:
    """What is known without reading the data."""
    shape = None
    if source.rows is not None:
        shape = f"{text.count(source.rows)} rows, {source.columns} columns"
    return _facts(
        [
            ("about", source.about),
            ("file", "" if source.kind == BUNDLE else source.named),
            ("shape", shape or ""),
            ("size", "" if source.size is None else text.size(source.size)),
            ("target", source.target),
            ("time", "" if source.time_column == "none" else source.time_column),
        ]
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> list[Line]:
    return [((text.fit(name, 9), "dim"), (text.clean(value), "")) for name, value in pairs if value]


def _told(found: Checked, source: Source, experiments: Sequence[Experiment]) -> list[Line]:
    """What a look at the data has found, the worst first."""
    lines: list[Line] = []
    if found.facts is not None:
        lines += [*_facts(_shape(found.facts)), *_since(found.facts, source, experiments), _BLANK]
    order = ("error", "warning", "info")
    said_above = ("sha256 of the content",)
    for severity in order:
        sign, style = _STYLES[severity]
        for kind, where, sentence in found.findings:
            if kind == severity and not sentence.startswith(said_above):
                place = "" if where in ("", "file") else f"{where}: "
                lines.append(((text.clean(f"{sign} {place}{sentence}"), style),))
    if found.facts is not None and found.unfit:
        lines += [_BLANK, ((f"{len(found.unfit)} models can't be used on these data", ""),)]
        lines += [((text.clean(line), "dim"),) for line in words.left_out(found.unfit)]
    return lines


def _shape(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    classes = facts.get("classes")
    kinds = f", {len(classes)} classes" if isinstance(classes, list) and classes else ""
    rows = facts.get("rows")
    shape = f"{text.count(rows) if isinstance(rows, int) else rows} rows, "
    first, _, last = str(facts.get("span") or "").replace("T", " ").partition(" to ")
    return [
        ("target", f"{facts.get('target')} ({facts.get('task')}{kinds})"),
        ("shape", f"{shape}{facts.get('columns')} columns to learn from"),
        ("time", str(facts.get("time_column") or "none: the rows have no order")),
        *([("from", first), ("to", last)] if last else []),
        ("hash", str(facts.get("sha256", ""))[:16]),
    ]


def _since(
    facts: Mapping[str, object], source: Source, experiments: Sequence[Experiment]
) -> list[Line]:
    """Whether these are still the data of the latest experiment that used them."""
    target = str(facts.get("target"))
    for experiment in experiments:
        data = experiment.dataset
        if data is None or not sources.same_data(data, source.named, target):
            continue
        name = text.clean(experiment.name)
        if data.sha256 == facts.get("sha256"):
            return [((f"✓ the same as in {name}: scores can be compared", "good"),)]
        return [((f"! changed since {name}: its scores can't be compared with new ones", "warn"),)]
    return []
