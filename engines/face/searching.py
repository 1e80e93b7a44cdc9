"""Driving an experiment from a call: in this process or by workers, and leaving it resumable.

Whoever looks at the same store sees the experiment like any other, and may pause it; the call then
waits until it is resumed there.
"""

from __future__ import annotations

import contextlib
import time

from engines.data.leaks import LEAK_ADVICE
from engines.errors import HyperionError
from engines.face.progress import Display, Show
from engines.run.context import Context
from engines.run.inline import DrivenElsewhere, Reserve, run_inline
from engines.run.launcher import start_runner
from engines.study import control
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.states import FINAL

POLL_S = 0.05
LOOK_S = 1.0


def drive(
    location: Location,
    experiment_id: int,
    display: Display,
    *,
    n_jobs: int,
    deadline: float | None = None,
    reserve: Reserve = lambda *_: 0.0,
    lasting: bool = True,
) -> Context:
    """Work until the experiment has ended; returns its context, to be closed by the caller.

    n_jobs: 1 works in this process, else workers do. deadline, reserve: see `run_inline`. lasting:
    whether the store outlives the caller. Raises KeyboardInterrupt when interrupted: the experiment
    is then paused, and no finished trial is lost.
    """
    with contextlib.closing(Reader(location)) as reader:
        for leak in reader.experiment(experiment_id).leaks:
            display.say(f"{leak}: {LEAK_ADVICE}")
        try:
            with display.following(reader, experiment_id) as show:
                return _drive(location, experiment_id, reader, show, n_jobs, deadline, reserve)
        except KeyboardInterrupt:
            _leave(location, experiment_id, reader, display, lasting=lasting)
            # A notebook shows where it came from; what a library was at is nobody's business.
            raise KeyboardInterrupt from None


def _drive(
    location: Location,
    experiment_id: int,
    reader: Reader,
    show: Show,
    n_jobs: int,
    deadline: float | None,
    reserve: Reserve,
) -> Context:
    context = None
    if n_jobs == 1:
        # Somebody has resumed it in a terminal: then this call follows.
        with contextlib.suppress(DrivenElsewhere):
            context = run_inline(location, experiment_id, deadline, reserve, show)
    seen: int | str = -1
    looked = 0.0
    while True:
        version = reader.data_version()
        # A runner that is killed commits nothing: look now and then all the same.
        if version == seen and time.monotonic() < looked + LOOK_S:
            time.sleep(POLL_S)
            show()
            continue
        seen, looked = version, time.monotonic()
        experiment = reader.experiment(experiment_id)
        if experiment.state in FINAL:
            return context or Context(location, experiment_id, 0)
        if experiment.is_orphaned:
            start_runner(location, experiment_id)


def _leave(
    location: Location, experiment_id: int, reader: Reader, display: Display, *, lasting: bool
) -> None:
    """Pause what was interrupted, and say how it goes on."""
    experiment = reader.experiment(experiment_id)
    # Nothing to pause is no news: it has just ended.
    with contextlib.suppress(HyperionError):
        control.order(location, [(experiment, s) for s in experiment.studies], "pause", now=True)
    ways = [f"the same call with name={experiment.name!r}"]
    if lasting:
        ways.append(f"`hyperion-tui resume {experiment.name}`")
    display.say(f"{experiment.name} is paused and keeps its trials; go on by {' or '.join(ways)}.")
