"""The log: it follows, can be held, filtered and searched, and never grows without end."""

from __future__ import annotations

from hyperion_tui.widgets import trial_log
from hyperion_tui.widgets.trial_log import TrialLog
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical


def log_of(seat: Seat) -> TrialLog:
    return seat.app.screen.query_one(TrialLog)


async def test_the_log_follows_the_newest_line(store: Store):
    experiment, ids = add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        for number in range(12, 20):
            store.event(experiment, "trial_started", "started", ids[0], number)

        await seat.sees("ridge#19")
        assert "follows" in seat.line("3 Log")


async def test_a_held_log_stays_where_it_is_and_counts_what_is_new(store: Store):
    experiment, ids = add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "space")
        before = seat.lines()[15:21]
        store.event(experiment, "trial_started", "started", ids[0], 12)
        store.event(experiment, "trial_started", "started", ids[0], 13)

        await seat.sees("held, 2 new")
        assert seat.lines()[15:21] == before
        await seat.press("f")
        await seat.sees("ridge#13")
        assert "follows" in seat.line("3 Log")


async def test_going_up_holds_the_log(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "up", "up")

        assert "held" in seat.line("3 Log")
        assert "lightgbm#9" in seat.line("›")


async def test_a_filter_shows_matching_lines_and_n_goes_through_them(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "slash")
        await seat.type("pruned")
        await seat.press("enter")

        assert "/pruned" in seat.line("3 Log")
        assert [e.trial_number for e in log_of(seat)._shown] == [7, 7, 7, 7]
        await seat.press("N", "N")
        assert "random_forest#7" in seat.line("›")
        await seat.press("n")
        assert "xgboost#7" in seat.line("›")


async def test_an_empty_filter_shows_everything_again_and_escape_keeps_it(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "slash")
        await seat.type("pruned")
        await seat.press("enter", "slash", "escape")
        assert log_of(seat).line_count() == 4

        await seat.press("slash", "ctrl+u", "enter")
        assert log_of(seat).line_count() == 48


async def test_new_lines_pass_the_filter_too(store: Store):
    experiment, ids = add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "slash")
        await seat.type("RIDGE#")
        await seat.press("enter")
        store.event(experiment, "trial_started", "started", ids[1], 77)
        store.event(experiment, "trial_started", "started", ids[0], 78)

        await seat.sees("ridge#78")
        await seat.misses("#77")


async def test_e_goes_from_error_to_error_and_says_it_in_full(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "E")
        assert "✗ ridge#5" in seat.line("›")
        assert "failed: ValueError: max_bin must be in [2, 65535] (0.4 s)" in seat.lines()[-2]
        await seat.press("E")
        assert "✗ random_forest#5" in seat.line("›")


async def test_enter_opens_the_trial_of_a_line(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("3", "E", "enter")

        await seat.sees("What happened")
        await seat.sees("demo/ridge #5  ✗ failed")


async def test_the_log_keeps_a_limited_number_of_lines(store: Store, monkeypatch):
    experiment, ids = add_typical(store)
    with store.together():
        for number in range(trial_log.KEPT + 50):
            store.event(experiment, "trial_started", "started", ids[0], 1000 + number)

    async with sitting(store.location, (80, 24)) as seat:
        log = log_of(seat)
        await seat.until(lambda: log.line_count() == trial_log.KEPT)
        await seat.press("3", "home")
        top = log.current
        with store.together():
            for number in range(10):
                store.event(experiment, "trial_started", "started", ids[0], 9000 + number)

        await seat.until(lambda: log.unseen == 10)
        assert log.line_count() == trial_log.KEPT
        assert top is not None
        assert log.current is not None
        assert log.current.seq == top.seq + 10
