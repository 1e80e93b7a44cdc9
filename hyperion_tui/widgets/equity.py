"""What an agent made of its money beside who only bought and held, and how far it fell meanwhile,
as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from hyperion_tui.widgets import braille
from hyperion_tui.widgets.lines import Piece

HEIGHT = 8
FALL_HEIGHT = 4
"""Lines of the drawdown."""

NARROWEST = 16
"""Characters of the drawing itself; with fewer nothing is drawn."""

AGENT, HOLD = "accent", "dim"
"""Styles of both curves; where they cross, the agent's is seen. The other one is dotted."""

_DOTTED = 3
"""Every third dot of a dotted curve is drawn."""


def equity_lines(
    agent: Sequence[float], hold: Sequence[float], width: int
) -> list[tuple[Piece, ...]]:
    """A heading, `HEIGHT` lines of both curves on one scale, and what became of 1 with each.

    agent, hold: simple returns of the same bars; hold may be empty. width: characters.
    """
    curves = [_wealth(returns) for returns in (agent, hold) if len(returns)]
    if not curves or not len(agent):
        return []
    ends = [f"{curve[-1] - 1.0:+.1%}" for curve in curves]
    labels = [f"{end:.4g}" for end in _range(curves)]
    heading = (("Equity on the validation bars, median seed", "strong"),)
    lines = [heading, _legend(ends)]
    across = width - max(map(len, labels)) - 3
    if across >= NARROWEST:
        shown = [_sampled(curve, across) for curve in curves]
        lines += _picture(shown, _range(curves), labels, HEIGHT)
    return lines


def drawdown_lines(
    agent: Sequence[float], hold: Sequence[float], width: int
) -> list[tuple[Piece, ...]]:
    """How far each was below the highest so far: a heading, the deepest in words, and a picture.

    As `equity_lines`; the deepest is the simulator's `max_drawdown`. Nothing for an agent that
    never lost.
    """
    curves = [_wealth(returns) for returns in (agent, hold) if len(returns)]
    if not curves or not len(agent):
        return []
    falls = [_falls(curve) for curve in curves]
    if not min(falls[0]):
        return []
    told = [_deepest(curve, fall) for curve, fall in zip(curves, falls, strict=True)]
    labels = [f"{end:.1%}" for end in _range(falls)]
    lines = [(("Drawdown, below the highest so far", "strong"),), _legend(told)]
    across = width - max(map(len, labels)) - 3
    if across >= NARROWEST:
        shown = [_lowest(fall, across) for fall in falls]
        lines += _picture(shown, _range(falls), labels, FALL_HEIGHT)
    return lines


def _legend(told: Sequence[str]) -> tuple[Piece, ...]:
    parts: list[Piece] = [(f"── agent {told[0]}", AGENT)]
    parts += [(f"   ·· buy and hold {words}", HOLD) for words in told[1:]]
    return tuple(parts)


def _range(curves: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The highest and the lowest value."""
    return max(map(max, curves)), min(map(min, curves))


def _picture(
    curves: Sequence[Sequence[float]],
    ends: tuple[float, float],
    labels: Sequence[str],
    height: int,
) -> list[tuple[Piece, ...]]:
    """curves: a value for each column of dots, the agent's first. ends, labels: of the scale."""
    high, low = ends
    across = len(curves[0]) // 2
    rows = [[braille.row_of(value, low, high, height) for value in curve] for curve in curves]
    layers = [braille.line(rows[0], across, height)]
    for dotted in rows[1:]:
        layers.append(braille.points(list(enumerate(dotted))[::_DOTTED], across, height))
    styles = (AGENT, HOLD)[: len(layers)]
    margin = max(map(len, labels))
    sides = [labels[0], *[""] * (height - 2), labels[1]]
    return [
        (
            (f"{side.rjust(margin)} ┤", "dim"),
            *braille.joined([layer[y] for layer in layers], styles),
        )
        for y, side in enumerate(sides)
    ]


def _wealth(returns: Sequence[float]) -> list[float]:
    return list(accumulate(returns, lambda money, r: money * (1.0 + r), initial=1.0))


def _falls(curve: Sequence[float]) -> list[float]:
    """Each value over the highest up to it, less one: 0 or below."""
    return [value / top - 1.0 for value, top in zip(curve, accumulate(curve, max), strict=True)]


def _deepest(curve: Sequence[float], falls: Sequence[float]) -> str:
    """`-12.3% from bar 10 to bar 45`: the deepest fall, and where it began and ended."""
    end = min(range(len(falls)), key=falls.__getitem__)
    if not falls[end]:
        return "never below it"
    start = max(range(end), key=curve.__getitem__)
    return f"{falls[end]:.1%} from bar {start} to bar {end}"


def _sampled(curve: Sequence[float], across: int) -> list[float]:
    """The curve at each column of dots."""
    last = 2 * across - 1
    return [curve[round(x * (len(curve) - 1) / last)] for x in range(2 * across)]


def _lowest(curve: Sequence[float], across: int) -> list[float]:
    """The lowest of the bars of each column of dots: a short deep fall is not stepped over."""
    n, columns = len(curve), 2 * across
    return [
        min(curve[x * n // columns : max(x * n // columns + 1, (x + 1) * n // columns)])
        for x in range(columns)
    ]
