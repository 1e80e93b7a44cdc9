"""Fields of dialogs: a text, with choices for the up and down keys, and a choice among lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from hyperion_tui import text
from hyperion_tui.widgets.line_input import LineInput


class Entry(LineInput):
    """A text on one line; up and down go through `choices`."""

    BINDINGS = [
        Binding("up", "turn(-1)", show=False),
        Binding("down", "turn(1)", show=False),
    ]

    def __init__(self, value: str, placeholder: str, *, id: str | None = None) -> None:
        super().__init__(value, placeholder=placeholder, id=id, compact=True)
        # A blinking cursor sends 2 kB a second.
        self.cursor_blink = False
        self.choices: Sequence[str] = ()

    def action_turn(self, by: int) -> None:
        """The next choice."""
        if not self.choices:
            return
        if self.value in self.choices:
            place = (self.choices.index(self.value) + by) % len(self.choices)
        else:
            place = 0 if by > 0 else len(self.choices) - 1
        self.value = self.choices[place]
        self.cursor_position = len(self.value)


class Field(Horizontal):
    """A label with an entry."""

    def __init__(self, label: str, value: str = "", placeholder: str = "", *, id: str) -> None:
        super().__init__(id=f"field-{id}", classes="field")
        self._label = label
        self.entry = Entry(value, placeholder, id=id)

    def compose(self) -> ComposeResult:
        """Label and entry beside each other."""
        yield Static(Text(self._label), classes="label")
        yield self.entry


class Choice(Widget, can_focus=True):
    """One of several lines, turned by the arrow keys."""

    BINDINGS = [
        Binding("up,left,k,h", "turn(-1)", show=False),
        Binding("down,right,j,l,space", "turn(1)", show=False),
        Binding("enter", "submit", show=False),
    ]

    class Changed(Message):
        """Another line is chosen."""

    class Submitted(Message):
        """Enter was pressed."""

    def __init__(self, choices: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._choices = choices
        self.chosen = 0

    def action_turn(self, by: int) -> None:
        """The next line."""
        self.chosen = (self.chosen + by) % len(self._choices)
        self.refresh()
        self.post_message(self.Changed())

    def action_submit(self) -> None:
        """Go on as enter in an entry does."""
        self.post_message(self.Submitted())

    def render(self) -> Text:
        """All lines, the chosen one with a dot."""
        lines = Text()
        for place, choice in enumerate(self._choices):
            chosen = place == self.chosen
            mark = "(•) " if chosen else "( ) "
            style = "bold" if chosen else ""
            lines.append(mark + text.clean(choice) + "\n", style)
        lines.right_crop(1)
        return lines
