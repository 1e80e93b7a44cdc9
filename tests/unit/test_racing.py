"""Who is clearly behind after the first folds: nobody by bad luck, or with little to go by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.search.racing import is_behind

NOISE = np.random.default_rng(2).normal(size=(6, 5))
EASY_AND_HARD = np.array([0.9, 0.5, 0.7, 0.3, 0.8])
"""Folds differ far more than trials do."""

RIVALS = [list(EASY_AND_HARD - 0.02 * rank + 0.01 * NOISE[rank]) for rank in range(6)]


def shifted(by: float, folds: int) -> list[float]:
    return list(EASY_AND_HARD[:folds] + by)


@pytest.mark.parametrize("folds", [1, 2, 3, 4])
def test_a_hard_fold_alone_puts_nobody_behind(folds: int) -> None:
    assert not is_behind(shifted(-0.01, folds), RIVALS, maximize=True)
    assert is_behind(shifted(-0.3, folds), RIVALS, maximize=True)


def test_with_more_folds_smaller_differences_are_clear() -> None:
    assert not is_behind(shifted(-0.045, 1), RIVALS, maximize=True)
    assert is_behind(shifted(-0.045, 4), RIVALS, maximize=True)


def test_the_best_one_itself_and_better_ones_are_not_behind() -> None:
    assert not is_behind(shifted(0.5, 2), RIVALS, maximize=True)
    assert not is_behind(RIVALS[0][:3], RIVALS, maximize=True)


def test_for_an_error_larger_is_behind() -> None:
    errors = [[-score for score in rival] for rival in RIVALS]

    assert is_behind([-s for s in shifted(-0.3, 1)], errors, maximize=False)
    assert not is_behind([-s for s in shifted(0.3, 1)], errors, maximize=False)


def test_nobody_is_behind_with_fewer_than_two_rivals() -> None:
    assert not is_behind(shifted(-9.0, 2), RIVALS[:1], maximize=True)
    assert is_behind(shifted(-9.0, 2), RIVALS[:2], maximize=True)


def test_a_trial_without_folds_and_one_with_all_of_them_are_not_judged() -> None:
    assert not is_behind([], RIVALS, maximize=True)
    assert not is_behind(shifted(-9.0, 5), RIVALS, maximize=True)
    assert not is_behind([0.1], [[0.9], [0.8], [0.7], [0.6]], maximize=True)


def test_scores_that_are_not_finite_decide_nothing() -> None:
    assert not is_behind([math.nan], RIVALS, maximize=True)
    assert not is_behind([-math.inf], RIVALS, maximize=True)
    broken = [[math.nan] * 5, [math.inf] * 5]
    assert not is_behind(shifted(-9.0, 2), [*broken, RIVALS[0]], maximize=True)
    assert is_behind(shifted(-9.0, 2), [*broken, *RIVALS], maximize=True)


def test_rivals_that_are_all_alike_tell_nothing_about_chance() -> None:
    assert not is_behind(shifted(-9.0, 2), [RIVALS[0]] * 5, maximize=True)
    parallel = [[s - 0.01 * n for s in RIVALS[0]] for n in range(5)]
    assert not is_behind(RIVALS[0][:2], parallel, maximize=True)


def ended(rng: np.random.Generator, level: float, rivals: int, folds: int) -> int:
    """After how many folds a trial ends whose true score is so far above the best one's; or 0.

    In units of the noise; the rivals are all as good as the best one, the worst case.
    """
    hard = 3 * rng.normal(size=folds)
    others = (hard + rng.normal(size=(rivals, folds))).tolist()
    mine = (hard + level + rng.normal(size=folds)).tolist()
    done = (k for k in range(1, folds) if is_behind(mine[:k], others, maximize=True))
    return next(done, 0)


@pytest.mark.parametrize("folds", [3, 5])
@pytest.mark.parametrize("rivals", [2, 3, 10, 30, 100])
def test_a_trial_as_good_as_the_best_is_ended_in_less_than_one_in_twenty(
    rivals: int, folds: int
) -> None:
    rng = np.random.default_rng(rivals + folds)

    wrong = sum(ended(rng, 0.0, rivals, folds) > 0 for _ in range(400))

    assert wrong / 400 < 0.05


@pytest.mark.parametrize("rivals", [5, 10, 30])
def test_a_trial_far_behind_ends_after_its_first_fold(rivals: int) -> None:
    rng = np.random.default_rng(rivals)
    far = -5 * math.sqrt(2)  # five standard deviations of the difference of two trials

    first = sum(ended(rng, far, rivals, 5) == 1 for _ in range(300))

    assert first / 300 > 0.9
