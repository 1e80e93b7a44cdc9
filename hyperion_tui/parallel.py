"""Trials as lines across their parameters: what parallel coordinates are drawn from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hyperion_tui import text

BEST = 5
"""Trials that are told apart."""

OTHERS = 24
"""Trials that are drawn behind them; of more, so many, evenly chosen by their scores."""

OUT_OF_SIGHT = 0.1
"""The worst part of the trials, which is not drawn, so that the rest has room."""

_DECADES = 2.0
"""From so many powers of ten on, an axis of positive numbers may be logarithmic."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A complete trial. scores: one for each metric, all finite."""

    number: int
    params: Mapping[str, Any]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter or a metric. low, high: what stands at its lower and at its upper end.

    places: where the value of each trial stands on it, from 0, the lower end, to 1, by number of
    the trial; without those that lack it. log: whether places go by powers of ten.
    """

    name: str
    low: str
    high: str
    places: Mapping[int, float]
    log: bool = False
    is_metric: bool = False


@dataclass(frozen=True, slots=True)
class Parallel:
    """The axes, parameters first, and the trials on them.

    best: the best first, at most `BEST`. others: of the rest those that are drawn. trials: how many
    complete ones there are.
    """

    axes: Sequence[Axis]
    best: Sequence[Tried]
    others: Sequence[Tried]
    trials: int


def parallel_of(
    ranked: Sequence[Tried],
    names: Sequence[str],
    metrics: Sequence[str],
    maximize: Sequence[bool],
) -> Parallel | None:
    """ranked: trials, the best first. names: of parameters, in the order in which they are drawn.

    Parameters that are the same in all trials are left out; None if no other is there, or no
    second trial. The upper end of a metric is its better one.
    """
    if len(ranked) < 2:
        return None
    rest = ranked[BEST : max(BEST, len(ranked) - int(OUT_OF_SIGHT * len(ranked)))]
    every = max(1, -(-len(rest) // OTHERS))
    best, others = ranked[:BEST], rest[::every]
    drawn = [*best, *others]
    axes = [axis for name in names if (axis := _axis(name, drawn)) is not None]
    if not axes:
        return None
    for at, (metric, up) in enumerate(zip(metrics, maximize, strict=True)):
        axes.append(_metric(metric, {one.number: one.scores[at] for one in drawn}, up))
    return Parallel(axes, best, others, len(ranked))


def _axis(name: str, trials: Sequence[Tried]) -> Axis | None:
    """The axis of a parameter; None if it is the same in all trials."""
    given = {one.number: one.params[name] for one in trials if name in one.params}
    numbers = {n: x for n, value in given.items() if (x := _number(value)) is not None}
    if len(numbers) < len(given):
        return _of_words(name, given)
    low, high = min(numbers.values(), default=0.0), max(numbers.values(), default=0.0)
    if low == high:
        return None
    ends = {x: text.parameter(given[n]) for n, x in numbers.items()}
    places, log = _places(numbers), False
    if low > 0 and math.log10(high) - math.log10(low) >= _DECADES:
        powers = _places({n: math.log10(x) for n, x in numbers.items()})
        # Whichever leaves as many trials above the middle as below.
        log = abs(median(powers.values()) - 0.5) < abs(median(places.values()) - 0.5)
        places = powers if log else places
    return Axis(name, ends[low], ends[high], places, log)


def _of_words(name: str, given: Mapping[int, Any]) -> Axis | None:
    """Each word has a place of its own, numbers among them first."""
    words = {json.dumps(value, default=str): value for value in given.values()}
    numbers = {key: _number(value) for key, value in words.items()}
    keys = sorted(words, key=lambda key: (numbers[key] is None, numbers[key] or 0.0, key))
    if len(keys) < 2:
        return None
    places = {key: at / (len(keys) - 1) for at, key in enumerate(keys)}
    low, high = text.parameter(words[keys[0]]), text.parameter(words[keys[-1]])
    of_trial = {n: places[json.dumps(value, default=str)] for n, value in given.items()}
    return Axis(name, low, high, of_trial)


def _metric(name: str, scores: Mapping[int, float], maximize: bool) -> Axis:
    low, high = text.number(min(scores.values())), text.number(max(scores.values()))
    places = _places(scores)
    if maximize:
        return Axis(name, low, high, places, is_metric=True)
    turned = {n: 1.0 - place for n, place in places.items()}
    return Axis(name, high, low, turned, is_metric=True)


def _places(values: Mapping[int, float]) -> dict[int, float]:
    low, high = min(values.values()), max(values.values())
    # Halves, because the distance of two finite numbers need not be finite.
    span = high / 2 - low / 2
    return {n: (x / 2 - low / 2) / span if span else 0.5 for n, x in values.items()}


def _number(value: object) -> float | None:
    """A finite number; None for all else, truth values among them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
