"""Who works, on what, and with how much of the machine."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from engines.clock import utc_now
from engines.run.process import boot_id, start_ticks
from engines.study.records import Worker
from hyperion_tui.usage import Meter
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical

ME = Worker(7, 1, os.getpid(), "", None, None, None, start_ticks(os.getpid()), boot_id())


async def test_somebody_looks_at_what_the_workers_do_and_goes_back(store: Store):
    experiment, ids = add_typical(store, paused=False)
    own = {"pid": ME.pid, "start_ticks": ME.start_ticks, "boot_id": ME.boot_id}
    first = store.insert(
        "hx_worker", experiment_id=experiment, slot=1, host="here", started_at=utc_now(), **own
    )
    store.trial(ids[0], 12, state="RUNNING", worker_id=first)
    store.insert("hx_worker", experiment_id=experiment, slot=2, frozen_at=utc_now(), pid=1)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("w")

        await seat.sees("MiB")
        row = seat.line("ridge#12")
        assert "● works" in row
        assert row.rstrip("┃").split()[-1] == str(os.getpid())
        assert seat.line("‖ frozen").split()[1] == "2"
        await seat.press("down")
        await seat.sees("worker 2: frozen")
        await seat.press("escape")
        await seat.sees("1 Models")


@pytest.mark.slow
async def test_where_nobody_works_it_says_how_to_go_on(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("w")

        await seat.sees("Nobody works now.")
        assert "u on the main screen goes on" in seat.text()


def test_processor_time_is_measured_between_two_looks_and_only_of_the_process_that_is_meant():
    meter = Meter()
    other = replace(ME, worker_id=8, start_ticks=ME.start_ticks + 1)

    first = meter.look([ME, other])
    before = os.times()
    while sum(os.times()[:2]) - sum(before[:2]) < 0.1:
        pass
    second = meter.look([ME, other])

    assert set(first) == set(second) == {7}
    assert first[7].cores is None
    assert second[7].cores is not None
    assert 0.0 < second[7].cores <= 64.0
    assert second[7].memory_mib > 10
