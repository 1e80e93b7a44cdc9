"""The trials of a study, and one trial."""

from __future__ import annotations

import time

from hyperion_tui.widgets.window_table import PAGE, WindowTable
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical


def first_numbers(seat: Seat, count: int) -> list[int]:
    rows = seat.lines()[3 : 3 + count]
    return [int(row.strip("┃│› ").split()[0]) for row in rows]


async def test_enter_on_a_result_lists_its_trials_newest_first(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "down", "enter")

        await seat.sees("demo/xgboost  ‖ paused")
        assert first_numbers(seat, 3) == [11, 10, 9]
        row = seat.line("✗ failed").split()
        assert row[:6] == ["┃", "5", "✗", "failed", "–", "0.40"]
        assert "learning_rate" in seat.line("duration")


async def test_trials_are_sorted_by_value_and_turned_round(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "s")
        await seat.sees("by value, largest first")
        assert first_numbers(seat, 1) == [3]
        await seat.press("S")
        await seat.sees("by value, smallest first")
        assert first_numbers(seat, 1) == [7]


async def test_trials_of_one_state_only(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "f", "f")

        await seat.sees("only failed  1")
        assert first_numbers(seat, 1) == [5]
        assert "ValueError: max_bin" in seat.lines()[-2]


async def test_a_new_trial_appears_at_the_top_and_the_cursor_stays_with_its_own(store: Store):
    _, ids = add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "end", "up", "up", "enter", "down", "down")
        assert "9" in seat.line("›").split()[1]
        store.trial(ids[0], 12, 0.77)

        await seat.sees("0.7700")
        assert first_numbers(seat, 1) == [12]
        assert seat.line("›").split()[1] == "9"


async def test_a_hundred_thousand_trials_are_read_page_by_page(store: Store):
    experiment = store.experiment()
    study = store.study(experiment, "ridge", want="pause", goal=200_000)
    fill(store, study, 100_000)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter")
        await seat.sees("1-34/100000")
        table = seat.app.screen.query_one(WindowTable)
        await seat.press("end")
        assert "0 ✓ complete" in seat.line("›")
        assert len(table.rows._pages) <= 3
        assert table.rows._pages[0] is not None
        assert all(len(page) <= PAGE for page in table.rows._pages.values())

        started = time.perf_counter()
        table.action_page(-1)
        [table.render_line(y) for y in range(table.size.height)]
        assert time.perf_counter() - started < 0.5


def fill(store: Store, study: int, count: int) -> None:
    """Many trials, quickly."""
    with store.together():
        store.connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
            "INSERT INTO hx_trial (trial_id, study_id, number, state, value, duration_s, "
            "requeues, crashes) SELECT i + 1000000, ?, i, 'COMPLETE', i * 1e-6, 0.5, 0, 0 FROM n",
            (count, study),
        )


async def test_a_failed_trial_shows_why_beside_the_best_one(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "f", "f", "enter")

        await seat.sees("demo/lightgbm #5  ✗ failed")
        shown = seat.text()
        assert "✗ ValueError: max_bin must be in [2, 65535]" in shown
        assert 'File "train.py", line 88, in fit' in shown
        assert "best, #3" in seat.line("this trial")
        assert seat.line("learning_rate").split()[2:4] == ["0.1500", "0.1300"]
        assert seat.line("seed").split()[-2] == "1005"


async def test_a_trial_that_lost_the_race_says_so_in_words(store: Store):
    experiment = store.experiment(pruner="racing", split='{"kind": "random folds", "folds": 5}')
    study = store.study(experiment, "lightgbm", want="pause")
    metrics = '{"folds": [0.3, 0.4], "rounds": [40, 51], "rows": [4000, 50000], "cut_short": 1,'
    metrics += ' "epoch_rows": [158, 3400]}'
    trial = store.trial(study, 0, 0.35, "PRUNED", metrics=metrics)
    store.insert(
        "trial_intermediate_values",
        trial_id=trial,
        step=2,
        intermediate_value=0.35,
        intermediate_value_type="FINITE",
    )
    store.trial(study, 1, None, "PRUNED", metrics='{"folds": [0.5]}')

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("2", "enter", "down", "enter")

        await seat.sees("◇ ended early after 2 of 5 folds: clearly behind the best trial")
        assert "40  51" in seat.line("rounds")
        assert "trained on 4,000 of 50,000 rows" in seat.line("rows")
        await seat.press("end")
        assert "1 fold: the time was up before training was" in seat.line("cut short")
        await seat.press("escape", "up", "enter")
        await seat.sees("◇ ended after 1 of 5 folds: the experiment's time was up")


async def test_metrics_and_reports_of_a_trial_are_shown(store: Store):
    experiment = store.experiment()
    study = store.study(experiment, "ridge", want="pause")
    trial = store.trial(study, 0, 0.5, metrics='{"folds": [0.4, 0.6], "rmse": 3.25}')
    for step, value in enumerate((0.1, 0.3, 0.5)):
        store.insert(
            "trial_intermediate_values",
            trial_id=trial,
            step=step,
            intermediate_value=value,
            intermediate_value_type="FINITE",
        )

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "enter")

        await seat.sees("What happened")
        assert "0.4000  0.6000" in seat.line("folds")
        assert "3.250" in seat.line("rmse")
        await seat.sees("Reports")
        assert "0.3000" in seat.line("1  0.3")


async def test_a_failed_trial_is_retried_and_a_runner_is_asked_for(store: Store, runners):
    experiment, _ = add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "f", "f", "enter")
        await seat.sees("R queues it again")
        await seat.press("R")

        await seat.sees("trial 5 is queued again as")
        assert runners == [experiment]
        await seat.press("R")
        await seat.sees("was retried already")


async def test_only_a_failed_trial_is_retried(store: Store, runners):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "enter")
        await seat.sees("What happened")
        await seat.press("R")

        await seat.sees("only a failed trial can be retried")
        assert runners == []


async def test_on_a_small_screen_parameters_have_up_to_half_of_it(store: Store):
    add_typical(store)

    async with sitting(store.location, size=(80, 24)) as seat:
        await seat.press("2", "enter", "enter")
        await seat.sees("What happened")

        parameters = seat.app.screen.query_one(WindowTable)
        assert parameters.window == len(parameters.rows) > 3
