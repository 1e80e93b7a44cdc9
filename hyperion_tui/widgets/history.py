"""How a study came to its best score, as lines of text."""

from __future__ import annotations

from hyperion_tui import text
from hyperion_tui.charting import History
from hyperion_tui.widgets import braille
from hyperion_tui.widgets.lines import Piece

NARROWEST = 16
"""Characters of the drawing itself; with fewer, only words are left."""

BEST, TRIAL = "accent", "dim"
"""Styles of the line and of the points; where they meet, the line is seen."""

_OUT_OF_SIGHT = 0.1
"""The worst part of the trials that may lie below the picture, so that the rest has room."""


def history_lines(history: History, width: int, height: int) -> list[tuple[Piece, ...]]:
    """A heading, the story in words, and the picture: every trial, and the best so far.

    Nothing without a trial. width: characters; height: lines of the picture.
    """
    if not history.trials:
        return []
    lines: list[tuple[Piece, ...]] = [(("History", "strong"),)]
    lines += [((told, ""),) for told in history_words(history)]
    low, high = _range(history)
    labels = [text.number(high), *[""] * (height - 2), text.number(low)]
    margin = max(map(len, labels)) + 2
    across = width - margin - 1
    if across < NARROWEST or height < 2:
        return lines
    layers = _layers(history, low, high, across, height)
    lines.append(((f"{'─' * 2} best so far", BEST), ("   · a trial", TRIAL)))
    for y, label in enumerate(labels):
        drawn = braille.joined([layer[y] for layer in layers], (BEST, TRIAL))
        lines.append(((f"{label.rjust(margin - 2)} ┤", "dim"), *drawn))
    first, last = str(history.points[0][0]), f"trial {history.points[-1][0]}"
    scale = f"{' ' * margin}{first}{last.rjust(across - len(first))}"
    return [*lines, ((scale, "dim"),)]


def history_words(history: History) -> list[str]:
    """The same without a picture."""
    steps, since = history.steps, history.since
    number, best = steps[-1]
    told = f"best {text.number(best)} in trial {number}, first {text.number(steps[0][1])}"
    if history.trials == 1:
        return [f"best {text.number(best)} in trial {number}, the only one so far"]
    gained = text.plural(len(steps) - 1, "improvement")
    rest = f"{text.plural(since, 'trial')} since" if since else "the newest trial is the best"
    return [told, f"{gained} in {text.plural(history.trials, 'complete trial')}; {rest}"]


def _range(history: History) -> tuple[float, float]:
    """The scores from the bottom to the top of the picture: all but the worst."""
    ordered = sorted((score for _, score in history.points), reverse=history.maximize)
    best = history.steps[-1][1]
    worst = ordered[len(ordered) - 1 - int(_OUT_OF_SIGHT * len(ordered))]
    # The line begins at the first trial, however bad that was; far below it is cut as well.
    return min(worst, best), max(worst, best)


def _layers(
    history: History, low: float, high: float, across: int, height: int
) -> list[braille.Cells]:
    """The line of the best so far, and a dot for each trial."""
    columns = 2 * across
    first, last = history.points[0][0], history.points[-1][0]

    def column(number: int) -> int:
        return round((number - first) / max(1, last - first) * (columns - 1))

    def row(score: float) -> int:
        return braille.row_of(min(high, max(low, score)), low, high, height)

    best: list[int | None] = [None] * columns
    steps = [(column(number), row(score)) for number, score in history.steps]
    for place, (start, level) in enumerate(steps):
        end = steps[place + 1][0] if place + 1 < len(steps) else columns
        best[start:end] = [level] * (end - start)
        # Two steps in one column: the later one is the better.
        best[start] = level
    dots = (
        (column(number), row(score)) for number, score in history.points if low <= score <= high
    )
    return [braille.line(best, across, height), braille.points(dots, across, height)]
