"""What holds for every greedy ensemble, and that its shortcuts compute what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engines.analysis import blends, ensemble
from engines.analysis.ensemble import Candidate, greedy, predict
from engines.data.scoring import METRICS, Metric, selection_score

TABULAR = {"regression", "classification"}
names = st.sampled_from(sorted(m.name for m in METRICS.values() if TABULAR & set(m.tasks)))
seeds = st.integers(0, 2**31 - 1)


def drawn(
    metric: Metric, seed: int, folds: int, rows: int, count: int, *, votes: bool = False
) -> tuple[list[np.ndarray], list[Candidate]]:
    """Targets of a metric's task, and candidates of different worth that share some errors."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 5))
    by_class = "classification" in metric.tasks
    y = [
        rng.integers(0, classes, rows).astype(float) if by_class else 3 + rng.gamma(2.0, size=rows)
        for _ in range(folds)
    ]
    common = [rng.normal(size=(rows, classes)) for _ in range(folds)]

    def one(part: np.ndarray, shared: np.ndarray, size: float) -> np.ndarray:
        error = size * rng.normal(size=shared.shape) + 0.3 * shared
        if not by_class:
            return part + error[:, 0]
        error[np.arange(rows), part.astype(int)] += 1.0
        if votes:
            return np.eye(classes)[error.argmax(axis=1)]
        return np.exp(error) / np.exp(error).sum(axis=1, keepdims=True)

    candidates = [
        Candidate(
            f"x/{rng.integers(3)}", i, [one(p, c, size) for p, c in zip(y, common, strict=True)]
        )
        for i, size in enumerate(rng.uniform(0.2, 2.0, count))
    ]
    return y, candidates


def is_scored(metric: Metric, y: list[np.ndarray]) -> bool:
    """Whether the metric is defined on all these folds."""
    return metric.name != "roc_auc" or all(len(np.unique(part)) > 1 for part in y)


@given(name=names, seed=seeds, folds=st.integers(1, 5), votes=st.booleans(), data=st.data())
@settings(max_examples=80)
def test_the_score_of_a_growing_mean_is_the_selection_score(
    name: str, seed: int, folds: int, votes: bool, data: st.DataObject
) -> None:
    metric = METRICS[name]
    y, candidates = drawn(metric, seed, folds, 12, 4, votes=votes)
    parts = data.draw(st.lists(st.integers(0, folds - 1), min_size=1, unique=True))
    taken = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=7))
    assume(is_scored(metric, y))

    def naive(members: list[int]) -> float:
        return selection_score(
            metric,
            [(y[p], np.mean([candidates[m].folds[p] for m in members], axis=0)) for p in parts],
        )

    blend = blends.tabulate(metric, ensemble._parts(y, candidates)).blend(parts)
    for member in taken:
        blend.add(member)

    assert blend.score() == pytest.approx(naive(taken), rel=1e-5, abs=1e-6)
    for candidate, score in enumerate(blend.scores_with()):
        assert score == pytest.approx(naive([*taken, candidate]), rel=1e-5, abs=1e-6)


@given(name=st.sampled_from(["r2", "rmse", "mse", "mae", "log_loss"]), seed=seeds)
@settings(max_examples=40)
def test_the_shortcuts_take_the_same_members_as_the_metric_itself(name: str, seed: int) -> None:
    metric = METRICS[name]
    y, candidates = drawn(metric, seed, 3, 30, 6)
    parts = ensemble._parts(y, candidates)

    quick, quick_scores = ensemble._grow(blends.tabulate(metric, parts), range(3), metric, 12)
    slow, slow_scores = ensemble._grow(blends._Any(metric, parts), range(3), metric, 12)

    # 24 bits can't tell apart what differs in the seventh digit, so a path may part there.
    together = min(len(quick), len(slow))
    parting = next((i for i in range(together) if quick[i] != slow[i]), together)
    assert quick_scores[:parting] == pytest.approx(slow_scores[:parting], rel=1e-5)
    if parting < together:
        assert quick_scores[parting] == pytest.approx(slow_scores[parting], rel=1e-5)


@given(name=names, seed=seeds, folds=st.integers(1, 5), count=st.integers(1, 8), data=st.data())
@settings(max_examples=60)
def test_the_order_of_the_candidates_does_not_matter(
    name: str, seed: int, folds: int, count: int, data: st.DataObject
) -> None:
    metric = METRICS[name]
    y, candidates = drawn(metric, seed, folds, 15, count)
    order = data.draw(st.permutations(range(count)))
    assume(is_scored(metric, y))

    straight = greedy(y, candidates, metric)
    shuffled = greedy(y, [candidates[i] for i in order], metric)

    assert [(order[i], weight) for i, weight in shuffled.members] == list(straight.members)
    assert shuffled.score == straight.score
    assert order[shuffled.best] == straight.best
    assert shuffled.checked == straight.checked


@given(
    name=names,
    seed=seeds,
    folds=st.integers(1, 5),
    count=st.integers(1, 8),
    guard=st.booleans(),
    most=st.integers(1, 20),
)
@settings(max_examples=80)
def test_it_is_never_worse_than_the_best_alone_on_the_rows_that_chose_it(
    name: str, seed: int, folds: int, count: int, guard: bool, most: int
) -> None:
    metric = METRICS[name]
    y, candidates = drawn(metric, seed, folds, 15, count)
    assume(is_scored(metric, y))

    made = greedy(y, candidates, metric, guard=guard, most_members=most)

    gain = made.score - made.best_score
    assert (gain if metric.maximize else -gain) >= -1e-6
    assert sum(weight for _, weight in made.members) == pytest.approx(1.0, abs=1e-12)
    assert all(weight > 0 for _, weight in made.members)
    assert len({index for index, _ in made.members}) == len(made.members) <= most
    alone = [selection_score(metric, list(zip(y, one.folds, strict=True))) for one in candidates]
    assert made.best_score == (max(alone) if metric.maximize else min(alone))
    assert alone[made.best] == made.best_score


@given(seed=seeds, count=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
def test_the_size_of_the_weights_does_not_matter(seed: int, count: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    predictions = [rng.normal(size=5) for _ in range(count)]
    weights = rng.uniform(0.1, 1.0, count)

    mean = predict(predictions, list(weights))

    np.testing.assert_allclose(mean, np.average(predictions, axis=0, weights=weights), atol=1e-12)
    np.testing.assert_allclose(predict(predictions, list(scale * weights)), mean, atol=1e-12)
