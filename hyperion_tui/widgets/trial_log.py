"""The log of an experiment as it grows: follows the newest line, or holds still and counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from textual.message import Message

from engines.study import events as kinds
from engines.study.records import Event
from hyperion_tui import actions, text
from hyperion_tui.query import Query, parse
from hyperion_tui.widgets.lines import CURSOR, LineView, Piece

KEPT = 5_000
"""Lines that are kept; older ones are in the store."""

_LOOKS = {
    kinds.TRIAL_STARTED: ("●", "dim", "dim"),
    kinds.TRIAL_COMPLETE: ("✓", "good", ""),
    kinds.TRIAL_PRUNED: ("◇", "dim", "dim"),
    kinds.TRIAL_FAILED: ("✗", "bad", "bad"),
    kinds.TRIAL_REQUEUED: ("↻", "warn", ""),
}
"""Glyph, style of the glyph and style of the words, by the kind of event."""


_STATES = {
    kinds.TRIAL_STARTED: "running",
    kinds.TRIAL_COMPLETE: "complete",
    kinds.TRIAL_PRUNED: "pruned",
    kinds.TRIAL_FAILED: "failed",
    kinds.TRIAL_REQUEUED: "waiting",
}
"""The state that a trial has after an event, as `state:` in a filter means it."""


class TrialLog(LineView):
    """The latest events of one experiment."""

    BINDINGS = actions.bindings("log")

    class FilterAsked(Message):
        """A text to filter by is wanted."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.following = True
        self.words = ""
        self._query = Query()
        self.tags: Mapping[int, tuple[str, ...]] = {}
        self.unseen = 0
        self._experiment_id: int | None = None
        self._last_seq = 0
        self._widest = 12
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._shown: deque[Event] = deque(maxlen=KEPT)

    # -- content -----------------------------------------------------------------------------

    def add(self, experiment_id: int | None, events: Sequence[Event]) -> None:
        """Append events of an experiment; of another one than before they start a new log."""
        if experiment_id != self._experiment_id:
            self._experiment_id = experiment_id
            self._last_seq = 0
            self._events.clear()
            self._refill()
        fresh = [event for event in events if event.seq > self._last_seq]
        if not fresh:
            return
        self._last_seq = fresh[-1].seq
        self._events.extend(fresh)
        widest = max(self._widest, *(len(_subject(event)) for event in fresh))
        if widest > self._widest:
            self._widest = widest
            self.repaint_all()
        self._append([event for event in fresh if self._matches(event)])

    def _append(self, fresh: list[Event]) -> None:
        if not fresh:
            return
        dropped = max(0, len(self._shown) + len(fresh) - KEPT)
        self._shown.extend(fresh)
        if self.following:
            self.repaint_all()
            self.cursor = max(0, len(self._shown) - 1)
            self.move_to(self.cursor)
            return
        self.unseen += len(fresh)
        first_free = len(self._shown) - len(fresh)
        self.cursor, self.top = max(0, self.cursor - dropped), max(0, self.top - dropped)
        if first_free < self.top + self.window:
            self.repaint_all()
        self.moved()

    def filter(self, words: str) -> None:
        """Show only lines that match a query, see `hyperion_tui.query`; all for an empty text."""
        self.words = words.strip()
        self._query = parse(words)
        self._refill()

    def tag(self, tags: Mapping[int, tuple[str, ...]]) -> None:
        """The tags of studies, by id, for the filter."""
        changed, self.tags = tags != self.tags, tags
        if changed and self._query.tags:
            self._refill()

    def _refill(self) -> None:
        self._shown = deque((e for e in self._events if self._matches(e)), maxlen=KEPT)
        self.unseen = 0
        self.repaint_all()
        self.move_to(len(self._shown) - 1 if self.following else self.cursor)

    def _matches(self, event: Event) -> bool:
        state = _STATES.get(event.kind, "")
        return self._query.matches(
            state,
            event.model or "",
            lambda: f"{_subject(event)} {event.text}",
            self.tags.get(event.study_id or 0, ()),
        )

    @property
    def current(self) -> Event | None:
        """The event under the cursor."""
        return self._shown[self.cursor] if self.cursor < len(self._shown) else None

    # -- drawing -----------------------------------------------------------------------------

    def line_count(self) -> int:
        """How many lines match."""
        return len(self._shown)

    def line(self, index: int, width: int) -> Iterable[Piece]:
        """One event: time, subject, glyph and words."""
        event = self._shown[index]
        glyph, colour, style = _LOOKS.get(event.kind, ("·", "dim", ""))
        pointer = CURSOR if index == self.cursor and self.has_focus else " "
        subject = text.clean(_subject(event))
        head = f"{text.clock(event.at)} "
        room = width - 1 - len(head) - 2
        wide = min(self._widest, 28 if width >= 76 else 18)
        words = text.fit(text.clean(event.text), max(0, room - wide - 1))
        return (
            (pointer, "accent"),
            (head, "dim"),
            (f"{glyph} ", colour),
            (text.fit(subject, wide) + " ", "" if event.study_id else "dim"),
            (words, style),
        )

    def shows_cursor(self) -> bool:
        """While it follows, there is nothing to point at but the end."""
        return self.has_focus

    def moved(self) -> None:
        """Say in the border what is to be seen, and whether it moves."""
        if self.following:
            mode = "follows"
        else:
            mode = f"held, {self.unseen} new" if self.unseen else "held"
        looked_for = f"  /{text.clean(self.words)}" if self.words else ""
        self.title(f"3 Log  {mode}{looked_for}", "" if self.following else self.position())

    # -- keys --------------------------------------------------------------------------------

    def move_to(self, index: int, *, top: int | None = None) -> None:
        """Going up holds the log still; reaching the end does not let it go on by itself."""
        if self.following and index < len(self._shown) - 1:
            self.following = False
        super().move_to(index, top=top)

    def action_follow(self) -> None:
        self._set_following(not self.following)

    def action_freeze(self) -> None:
        self._set_following(not self.following)

    def _set_following(self, on: bool) -> None:
        self.following = on
        if on:
            self.unseen = 0
            self.move_to(len(self._shown) - 1)
        self.moved()

    def action_filter(self) -> None:
        self.post_message(self.FilterAsked())

    def action_match(self, by: int) -> None:
        if self.words:
            self.move_to(self.cursor + by)
        else:
            self.action_filter()

    def action_error(self) -> None:
        """Go to the next failed trial below the cursor, or the first one of all."""
        failed = [i for i, e in enumerate(self._shown) if e.kind in kinds.ERROR_KINDS]
        if failed:
            self.following = False
            self.move_to(next((i for i in failed if i > self.cursor), failed[0]))


def _subject(event: Event) -> str:
    if event.model is None:
        return event.kind if event.study_id is None else "study"
    return event.model if event.trial_number is None else f"{event.model}#{event.trial_number}"
