"""How much of the differences between trials goes with each hyperparameter.

A correlation ratio: trials are grouped by the values of one parameter, and the part of the
scores' variance that lies between the groups is its share (Pearson 1905). It is the first-order
index of a sensitivity analysis from given data (Plischke, Borgonovo and Smith 2013, European
Journal of Operational Research 226), corrected for the number of groups as epsilon squared is
(Kelley 1935, PNAS 21). Scores count by their ranks, so that one very bad trial decides nothing.

It describes the trials there are: a sampler tries good regions more often, parameters that were
changed together share what they did, and what only two of them do together is in no share.
Plain Python: a process without numpy may ask.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_TRIALS = 16
"""With fewer trials nothing is said: shares of noise would be as large as true ones."""

_TRIALS_A_GROUP = 6
_MOST_GROUPS = 10

_ABSENT = object()
"""Stands for the value of a parameter that a trial does not have."""

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Importance:
    """What one parameter is good for.

    share: of the variance of the scores' ranks, from 0 (what luck alone would do) to 1.
    best: the lowest and the highest value of the group with the best scores on average; the same
    value twice for a category, None where that group lacks the parameter.
    """

    name: str
    share: float
    best: tuple[Any, Any] | None


def importances(
    trials: Sequence[tuple[Params, float]], *, maximize: bool
) -> list[Importance] | None:
    """The parameters of finished trials, the most important first; ties by name.

    trials: parameters and score, a finite number, of each. None for fewer than `LEAST_TRIALS`.
    Parameters that are the same in all trials are left out. The shares are of one parameter each
    and need not add up to 1.
    """
    if len(trials) < LEAST_TRIALS:
        return None
    ranks = _ranks([score if maximize else -score for _, score in trials])
    names = dict.fromkeys(name for params, _ in trials for name in params)
    found = []
    for name in names:
        values = [params.get(name, _ABSENT) for params, _ in trials]
        groups = _groups(values)
        if len(groups) > 1:
            found.append(Importance(name, _share(groups, ranks), _best(groups, values, ranks)))
    return sorted(found, key=lambda one: (-one.share, one.name))


def _ranks(scores: Sequence[float]) -> list[float]:
    """Ranks from 1, the mean one where scores are equal."""
    order = sorted(scores)
    return [(bisect_left(order, score) + bisect_right(order, score) + 1) / 2 for score in scores]


def _groups(values: Sequence[Any]) -> list[list[int]]:
    """Places of trials with like values: equal ones, or neighbours among many numbers."""
    numbers = [value for value in values if _is_number(value)]
    most = max(2, min(_MOST_GROUPS, len(values) // _TRIALS_A_GROUP))
    edges = [] if len(set(numbers)) <= most else _edges(sorted(numbers), most)
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        if not _is_number(value):
            key: Hashable = ("word", json.dumps(value, sort_keys=True, default=str))
        else:
            key = ("number", bisect_right(edges, value) if edges else value)
        groups[key].append(place)
    return list(groups.values())


def _edges(ordered: Sequence[float], parts: int) -> list[float]:
    """Where groups of about as many numbers begin; equal numbers are never parted."""
    return sorted({ordered[len(ordered) * part // parts] for part in range(1, parts)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _share(groups: Sequence[Sequence[int]], ranks: Sequence[float]) -> float:
    """Epsilon squared, not below 0: the part of the variance that lies between the groups."""
    free = len(ranks) - len(groups)
    mean = sum(ranks) / len(ranks)
    total = sum((rank - mean) ** 2 for rank in ranks)
    if free <= 0 or total <= 0:
        return 0.0
    within = 0.0
    for group in groups:
        centre = sum(ranks[place] for place in group) / len(group)
        within += sum((ranks[place] - centre) ** 2 for place in group)
    return max(0.0, 1.0 - (within / free) / (total / (len(ranks) - 1)))


def _best(
    groups: Sequence[Sequence[int]], values: Sequence[Any], ranks: Sequence[float]
) -> tuple[Any, Any] | None:
    group = max(groups, key=lambda places: sum(ranks[p] for p in places) / len(places))
    members = [values[place] for place in group]
    if members[0] is _ABSENT:
        return None
    if not _is_number(members[0]):
        return members[0], members[0]
    return min(members), max(members)
