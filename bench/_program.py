"""The program as it runs on a machine: one experiment, its runner and its workers, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from engines.run.process import is_same_process
from engines.study.location import Location
from engines.study.locks import runner_pid
from engines.study.reader import Reader
from engines.study.records import Experiment

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
WAIT_S = 60.0
LOOK_S = 0.003
GOAL = 100_000
NAME = "bench"


def wait_for(what: Callable[[], T], why: str, seconds: float = WAIT_S) -> T:
    """The first true value of `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(LOOK_S)
    raise SystemExit(f"bench: waited {seconds:g} s for {why}")


def seconds_until(what: Callable[[], object], why: str, since: float) -> float:
    """How long after `since` it came true."""
    wait_for(what, why)
    return time.monotonic() - since


class Program:
    """One experiment in a store of its own, in a folder that is removed afterwards."""

    def __init__(self, folder: Path, objective: str, workers: int = 2) -> None:
        self.folder = folder
        self.store = folder / "studies.db"
        self.location = Location(self.store)
        self.workers_wanted = workers
        file = folder / "objective.py"
        file.write_bytes((HERE / "_objective.py").read_bytes())
        self.command(
            *("run", f"{file}:{objective}", "--trials", str(GOAL), "--workers", str(workers)),
            *("--name", NAME, "--detach"),
        )
        self.connection = sqlite3.connect(
            f"{self.store.as_uri()}?mode=ro", uri=True, isolation_level=None
        )
        self.reader = Reader(self.location)
        wait_for(self.is_at_full_strength, "all workers to be at work")

    def command(self, *words: str) -> Any:
        """A command of the program, by its own process; returns its document."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hyperion_tui", *words, "--json"],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            cwd=self.folder,
            env={
                **os.environ,
                "HYPERION_STORAGE": str(self.store),
                "HYPERION_HOME": str(self.folder / "home"),
            },
        )
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Plain SQL, read only."""
        return self.connection.execute(sql, values).fetchall()

    def experiment(self) -> Experiment:
        """The experiment as it stands."""
        return self.reader.experiment(1)

    def state(self) -> str:
        """Its state in a word."""
        return self.experiment().state

    def runner(self) -> int | None:
        """The runner's process."""
        return runner_pid(self.location.runner_lock(1))

    def workers(self) -> dict[int, int]:
        """Process ids of the workers that live, by worker id."""
        rows = self.ask(
            "SELECT id, pid, start_ticks, boot_id FROM hx_worker WHERE ended_at IS NULL"
        )
        return {
            worker: pid
            for worker, pid, ticks, boot in rows
            if pid and is_same_process(pid, ticks, boot)
        }

    def is_at_full_strength(self) -> bool:
        """Whether as many workers as wanted live, and each has begun a trial."""
        living = set(self.workers())
        begun = {row[0] for row in self.ask("SELECT DISTINCT worker_id FROM hx_trial")}
        return len(living & begun) == self.workers_wanted

    def ended(self) -> dict[tuple[int, int], tuple[str, float | None]]:
        """State and value of every trial that has ended, by study and number, in Optuna's words."""
        return {
            (study, number): (state, value)
            for study, number, state, value in self.ask(
                "SELECT t.study_id, t.number, t.state, v.value FROM trials t "
                "LEFT JOIN trial_values v ON v.trial_id = t.trial_id "
                "WHERE t.state IN ('COMPLETE', 'PRUNED', 'FAIL')"
            )
        }

    def kill(self, pid: int | None) -> float:
        """kill -9; returns when it was sent."""
        at = time.monotonic()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return at

    def end(self) -> None:
        """Nothing of it is left running."""
        for pid in [self.runner(), *self.workers().values()]:
            self.kill(pid)
        wait_for(lambda: self.runner() is None and not self.workers(), "all processes to end")
        self.reader.close()
        self.connection.close()


@contextlib.contextmanager
def running(folder: Path, objective: str, workers: int = 2) -> Iterator[Program]:
    """An experiment at work, with all its workers; everything is killed at the end."""
    program = Program(folder, objective, workers)
    try:
        yield program
    finally:
        program.end()
