"""A list of words, each with a box that is ticked or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hyperion_tui import actions, text
from hyperion_tui.widgets.lines import CURSOR, LineView, Piece


class Checklist(LineView):
    """Words to be ticked with space. ticked: the places of those that are."""

    BINDINGS = actions.bindings("ticks")

    def __init__(self, words: Sequence[str], ticked: Iterable[int], *, id: str) -> None:
        super().__init__(id=id)
        self._words = words
        self.ticked = set(ticked)

    def line_count(self) -> int:
        """One line a word."""
        return len(self._words)

    def line(self, index: int, width: int) -> Iterable[Piece]:
        """Cursor, box and word."""
        box = "[x] " if index in self.ticked else "[ ] "
        pointer = CURSOR if index == self.cursor and self.has_focus else " "
        word = text.fit(text.clean(self._words[index]), max(1, width - 6))
        return (f"{pointer} ", "accent"), (box, "accent"), (word, "")

    def action_tick(self) -> None:
        """Tick the word under the cursor or not, and go on to the next."""
        self.ticked ^= {self.cursor}
        self.repaint(self.cursor)
        self.action_move(1)

    def action_tick_all(self) -> None:
        """Tick all, or none where all are ticked."""
        everything = set(range(len(self._words)))
        self.ticked = set() if self.ticked == everything else everything
        self.repaint_all()
