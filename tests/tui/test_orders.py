"""Pause, resume, stop and cancel: what is ordered, for what, and what is asked before."""

from __future__ import annotations

from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical


def wants(store: Store) -> list[tuple[str, int]]:
    rows = store.connection.execute("SELECT want, want_now FROM hx_study ORDER BY study_id")
    return [tuple(row) for row in rows]


async def test_p_pauses_the_whole_experiment(store: Store):
    add_typical(store, paused=False, models=("ridge", "lasso"))

    async with sitting(store.location) as seat:
        await seat.press("p")

        await seat.sees("pausing: 2 studies")
        assert wants(store) == [("pause", 0), ("pause", 0)]


async def test_p_in_the_results_pauses_the_study_under_the_cursor(store: Store):
    add_typical(store, paused=False, models=("ridge", "lasso"))

    async with sitting(store.location) as seat:
        await seat.press("2", "down", "p")

        await seat.sees("pausing: demo/ridge")
        assert wants(store) == [("pause", 0), ("run", 0)]


async def test_a_second_p_interrupts_what_is_pausing(store: Store):
    _, ids = add_typical(store, paused=False, models=("ridge", "lasso"))
    store.trial(ids[0], 12, state="RUNNING")

    async with sitting(store.location) as seat:
        await seat.press("p")
        await seat.sees("◐ pausing")
        await seat.press("p")

        await seat.sees("interrupted: demo/ridge")
        assert wants(store) == [("pause", 1), ("pause", 0)]


async def test_f_stops_processes_where_they_are(store: Store):
    add_typical(store, paused=False, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("F")

        await seat.sees("frozen: demo/ridge")
        assert wants(store) == [("pause", 0)]
        assert store.connection.execute("SELECT want_frozen FROM hx_study").fetchall() == [(1,)]


async def test_what_has_ended_is_not_frozen(store: Store):
    _, ids = add_typical(store, models=("ridge",), trials=12, goal=12, paused=False)
    store.end(ids[0], 0.7, 3)

    async with sitting(store.location) as seat:
        await seat.press("F")

        await seat.sees("demo has ended: there is nothing to freeze")
        assert wants(store) == [("run", 0)]


async def test_p_when_all_is_paused_changes_nothing(store: Store):
    add_typical(store, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("p")

        await seat.sees("demo does not run: there is nothing to pause")


async def test_u_resumes_and_asks_for_a_runner(store: Store, runners: list[int]):
    experiment, _ = add_typical(store, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("u")

        await seat.sees("going on: demo/ridge")
        assert wants(store) == [("run", 0)]
        assert runners == [experiment]


async def test_x_asks_and_enter_keeps_it(store: Store):
    add_typical(store, paused=False, models=("ridge",))

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("x")
        await seat.sees("Stop demo (1 study)?")
        await seat.sees("› Keep it")
        await seat.press("enter")

        assert wants(store) == [("run", 0)]


async def test_x_stops_when_it_is_meant(store: Store):
    add_typical(store, paused=False, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("x", "right", "enter")

        await seat.sees("stopping: demo/ridge")
        assert wants(store) == [("stop", 0)]


async def test_capital_k_cancels_when_it_is_meant(store: Store):
    add_typical(store, paused=False, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("K", "y")

        await seat.sees("cancelled: demo/ridge")
        assert wants(store) == [("cancel", 1)]


async def test_what_has_ended_takes_no_order(store: Store):
    _, ids = add_typical(store, models=("ridge",), trials=12, goal=12, paused=False)
    store.end(ids[0], 0.7, 3)

    async with sitting(store.location) as seat:
        await seat.press("x")
        await seat.sees("nothing to stop: demo has ended")
        await seat.press("u")
        await seat.sees("Nothing to resume: demo/ridge is done")
        await seat.sees("That can't be used")
        await seat.press("enter")
        await seat.misses("That can't be used")


async def test_orders_in_the_list_of_experiments_are_for_the_one_under_the_cursor(store: Store):
    add_typical(store, "first", paused=False, models=("ridge",))
    add_typical(store, "second", paused=False, models=("lasso",))

    async with sitting(store.location) as seat:
        await seat.press("o", "down", "p")

        await seat.sees("pausing: first/ridge")
        assert wants(store) == [("pause", 0), ("run", 0)]


async def test_leaving_says_what_goes_on(store: Store):
    add_typical(store, paused=False, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("q")

        assert seat.app._exit
        assert "demo goes on without the screen" in str(seat.app._exit_renderables[0])
    assert wants(store) == [("run", 0)]


async def test_capital_q_stops_everything_when_it_is_meant(store: Store):
    add_typical(store, "first", paused=False, models=("ridge",))
    add_typical(store, "second", models=("lasso",))

    async with sitting(store.location) as seat:
        await seat.press("Q")
        await seat.sees("Stop 2 studies of this store for good and leave?")
        await seat.press("y")
        await seat.until(lambda: seat.app._exit)

    assert wants(store) == [("stop", 0), ("stop", 0)]


async def test_ctrl_c_leaves_when_it_comes_twice(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("ctrl+c")
        await seat.sees("ctrl+c again leaves")
        assert not seat.app._exit
        await seat.press("ctrl+c")
        assert seat.app._exit
