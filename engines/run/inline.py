"""An experiment run by this very process, for a notebook with one core: no runner, no workers.

The store sees a runner and a worker like any other, so that everybody else leaves the experiment
to this process while it lives, and finds it orphaned when it dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from threadpoolctl import threadpool_limits

from engines.errors import HyperionError
from engines.run.context import Context
from engines.run.process import boot_id, start_ticks
from engines.run.trial import Interrupted
from engines.run.worker import IDLE_S, Worker
from engines.study import supervision
from engines.study.endings import best_of_studies
from engines.study.location import Location
from engines.study.locks import take_runner_lock
from engines.study.outlook import look_ahead
from engines.study.plain import Connection, connect_to_read, connect_to_write, writing
from engines.study.reserve import limit_with, search_limit_s, settling_now_s
from engines.study.states import FINAL

MOST_RESERVED = 0.4
"""Of the time that there is, for what comes after the search."""

FIRST_TRIAL_S = 0.5

Reserve = Callable[[Context, float], float]
"""(context, seconds in all) -> seconds needed after the experiment's end, as far as known now."""


class DrivenElsewhere(HyperionError):
    """Another process drives the experiment."""


def run_inline(
    location: Location,
    experiment_id: int,
    deadline: float | None = None,
    reserve: Reserve = lambda *_: 0.0,
    after_job: Callable[[], object] = lambda: None,
) -> Context:
    """Work until the experiment is over or paused; returns what was loaded for it, to go on with.

    deadline: `time.monotonic()` seconds by which the search, the settling of its studies, and what
    `reserve` asks for after that, are to be over; the experiment's time limit follows, trial by
    trial. after_job: called between two jobs. Raises DrivenElsewhere if another process drives the
    experiment, and KeyboardInterrupt when it is interrupted: the trial in hand is then back in the
    queue.
    """
    lock = take_runner_lock(location.runner_lock(experiment_id))
    if lock is None:
        raise DrivenElsewhere(
            f"Experiment {experiment_id} of {location.shown} is being run by another process: "
            "wait for it, or give this one another name."
        )
    try:
        # Workers have one thread each by their environment; here it is too late for that.
        with (
            threadpool_limits(1),
            _interruptible() as interrupted,
            contextlib.closing(connect_to_write(location)) as connection,
            _registered(connection, experiment_id) as worker_id,
        ):
            context = Context(location, experiment_id, worker_id)

            def after() -> None:
                after_job()
                if interrupted.is_set():
                    raise Interrupted

            with contextlib.closing(Worker(context)) as worker:
                _work(connection, worker, deadline, reserve, after)
            return context
    finally:
        os.close(lock)


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C raises Interrupted, which no trial takes for a failure of its own.

    The event says that it was pressed: libraries that call back may swallow an exception.
    """
    pressed = threading.Event()

    def interrupt(*_: Any) -> None:
        pressed.set()
        raise Interrupted

    # Only the main thread hears of it, and somebody else's way of hearing is left alone.
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _registered(connection: Connection, experiment_id: int) -> Iterator[int]:
    with writing(connection):
        runner_id = supervision.add_runner(connection, experiment_id)
        supervision.sweep(connection, experiment_id, "its runner died")
        worker_id = supervision.add_worker(
            connection, experiment_id, 1, os.getpid(), start_ticks(os.getpid()), boot_id()
        )
    try:
        yield worker_id
    finally:
        with writing(connection):
            supervision.sweep(connection, experiment_id, "its runner ended")
            supervision.end_worker(connection, worker_id, "nothing left to do")
            supervision.end_runner(connection, runner_id, "nothing left to do")


def _work(
    connection: Connection,
    worker: Worker,
    deadline: float | None,
    reserve: Reserve,
    after_job: Callable[[], None],
) -> None:
    context = worker.context
    worker.begin()
    used, limit = context.experiment.time_used_s, context.experiment.time_limit_s
    accounted = begun = time.monotonic()
    while True:
        now = time.monotonic()
        used, accounted = used + now - accounted, now
        settling_s = settling_now_s(connection, context.experiment_id)
        if deadline is not None:
            after_s = settling_s + reserve(context, deadline - begun)
            search_s = used + _seconds_to_search(context, deadline, begun, after_s)
            # Claims keep back the settling themselves.
            limit = limit_with(search_s, settling_s)
        with writing(connection):
            _account(connection, context.experiment_id, used, limit, settling_s)
        worked = worker.work_once()
        after_job()
        if not worked:
            if _is_over(context):
                return
            time.sleep(IDLE_S)


def _seconds_to_search(context: Context, deadline: float, begun: float, after_s: float) -> float:
    """What is left for trials. However short the time, there is some until one has completed."""
    left = deadline - time.monotonic() - min(after_s, MOST_RESERVED * (deadline - begun))
    if left < FIRST_TRIAL_S and not best_of_studies(context.storage, context.experiment_id, 1):
        return FIRST_TRIAL_S
    return max(0.0, left)


def _account(
    connection: Connection,
    experiment_id: int,
    used_s: float,
    limit_s: float | None,
    settling_s: float,
) -> None:
    connection.execute(
        "UPDATE hx_experiment SET time_used_s = ?, time_limit_s = ? WHERE id = ?",
        (used_s, limit_s, experiment_id),
    )
    if limit_s is not None and used_s >= search_limit_s(limit_s, settling_s):
        supervision.end_by_time(connection, experiment_id, limit_s)


def _is_over(context: Context) -> bool:
    with contextlib.closing(connect_to_read(context.location)) as connection:
        found = look_ahead(connection, context.experiment_id)
    return found is None or found.state in FINAL or found.claimable == 0
