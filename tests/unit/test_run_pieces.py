"""Pieces of the runner, the launcher and their like, without a real experiment."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.errors import BadInput, HyperionError
from engines.run import capacity, launcher, objective, process, runner
from engines.run.runner import Hand, Runner, _how_it_ended
from engines.study import supervision
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.locks import living_runners, runner_pid, take_runner_lock
from engines.study.storage import HyperionStorage
from tests.unit.building import (
    add_worker,
    asking,
    changing,
    experiment_plan,
    must_claim,
    rows,
    study_plan,
)

# -- objectives -----------------------------------------------------------------------------------

CODE = """
raise RuntimeError("this file must not run")
from math import sqrt as root
limit = 3
def objective(trial): return 1.0
class Other: pass
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(CODE)
    (tmp_path / "package" / "inner.py").write_text(CODE)
    return path


@pytest.mark.parametrize(
    "reference",
    ["mine.py:objective", "mine:objective", "package:objective", "package.inner:objective",
     "mine.py:root", "mine.py:Other"],
)  # fmt: skip
def test_an_objective_is_described_without_running_it(code: Path, reference: str) -> None:
    described = objective.describe(reference)

    assert described["reference"] == reference
    assert described["function"] == reference.rpartition(":")[2]
    assert described["folder"] == str(code.parent)
    assert len(described["sha256"]) == 64
    assert not any(name in sys.modules for name in ("mine", "package", "package.inner"))


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("absent.py:objective", "no file .*absent.py"),
        ("absent:objective", "no module `absent` here or in this Python"),
        ("package.absent:objective", "no module `package.absent`"),
        ("mine.py:objectiv", "defines no `objectiv`: did you mean objective"),
        ("mine.py:", "is not `file.py:function` or `module:function`"),
        (":objective", "is not `file.py:function` or `module:function`"),
        ("mine.py:a b", "is not `file.py:function` or `module:function`"),
        ("../up:objective", "is not `file.py:function` or `module:function`"),
        ("broken.py:f", r"broken.py, line 2: .*; mend it first"),
        ("zero.py:f", r"zero.py, line 1: .*; mend it first"),
        ("folder.py:f", "no file .*folder.py"),
    ],
)
def test_an_objective_that_can_not_be_used_is_refused_before_anything_starts(
    code: Path, reference: str, reason: str
) -> None:
    code.with_name("broken.py").write_text("x = 1\ndef f(:\n")
    code.with_name("zero.py").write_bytes(b"x = '\0'\n")
    code.with_name("folder.py").mkdir()

    with pytest.raises(BadInput, match=reason) as caught:
        objective.describe(reference)

    assert "\n" not in str(caught.value)


def test_another_content_is_another_objective(code: Path) -> None:
    before = objective.describe("mine.py:objective")
    code.write_text(CODE + "# changed\n")

    assert objective.describe("mine.py:objective")["sha256"] != before["sha256"]


def test_an_objective_is_loaded_where_it_was_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper_of_mine.py").write_text("VALUE = 4\n")
    (tmp_path / "works.py").write_text(
        "import os, helper_of_mine\ndef f(trial): return helper_of_mine.VALUE, os.getcwd()\n"
    )
    described = objective.describe("works.py:f")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir("/")

    loaded = objective.load(described)

    assert loaded(None) == (4, str(tmp_path))
    (tmp_path / "works.py").unlink()
    with pytest.raises(BadInput, match=r"works.py can't be read any more"):
        objective.load(described)
    monkeypatch.delitem(sys.modules, "helper_of_mine")


# -- processes ------------------------------------------------------------------------------------


def test_a_process_is_known_by_number_start_and_boot() -> None:
    pid, ticks, boot = os.getpid(), process.start_ticks(os.getpid()), process.boot_id()

    assert process.is_same_process(pid, ticks, boot)
    assert not process.is_same_process(pid, ticks + 1, boot)
    assert not process.is_same_process(pid, 0, boot)
    assert not process.is_same_process(pid, ticks, "another boot")


def test_a_process_that_ended_is_not_the_same_any_more() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        who = child.pid, process.start_ticks(child.pid), process.boot_id()
        assert process.is_same_process(*who)
        child.kill()
        child.communicate()

    assert not process.is_same_process(*who)
    assert process.start_ticks(who[0]) in (0, *range(who[1] + 1, who[1] + 10**9, 10**9))
    process.kill_group(who[0])  # gone: nothing happens


def test_start_ticks_are_read_behind_a_name_with_spaces_and_brackets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "7 (a) b (c)) S " + " ".join(str(n) for n in range(4, 53))
    monkeypatch.setattr(Path, "read_text", lambda self: line)

    assert process.start_ticks(7) == 22


def test_memory_of_a_process_is_known() -> None:
    assert process.peak_memory_mib() > 10
    assert process.memory_mib(os.getpid()) > 5
    assert process.memory_mib(2**22 + 1) == 0.0


@pytest.mark.parametrize(
    ("cores", "free", "workers"),
    [(4, 8000, 4), (4, 1300, 2), (4, 100, 1), (64, 10**6, 16), (1, 10**6, 1)],
)
def test_the_number_of_workers_is_bounded_by_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch, cores: int, free: float, workers: int
) -> None:
    monkeypatch.setattr(capacity, "usable_cores", lambda: cores)
    monkeypatch.setattr(capacity, "free_memory_mib", lambda: free)

    assert capacity.default_workers() == workers


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("5000 100000", 1), ("junk", 8)]
)
def test_a_quota_cuts_the_usable_cores(
    monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self: quota)

    assert capacity.usable_cores() == cores


# -- the launcher ---------------------------------------------------------------------------------


def test_a_runner_that_does_not_come_up_is_an_error_with_its_log(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(HyperionError, match=r"did not start: see .*logs/1/runner.log"):
        launcher.start_runner(location, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it outlives us
def test_a_runner_with_nothing_to_do_is_no_error(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan())
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET want = 'cancel'")

    pid = launcher.start_runner(location, 1)

    assert pid > 0
    with contextlib.suppress(ChildProcessError):  # collected already
        os.waitpid(pid, 0)
    log = location.logs(1) / "runner.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in log.read_text()


# -- the runner -----------------------------------------------------------------------------------


class Ended:
    """A process that has ended with a code."""

    def __init__(self, code: int | None, pid: int = 2**22 + 1) -> None:
        self.code, self.pid = code, pid
        self.stdin = io.BytesIO()

    def poll(self) -> int | None:
        return self.code


@pytest.fixture
def driver(location: Location, storage: HyperionStorage) -> Any:
    """A runner of an experiment of four trials that starts no process."""
    create_or_extend(storage, experiment_plan(study_plan(goal=4)))
    driver = Runner(location, 1)
    yield driver
    driver.connection.close()


def hand(location: Location, code: int | None, slot: int = 1) -> Hand:
    return Hand(Ended(code), add_worker(location, slot=slot), slot)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "at_work", "killed", "verdict", "words"),
    [
        (0, False, False, None, "no more work"),
        (0, True, False, None, "its process exited with 0"),
        (3, False, False, None, "its process exited with 3"),
        (-11, True, False, None, "its process died by SIGSEGV"),
        (-6, True, False, None, "its process died by SIGABRT"),
        (-250, True, False, None, "its process died by signal 250"),
        (-9, True, True, None, "interrupted"),
        (-9, True, True, ("TimeLimit", "took longer"), "took longer"),
    ],
)
def test_an_end_is_told_in_words(
    code: int, at_work: bool, killed: bool, verdict: Any, words: str
) -> None:
    ended = Hand(Ended(code), 1, 1, killed=killed, verdict=verdict)  # type: ignore[arg-type]

    assert _how_it_ended(code, ended, at_work=at_work) == words


@pytest.mark.parametrize(
    ("code", "killed", "verdict", "crashes", "state", "error"),
    [
        (-signal.SIGSEGV, False, None, 0, "WAITING", None),
        (-signal.SIGSEGV, False, None, 3, "FAIL", "its process died by SIGSEGV, 4 times"),
        (1, False, None, 3, "FAIL", "its process exited with 1, 4 times"),
        (-signal.SIGKILL, False, None, 3, "WAITING", None),
        (-signal.SIGKILL, True, None, 3, "WAITING", None),
        (-signal.SIGKILL, True, ("TimeLimit", "too long"), 0, "FAIL", "too long"),
    ],
)
def test_a_dead_worker_s_trial_is_settled_by_how_it_died(
    location: Location,
    storage: HyperionStorage,
    driver: Runner,
    code: int,
    killed: bool,
    verdict: Any,
    crashes: int,
    state: str,
    error: str | None,
) -> None:
    dead = hand(location, code)
    job = must_claim(storage, dead.worker_id)
    with changing(location) as connection:
        connection.execute("UPDATE hx_trial SET crashes = ?", (crashes,))
    driver.hands[dead.worker_id] = dead
    dead.killed, dead.verdict, dead.judged = killed, verdict, job.trial_id

    driver.reap()

    assert driver.hands == {}
    assert rows(location, "SELECT state, worker_id IS NULL, error_message FROM hx_trial") == [
        (state, state == "WAITING", error)
    ]
    assert rows(location, "SELECT state FROM trials") == [(state,)]
    grown = int(state == "WAITING" and not killed and code != -signal.SIGKILL)
    assert rows(location, "SELECT crashes FROM hx_trial") == [(crashes + grown,)]
    assert rows(location, "SELECT ended_at IS NOT NULL FROM hx_worker") == [(1,)]


def test_workers_that_can_not_start_end_the_experiment_with_their_log(
    location: Location, driver: Runner
) -> None:
    for _ in range(runner.QUICK_DEATHS):
        dead = hand(location, 1)
        driver.hands[dead.worker_id] = dead
        driver.reap()

    with asking(location) as reader:
        experiment = reader.experiment(1)
    assert experiment.state == "failed"
    assert experiment.failure is not None
    assert experiment.failure.startswith("its workers can't start: see ")


def test_it_hires_no_more_than_there_is_work_for(
    location: Location, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def start(slot: int) -> None:
        started.append(slot)
        driver.hands[slot] = Hand(Ended(None), slot, slot)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "start_worker", start)
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET workers = 9")
        connection.execute("UPDATE hx_study SET goal = 3")
        outlook = supervision.outlook(connection, 1)
    assert outlook is not None

    driver.hire(outlook)
    driver.hire(outlook)
    del driver.hands[2]
    driver.hire(outlook)

    assert started == [1, 2, 3, 2]


def test_limits_and_orders_kill_with_their_reason(
    location: Location, storage: HyperionStorage, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(runner, "boot_seconds", lambda: now[0])
    monkeypatch.setattr(runner, "memory_mib", lambda pid: 700.0)
    living = hand(location, None)
    driver.hands[living.worker_id] = living
    must_claim(storage, living.worker_id)

    def look(**limits: float) -> tuple[bool, Any]:
        living.killed, living.verdict = False, None
        with changing(location) as connection:
            connection.execute(
                "UPDATE hx_experiment SET trial_time_s = ?, trial_memory_mib = ?",
                (limits.get("time"), limits.get("memory")),
            )
            outlook = supervision.outlook(connection, 1)
        assert outlook is not None
        driver.watch(outlook)
        return living.killed, living.verdict

    assert look() == (False, None)
    now[0] += 10
    assert look(time=11.0, memory=701.0) == (False, None)
    now[0] += 10
    assert look(time=11.0) == (True, ("TimeLimit", "took longer than --trial-time 11 s"))
    now[0] += 10
    assert look(memory=699.0) == (
        True,
        ("MemoryLimit", "used 700 MiB of --trial-memory 699 MiB"),
    )
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET want = 'pause', want_now = 1")
    assert look() == (True, None)


def test_time_is_accounted_while_trials_run_and_ends_the_studies(
    location: Location, storage: HyperionStorage, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [driver.accounted]
    monkeypatch.setattr(runner, "boot_seconds", lambda: now[0])
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET time_limit_s = 10")
    living = hand(location, None)
    driver.hands[living.worker_id] = living

    def pass_time(seconds: float) -> float:
        now[0] += seconds
        with changing(location) as connection:
            outlook = supervision.outlook(connection, 1)
        assert outlook is not None
        driver.watch(outlook)
        driver.account(outlook)
        return float(rows(location, "SELECT time_used_s FROM hx_experiment")[0][0])

    assert pass_time(5) == 0.0  # nobody is at work
    must_claim(storage, living.worker_id)
    assert pass_time(4) == 4.0
    assert not living.killed
    assert pass_time(7) == 11.0

    assert living.killed
    assert rows(location, "SELECT ended_by FROM hx_study") == [("time limit of 10 s",)]


def test_a_lock_that_was_let_go_is_nobody_s(location: Location) -> None:
    descriptor = take_runner_lock(location.runner_lock(5))

    assert descriptor is not None
    os.close(descriptor)
    assert runner_pid(location.runner_lock(5)) is None
    assert runner_pid(location.runner_lock(6)) is None
    assert living_runners(location) == []


def test_a_verdict_on_one_trial_does_not_hit_the_next_one(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    dead = hand(location, -signal.SIGKILL)
    job = must_claim(storage, dead.worker_id)
    driver.hands[dead.worker_id] = dead
    dead.killed, dead.verdict, dead.judged = True, ("TimeLimit", "too long"), job.trial_id + 1

    driver.reap()

    assert rows(location, "SELECT state FROM trials") == [("WAITING",)]
