"""Charts of one study on a whole screen, and what screens with charts share."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Static

from engines.run.orders import Target
from hyperion_tui import actions, clipboard, fronts, text
from hyperion_tui.charting import Charted
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper, View
from hyperion_tui.widgets.charts import Charts

_PAUSE = 4.0
"""Charts are read again after so many times what reading took: a fifth of a core at most."""


class ChartingView(View):
    """A view with a pane of charts, which are read beside the screen."""

    _drawn: tuple[object, ...] | None = None
    _wanted: Target | None = None
    reads_charts = False
    """Whether charts are being read, or waited for."""

    @property
    def charts(self) -> Charts:
        """The pane."""
        return self.query_one(Charts)

    def chart(self, target: Target | None) -> None:
        """Draw the charts of a study as it stands, if they are not drawn already."""
        self._wanted = target
        if not self.reads_charts:
            self._read_charts()

    def _read_charts(self) -> None:
        self.reads_charts = False
        if not self.is_attached or not self.charts.display:
            return
        target = self._wanted
        if target is None:
            self._drawn = None
            self.charts.draw(None)
            return
        experiment, study = target
        stand = (study.study_id, study.counts.complete, study.best)
        if stand == self._drawn:
            return
        self.reads_charts, started = True, time.monotonic()

        def done(charted: Charted | None) -> None:
            self._drawn = stand
            if self.is_attached and charted is not None:
                self.charts.draw(charted)
                self.set_timer(_PAUSE * (time.monotonic() - started), self._read_charts)

        def failed(error: BaseException) -> None:
            self.reads_charts = False
            if self.is_attached:
                self.say(str(error))

        feed = self.hyperion.feed
        self.hyperion.in_thread(lambda: feed.charted(experiment, study), done, failed)


class ChartsScreen(Upper, ChartingView):
    """The charts of a study; n goes to the next one of its experiment."""

    SCOPES = ("back", "charts")
    BINDINGS = actions.bindings("charts")

    def __init__(self, study_id: int) -> None:
        super().__init__()
        self._study_id = study_id

    def body(self) -> Iterable[Widget]:
        """A line about the study and the charts."""
        yield Static("", id="about", markup=False)
        yield Charts(id="charts")

    def on_mount(self) -> None:
        self.charts.focus()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw again what has moved on."""
        target = snapshot.study(self._study_id)
        if target is None:
            self.say("this study is no longer in the store")
            return
        experiment, study = target
        state, _ = text.state(study.state)
        metrics = "  ".join(fronts.directed(experiment))
        about = f" {text.clean(study.name)}  {state}  {metrics}"
        self.query_one("#about", Static).update(about)
        self.chart(target)

    def action_next(self, by: int) -> None:
        """Another study of the same experiment, in the order of their scores."""
        target = self.hyperion.snapshot.study(self._study_id)
        if target is None:
            return
        studies = [study.study_id for study in target[0].ranked]
        place = (studies.index(self._study_id) + by) % len(studies)
        self._study_id = studies[place]
        self.show_snapshot(self.hyperion.snapshot)

    def action_copy(self) -> None:
        """Copy what the charts say through the terminal."""
        lines = self.charts.lines_of(0, 0)
        words = ("".join(words for words, _ in line) for line in lines)
        self.say(clipboard.copy(self.app, "\n".join(words)))
