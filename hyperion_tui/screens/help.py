"""The list of keys, made from the registry of actions."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from textual.binding import Binding
from textual.widget import Widget

from hyperion_tui import actions
from hyperion_tui.screens.base import Dialog
from hyperion_tui.widgets.lines import Piece
from hyperion_tui.widgets.text_pane import TextPane

MEANINGS = (
    ("score", "selection score: what the search improves; ranks use it"),
    ("held-out", "on data the search never saw; known when done"),
    ("gap", "held-out against score: below zero is worse"),
    ("baseline", "a rule that learns next to nothing: to be beaten"),
)


class HelpScreen(Dialog[None]):
    """All keys, those of the screen below first, and what the columns mean."""

    BINDINGS = [Binding("question_mark,q", "cancel", show=False)]
    KEYS = "↑ ↓ scroll   esc close"
    TITLE_STYLE = "tall"

    def __init__(self, here: Collection[str] = ()) -> None:
        super().__init__("Help")
        self._here = here

    def content(self) -> Iterable[Widget]:
        """One text."""
        yield TextPane(id="help")

    def on_mount(self) -> None:
        pane = self.query_one(TextPane)
        pane.show(help_lines(self._here))
        pane.focus()


def help_lines(here: Collection[str] = ()) -> list[tuple[Piece, ...]]:
    """Headings, keys and what they do, first those of scopes whose keys hold here."""
    lines: list[tuple[Piece, ...]] = []
    for title, section in actions.help_sections(here):
        lines += [((title, "strong"),)]
        lines += [((f"  {a.keys:<14}", "accent"), (a.description, "")) for a in section]
        lines.append((("", ""),))
    lines.append((("Words", "strong"),))
    lines += [((f"  {word:<14}", "accent"), (meaning, "")) for word, meaning in MEANINGS]
    return lines
