"""Whole experiments on a PostgreSQL server: what works on a file works there, and tells nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import pytest

from engines.study.location import Location, locate
from engines.study.plain import connect_to_read
from tests.e2e.conftest import World, wait_until
from tests.postgres import Server
from tests.tui.terminal import Terminal
from tests.unit.building import rows

pytestmark = pytest.mark.e2e


class ServerWorld(World):
    """A database of a server and the program on it; the folder beside it is in HYPERION_HOME."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder / "none.db")
        self.url = url

    @property
    def location(self) -> Location:
        return locate(self.url)

    def command(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "hyperion_tui", *words],
            capture_output=True,
            text=True,
            timeout=150,
            env={**os.environ, "HYPERION_STORAGE": self.url, **env},
            cwd=self.store.parent,
        )

    def hyperion(self, *words: str, check: int | None = 0, **env: str) -> Any:
        done = self.command(*words, "--json", **env)
        assert "Traceback" not in done.stderr, done.stderr
        assert check is None or done.returncode == check, (done.returncode, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return rows(self.location, sql, *values)

    def write(self, name: str, code: str) -> str:
        """A file with an objective; returns how a person names it."""
        (self.store.parent / name).write_text(code)
        return f"{name}:objective"


@pytest.fixture
def served(tmp_path: Path, postgres_url: str) -> Iterator[ServerWorld]:
    """An empty database; whatever runs on it is killed at the end."""
    world = ServerWorld(tmp_path, postgres_url)
    yield world
    connection = connect_to_read(world.location)
    used = connection.execute("SELECT to_regclass('hx_worker') IS NOT NULL").fetchone()[0]
    connection.close()
    if used:
        world.kill_everything()


# Trials wait until the file `open` is there, so that nothing here depends on how long they take.
GATE = """
import os, time
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    while not os.path.exists("open"):
        time.sleep(0.01)
    return x
"""
FLAKY = """
import os
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    if trial.number == 1 and not os.path.exists("mended"):
        raise ValueError("not yet \\x00 mended")
    return x
"""


def test_an_empty_database_is_listed_and_then_holds_a_whole_experiment(served: ServerWorld) -> None:
    assert served.hyperion("list") == []

    document = served.hyperion("run", "ridge", "lightgbm", "--data", "diabetes", "--trials", "5")

    assert document["state"] == "done"
    counts = [s["trials"] for s in document["studies"]]
    assert [c["complete"] + c["pruned"] for c in counts] == [5, 5]
    assert all(s["best"]["held_out_score"] is not None for s in document["studies"])
    assert [e["experiment"] for e in served.hyperion("list")] == [document["experiment"]]
    assert served.hyperion("show", document["experiment"])["verdict"] == document["verdict"]
    assert len(served.hyperion("trials", document["studies"][0]["study"])) == 5
    assert len(served.hyperion("compare", document["experiment"])) >= 2
    assert all(check["ok"] for check in served.hyperion("doctor"))
    storage = optuna.storages.RDBStorage(served.url.replace("://", "+psycopg://", 1))
    study = optuna.load_study(study_name=document["studies"][0]["study"], storage=storage)
    assert len(study.trials) == 5
    assert study.best_value == document["studies"][0]["best"]["selection_score"]
    storage.engine.dispose()


@pytest.mark.slow
def test_pause_resume_and_retry_work_on_a_server(served: ServerWorld) -> None:
    flaky = served.write("flaky.py", FLAKY)
    document = served.hyperion("run", flaky, "--trials", "3", "--name", "e", "--workers", "1")
    assert document["studies"][0]["trials"]["failed"] == 1

    (served.store.parent / "mended").touch()
    assert served.hyperion("retry", "e/objective", "1")["queued"] == [3]
    wait_until(lambda: served.state("e") == "done", "the retried trial")
    (error,) = (t["error"] for t in served.hyperion("trials", "e/objective") if t["error"])
    assert error.endswith("mended")
    assert "\x00" not in error  # the server's texts hold none

    gate = served.write("gate.py", GATE)
    served.hyperion("run", gate, "--trials", "2", "--name", "g", "--workers", "1", "--detach")
    wait_until(lambda: served.state("g") == "running", "a trial at work")
    served.hyperion("pause", "g", "--now")
    wait_until(lambda: served.state("g") == "paused", "the pause")
    assert served.ask("SELECT count(*) FROM trials WHERE CAST(state AS VARCHAR) = 'RUNNING'") == [
        (0,)
    ]
    (served.store.parent / "open").touch()
    served.hyperion("resume", "g", "--trials", "4")
    wait_until(lambda: served.state("g") == "done", "the experiment to end")
    assert served.finished() == 4 + 4


@pytest.mark.slow
def test_after_kill_9_of_everything_resume_brings_exactly_the_total(served: ServerWorld) -> None:
    served.hyperion(
        *("run", "svr", "lightgbm", "--data", "diabetes", "--name", "e"),
        *("--trials", "6", "--workers", "2", "--detach"),
    )
    wait_until(lambda: served.finished() >= 4, "four finished trials")
    served.kill_everything()
    served.hyperion("resume", "e")
    wait_until(lambda: served.state("e") == "done", "the experiment to end")

    assert served.ask("SELECT count(*), count(DISTINCT (study_id, number)) FROM trials") == [
        (12, 12)
    ]
    assert served.finished() == 12


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_costs_no_trial(
    served: ServerWorld, postgres_server: Server
) -> None:
    served.hyperion(
        *("run", "svr", "--data", "diabetes", "--name", "e"),
        *("--trials", "12", "--workers", "2", "--detach"),
    )
    done = "SELECT number, value FROM hx_trial WHERE state = 'COMPLETE'"
    wait_until(lambda: served.finished() >= 3, "three finished trials")
    acknowledged = dict(served.ask(done))

    with postgres_server.away():
        refused = served.command("list")

    assert refused.returncode == 4
    assert "can't be reached" in refused.stderr
    assert acknowledged.items() <= dict(served.ask(done)).items()
    wait_until(lambda: served.state("e") == "done", "the experiment to end")

    assert served.ask("SELECT count(*), count(DISTINCT number) FROM trials") == [(12, 12)]
    assert served.finished() == 12


def test_two_machines_never_run_one_experiment(served: ServerWorld, tmp_path: Path) -> None:
    gate = served.write("gate.py", GATE)
    served.hyperion("run", gate, "--trials", "3", "--name", "e", "--workers", "1", "--detach")
    wait_until(lambda: served.state("e") == "running", "a trial at work")
    # Another machine has its own folder beside the store, and so none of these locks.
    elsewhere = {"HYPERION_HOME": str(tmp_path / "elsewhere")}

    assert served.hyperion("show", "e", **elsewhere)["state"] == "running"
    assert "no runner" not in served.command("show", "e", **elsewhere).stdout
    served.hyperion("resume", "e", **elsewhere)
    assert served.command("list", **elsewhere).stdout.count(f"(on {os.uname().nodename})") == 1
    forced = subprocess.run(
        [sys.executable, "-P", "-m", "engines.run.runner", "1", "shown"],
        env={**os.environ, "HYPERION_STORAGE": served.url, **elsewhere},
        timeout=60,
        capture_output=True,
        check=False,
    )

    assert forced.returncode == 0, forced.stderr
    assert served.ask("SELECT count(*) FROM hx_runner") == [(1,)]
    (served.store.parent / "open").touch()
    wait_until(lambda: served.state("e") == "done", "the experiment to end")
    assert served.finished() == 3


@pytest.mark.slow
def test_data_that_lies_on_another_machine_is_said_so(served: ServerWorld, tmp_path: Path) -> None:
    served.hyperion("run", "ridge", "--data", "diabetes", "--trials", "2", "--name", "e")
    wait_until(lambda: served.runner() is None, "the runner to leave")

    done = served.command("resume", "e", "--trials", "3", HYPERION_HOME=str(tmp_path / "elsewhere"))

    assert done.returncode == 1
    assert "The data of e lies on the machine where it was started" in done.stderr
    assert done.stderr.count("\n") == 1
    served.hyperion("resume", "e", "--trials", "3")
    wait_until(lambda: served.state("e") == "done", "the experiment to end")


# -- the password ---------------------------------------------------------------------------------


def command_lines() -> str:
    """What `ps` would show of every process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_password_is_in_no_command_line_log_answer_or_screen(
    served: ServerWorld, postgres_server: Server, tmp_path: Path, own_home: Path
) -> None:
    secrets = (postgres_server.password, quote(postgres_server.password, safe=""))
    gate = served.write("gate.py", GATE)

    def tells(text: str) -> bool:
        return any(secret in text for secret in secrets)

    words = ("run", gate, "--trials", "2", "--name", "e", "--workers", "1", "--detach", "--json")
    started = served.command(*words, "--store", served.url, HYPERION_STORAGE="")
    assert started.returncode == 0, started.stderr
    watching = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "hyperion_tui", "--store", served.url, "run", gate),
            *("--trials", "2", "--name", "e", "--workers", "1"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: served.workers(), "a worker")
    own = Path(f"/proc/{watching.pid}/cmdline")
    wait_until(lambda: b"--store" not in own.read_bytes(), "the program to start again")
    assert not tells(command_lines())
    assert "engines.run.worker" in command_lines()
    answers = [
        *(served.command(*words) for words in (("list",), ("show", "e"), ("doctor", "--where"))),
        *(served.command(*words, "--json") for words in (("list",), ("doctor", "--where"))),
        served.command("list", HYPERION_STORAGE=served.url.replace("127.0.0.1:", "127.0.0.1:1")),
        served.command("list", HYPERION_STORAGE=f"{served.url}_none"),
        started,
    ]
    screen = Terminal(served.url)
    try:
        seen = screen.read_until(b"objective").decode(errors="replace") + screen.read().decode()
    finally:
        screen.close()
    (tmp_path / "open").touch()
    out, err = watching.communicate(timeout=100)

    assert "note: a password in --store" in err
    assert "***" in answers[2].stdout
    assert not any(tells(answer.stdout + answer.stderr) for answer in answers)
    assert not tells(seen)
    assert not tells(out + err)
    logs = [path for path in own_home.rglob("*") if path.is_file()]
    assert any(path.name == "runner.log" for path in logs)
    assert not any(tells(path.read_text(errors="replace")) for path in logs)
