"""Starting a runner, detached from the terminal, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from engines.errors import HyperionError
from engines.files import make_private_folder
from engines.study.location import Location
from engines.study.locks import runner_pid

# Kept, because Python warns of a child that nobody waits for; this one is to outlive us.
_STARTED: list[subprocess.Popen[bytes]] = []


def start_runner(location: Location, experiment_id: int, *, wait_s: float = 10.0) -> int:
    """Start the runner of an experiment unless one lives; returns the pid of who has the lock.

    The runner gets a session of its own and no terminal: closing this one, a hang-up or a
    kill -9 of the caller changes nothing for it. Raises HyperionError if it does not come up.
    """
    for earlier in _STARTED:
        earlier.poll()  # one that has ended would stay a zombie of this process
    lock = location.runner_lock(experiment_id)
    alive = runner_pid(lock)
    if alive is not None:
        return alive
    logs = make_private_folder(location.logs(experiment_id))
    log = os.open(logs / "runner.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "engines.run.runner"),
                *(str(location.path), str(experiment_id)),
            ],
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
            # It may have found nothing left to do, which is a success of its own.
            if process.returncode == 0:
                return process.pid
            break
        time.sleep(0.01)
    raise HyperionError(
        f"The runner of experiment {experiment_id} did not start: see {logs / 'runner.log'}."
    )
