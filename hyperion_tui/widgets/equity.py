"""What an agent made of its money beside who only bought and held, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from hyperion_tui.widgets import braille
from hyperion_tui.widgets.lines import Piece

HEIGHT = 8
NARROWEST = 16
"""Characters of the drawing itself; with fewer nothing is drawn."""

AGENT, HOLD = "accent", "dim"
"""Styles of both curves; where they cross, the agent's is seen."""


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
    styles = (AGENT, HOLD)[: len(cells)]
    return [
        *heading,
        *(
            (
                (f"{label.rjust(margin - 2)} ┤", "dim"),
                *braille.joined([rows[y] for rows in cells], styles),
            )
            for y, label in enumerate(labels)
        ),
    ]


def _wealth(returns: Sequence[float]) -> list[float]:
    return list(accumulate(returns, lambda money, r: money * (1.0 + r), initial=1.0))


def _end(curve: Sequence[float]) -> str:
    return f"{curve[-1] - 1.0:+.1%}"


def _cells(curve: Sequence[float], low: float, high: float, across: int) -> braille.Cells:
    last = 2 * across - 1
    shown = (curve[round(x * (len(curve) - 1) / last)] for x in range(2 * across))
    rows = (braille.row_of(value, low, high, HEIGHT) for value in shown)
    return braille.line(rows, across, HEIGHT)
