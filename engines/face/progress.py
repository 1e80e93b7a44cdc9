"""What a person sees while a call works: bars in a terminal or a notebook, lines elsewhere, a log.

Everything goes through the console that was given (`rich.console.Console(quiet=True)` is silence)
and through the logger `hyperion`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from engines.study.reader import Reader
from engines.study.records import Event, Experiment, Study
from engines.study.states import FINAL

LOG = logging.getLogger("hyperion")

EVERY_S = 0.25
MOST_BARS = 12
BAR = 20

Show = Callable[[], object]


def start_logging() -> None:
    """`debug=True`: everything, also where the program has set up no log of its own."""
    LOG.setLevel(logging.DEBUG)
    if not LOG.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        LOG.addHandler(handler)


class Display:
    """One console. console: a rich Console, or None for standard error."""

    def __init__(self, console: Any = None) -> None:
        self.console: Console = Console(stderr=True) if console is None else console

    def say(self, line: str) -> None:
        """A line for the person, and for the log."""
        LOG.info("%s", plain(line))
        self.console.print(Text(plain(line)), soft_wrap=True)

    @contextlib.contextmanager
    def following(self, reader: Reader, experiment_id: int) -> Iterator[Show]:
        """A function that shows how the experiment stands, at most four times a second."""
        follower = _Follower(reader, experiment_id)
        if not self._is_live:
            yield follower.tell
            follower.tell(now=True)
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:

            def show() -> None:
                if follower.tell():
                    live.update(_picture(follower.experiment()), refresh=True)

            live.update(_picture(follower.experiment()), refresh=True)
            yield show
            follower.tell(now=True)

    @property
    def _is_live(self) -> bool:
        """A picture that changes in its place needs a terminal, or a notebook's widgets."""
        if self.console.quiet:
            return False
        if self.console.is_jupyter:
            return importlib.util.find_spec("ipywidgets") is not None
        return self.console.is_terminal and not self.console.is_dumb_terminal


class _Follower:
    """Looks at the store now and then, and hands what happened to the log."""

    def __init__(self, reader: Reader, experiment_id: int) -> None:
        self._reader = reader
        self._experiment_id = experiment_id
        self._next = 0.0
        self._seen = 0

    def experiment(self) -> Experiment:
        return self._reader.experiment(self._experiment_id)

    def tell(self, *, now: bool = False) -> bool:
        """Log what is new; False if it was too soon to look."""
        if not now and time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + EVERY_S
        if LOG.isEnabledFor(logging.DEBUG):
            for event in self._reader.events(self._experiment_id, after=self._seen):
                self._seen = event.seq
                LOG.debug("%s", plain(_line(event)))
        return True


def _line(event: Event) -> str:
    number = "" if event.trial_number is None else f" trial {event.trial_number}"
    return f"{event.model or event.kind}{number}: {event.text}"


def _picture(experiment: Experiment) -> Text:
    """A bar for each study, those at work first, and a line below."""
    studies = sorted(experiment.studies, key=lambda s: (s.state in FINAL, not s.counts.running))
    lines = [_bar(study) for study in studies[:MOST_BARS]]
    if len(studies) > MOST_BARS:
        lines.append(f"... and {len(studies) - MOST_BARS} more")
    done = f"{experiment.finished}/{experiment.goal or '?'} trials"
    eta = "" if experiment.eta_s is None else f", {experiment.eta_s:.0f} s to go"
    hint = ""
    if experiment.state in ("paused", "pausing"):
        hint = "; resume it in the app, or interrupt to leave it so"
    lines.append(f"{experiment.name} {experiment.state}: {done}{eta}{hint}")
    return Text(plain("\n".join(lines), keep="\n"))


def _bar(study: Study) -> str:
    counts = study.counts
    part = min(1.0, counts.finished / counts.goal) if counts.goal else 0.0
    filled = round(part * BAR)
    total = f"{counts.finished}/{counts.goal}" if counts.goal else str(counts.finished)
    score = study.message or "no score yet"
    if study.best is not None:
        score = f"best {study.best.selection_score:.4g}"
    return f"{study.model:24.24} {'#' * filled}{'-' * (BAR - filled)} {total:>9}  {score}"


def plain(text: str, keep: str = "") -> str:
    """Text that no terminal obeys: what can't be printed is shown as a question mark."""
    return "".join(c if c.isprintable() or c in keep else "?" for c in text)
