"""Curves and points in braille characters, which hold 2 x 4 dots each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hyperion_tui.widgets.lines import Piece

Cells = list[list[int]]
"""(height, across) bits of braille characters."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column of its dots (Unicode 2800 to 28FF)."""


def blank(across: int, height: int) -> Cells:
    """No dot at all."""
    return [[0] * across for _ in range(height)]


def row_of(value: float, low: float, high: float, height: int) -> int:
    """The row of dots of a value in [low, high], 0 at the top."""
    return round((high - value) / ((high - low) or 1.0) * (4 * height - 1))


def line(rows: Iterable[int | None], across: int, height: int) -> Cells:
    """A curve through a row of dots for each column of dots; None where there is none."""
    cells = blank(across, height)
    before = None
    for x, row in enumerate(rows):
        if row is not None:
            first = row if before is None else before
            # A steep move is a column of dots, so that the line has no holes.
            for y in range(min(first, row), max(first, row) + 1):
                cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
        before = row
    return cells


def points(places: Iterable[tuple[int, int]], across: int, height: int) -> Cells:
    """Single dots, by column and row."""
    cells = blank(across, height)
    for x, y in places:
        cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    return cells


def joined(
    rows: Sequence[Sequence[int]], styles: Sequence[str], signs: Mapping[int, Piece] | None = None
) -> tuple[Piece, ...]:
    """One line of all layers: each character has the style of the first layer in it.

    signs: what stands in some columns in the place of dots.
    """
    over = signs or {}
    pieces: list[Piece] = []
    for column, cells in enumerate(zip(*rows, strict=True)):
        bits = 0
        for one in cells:
            bits |= one
        style = next((s for s, one in zip(styles, cells, strict=True) if one), styles[-1])
        sign, style = over.get(column, (chr(0x2800 + bits) if bits else " ", style))
        if pieces and (pieces[-1][1] == style or sign == " "):
            pieces[-1] = (pieces[-1][0] + sign, pieces[-1][1])
        else:
            pieces.append((sign, style))
    return tuple(pieces)
