"""Which hyperparameters made the difference."""

from __future__ import annotations

import random

import pytest

from engines.analysis.importance import LEAST_TRIALS, importances


def tried(number: int, seed: int = 0) -> list[dict[str, object]]:
    rng = random.Random(seed)
    return [
        {"rate": rng.random(), "depth": rng.randint(1, 9), "kind": rng.choice(["a", "b", "c"])}
        for _ in range(number)
    ]


def test_what_decides_the_score_has_nearly_all_of_it_and_the_rest_nothing():
    trials = [(params, float(params["depth"]) ** 3) for params in tried(400)]

    found = importances(trials, maximize=True)

    assert found is not None
    assert [found[0].name, found[0].best] == ["depth", (9, 9)]
    assert found[0].share > 0.9
    assert all(one.share < 0.05 for one in found[1:])


def test_of_a_score_to_be_minimised_the_low_values_are_the_best():
    trials = [(params, float(params["rate"])) for params in tried(200)]

    found = importances(trials, maximize=False)

    assert found is not None
    assert found[0].name == "rate"
    assert found[0].best is not None
    low, high = found[0].best
    assert low == min(params["rate"] for params, _ in trials)
    assert high < 0.3


def test_a_category_is_told_by_its_name():
    trials = [({**p, "twin": [1, 2]}, 1.0 if p["kind"] == "b" else 0.0) for p in tried(60)]

    found = importances(trials, maximize=True)

    assert found is not None
    assert (found[0].name, found[0].best) == ("kind", ("b", "b"))
    assert "twin" not in {one.name for one in found}


def test_luck_alone_has_no_share_worth_naming():
    rng = random.Random(1)
    shares = []
    for seed in range(60):
        found = importances([(p, rng.random()) for p in tried(60, seed)], maximize=True)
        shares += [one.share for one in found or ()]

    assert sum(shares) / len(shares) < 0.04


def test_one_absurd_score_changes_nothing():
    trials = [(params, float(params["rate"])) for params in tried(100)]
    worst = min(range(100), key=lambda place: trials[place][1])
    absurd = [(p, -1e300 if place == worst else s) for place, (p, s) in enumerate(trials)]

    assert importances(absurd, maximize=True) == importances(trials, maximize=True)


@pytest.mark.parametrize("number", [0, 1, LEAST_TRIALS - 1])
def test_of_too_few_trials_nothing_is_said(number: int):
    assert importances([(p, 1.0) for p in tried(number)], maximize=True) is None


def test_equal_scores_give_no_parameter_a_share():
    found = importances([(p, 0.5) for p in tried(50)], maximize=True)

    assert found is not None
    assert {one.share for one in found} == {0.0}


def test_a_parameter_that_some_trials_lack_may_be_best_left_out():
    trials = [({"depth": 3, **({"extra": n / 40} if n % 2 else {})}, -(n % 2)) for n in range(40)]

    found = importances(trials, maximize=True)

    assert found is not None
    assert [(one.name, one.best) for one in found] == [("extra", None)]
    assert found[0].share > 0.5
