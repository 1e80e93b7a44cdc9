"""Which study gets the next trial: turns by number of trials, gain per second by time."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from engines.search.allocation import (
    FAIR_SHARE,
    MOST_PACE,
    OVERHEAD_S,
    StudyView,
    choose,
    expected_seconds,
    loading_s,
    machine_pace,
    most_seconds,
    takes_portfolio,
    view_plan,
)

NEW = {"weights": (1.0, 2.0, 4.0), "expected_s": 1.0, "prior": 0.5}
STRONG = StudyView(1, finished=3, best=0.8, second=0.79, first_s=1.0, recent_s=1.0, **NEW)


def view(study_id: int, **changes: object) -> StudyView:
    return replace(STRONG, study_id=study_id, **changes)


def new(study_id: int, **changes: object) -> StudyView:
    return StudyView(study_id, **{**NEW, **changes})  # type: ignore[arg-type]


def order(*studies: StudyView, left: float | None = 100.0, workers: int = 1) -> list[int]:
    return choose(studies, maximize=True, seconds_left=left, workers=workers)


# -- under a number of trials ---------------------------------------------------------------------


def test_without_a_time_limit_the_smallest_share_of_the_goal_comes_first() -> None:
    studies = [
        StudyView(1, goal=4, finished=2),
        StudyView(2, goal=10, finished=1),
        StudyView(3, goal=10, running=1, loading_s=0.5),
        StudyView(4, goal=2, finished=1, is_open=False),
    ]

    assert order(*studies, left=None) == [2, 3, 1]


def test_without_a_time_limit_neither_scores_nor_costs_matter() -> None:
    hopeless = view(2, goal=5, finished=0, best=-9.0, recent_s=1e9, expected_s=1e9)

    assert order(view(1, goal=5, finished=1), hopeless, left=None) == [2, 1]


# -- under a time limit ---------------------------------------------------------------------------


def test_among_untried_models_the_strong_and_cheap_one_comes_first() -> None:
    strong_dear = new(1, prior=0.9, expected_s=20.0)
    strong_cheap = new(2, prior=0.9, expected_s=1.0)
    weak_cheap = new(3, prior=0.3, expected_s=1.0)

    assert order(strong_dear, strong_cheap, weak_cheap) == [2, 3, 1]


def test_a_strong_untried_model_comes_before_more_trials_of_the_leader() -> None:
    assert order(STRONG, new(2, prior=0.9)) == [2, 1]


def test_a_weak_untried_model_waits_until_the_leader_has_had_many_trials() -> None:
    weak = new(2, prior=0.2, weights=(1.0,), expected_s=6.0)

    assert order(STRONG, weak) == [1, 2]
    assert order(replace(STRONG, finished=60), weak) == [2, 1]


def test_a_cheap_and_weak_model_is_tried_once_before_the_strong_ones() -> None:
    weak = new(1, prior=0.3, expected_s=0.01, weights=(1.0,))
    strong = new(2, prior=0.9, expected_s=0.5)
    assert order(weak, strong, left=10.0) == [1, 2]

    tried = replace(weak, finished=1, best=0.4, first_s=0.01, recent_s=0.01)

    assert order(tried, strong, left=10.0) == [2, 1]


def test_a_model_far_behind_the_best_rests() -> None:
    behind = view(2, best=0.3, second=0.29, fifth=0.26)

    assert order(behind, replace(STRONG, finished=500)) == [1, 2]


def test_an_equally_good_model_that_costs_less_comes_first() -> None:
    slow = view(1, recent_s=4.0, first_s=4.0)

    assert order(slow, view(2)) == [2, 1]


def test_equally_good_models_get_equal_time() -> None:
    spent = Counter[int]()
    fast, slow = view(1, weights=()), view(2, weights=(), recent_s=3.0, first_s=3.0)
    for _ in range(400):
        first = order(fast, slow, left=5.0)[0]
        spent[first] += 1 if first == 1 else 3
        if first == 1:
            fast = replace(fast, finished=fast.finished + 1)
        else:
            slow = replace(slow, finished=slow.finished + 1)

    assert spent[1] / spent[2] == pytest.approx(1.0, rel=0.1)


def test_what_another_worker_tries_now_is_not_tried_by_the_next() -> None:
    first, second = new(1, prior=0.9, weights=()), new(2, prior=0.8, weights=())
    assert order(first, second, workers=2) == [1, 2]

    assert order(replace(first, running=1), second, workers=2) == [2, 1]


def test_two_workers_take_the_two_best_models_and_not_one_of_them_twice() -> None:
    best, near = view(1, weights=()), view(2, weights=())
    assert order(best, near) == [1, 2]

    assert order(replace(best, running=1), near) == [2, 1]


def test_one_terrible_score_does_not_make_a_model_promising() -> None:
    models = [view(1), view(2, best=0.3, second=-90.0), view(3, best=0.5, second=0.49)]

    assert order(*models)[0] == 1


def test_a_queued_trial_comes_first() -> None:
    assert order(STRONG, view(2, best=0.2, second=0.1, waiting=1)) == [2, 1]


def test_smaller_is_better_where_the_metric_says_so() -> None:
    low, high = view(1, best=1.0, second=1.1), view(2, best=3.0, second=3.1)

    assert choose([high, low], maximize=False, seconds_left=99.0, workers=1) == [1, 2]
    assert choose([high, low], maximize=True, seconds_left=99.0, workers=1) == [2, 1]


def test_a_trial_that_would_take_longer_than_the_time_left_is_not_started() -> None:
    assert order(view(1, recent_s=5.0, first_s=5.0), view(2), left=2.0) == [2]
    assert order(view(1, recent_s=5.0, first_s=5.0), left=2.0) == []


def test_a_study_without_a_plan_is_never_left_out_for_its_cost() -> None:
    custom = StudyView(1, finished=3, best=0.5, second=0.4, recent_s=60.0)

    assert order(custom, left=1.0) == [1]


def test_an_untried_model_that_would_take_an_unfair_part_of_the_time_comes_last() -> None:
    top = replace(STRONG, finished=10**6)
    fair = new(2, expected_s=100.0 * FAIR_SHARE - 1, prior=1.0)
    dear = new(2, expected_s=100.0 * FAIR_SHARE + 1, prior=1.0)

    assert order(top, fair) == [2, 1]
    assert order(top, dear) == [1, 2]
    assert order(replace(top, is_open=False), dear, replace(dear, study_id=3)) == [2, 3]


def test_a_forest_too_dear_for_the_time_left_becomes_a_small_one() -> None:
    top = replace(STRONG, finished=10**6)
    forest = new(2, expected_s=500.0, prior=1.0, averages=True)
    other = replace(forest, averages=False)

    assert order(top, forest) == [2, 1]
    assert most_seconds(forest, [top, forest], 100.0, 1) == pytest.approx(100.0 * FAIR_SHARE)
    assert order(top, other) == [1]
    assert most_seconds(other, [top, other], 100.0, 1) == 100.0


def test_only_a_first_trial_among_others_is_cut() -> None:
    forest = new(2, expected_s=500.0, averages=True)
    again = view(2, averages=True)

    assert most_seconds(again, [STRONG, again], 100.0, 1) == 100.0
    assert most_seconds(forest, [forest], 100.0, 1) == 100.0
    assert most_seconds(forest, [STRONG, forest], None, 1) is None


def test_with_nothing_complete_the_cheapest_model_is_tried_though_it_does_not_fit() -> None:
    dear, cheap = new(1, expected_s=90.0), new(2, expected_s=50.0)

    assert order(dear, cheap, left=10.0) == [2]
    assert order(replace(cheap, running=1), dear, left=10.0) == []
    assert order(replace(STRONG, is_open=False), dear, cheap, left=10.0) == []


def test_the_pace_of_this_machine_corrects_the_declared_costs() -> None:
    slow_here = view(1, first_s=3 * (1.0 + OVERHEAD_S), recent_s=3.0)
    instant = view(3, first_s=0.02, expected_s=0.0001)
    untried = new(2, expected_s=2.0)

    assert machine_pace([slow_here, untried]) == pytest.approx(3.0)
    # What takes longer to ask for than to train says nothing about the machine.
    assert machine_pace([slow_here, instant, untried]) == pytest.approx(3.0, rel=0.05)
    assert expected_seconds(untried, 3.0) == 6.0
    assert 2 not in order(slow_here, untried, left=5.9)
    # Nor does what may have been cut short.
    cut = view(4, first_s=0.5, expected_s=50.0, averages=True)
    assert machine_pace([slow_here, cut]) == pytest.approx(3.0)


def test_a_law_that_is_wrong_for_these_data_does_not_make_the_machine_a_slow_one() -> None:
    assert machine_pace([view(1, first_s=1000.0)]) == MOST_PACE
    assert machine_pace([view(1, first_s=0.0001)]) == 1 / MOST_PACE


def test_a_set_of_the_portfolio_that_does_not_fit_leaves_its_place_to_the_sampler() -> None:
    third = view(1, finished=2)

    assert takes_portfolio(third, [third], 5.0)
    assert not takes_portfolio(third, [third], 3.0)
    assert takes_portfolio(third, [third], None)
    assert not takes_portfolio(view(1, finished=3), [third], None)
    assert takes_portfolio(new(1), [third], 0.1)


def test_torch_is_loaded_once_for_all_families_that_need_it() -> None:
    assert loading_s("pytorch", ()) > loading_s("ensemble", ()) > 0
    assert loading_s("advanced", {"sklearn"}) > loading_s("advanced", {"pytorch"}) > 0
    assert loading_s("advanced", {"advanced"}) == 0


def test_a_trial_that_fits_only_without_the_import_before_it_is_not_begun() -> None:
    assert order(view(1, loading_s=1.5, recent_s=9.0, weights=()), left=10.0) == []
    assert order(view(1, loading_s=0.5, recent_s=9.0, weights=()), left=10.0) == [1]


def test_a_library_that_is_not_loaded_has_its_price() -> None:
    assert order(view(1, loading_s=0.5), view(2)) == [2, 1]


def test_a_plan_tells_what_a_view_needs_and_its_absence_nothing() -> None:
    plan = {"portfolio": [{}], "weights": [1.0], "prior": 0.7, "expected_s": 2.5, "rows": [1, 2]}

    told = {"weights": (1.0,), "averages": False, "prior": 0.7, "expected_s": 2.5}
    assert view_plan(plan) == told
    assert view_plan({**plan, "averages": True}) == {**told, "averages": True}
    assert view_plan(None) == {}


# -- the whole, in a simulated experiment ---------------------------------------------------------


class Arm:
    """A model whose scores have a known distribution, and whose trials take known seconds."""

    def __init__(self, level: float, scale: float, seconds: float, prior: float) -> None:
        self.level, self.scale, self.seconds, self.prior = level, scale, seconds, prior
        self.scores: list[float] = []

    def view(self, study_id: int) -> StudyView:
        top = sorted(self.scores, reverse=True)
        return StudyView(
            study_id,
            finished=len(top),
            best=top[0] if top else None,
            second=top[1] if len(top) > 1 else None,
            fifth=top[4] if len(top) > 4 else None,
            first_s=self.seconds if top else None,
            recent_s=self.seconds if top else None,
            expected_s=self.seconds,
            weights=(1.0,),
            prior=self.prior,
        )

    def draw(self, rng: random.Random) -> None:
        self.scores.append(self.level - rng.expovariate(1 / self.scale))


ARMS = [
    # level that it can reach, scale of its scores, seconds, prior
    (0.90, 0.03, 2.0, 0.9),
    (0.89, 0.03, 1.0, 0.9),
    (0.91, 0.05, 6.0, 0.95),
    (0.85, 0.05, 0.5, 0.7),
    (0.70, 0.02, 0.05, 0.3),
    (0.60, 0.10, 0.05, 0.3),
    (0.50, 0.20, 0.3, 0.2),
    (0.40, 0.20, 3.0, 0.2),
    (0.88, 0.30, 8.0, 0.5),
    (0.65, 0.10, 5.0, 0.3),
]


def simulate(seed: int, seconds: float, policy: str) -> tuple[float, Counter[int]]:
    """(best score, seconds by arm) of one experiment with one worker."""
    rng = random.Random(seed)
    arms = [Arm(*facts) for facts in ARMS]
    places = rng.sample(range(len(arms)), len(arms))  # taking turns begins anywhere
    spent = Counter[int]()
    while (left := seconds - sum(spent.values())) > 0:
        views = [arms[i].view(i) for i in places]
        limit = left if policy == "gain" else None
        order = choose(views, maximize=True, seconds_left=limit, workers=1)
        fitting = [i for i in order if arms[i].seconds <= left]
        if not fitting:
            break
        arms[fitting[0]].draw(rng)
        spent[fitting[0]] += arms[fitting[0]].seconds  # type: ignore[assignment]
    return max(max(arm.scores, default=0.0) for arm in arms), spent


@pytest.mark.parametrize(("seconds", "least"), [(10.0, 0.005), (60.0, 0.002), (300.0, 0.0005)])
def test_gain_per_second_finds_better_scores_than_taking_turns(
    seconds: float, least: float
) -> None:
    gains = [
        simulate(seed, seconds, "gain")[0] - simulate(seed, seconds, "turns")[0]
        for seed in range(40)
    ]

    assert sum(gains) / len(gains) > least
    assert sum(gain >= 0 for gain in gains) >= 24


def test_most_of_the_time_goes_to_the_models_that_are_near_the_best() -> None:
    spent = sum((simulate(seed, 120.0, "gain")[1] for seed in range(10)), Counter[int]())

    strong = sum(spent[arm] for arm in (0, 1, 2, 3))
    assert strong > 0.65 * sum(spent.values())
    assert all(spent[arm] > 0 for arm in (0, 1, 2, 3))


def test_models_that_nothing_is_expected_of_get_a_row_where_that_costs_little_together() -> None:
    hopeless = new(2, expected_s=1.0, prior=0.0)

    assert order(STRONG, hopeless, left=100.0) == [2, 1]
    assert order(STRONG, hopeless, left=10.0) == [1, 2]
    # The cheapest ones, and no more than a small part of the time in all.
    more = [new(n, expected_s=1.0 + n / 10, prior=0.0) for n in (3, 4, 5, 6)]
    assert order(STRONG, hopeless, *more, left=100.0)[:4] == [2, 3, 4, 1]
    # Strong ones without a score come before it.
    assert order(STRONG, hopeless, new(3, expected_s=5.0, prior=0.9), left=100.0)[0] == 3
