"""A greedy ensemble of finished trials: a weighted mean of their predictions.

Caruana et al., Ensemble Selection from Libraries of Models (ICML 2004): begin with the best
candidates in order, as many as are best together (sorted initialisation), then add again and again
the one that improves the mean most (selection with replacement). How often a candidate was
taken is its weight. It is done on the validation rows of the folds, which trained none of the
models that predict them, so it costs no training.

With many candidates and few rows some mean is always better by luck. So whether there is an
ensemble at all is not judged by the rows that chose it: the whole choice is made again without one
fold after the other, and scored on the fold left out, as is the best single candidate of the other
folds. Where the mean is worse on every fold left out, the ensemble is the best single candidate. A
mean loses little where it is not better, and the best of many single ones was partly lucky. The
number of members is not taken from the folds left out as well, and the library is not drawn at
random many times, as the paper does: each was tried, and gained no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.analysis.blends import Part, Table, is_fast, tabulate
from engines.data.scoring import Metric, ScoreError, selection_score

Floats: TypeAlias = npt.NDArray[np.float64]

MOST_MEMBERS = 50
MOST_SORTED = 10
"""The best candidates that may begin together; more of them are mostly the same model."""

MOST_SLOW_CANDIDATES = 30
MOST_SLOW_MEMBERS = 15
"""Of metrics that are evaluated as a whole for each candidate and step."""

PATIENCE = 8
"""So many steps without an improvement end the growing."""

PARTS = 5
"""A single fold is cut into so many blocks, for the choice without one of them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished trial. folds: what it predicts on the validation rows of each fold.

    (rows,) values, or (rows, classes) shares; the rows are those of the targets.
    """

    study: str
    number: int
    folds: Sequence[Floats]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Which candidates, and how much of each.

    members: (index of the candidate, weight), the heaviest first; the weights sum to one.
    score: the selection score of the weighted mean; it was chosen by that, so it flatters.
    best: the index of the best single candidate. best_score: its selection score.
    checked, checked_best: the mean score of an ensemble and of a best single candidate on folds
    that did not choose them; None where that was not asked for or not possible.
    """

    members: tuple[tuple[int, float], ...]
    score: float
    best: int
    best_score: float
    checked: float | None
    checked_best: float | None


def greedy(
    y: Sequence[Floats],
    candidates: Sequence[Candidate],
    metric: Metric,
    *,
    most_members: int = MOST_MEMBERS,
    guard: bool = True,
) -> Ensemble:
    """The ensemble for targets `y`, one array (rows,) a fold, in the units of the metric.

    Candidates whose predictions have no score (NaN, or where the metric is not defined) are left
    out. The result does not depend on the order of the candidates. guard: take the best single
    candidate where every fold left out says that it is better, or none can say.
    Raises ScoreError if no candidate has a score, ValueError for shapes that don't fit.
    """
    y = [np.asarray(part, dtype=np.float64) for part in y]
    singles = _single_scores(y, candidates, metric)
    ranked = _ranked(singles, candidates, metric)
    if not ranked:
        raise ScoreError(f"none of {len(candidates)} candidates has a {metric.name}")
    best = ranked[0]
    if not is_fast(metric) or y[0].ndim == 2:
        ranked, most_members = ranked[:MOST_SLOW_CANDIDATES], min(most_members, MOST_SLOW_MEMBERS)
    parts = _parts(y, [candidates[i] for i in ranked])
    table = tabulate(metric, parts)
    path, scores = _grow(table, range(table.parts), metric, most_members)
    size = _size(scores, metric)
    checked = checked_best = None
    if guard:
        together, alone = _check(metric, parts, table, most_members)
        if len(together):
            checked, checked_best = float(np.mean(together)), float(np.mean(alone))
        if not _may_be_better(together, alone, metric):
            size = 1
    members = _weights([ranked[i] for i in path[:size]] if size > 1 else [best])
    score = selection_score(metric, _mixed(y, candidates, members))
    return Ensemble(members, score, best, singles[best], checked, checked_best)


def predict(predictions: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """The weighted mean of the members' predictions, of shape (rows,) or (rows, classes).

    Of shares of classes each row still sums to one. NaN stays NaN. Raises ValueError if there is
    no member, or the numbers or shapes differ.
    """
    if not predictions or len(predictions) != len(weights):
        raise ValueError(f"{len(predictions)} predictions for {len(weights)} weights")
    if len({np.shape(one) for one in predictions}) != 1:
        raise ValueError("the members' predictions must have one shape")
    total = math.fsum(weights)
    mean = np.zeros(np.shape(predictions[0]))
    for one, weight in zip(predictions, weights, strict=True):
        mean += (weight / total) * np.asarray(one, dtype=np.float64)
    return mean


# -- candidates ----------------------------------------------------------------------------


def _single_scores(
    y: Sequence[Floats], candidates: Sequence[Candidate], metric: Metric
) -> dict[int, float]:
    """The selection score of each candidate that has one, by index."""
    found: dict[int, float] = {}
    for i, candidate in enumerate(candidates):
        shapes = [(len(part),) for part in y]
        if [np.shape(fold)[:1] for fold in candidate.folds] != shapes:
            raise ValueError(f"{candidate.study} {candidate.number}: folds that are not those of y")
        try:
            found[i] = selection_score(metric, list(zip(y, candidate.folds, strict=True)))
        except ScoreError:
            continue
    return found


def _ranked(
    singles: dict[int, float], candidates: Sequence[Candidate], metric: Metric
) -> list[int]:
    """Indexes, the best first; equals in an order of their own, not in that of the list."""
    sign = -1.0 if metric.maximize else 1.0
    return sorted(
        singles, key=lambda i: (sign * singles[i], candidates[i].study, candidates[i].number, i)
    )


def _parts(y: Sequence[Floats], candidates: Sequence[Candidate]) -> list[Part]:
    return [
        (part, [np.asarray(c.folds[fold], dtype=np.float64) for c in candidates])
        for fold, part in enumerate(y)
    ]


def _weights(taken: Sequence[int]) -> tuple[tuple[int, float], ...]:
    counts: dict[int, int] = {}
    for index in taken:
        counts[index] = counts.get(index, 0) + 1
    # Equals stay in the order in which they came in, which is that of their worth.
    heaviest = sorted(counts.items(), key=lambda item: -item[1])
    return tuple((index, count / len(taken)) for index, count in heaviest)


def _mixed(
    y: Sequence[Floats],
    candidates: Sequence[Candidate],
    members: Sequence[tuple[int, float]],
) -> list[tuple[Floats, Floats]]:
    weights = [weight for _, weight in members]
    return [
        (part, predict([candidates[i].folds[fold] for i, _ in members], weights))
        for fold, part in enumerate(y)
    ]


# -- growing -------------------------------------------------------------------------------


def _grow(
    table: Table, parts: Sequence[int], metric: Metric, most: int
) -> tuple[list[int], list[float]]:
    """(candidates in the order in which they are taken, the score after each).

    Candidates are numbers in the table, the best single one of all parts first.
    """
    sign = 1.0 if metric.maximize else -1.0
    alone = table.blend(parts).scores_with()
    order = np.argsort(-_worth(alone, sign), kind="stable")
    path, scores = _sorted_start(table, parts, order[: min(most, MOST_SORTED)], sign)
    blend = table.blend(parts)
    for candidate in path:
        blend.add(candidate)
    best, since = _worth_of(scores[-1], sign), 0
    while len(path) < most and since < PATIENCE:
        candidate = int(np.argmax(_worth(blend.scores_with(), sign)))
        blend.add(candidate)
        path.append(candidate)
        scores.append(blend.score())
        worth = _worth_of(scores[-1], sign)
        since = 0 if worth > best else since + 1
        best = max(best, worth)
    return path, scores


def _sorted_start(
    table: Table, parts: Sequence[int], order: npt.NDArray[np.int64], sign: float
) -> tuple[list[int], list[float]]:
    """The best candidates in order, as many as are best together."""
    blend = table.blend(parts)
    scores = []
    for candidate in order:
        blend.add(int(candidate))
        scores.append(blend.score())
    size = int(np.argmax(_worth(np.array(scores), sign))) + 1
    return [int(candidate) for candidate in order[:size]], scores[:size]


def _worth(scores: Floats, sign: float) -> Floats:
    """Larger is better; what has no score is worth least."""
    return np.where(np.isnan(scores), -np.inf, sign * scores)


def _worth_of(score: float, sign: float) -> float:
    return -math.inf if math.isnan(score) else sign * score


def _size(scores: Sequence[float], metric: Metric) -> int:
    """The number of members with the best score; the fewest of equals."""
    sign = 1.0 if metric.maximize else -1.0
    return int(np.argmax(_worth(np.array(scores), sign))) + 1


# -- ensemble or single candidate ----------------------------------------------------------


def _check(metric: Metric, parts: Sequence[Part], table: Table, most: int) -> tuple[Floats, Floats]:
    """Scores of (ensembles, best single candidates) on each part that did not choose them.

    Parts that can't be scored alone are left out.
    """
    if len(parts) == 1:
        # A short block of a series hardly varies: r2 would be large there for no merit.
        table = tabulate(metric, _cut(parts[0]), float(np.var(parts[0][0])))
    pairs = []
    for left_out in range(table.parts):
        others = [part for part in range(table.parts) if part != left_out]
        path, scores = _grow(table, others, metric, most)
        pair = [
            _blend_score(table, left_out, path[: _size(scores, metric)]),
            _blend_score(table, left_out, path[:1]),
        ]
        if not np.isnan(pair).any():
            pairs.append(pair)
    together, alone = np.array(pairs).reshape(-1, 2).T
    return together, alone


def _blend_score(table: Table, part: int, members: Sequence[int]) -> float:
    blend = table.blend([part])
    for candidate in members:
        blend.add(candidate)
    return blend.score()


def _may_be_better(together: Floats, alone: Floats, metric: Metric) -> bool:
    """Whether the ensemble is at least as good as the best single one on some part left out."""
    gain = together - alone if metric.maximize else alone - together
    return bool(len(gain)) and bool((gain >= 0).any())


def _cut(part: Part) -> list[Part]:
    """A part in blocks of neighbouring rows."""
    y, predicted = part
    blocks = np.array_split(np.arange(len(y)), min(PARTS, len(y)))
    return [(y[rows], [one[rows] for one in predicted]) for rows in blocks]
