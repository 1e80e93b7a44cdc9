"""Starting a runner, detached from the terminal, and nothing else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

from engines.clock import utc_now
from engines.errors import HyperionError
from engines.files import make_private_folder
from engines.run.logs import rotate_if_large
from engines.run.tree import TAG
from engines.study import supervision
from engines.study.location import STORE_VARIABLE, Location
from engines.study.locks import find_runner, runner_pid
from engines.study.plain import FAULTS, connect_to_read, explain
from engines.study.reader import Reader

# Kept, because Python warns of a child that nobody waits for; this one is to outlive us.
_STARTED: list[subprocess.Popen[bytes]] = []


def start_runner(location: Location, experiment_id: int, *, wait_s: float = 10.0) -> int:
    """Start the runner of an experiment unless one lives; returns the pid of who has the lock.

    The runner gets a session of its own and no terminal: closing this one, a hang-up or a
    kill -9 of the caller changes nothing for it. Raises HyperionError if it does not come up; one
    that came up and is gone already is no error here, its pid is then its guardian's.
    """
    for earlier in _STARTED:
        earlier.poll()  # one that has ended would stay a zombie of this process
    lock = location.runner_lock(experiment_id)
    found = find_runner(location, experiment_id)
    if found is not None:
        return found[0]
    if not location.is_file:
        _require_data(location, experiment_id)
    path = make_private_folder(location.logs(experiment_id)) / "runner.log"
    rotate_if_large(path)
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    # The store goes this way because it may hold a password, which `ps` must not show. A runner
    # that an objective starts is not that worker's: it is ended only with that worker's runner.
    environment = {k: v for k, v in os.environ.items() if k != TAG}
    environment[STORE_VARIABLE] = location.option
    began = utc_now()
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "engines.run.runner"),
                *(str(experiment_id), location.shown),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    finally:
        os.close(log)
    _STARTED.append(process)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        alive = runner_pid(lock)
        if alive is not None:
            return alive
        if process.poll() is not None and runner_pid(lock) is None:
            # It may have found nothing left to do, which is a success of its own; or it came up
            # and was killed between two looks, which is for the next runner to count.
            if process.returncode == 0 or _came_up(location, experiment_id, began):
                return process.pid
            break
        time.sleep(0.01)
    raise HyperionError(f"The runner of experiment {experiment_id} did not start: see {path}.")


def _came_up(location: Location, experiment_id: int, since: str) -> bool:
    with contextlib.closing(connect_to_read(location)) as connection:
        try:
            return supervision.has_come_up(connection, experiment_id, since)
        except FAULTS as error:
            raise explain(error, location) from error


def _require_data(location: Location, experiment_id: int) -> None:
    """Raise HyperionError where the rows to learn from are on another machine.

    A server holds no data sets: they lie in the folder beside the store on the machine that
    made the experiment. Workers that start elsewhere would fail one after the other.
    """
    with contextlib.closing(Reader(location)) as reader:
        experiment = reader.experiment(experiment_id)
    if experiment.dataset is not None and not location.data(experiment_id).is_dir():
        raise HyperionError(
            f"The data of {experiment.name} lies on the machine where it was started: go on with "
            f"it there, or copy the folder to {location.data(experiment_id)}."
        )
