"""Lines of text to read and scroll through, such as a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hyperion_tui import text
from hyperion_tui.widgets.lines import LineView, Piece


class TextPane(LineView):
    """Styled lines; long ones go on below, indented."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._source: list[tuple[Piece, ...]] = []
        self._lines: list[tuple[Piece, ...]] = []
        self._width = 0

    def show(self, lines: Sequence[tuple[Piece, ...]]) -> None:
        """Show these lines from now on; nothing is drawn if they are the same."""
        if list(lines) == self._source:
            return
        self._source = list(lines)
        self._fold()

    def _fold(self) -> None:
        width = max(20, self.size.width)
        self._width = width
        self._lines = []
        for line in self._source:
            if len(line) == 1:
                words, style = line[0]
                indent = " " * (len(words) - len(words.lstrip(" ")))
                room = max(10, width - 1 - len(indent))
                folded = text.wrap(words.strip(" "), room)
                self._lines += [((indent + part, style),) for part in folded]
            else:
                self._lines.append(line)
        self.repaint_all()
        self.move_to(self.cursor)

    def on_resize(self) -> None:
        if self._width != max(20, self.size.width):
            self._fold()

    def line_count(self) -> int:
        """Lines after folding."""
        return len(self._lines)

    def line(self, index: int, width: int) -> Iterable[Piece]:
        """One line."""
        return self._lines[index]

    def shows_cursor(self) -> bool:
        """A text is read, nothing in it is chosen."""
        return False

    def action_move(self, by: int) -> None:
        """Scroll by lines."""
        self._scroll(self.top + by)

    def action_page(self, by: int) -> None:
        """Scroll by pages."""
        self._scroll(self.top + by * max(1, self.window - 1))

    def action_edge(self, to: int) -> None:
        """Scroll to an end."""
        self._scroll(0 if to < 0 else len(self._lines))

    def _scroll(self, top: int) -> None:
        top = max(0, min(top, len(self._lines) - self.window))
        self.cursor = top
        self.move_to(top, top=top)
