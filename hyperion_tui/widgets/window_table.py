"""A table of any length: only the rows in its window are asked for and drawn.

Columns at the left stay, the others can be shifted; one may grow with the room there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from textual.geometry import Size
from textual.message import Message

from hyperion_tui import actions, text
from hyperion_tui.widgets.lines import CURSOR, LineView, Piece

PAGE = 64
"""Rows that are read at a time, on the event loop: more than a window has, and soon there."""

_PAGES_KEPT = 64


@dataclass(frozen=True, slots=True)
class Column:
    """One column. width: in cells; most: how far it may grow if there is room."""

    label: str
    width: int
    align: str = "left"
    most: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a key that stays the same while its cells change, and a note about it."""

    key: Hashable
    cells: tuple[Piece, ...]
    note: str = ""


class Rows(Protocol):
    """Where rows come from."""

    def __len__(self) -> int: ...
    def row(self, index: int) -> Row | None:
        """The row at a place, or None if it is gone."""
        ...

    def find(self, key: Hashable) -> int | None:
        """The place of a row, or None if it is gone or can't be told cheaply."""
        ...


class ListRows:
    """Rows that are all in memory."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = rows
        self._places = {row.key: index for index, row in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Row | None:
        """The row at a place."""
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def find(self, key: Hashable) -> int | None:
        """The place of a row."""
        return self._places.get(key)


class PagedRows:
    """Rows that are read page by page; the latest pages are kept."""

    def __init__(self, length: int, load: Callable[[int, int], Sequence[Row]]) -> None:
        self._length = length
        self._load = load
        self._pages: OrderedDict[int, Sequence[Row]] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def row(self, index: int) -> Row | None:
        """The row at a place; its page is read if it is not at hand (4 ms)."""
        number, place = divmod(index, PAGE)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = self._load(number * PAGE, PAGE)
            if len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(number)
        return page[place] if place < len(page) else None

    def find(self, key: Hashable) -> int | None:
        """The place of a row, if it is on a page at hand."""
        for number, page in self._pages.items():
            for place, row in enumerate(page):
                if row.key == key:
                    return number * PAGE + place
        return None


class WindowTable(LineView):
    """The rows of a `Rows`, with a head line, a cursor, marks, and columns that can be shifted."""

    BINDINGS = actions.bindings("table")
    head_lines = 1

    class SortAsked(Message):
        """Another order is wanted: the next one, or the same turned round."""

        def __init__(self, table: WindowTable, *, reverse: bool) -> None:
            super().__init__()
            self.table = table
            self.reverse = reverse

    class Marked(Message):
        """A row was marked, or is no longer."""

        def __init__(self, table: WindowTable) -> None:
            super().__init__()
            self.table = table

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        fixed: int = 1,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.columns = tuple(columns)
        self.rows: Rows = ListRows()
        self.fixed = fixed
        self.shifted = 0
        self.marked: set[Hashable] = set()
        self.caption = ""
        self._empty_lines: tuple[str, ...] = ()
        self._drawn: dict[int, Row | None] = {}

    # -- content -----------------------------------------------------------------------------

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Lines that show all rows and the head, where the height is that of the content."""
        return self.head_lines + self.line_count()

    def show(
        self, rows: Rows, columns: Sequence[Column] | None = None, *, follow: Hashable = None
    ) -> None:
        """Replace the rows; only lines that look different are drawn again.

        follow: the key under the cursor, which keeps the cursor wherever it went.
        """
        place = rows.find(follow) if follow is not None else None
        self.rows = rows
        if columns is not None and tuple(columns) != self.columns:
            self.columns = tuple(columns)
            self.repaint_all()
        if place is not None and place != self.cursor:
            self.move_to(place)
        elif self.cursor >= max(1, len(rows)) or self.top > max(0, len(rows) - self.window):
            self.move_to(min(self.cursor, max(0, len(rows) - 1)))
        for y in range(self.window):
            index = self.top + y
            row = rows.row(index) if index < len(rows) else None
            if self._drawn.get(y, _NEVER) != row:
                self.repaint(index)
        self.moved()

    def explain_emptiness(self, lines: Sequence[str]) -> None:
        """What is said where there is no row at all."""
        if tuple(lines) != self._empty_lines:
            self._empty_lines = tuple(lines)
            if not len(self.rows):
                self.repaint_all()

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows.row(self.cursor) if len(self.rows) else None

    @property
    def current_key(self) -> Hashable:
        """The key of the row under the cursor, or None."""
        row = self.current
        return None if row is None else row.key

    # -- drawing -----------------------------------------------------------------------------

    def line_count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def layout_columns(self, width: int) -> list[tuple[int, int]]:
        """Places and widths of the columns that fit beside each other, from left to right."""
        order = [*range(self.fixed), *range(self.fixed + self.shifted, len(self.columns))]
        left = width - 2
        chosen: list[tuple[int, int]] = []
        for place in order:
            needed = self.columns[place].width + (1 if chosen else 0)
            if needed > left:
                break
            left -= needed
            chosen.append((place, self.columns[place].width))
        # Numbers get their room first: a cut name can still be read, a cut number is wrong.
        cells = dict(chosen)
        for place in sorted(cells, key=lambda p: self.columns[p].align != "right"):
            extra = max(0, min(left, self.columns[place].most - cells[place]))
            left -= extra
            cells[place] += extra
        return list(cells.items())

    def head(self, y: int, width: int) -> Iterable[Piece]:
        """The labels of the columns."""
        pieces: list[Piece] = [("  ", "")]
        for place, cells in self.layout_columns(width):
            column = self.columns[place]
            gap = "" if len(pieces) == 1 else " "
            pieces.append((gap + text.fit(column.label, cells, column.align), "head"))
        return pieces

    def line(self, index: int, width: int) -> Iterable[Piece]:
        """One row."""
        row = self.rows.row(index)
        self._drawn[index - self.top] = row
        if row is None:
            return ()
        pointer = CURSOR if index == self.cursor and self.has_focus else " "
        pieces: list[Piece] = [(pointer, "accent"), ("◆" if row.key in self.marked else " ", "")]
        for number, (place, cells) in enumerate(self.layout_columns(width)):
            content, style = row.cells[place] if place < len(row.cells) else ("", "")
            gap = " " if number else ""
            pieces.append((gap + text.fit(content, cells, self.columns[place].align), style))
        return pieces

    def empty(self, y: int, width: int) -> Iterable[Piece]:
        """What is said where there is no row at all."""
        self._drawn[self.line_count() + y - self.top] = None
        if self.line_count() or not 1 <= y <= len(self._empty_lines):
            return ()
        return ((f"  {self._empty_lines[y - 1]}", ""),)

    def moved(self) -> None:
        """Say in the border what this is, and what of it is to be seen."""
        if self.caption:
            self.title(f"{self.caption}  {self.position()}", self.hidden_columns())

    def call(self, caption: str) -> None:
        """Say what the table is, in its border."""
        self.caption = caption
        self.moved()

    def hidden_columns(self) -> str:
        """`3 more columns →`, or nothing."""
        shown = len(self.layout_columns(self.size.width))
        hidden = len(self.columns) - shown - self.shifted
        arrows = "← " if self.shifted else ""
        if hidden <= 0:
            return arrows.strip()
        return f"{arrows}{text.plural(hidden, 'more column')} →"

    def shows_cursor(self) -> bool:
        """The cursor is drawn where there are rows."""
        return bool(len(self.rows))

    # -- keys --------------------------------------------------------------------------------

    def action_sort(self) -> None:
        self.post_message(self.SortAsked(self, reverse=False))

    def action_reverse(self) -> None:
        self.post_message(self.SortAsked(self, reverse=True))

    def action_shift(self, by: int) -> None:
        shown = len(self.layout_columns(self.size.width))
        if by > 0 and shown + self.shifted >= len(self.columns):
            return
        before, self.shifted = self.shifted, max(0, self.shifted + by)
        if before != self.shifted:
            self.repaint_all()
            self.moved()

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        key = self.current_key
        if key is None:
            return
        self.marked ^= {key}
        self.repaint(self.cursor)
        self.post_message(self.Marked(self))
        if self.cursor < self.line_count() - 1:
            self.move_to(self.cursor + 1)


def fitted(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """`columns` with those of numbers as wide as what stands in them: a cut number is wrong."""
    longest = [max((len(row.cells[i][0]) for row in rows), default=0) for i in range(len(columns))]
    return tuple(
        replace(column, width=max(column.width, cells)) if column.align == "right" else column
        for column, cells in zip(columns, longest, strict=True)
    )


def without_empty(
    columns: Sequence[Column], rows: Sequence[Row], sometimes: Collection[str]
) -> tuple[tuple[Column, ...], list[Row]]:
    """(columns, rows) without those columns of `sometimes` in which no row says anything."""
    kept = [
        place
        for place, column in enumerate(columns)
        if column.label not in sometimes or any(row.cells[place][0] for row in rows)
    ]
    fewer = [replace(row, cells=tuple(row.cells[place] for place in kept)) for row in rows]
    return tuple(columns[place] for place in kept), fewer


def by_room(
    columns: Sequence[Column], rows: Sequence[Row], width: int, late: Sequence[str]
) -> tuple[tuple[Column, ...], list[Row]]:
    """(columns, rows) that fit into `width` cells, those of `late` behind the others if not.

    late: labels, what can be done without most easily first. Nothing is lost: → leads to them.
    """
    order, behind = list(range(len(columns))), list[int]()
    needed = 2 + sum(column.width + 1 for column in columns) - 1
    for label in late:
        moved = [place for place in order if columns[place].label == label]
        if needed <= width or not moved:
            continue
        behind[:0] = moved
        order = [place for place in order if place not in moved]
        needed -= sum(columns[place].width + 1 for place in moved)
    order += behind
    turned = [replace(row, cells=tuple(row.cells[place] for place in order)) for row in rows]
    return tuple(columns[place] for place in order), turned


_NEVER = Row(("never",), ())
