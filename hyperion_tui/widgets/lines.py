"""A list of lines with a cursor, drawn line by line: the base of tables, tree, log and texts.

No scroll bars and no children: what changed is repainted, line by line, and nothing else is
sent. The position is said in the border's title by who uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from hyperion_tui import actions

Piece = tuple[str, str]
"""A text and the name of its style: "", dim, good, bad, warn, accent, strong or head."""

CURSOR = "›"


class LineView(Widget, can_focus=True):
    """Lines 0 to `line_count() - 1` under `head_lines` fixed ones, and a cursor among them."""

    BINDINGS = actions.bindings("list")
    COMPONENT_CLASSES = {
        *("line--dim", "line--good", "line--bad", "line--warn", "line--accent"),
        *("line--strong", "line--head", "line--cursor", "line--blurred-cursor"),
    }
    head_lines = 0

    class Chosen(Message):
        """Enter, or a click on the line under the cursor."""

        def __init__(self, view: LineView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> LineView:
            """The list, so that handlers can select it."""
            return self.view

    class Moved(Message):
        """The cursor is on another line, or its line says something else."""

        def __init__(self, view: LineView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> LineView:
            """The list, so that handlers can select it."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.cursor = 0
        self.top = 0
        self._title = ""
        self._subtitle = ""

    # -- for those who build on this ---------------------------------------------------------

    def line_count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def line(self, index: int, width: int) -> Iterable[Piece]:
        """The pieces of a line."""
        raise NotImplementedError

    def head(self, y: int, width: int) -> Iterable[Piece]:
        """The pieces of a fixed line at the top."""
        return ()

    def empty(self, y: int, width: int) -> Iterable[Piece]:
        """The pieces of a line below the last one."""
        return ()

    def moved(self) -> None:
        """The cursor or the window moved."""

    # -- drawing -----------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """How many lines are to be seen."""
        return max(0, self.size.height - self.head_lines)

    def render_line(self, y: int) -> Strip:
        """One line of the widget, cut to its width."""
        width = self.size.width
        base = self.rich_style
        if y < self.head_lines:
            pieces: Iterable[Piece] = self.head(y, width)
        elif (index := self.top + y - self.head_lines) < self.line_count():
            pieces = self.line(index, width)
            if index == self.cursor and self.shows_cursor():
                name = "line--cursor" if self.has_focus else "line--blurred-cursor"
                base += self.get_component_rich_style(name, partial=True)
        else:
            pieces = self.empty(y - self.head_lines, width)
        segments = [Segment(text, base + self.style(name)) for text, name in _joined(pieces, width)]
        return Strip(segments).adjust_cell_length(width, base)

    def style(self, name: str) -> Style:
        """The colours and attributes of a named style, on any background."""
        if not name:
            return Style.null()
        style = self.get_component_rich_style(f"line--{name}", partial=True)
        return style.without_color + Style(color=style.color)

    def shows_cursor(self) -> bool:
        """Whether the line under the cursor is to be told apart."""
        return True

    def repaint(self, *indices: int) -> None:
        """Draw some lines again, as far as they can be seen."""
        for index in indices:
            y = index - self.top + self.head_lines
            if self.head_lines <= y < self.size.height:
                self.refresh(Region(0, y, self.size.width, 1))

    def repaint_all(self) -> None:
        """Draw every line again, but not the border."""
        if self.size:
            self.refresh(self.size.region)

    def title(self, left: str, right: str = "") -> None:
        """Say something in the border: `left` at the top, `right` at the bottom."""
        # Setting a title paints the whole widget, so only when it differs.
        if left != self._title:
            self._title = left
            self.border_title = Text(left) if left else None
        if right != self._subtitle:
            self._subtitle = right
            self.border_subtitle = Text(right) if right else None

    def position(self) -> str:
        """`1-13/204`: which lines are to be seen, of how many."""
        total = self.line_count()
        if not total:
            return "0"
        last = min(total, self.top + self.window)
        return f"{self.top + 1}-{last}/{total}" if 0 < self.window < total else f"{total}"

    # -- moving ------------------------------------------------------------------------------

    def move_to(self, index: int, *, top: int | None = None) -> None:
        """Put the cursor on a line and bring it into the window."""
        last = max(0, self.line_count() - 1)
        before, self.cursor = self.cursor, min(max(0, index), last)
        new_top = self.top if top is None else top
        new_top = min(new_top, self.cursor, max(0, self.line_count() - self.window))
        new_top = max(0, new_top, self.cursor - max(1, self.window) + 1)
        if new_top != self.top:
            self.top = new_top
            self.repaint_all()
        elif before != self.cursor:
            self.repaint(before, self.cursor)
        self.moved()
        self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        self.move_to(self.cursor + by)

    def action_page(self, by: int) -> None:
        step = by * max(1, self.window - 1)
        self.move_to(self.cursor + step, top=self.top + step)

    def action_edge(self, to: int) -> None:
        self.move_to(0 if to < 0 else self.line_count() - 1)

    def action_choose(self) -> None:
        if self.line_count():
            self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        inside = event.get_content_offset(self)
        if inside is None or inside.y < self.head_lines:
            return
        index = self.top + inside.y - self.head_lines
        if index >= self.line_count():
            return
        if index == self.cursor:
            self.action_choose()
        else:
            self.move_to(index)

    def on_mouse_scroll_down(self) -> None:
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-3)

    def on_focus(self) -> None:
        self.repaint(self.cursor)
        self.post_message(self.Moved(self))

    def on_blur(self) -> None:
        self.repaint(self.cursor)

    def on_resize(self) -> None:
        self.move_to(self.cursor)


def _joined(pieces: Iterable[Piece], width: int) -> list[Piece]:
    """Pieces filled up to `width`, with neighbours of one style made one.

    Each change of style costs some 40 bytes on the wire, so blanks take the style at their left.
    """
    joined: list[Piece] = []
    used = 0
    for text, style in pieces:
        used += cell_len(text)
        if joined and (joined[-1][1] == style or not text.strip()):
            joined[-1] = (joined[-1][0] + text, joined[-1][1])
        elif joined and not joined[-1][0].strip():
            joined[-1] = (joined[-1][0] + text, style)
        elif text:
            joined.append((text, style))
    blank = " " * max(0, width - used)
    if not joined:
        return [(blank, "")]
    return [*joined[:-1], (joined[-1][0] + blank, joined[-1][1])]
