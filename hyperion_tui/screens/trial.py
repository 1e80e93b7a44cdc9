"""One trial with all that is known about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from textual import events
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import Static

from engines.errors import HyperionError
from engines.study.labels import NONE, Labels, Subject
from engines.study.records import BUY_AND_HOLD, Experiment, TrialDetail
from hyperion_tui import actions, clipboard, orders, text, words
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.base import Upper
from hyperion_tui.screens.labelling import LabellingView
from hyperion_tui.widgets.equity import drawdown_lines, equity_lines
from hyperion_tui.widgets.lines import Piece
from hyperion_tui.widgets.text_pane import TextPane
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable

PARAMETERS = (
    Column("parameter", 14, most=24),
    Column("this trial", 12, "right"),
    Column("best trial", 12, "right"),
)


Line = tuple[Piece, ...]
_BLANK: Line = (("", ""),)


class TrialScreen(Upper, LabellingView):
    """Parameters beside those of the best trial, and what happened."""

    SCOPES = ("back", "labels", "trial")
    BINDINGS = actions.bindings("trial")

    def __init__(self, study_id: int, number: int) -> None:
        super().__init__()
        self._study_id = study_id
        self._number = number
        self._detail: TrialDetail | None = None
        self._best: int | None = None
        self._stale = False
        self._told: tuple[list[Line], list[Line]] = ([], [])
        self._earned: tuple[Sequence[float], Sequence[float]] = ((), ())

    def body(self) -> Iterable[Widget]:
        """Two panes: beside each other, or below each other on a narrow screen."""
        yield Static("", id="about", markup=False)
        yield Container(
            WindowTable(PARAMETERS, fixed=1, id="parameters"), TextPane(id="facts"), id="trial"
        )

    def on_mount(self) -> None:
        self.query_one(TextPane).focus()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Read the trial again while it runs."""
        found = snapshot.study(self._study_id)
        if found is None:
            self.say("this study is no longer in the store")
            return
        experiment, study = found
        best = study.best.number if study.best else None
        ended = (
            not self._stale
            and self._detail is not None
            and self._detail.trial.state not in ("running", "waiting")
        )
        if ended and best == self._best:
            return
        self._best, self._stale = best, False
        try:
            self._detail = self.hyperion.feed.pages.trial(self._study_id, self._number)
            best_params = (
                self.hyperion.feed.pages.best_params(self._study_id, best)
                if best is not None
                else {}
            )
        except HyperionError as error:
            self.say(str(error))
            return
        self._draw(experiment, study.name, self._detail, best_params)

    def _draw(
        self, experiment: Experiment, study: str, detail: TrialDetail, best_params: dict[str, Any]
    ) -> None:
        trial = detail.trial
        state, _ = text.state(trial.state)
        about = f" {text.clean(study)} #{trial.number}  {state}  {text.number(trial.value)}"
        self.query_one("#about", Static).update(about)
        table = self.query_one(WindowTable)
        best = "the best" if self._best == trial.number else f"best, #{self._best}"
        columns = (*PARAMETERS[:2], Column(best if self._best is not None else "best", 12, "right"))
        names = list(dict.fromkeys([*trial.params, *best_params]))
        rows = [_parameter(name, trial.params, best_params) for name in names]
        table.explain_emptiness(["No parameters yet."])
        if len(rows) != len(table.rows):
            self.call_after_refresh(table.refresh, layout=True)
        table.show(ListRows(rows), columns)
        table.call("Parameters")
        self._told = (_facts(detail, experiment), _reports(detail))
        self._earned = self._returns(experiment, detail)
        self._tell()
        # Its width, which the curve fills, is known once it has been laid out.
        self.call_after_refresh(self._tell)
        self.query_one(TextPane).title("What happened")

    def on_resize(self, event: events.Resize) -> None:
        """Draw the curve again in the new width."""
        super().on_resize(event)
        self.call_after_refresh(self._tell)

    def _tell(self) -> None:
        pane = self.query_one(TextPane)
        width = pane.size.width
        facts, reports = self._told
        curves = (equity_lines(*self._earned, width), drawdown_lines(*self._earned, width))
        drawn = [line for curve in curves if curve for line in (_BLANK, *curve)]
        pane.show([*facts, *drawn, *reports])

    def _returns(
        self, experiment: Experiment, detail: TrialDetail
    ) -> tuple[Sequence[float], Sequence[float]]:
        """What an agent earned with its median seed, and who bought and held; of others nothing."""
        if experiment.task != "trading":
            return (), ()
        pages, owner = self.hyperion.feed.pages, experiment.experiment_id
        earned = pages.returns(owner, detail.trial.trial_id)
        held = pages.returns(owner, BUY_AND_HOLD)
        return (earned[0] if earned else ()), (held[0] if held else ())

    # -- keys ----------------------------------------------------------------------------------

    def action_retry(self) -> None:
        """Queue the trial again if it failed."""
        found = self.hyperion.snapshot.study(self._study_id)
        if found is None or self._detail is None:
            return
        if self._detail.trial.state != "failed":
            self.say("only a failed trial can be retried")
            return
        experiment, study = found
        location, number = self.hyperion.location, self._number
        self.hyperion.in_thread(
            lambda: orders.retry(location, experiment, study, number), self.hyperion.say
        )

    def subjects(self) -> list[Subject]:
        """This trial."""
        found = self.hyperion.snapshot.study(self._study_id)
        return [] if found is None else [Subject(*found, self._number)]

    def labels_of(self, subject: Subject) -> Labels:
        """What the trial has now."""
        trial = self._detail.trial if self._detail else None
        return NONE if trial is None else Labels(trial.tags, trial.note)

    def labelled(self) -> None:
        """Read the trial again."""
        self._stale = True
        self.show_snapshot(self.hyperion.snapshot)

    def action_copy(self) -> None:
        """Copy parameters, error and traceback through the terminal."""
        if self._detail is None:
            return
        trial = self._detail.trial
        parts = [json.dumps(trial.params, indent=2, default=str), trial.error or ""]
        parts.append(self._detail.traceback or "")
        self.say(clipboard.copy(self.app, "\n".join(part for part in parts if part)))


def _parameter(name: str, params: dict[str, Any], best: dict[str, Any]) -> Row:
    here = text.parameter(params[name]) if name in params else text.ABSENT
    there = text.parameter(best[name]) if name in best else text.ABSENT
    style = "" if here != there else "dim"
    return Row(name, ((text.clean(name), "dim"), (here, style), (there, "dim")))


def _facts(detail: TrialDetail, experiment: Experiment) -> list[tuple[Piece, ...]]:
    trial = detail.trial
    facts: list[tuple[str, str]] = [
        ("score", text.number(trial.value)),
        ("duration", text.duration(trial.duration_s)),
        ("started", text.day(trial.started_at)),
        ("worker", text.ABSENT if trial.worker is None else str(trial.worker)),
        ("seed", text.ABSENT if trial.seed is None else str(trial.seed)),
    ]
    if detail.peak_memory_mib is not None:
        facts.append(("peak memory", f"{text.number(detail.peak_memory_mib)} MiB"))
    if detail.requeues:
        facts.append(("put back", text.plural(detail.requeues, "time")))
    if trial.served_from is not None:
        facts.append(("served from", f"trial {trial.served_from}"))
    if trial.retry_of is not None:
        facts.append(("retry of", f"trial {trial.retry_of}"))
    facts += words.training(detail.metrics)
    lines: list[tuple[Piece, ...]] = []
    if trial.tags:
        facts.insert(0, ("tags", text.clean(" ".join(trial.tags))))
    if trial.note:
        note = text.clean(" ".join(trial.note.split()))
        lines += [((f"note: {note}", "accent"),), (("", ""),)]
    if trial.error:
        lines += _error(detail)
    if trial.state == "pruned":
        lines += [((f"◇ {words.why_pruned(detail, experiment)}", ""),), (("", ""),)]
    lines += [((text.fit(text.clean(name), 14) + " ", "dim"), (value, "")) for name, value in facts]
    return lines


def _reports(detail: TrialDetail) -> list[Line]:
    if not detail.reports:
        return []
    reports = [
        ((f"{step:>8}  ", "dim"), (text.number(value), "")) for step, value in detail.reports
    ]
    return [_BLANK, (("Reports", "strong"),), *reports]


def _error(detail: TrialDetail) -> list[tuple[Piece, ...]]:
    lines: list[tuple[Piece, ...]] = [((f"✗ {text.clean(detail.trial.error)}", "bad"),)]
    if detail.same_cause > 1:
        others = detail.same_cause - 1
        more = text.plural(others, "other trial")
        lines.append(((f"{more} failed for the same reason", "dim"),))
    lines += [(("R queues it again", "dim"),), (("", ""),)]
    if detail.traceback:
        # Line ends are ours to draw; everything else in a line is made visible.
        lines += [((text.clean(line.expandtabs(4)), ""),) for line in detail.traceback.splitlines()]
        lines.append((("", ""),))
    return lines
