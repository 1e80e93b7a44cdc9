"""Real processes: the command line, a detached runner, its workers, and how to kill them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.run.process import is_same_process
from engines.study.location import Location
from engines.study.locks import runner_pid
from engines.study.reader import Reader

WAIT_S = 180.0


def wait_until(what: Callable[[], object], why: str, seconds: float = WAIT_S) -> Any:
    """The first true value of `what`; fails the test when it stays false."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"waited {seconds} s for: {why}")


@dataclass
class World:
    """One store and the program on it."""

    store: Path

    @property
    def location(self) -> Location:
        return Location(self.store)

    def hyperion(self, *words: str, check: int | None = 0, **env: str) -> Any:
        """Run a command with --json; returns its document, after checking the exit code."""
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "hyperion_tui",
                *words,
                "--store",
                str(self.store),
                "--json",
            ],
            capture_output=True,
            text=True,
            timeout=150,
            env={**os.environ, **env},
            cwd=self.store.parent,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if check is not None:
            assert done.returncode == check, (done.returncode, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def finished(self) -> int:
        states = "('COMPLETE', 'FAIL', 'PRUNED')"
        return int(self.ask(f"SELECT count(*) FROM trials WHERE state IN {states}")[0][0])

    def state(self, name: str) -> str:
        reader = Reader(self.location)
        try:
            return reader.find_experiments(name)[0].state
        finally:
            reader.close()

    def runner(self, experiment_id: int = 1) -> int | None:
        return runner_pid(self.location.runner_lock(experiment_id))

    def workers(self) -> list[int]:
        """Pids of workers that live."""
        rows = self.ask("SELECT pid, start_ticks, boot_id FROM hx_worker WHERE ended_at IS NULL")
        return [pid for pid, ticks, boot in rows if pid and is_same_process(pid, ticks, boot)]

    def kill_everything(self) -> None:
        """kill -9 to the runner and to every worker, as a power cut would."""
        for pid in [self.runner(), *self.workers()]:
            if pid is not None:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        wait_until(lambda: self.runner() is None, "the runner to be gone")
        wait_until(lambda: not self.workers(), "the workers to be gone")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A store of its own; whatever runs on it is killed at the end."""
    world = World(tmp_path / "studies.db")
    yield world
    if world.store.exists():
        world.kill_everything()
        while (pid := world.runner(2)) is not None:
            os.kill(pid, signal.SIGKILL)
