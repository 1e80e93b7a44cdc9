"""Single lines: what just happened, what the keys do, and a prompt for a text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.text import Text
from textual.binding import Binding
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from hyperion_tui import actions, text
from hyperion_tui.widgets.line_input import LineInput

NOTICE_S = 4.0
"""How long a notice is safe from being replaced by a hint that nobody asked for by a key."""

GONE_S = 10.0
"""After so long a notice goes by itself: what it tells of is over."""

READ_S = 1.0
"""After so long a notice counts as read: the next key takes it away."""


class TextLine(Widget):
    """One line that is drawn again only when it says something else."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._text = Text()

    def show(self, content: Text) -> None:
        """Say this from now on."""
        if content != self._text or content.plain != self._text.plain:
            self._text = content
            self.refresh()

    def render(self) -> Text:
        """The line, cut to the width."""
        line = self._text.copy()
        line.truncate(max(1, self.size.width), overflow="ellipsis")
        line.no_wrap = True
        return line


class StatusLine(TextLine):
    """The latest notice, or else what is wrong, or else a hint about what is under the cursor."""

    _said_at = float("-inf")
    _end: Timer | None = None
    _hint = ""
    _trouble = ""

    def say(self, notice: str) -> None:
        """A notice: stays until the next key after it was read, or for some seconds."""
        self._said_at = time.monotonic()
        if self._end is not None:
            self._end.stop()
        self._end = self.set_timer(GONE_S, self._show_rest)
        self.show(Text(text.clean(notice)))

    def hint(self, about: str) -> None:
        """Something about the line under the cursor; a fresh notice is not disturbed."""
        self._hint = about
        if time.monotonic() - self._said_at >= NOTICE_S:
            self._show_rest()

    def warn(self, trouble: str) -> None:
        """Something that is wrong: stays, under notices, until it is called off by ''."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._show_rest()

    def key_pressed(self) -> None:
        """Somebody acts: what was said about the action before has been read and goes."""
        said = self._said_at
        if said > float("-inf") and time.monotonic() - said >= READ_S:
            self._show_rest()

    def _show_rest(self) -> None:
        self._said_at = float("-inf")
        if self._trouble:
            self.show(Text(text.clean(self._trouble)))
        else:
            self.show(Text(text.clean(self._hint), style="dim"))


class HintLine(TextLine):
    """What the keys do here: fixed for a screen, cut where it gets too long."""

    def __init__(self, scopes: Sequence[str] = (), *, fixed: str = "") -> None:
        super().__init__()
        self._actions = actions.hints(scopes)
        self._fixed = fixed

    def on_resize(self) -> None:
        self.show(Text(self._fixed, style="dim") if self._fixed else self._fit())

    def _fit(self) -> Text:
        """As many hints as fit; the last ones, which lead to all others, always."""
        last = [a for a in self._actions if a.hint >= 97]
        rest = [a for a in self._actions if a.hint < 97]
        while rest and _length([*rest, *last]) > self.size.width:
            rest.pop()
        line = Text()
        for action in [*rest, *last]:
            line.append(f" {_key(action)}", style="bold")
            line.append(f" {action.label}", style="dim")
        return line


def _key(action: actions.Action) -> str:
    return {"escape": "esc"}.get(key := action.keys.split(" ")[0], key)


def _length(shown: Sequence[actions.Action]) -> int:
    return sum(len(_key(a)) + len(a.label) + 2 for a in shown)


class Prompt(LineInput):
    """A one-line question in the place of the status line."""

    BINDINGS = [Binding("escape", "cancel", show=False)]

    class Answered(Message):
        """Enter, or escape (then `value` is None)."""

        def __init__(self, value: str | None) -> None:
            super().__init__()
            self.value = value

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True)
        # A blinking cursor sends 2 kB a second.
        self.cursor_blink = False

    def action_cancel(self) -> None:
        self.post_message(self.Answered(None))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Answered(event.value))
