"""Commands by name: the same actions as the keys, found by typing a part of what they do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

from hyperion_tui.actions import ACTIONS, Action
from hyperion_tui.screens.base import Dialog
from hyperion_tui.widgets.fields import Entry
from hyperion_tui.widgets.lines import LineView
from hyperion_tui.widgets.window_table import Column, ListRows, Row, WindowTable

COLUMNS = (Column("command", 14), Column("what it does", 30, most=60), Column("key", 10))


def matching(words: str, usable: Sequence[Action]) -> list[Action]:
    """The actions whose label or description has every word in it."""
    wanted = words.casefold().split()
    return [a for a in usable if all(w in f"{a.label} {a.description}".casefold() for w in wanted)]


class Palette(Dialog[Action]):
    """A text and the commands that match it. Dismissed with the one to run."""

    BINDINGS = [
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]
    KEYS = "type to search   ↑ ↓ choose   enter run   esc cancel"
    TITLE_STYLE = "tall"

    def __init__(self, usable: Iterable[str]) -> None:
        super().__init__("Commands")
        scopes = set(usable)
        self._usable = [a for a in ACTIONS if a.scope in scopes and a.scope != "list"]

    def content(self) -> Iterable[Widget]:
        """The text and the list."""
        yield Entry("", "a part of what you want to do", id="words")
        table = WindowTable(COLUMNS, fixed=1, id="commands")
        table.can_focus = False
        yield table

    def on_mount(self) -> None:
        self.query_one(Entry).focus()
        self._list("")

    def _list(self, words: str) -> None:
        self._found = matching(words, self._usable)
        rows = [
            Row(index, ((a.label, "strong"), (a.description, ""), (a.keys, "dim")))
            for index, a in enumerate(self._found)
        ]
        table = self.query_one(WindowTable)
        table.explain_emptiness(["No command matches."])
        table.show(ListRows(rows))
        table.move_to(0)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._list(event.value)

    def on_input_submitted(self) -> None:
        self._run()

    def on_line_view_chosen(self, _: LineView.Chosen) -> None:
        self._run()

    def _run(self) -> None:
        place = self.query_one(WindowTable).cursor
        self.dismiss(self._found[place] if place < len(self._found) else None)

    def action_move(self, by: int) -> None:
        """Another command."""
        self.query_one(WindowTable).action_move(by)
