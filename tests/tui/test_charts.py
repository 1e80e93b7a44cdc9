"""Charts: drawn from the store beside the screen, and said in words as well."""

from __future__ import annotations

import pytest

from engines.models import catalogue
from hyperion_tui.charting import MOST_POINTS, history_of
from hyperion_tui.widgets.charts import Charts
from hyperion_tui.widgets.history import history_lines, history_words
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical


def drawn(lines: list[tuple[tuple[str, str], ...]]) -> str:
    return "\n".join("".join(words for words, _ in line) for line in lines)


async def test_somebody_looks_at_the_history_of_one_study_then_the_next_and_goes_back(
    store: Store,
):
    _, ids = add_typical(store)
    for number in range(12, 30):
        store.trial(ids[3], number, 0.8 + 0.001 * number, params={"rate": 0.1 * (number % 5)})

    async with sitting(store.location) as seat:
        await seat.press("2", "4")

        await seat.sees("best 0.9000 in trial 3, first 0.8500")
        assert "demo/lightgbm" in seat.lines()[0]
        assert "share of the differences in 28 trials" in seat.text()
        assert seat.line("rate ").count("%") == 1
        await seat.press("n")
        await seat.sees("best 0.8500 in trial 3, first 0.8000")
        assert "told from 16 complete trials on" in seat.text()
        await seat.press("N", "escape")
        assert seat.lines()[0].startswith(" demo")


@pytest.mark.slow
async def test_charts_of_a_study_are_a_key_away_from_its_trials(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("2", "down", "enter", "4")

        await seat.sees("best 0.8500 in trial 3")
        await seat.press("escape")
        await seat.sees("Trials  by number")


async def test_a_trial_that_ends_is_drawn_without_a_key(store: Store):
    _, ids = add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "4")
        await seat.sees("best 0.9000 in trial 3")
        store.trial(ids[3], 12, 0.95)

        await seat.sees("best 0.9500 in trial 12")
        assert "the newest trial is the best" in seat.text()


async def test_a_wide_screen_has_charts_beside_the_results_that_follow_the_cursor(store: Store):
    add_typical(store)

    async with sitting(store.location, (200, 60)) as seat:
        await seat.sees("4 Charts  lightgbm")
        await seat.press("2", "down", "down")
        await seat.sees("4 Charts  random_forest")
        await seat.sees("best 0.8000 in trial 3")
        assert "3 Log" in seat.text()
        assert "1 Models" in seat.text()

        await seat.pilot.resize_terminal(120, 40)
        await seat.misses("4 Charts")


@pytest.mark.slow
async def test_without_a_complete_trial_the_charts_say_so(store: Store):
    experiment = store.experiment()
    study = store.study(experiment, next(iter(catalogue.models())))
    store.failed(study, 0, "no luck")

    async with sitting(store.location) as seat:
        await seat.press("2", "4")

        await seat.sees("no trial is complete yet")


@pytest.mark.slow
async def test_an_empty_store_has_nothing_to_draw(store: Store):
    async with sitting(store.location, settle=False) as seat:
        await seat.press("4")

        await seat.sees("there is nothing to draw yet")


@pytest.mark.slow
async def test_names_of_parameters_are_no_markup_and_steer_no_terminal(store: Store):
    _, ids = add_typical(store)
    for number in range(12, 30):
        store.trial(ids[3], number, 0.1, params={"[bold]\x1b[31m": 0.1 * (number % 5)})

    async with sitting(store.location) as seat:
        await seat.press("2", "4")

        await seat.sees("[bold]␛[31m")


@pytest.mark.parametrize("maximize", [True, False])
def test_the_line_never_gets_worse_and_the_best_is_at_its_end(maximize: bool):
    sign = 1 if maximize else -1
    history = [(n, sign * score) for n, score in enumerate([1.0, 3.0, 2.0, 5.0, 4.0])]

    picture = history_lines(history_of(history, maximize=maximize), 60, 8)

    text = drawn(picture)
    top, bottom = ("5.000", "1.000") if maximize else ("-1.000", "-5.000")
    assert f"{top} ┤" in text
    assert f"{bottom} ┤" in text
    row = 4 if maximize else -2
    assert drawn([picture[row]]).rstrip("\u2800 ").endswith("⠉" if maximize else "⣀")


def test_the_story_is_told_in_words():
    history = [(0, 0.5), (1, 0.4), (4, 0.7), (5, 0.6)]

    assert history_words(history_of(history, maximize=True)) == [
        "best 0.7000 in trial 4, first 0.5000",
        "1 improvement in 4 complete trials; 1 trial since",
    ]
    turned = history_words(history_of(history, maximize=False))
    assert turned[0] == "best 0.4000 in trial 1, first 0.5000"
    assert history_words(history_of(history[:1], maximize=True)) == [
        "best 0.5000 in trial 0, the only one so far"
    ]


def test_one_absurd_trial_does_not_flatten_the_picture():
    history = [(n, 0.9 + n / 1000) for n in range(1, 40)] + [(40, -1e9)]

    assert "-1.000e+09" not in drawn(history_lines(history_of(history, maximize=True), 80, 8))


@pytest.mark.parametrize("width", [1, 10, 20, 24, 200])
def test_no_width_breaks_a_picture(width: int):
    lines = history_lines(history_of([(0, 1.0), (7, 1.0)], maximize=True), width, 6)

    assert "best 1.000 in trial 0" in drawn(lines)
    assert Charts().lines_of(width, 3)


def test_a_hundred_thousand_trials_are_thinned_but_no_improvement_is_lost():
    scores = [(n, 1.0 if n == 54_321 else -n / 1e6) for n in range(100_000)]

    history = history_of(scores, maximize=True)

    assert history.steps == [(0, -0.0), (54_321, 1.0)]
    assert len(history.points) <= MOST_POINTS + 1
    assert history.points[-1][0] == 99_999
    assert history_words(history)[1] == (
        "1 improvement in 100 000 complete trials; 45 678 trials since"
    )
