"""Supervision with the store in PostgreSQL: the same orders, the same promises."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.run.process import is_same_process
from engines.study.location import Location, locate
from engines.study.locks import runner_pid
from engines.study.plain import connect_to_read
from engines.study.reader import Reader
from tests.e2e.conftest import wait_until

pytestmark = pytest.mark.e2e

CODE = """import os, time
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    while not os.path.exists("open"):
        time.sleep(0.01)
    return x
"""


class ServerWorld:
    """A store on a server and the program on it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        (folder / "mine.py").write_text(CODE)

    @property
    def location(self) -> Location:
        return locate(self.url)

    def hyperion(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hyperion_tui", *words, "--json"],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "HYPERION_STORAGE": self.url},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(connect_to_read(self.location)) as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

    def state(self) -> str:
        with contextlib.closing(Reader(self.location)) as reader:
            return reader.find_experiments("e")[0].state

    def runner(self) -> int | None:
        return runner_pid(self.location.runner_lock(1))

    def workers(self) -> list[int]:
        rows = self.ask("SELECT pid, start_ticks, boot_id FROM hx_worker WHERE ended_at IS NULL")
        return [pid for pid, ticks, boot in rows if pid and is_same_process(pid, ticks, boot)]


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[ServerWorld]:
    world = ServerWorld(tmp_path, postgres_url)
    yield world
    while (pid := world.runner()) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
def test_a_life_on_a_server_with_a_freeze_deaths_and_a_hidden_password(
    world: ServerWorld,
) -> None:
    words = ("--trials", "4", "--workers", "2", "--trial-time", "60s", "--detach")
    world.hyperion("run", "mine.py:objective", "--name", "e", *words)
    wait_until(lambda: len(world.ask("SELECT 1 FROM trial_params")) == 2, "two trials at work")
    password = world.url.partition("//")[2].partition(":")[2].partition("@")[0]
    for pid in (world.runner(), *world.workers()):
        assert password not in Path(f"/proc/{pid}/cmdline").read_text()

    world.hyperion("pause", "e", "--freeze")
    wait_until(lambda: world.state() == "paused", "the freeze")
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in world.workers()]
    assert [stat.rpartition(")")[2].split()[0] for stat in stats] == ["T", "T"]

    runner = world.runner()
    assert runner is not None
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: not world.workers(), "the stopped workers to die with it", 30)
    world.hyperion("resume", "e")
    wait_until(lambda: len(world.workers()) == 2, "two workers again")
    os.kill(world.workers()[0], signal.SIGKILL)
    (world.folder / "open").touch()
    wait_until(lambda: world.state() == "done", "the experiment to end")
    wait_until(lambda: world.runner() is None, "the runner to leave")

    assert world.ask("SELECT state, count(*) FROM hx_trial GROUP BY state") == [("COMPLETE", 4)]
    assert world.ask("SELECT text FROM hx_event ORDER BY seq DESC LIMIT 1") == [
        ("the runner left: nothing left to do",)
    ]
    for log in world.location.logs(1).iterdir():
        assert password not in log.read_text()
