"""The two lines at the top: which experiment is open, on which data, and how far it has come."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from engines.study.records import Experiment
from hyperion_tui import actions, fronts, text
from hyperion_tui.messages import Snapshot


class ExperimentHeader(Widget):
    """A view on the open experiment of a snapshot."""

    COMPONENT_CLASSES = {
        *("line--dim", "line--good", "line--bad", "line--warn", "line--accent", "line--strong"),
    }

    def __init__(self, store: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._store = text.clean(store)
        self._seen: tuple[tuple[str, str], ...] = ()
        self._snapshot = Snapshot()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the lines again if they differ."""
        self._snapshot = snapshot
        pieces = self._pieces()
        if pieces != self._seen:
            self._seen = pieces
            self.refresh()

    def on_resize(self) -> None:
        self.show(self._snapshot)

    def render(self) -> Text:
        """Both lines."""
        line = Text(no_wrap=True, overflow="ellipsis")
        for words, name in self._seen:
            line.append(words, self._style(name))
        return line

    def _style(self, name: str) -> Style:
        if not name:
            return Style.null()
        style = self.get_component_rich_style(f"line--{name}", partial=True)
        return style.without_color + Style(color=style.color)

    def _pieces(self) -> tuple[tuple[str, str], ...]:
        experiment = self._snapshot.current
        width = self.size.width
        if experiment is None:
            store = text.fit(self._store, max(0, width - 8))
            return ((" hyperion-tui", "accent"), ("\n", ""), (f" store {store}", "dim"))
        first = _first_line(experiment, self._snapshot, width)
        return (*first, ("\n", ""), *_second_line(experiment, self._snapshot, width))


def _first_line(
    experiment: Experiment, snapshot: Snapshot, width: int
) -> tuple[tuple[str, str], ...]:
    state, style = text.state(experiment.state)
    if experiment.is_orphaned:
        state, style = f"{state} (no runner: {actions.key_of('resume')} starts one)", "warn"
    elif experiment.trouble is not None:
        state, style = f"{state}: {experiment.trouble.partition(':')[0]}", "bad"
    elif flagged := [worker for worker in snapshot.workers if worker.flag is not None]:
        frozen = all(worker.flag == "frozen" for worker in flagged)
        sign = "frozen" if frozen else "without a sign of life"
        state, style = f"{state}: {text.plural(len(flagged), 'worker')} {sign}", "warn"
    data = ""
    if experiment.dataset is not None:
        d = experiment.dataset
        data = f"{text.clean(d.name)}  {text.count(d.rows)} × {d.columns}  {text.clean(d.target)}"
    metric = "  ".join(fronts.directed(experiment))
    name = text.clean(experiment.name)
    room = width - 2 - len(state) - 2 - len(metric) - 2
    name_cells = min(len(name), max(8, room // 2))
    data_cells = max(0, room - name_cells - 2)
    return (
        (f" {text.fit(name, name_cells)}", "strong"),
        (f"  {state}", style),
        (f"  {text.fit(data, data_cells)}", ""),
        (f" {metric}", "dim"),
    )


def _second_line(
    experiment: Experiment, snapshot: Snapshot, width: int
) -> tuple[tuple[str, str], ...]:
    done = text.count(experiment.finished)
    if experiment.goal is not None:
        done = f"{done}/{text.count(experiment.goal)}"
    tail = f" {experiment.progress:4.0%}  {done} trials"
    if experiment.time_limit_s is not None:
        used, limit = experiment.time_used_s, experiment.time_limit_s
        tail += f"  {text.duration(used)} of {text.duration(limit)}"
    if experiment.state == "running" and experiment.eta_s is not None:
        tail += f"  ETA {text.eta(experiment.eta_s)}"
    if snapshot.workers:
        tail += f"  {text.plural(len(snapshot.workers), 'worker')}"
    failed = sum(study.counts.failed for study in experiment.studies)
    others = sum(e.state == "running" for e in snapshot.experiments if e is not experiment)
    more = f"  +{others} running (o)" if others else ""
    bad = f"  {text.count(failed)} failed" if failed else ""
    room = width - 2 - len(tail) - len(bad) - len(more)
    bar = text.bar(experiment.progress, max(8, min(40, room)))
    filled = bar.rstrip("░")
    return (
        (f" {filled}", "accent"),
        (bar[len(filled) :], "dim"),
        (tail, ""),
        (bad, "bad"),
        (more, "dim"),
    )
