"""Which hyperparameters made the difference, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from engines.analysis.importance import LEAST_TRIALS, Importance
from hyperion_tui import text
from hyperion_tui.widgets.lines import Piece

_NAME, _BEST = 24, 22
"""The most characters of a name, and of the values that did best."""


def importance_lines(
    found: Sequence[Importance] | None, trials: int, width: int
) -> list[tuple[Piece, ...]]:
    """A heading and a bar with its number for each parameter, the most important first.

    found: None if there are too few trials to tell. trials: how many were looked at.
    """
    lines: list[tuple[Piece, ...]] = [(("Importance of parameters", "strong"),)]
    if found is None:
        return [*lines, ((f"told from {LEAST_TRIALS} complete trials on", "dim"),)]
    if not found:
        return [*lines, (("no parameter was changed", "dim"),)]
    told = f"share of the differences in {text.plural(trials, 'trial')}; the values that did best"
    name = min(_NAME, max(len(text.clean(one.name)) for one in found))
    room = max(0, min(40, width - name - 1 - 5 - 2 - _BEST - 1))
    return [*lines, ((told, "dim"),), *(_line(one, name, room) for one in found)]


def _line(one: Importance, name: int, room: int) -> tuple[Piece, ...]:
    bar = text.bar(one.share, room)
    filled = bar.rstrip("░")
    weak = one.share < 0.01
    return (
        (text.fit(text.clean(one.name), name) + " ", "dim" if weak else ""),
        (filled, "accent"),
        (bar[len(filled) :], "dim"),
        (f" {one.share:4.0%}  ", "dim" if weak else ""),
        ("" if weak else text.fit(_values(one), _BEST).rstrip(), "dim"),
    )


def _values(one: Importance) -> str:
    if one.best is None:
        return "without it"
    low, high = map(text.parameter, one.best)
    return low if low == high else f"{low} .. {high}"
