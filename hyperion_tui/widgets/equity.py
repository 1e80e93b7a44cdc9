"""What an agent made of its money beside who only bought and held, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from hyperion_tui.widgets.lines import Piece

HEIGHT = 8
NARROWEST = 16
"""Characters of the drawing itself; with fewer nothing is drawn."""

AGENT, HOLD = "accent", "dim"
"""Styles of both curves; where they cross, the agent's is seen."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column of its dots (Unicode 2800 to 28FF)."""


def equity_lines(
    agent: Sequence[float], hold: Sequence[float], width: int
) -> list[tuple[Piece, ...]]:
    """A heading, `HEIGHT` lines of both curves on one scale, and what became of 1 with each.

    agent, hold: simple returns of the same bars; hold may be empty. width: characters.
    """
    curves = [_wealth(returns) for returns in (agent, hold) if len(returns)]
    if not curves or not len(agent):
        return []
    low, high = min(map(min, curves)), max(map(max, curves))
    labels = [f"{high:.4g}", *[""] * (HEIGHT - 2), f"{low:.4g}"]
    margin = max(map(len, labels)) + 2
    across = width - margin - 1
    ends = [f"agent {_end(curves[0])}"]
    if len(curves) > 1:
        ends.append(f"buy and hold {_end(curves[1])}")
    heading: list[tuple[Piece, ...]] = [
        (("Equity on the validation bars, median seed", "strong"),),
        ((f"● {ends[0]}", AGENT), *((f"   ● {end}", HOLD) for end in ends[1:])),
    ]
    if across < NARROWEST:
        return heading
    cells = [_cells(curve, low, high, across) for curve in curves]
    return [
        *heading,
        *(
            ((f"{label.rjust(margin - 2)} ┤", "dim"), *_joined([rows[y] for rows in cells]))
            for y, label in enumerate(labels)
        ),
    ]


def _wealth(returns: Sequence[float]) -> list[float]:
    return list(accumulate(returns, lambda money, r: money * (1.0 + r), initial=1.0))


def _end(curve: Sequence[float]) -> str:
    return f"{curve[-1] - 1.0:+.1%}"


def _cells(curve: Sequence[float], low: float, high: float, across: int) -> list[list[int]]:
    """(HEIGHT, across) bits of the braille characters that show a curve."""
    columns, down = 2 * across, 4 * HEIGHT
    span = (high - low) or 1.0
    cells = [[0] * across for _ in range(HEIGHT)]
    before = None
    for x in range(columns):
        value = curve[round(x * (len(curve) - 1) / (columns - 1))]
        row = round((high - value) / span * (down - 1))
        first = row if before is None else before
        # A steep move is a column of dots, so that the line has no holes.
        for y in range(min(first, row), max(first, row) + 1):
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
        before = row
    return cells


def _joined(rows: Sequence[Sequence[int]]) -> tuple[Piece, ...]:
    """One line of all curves: each character has the style of the first curve in it."""
    pieces: list[Piece] = []
    for cells in zip(*rows, strict=True):
        bits = 0
        for one in cells:
            bits |= one
        sign = chr(0x2800 + bits) if bits else " "
        style = AGENT if cells[0] else HOLD
        if pieces and (pieces[-1][1] == style or not bits):
            pieces[-1] = (pieces[-1][0] + sign, pieces[-1][1])
        else:
            pieces.append((sign, style))
    return tuple(pieces)
