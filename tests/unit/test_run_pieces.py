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
from engines.run import capacity, cgroup, deaths, launcher, limits, objective, process, runner, tree
from engines.run.hands import Hand, how_it_ended
from engines.run.runner import GRACE_S, Runner
from engines.study import supervision
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.locks import living_runners, runner_pid, take_runner_lock
from engines.study.outlook import Facts, Held
from engines.study.plain import connect_to_read
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
    assert not process.is_same_process(0, 0, boot)  # a worker's row before it has a process


def test_a_process_that_ended_is_not_the_same_any_more() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        who = child.pid, process.start_ticks(child.pid), process.boot_id()
        assert process.is_same_process(*who)
        child.kill()
        child.communicate()

    assert not process.is_same_process(*who)
    assert process.start_ticks(who[0]) in (0, *range(who[1] + 1, who[1] + 10**9, 10**9))
    tree.kill(who[0])  # gone: nothing happens


def test_start_ticks_are_read_behind_a_name_with_spaces_and_brackets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "7 (a) b (c)) S " + " ".join(str(n) for n in range(4, 53))
    monkeypatch.setattr(Path, "read_text", lambda self: line)

    assert process.start_ticks(7) == 22


def test_memory_of_a_process_is_known() -> None:
    assert process.peak_memory_mib() > 10
    assert tree.memory_mib(os.getpid()) > 5
    assert tree.memory_mib(2**22 + 1) == 0.0
    assert tree.memory_mib(os.getpid()) <= tree.memory_mib(os.getpid(), above=1e9)


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


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group of version 2 as a container sees it: its own group is the root."""
    root = tmp_path / "cgroup"
    (root / "slice" / "scope").mkdir(parents=True)
    monkeypatch.setattr(cgroup, "ROOT", root)
    monkeypatch.setattr(cgroup, "OWN", tmp_path / "own")
    (tmp_path / "own").write_text("0::/slice/scope\n")
    return root


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("5000 100000", 1), ("junk", 8)]
)
@pytest.mark.parametrize("folder", [".", "slice", "slice/scope"])
def test_a_quota_cuts_the_usable_cores(
    group: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int, folder: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (group / folder / "cpu.max").write_text(quota)

    assert capacity.usable_cores() == cores


def test_a_quota_of_the_older_kind_cuts_them_as_well(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    cgroup.OWN.write_text("3:cpu,cpuacct:/box\n4:memory:/box\n")
    (group / "cpu").mkdir()
    (group / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (group / "cpu" / "cpu.cfs_period_us").write_text("100000\n")

    assert capacity.usable_cores() == 3


def test_memory_that_a_group_may_not_have_is_not_free(group: Path) -> None:
    (group / "slice" / "memory.max").write_text(f"{900 * 1024**2}\n")
    (group / "slice" / "memory.current").write_text(f"{700 * 1024**2}\n")
    (group / "slice" / "memory.stat").write_text(f"anon 1\ninactive_file {100 * 1024**2}\n")
    (group / "slice" / "scope" / "memory.max").write_text("max\n")

    assert cgroup.memory_left_mib() == 300.0
    assert capacity.free_memory_mib() <= 300.0


def test_kills_for_lack_of_memory_are_counted_where_the_kernel_counts_them(group: Path) -> None:
    assert cgroup.memory_kill_counter() in (None, Path("/proc/vmstat"))
    (group / "slice" / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    counter = cgroup.memory_kill_counter()
    assert cgroup.count_memory_kills(counter) == 1

    (group / "slice" / "scope" / "memory.oom_control").write_text("under_oom 0\noom_kill 7\n")
    counter = cgroup.memory_kill_counter()
    assert counter == group / "slice" / "scope" / "memory.oom_control"
    assert cgroup.count_memory_kills(counter) == 7
    assert cgroup.count_memory_kills(None) is None


# -- the launcher ---------------------------------------------------------------------------------


def test_a_runner_that_does_not_come_up_is_an_error_with_its_log(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(HyperionError, match=r"did not start: see .*logs/1/runner.log"):
        launcher.start_runner(location, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it outlives us
def test_a_runner_killed_between_two_looks_has_come_up(
    location: Location, storage: HyperionStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_or_extend(storage, experiment_plan())
    killed: list[int] = []

    def never_seen(_: Path) -> None:
        """Kill the runner once it has registered, and say that nobody holds the lock."""
        with contextlib.closing(connect_to_read(location)) as connection:
            for (pid,) in connection.execute("SELECT pid FROM hx_runner").fetchall():
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    monkeypatch.setattr(launcher, "runner_pid", never_seen)

    assert launcher.start_runner(location, 1) > 0
    assert len(killed) == 1


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
    driver.close()


def look(driver: Runner) -> Facts:
    """What the runner knows after it has looked at the store."""
    driver.ledger.read()
    driver.see(runner.boot_seconds())
    assert driver.ledger.facts is not None
    return driver.ledger.facts


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

    assert how_it_ended(code, ended, at_work=at_work) == words


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


@pytest.mark.parametrize(("lost", "state"), [(0, "WAITING"), (1, "FAIL")])
def test_a_worker_that_memory_ran_out_for_gets_one_more_try(
    location: Location, storage: HyperionStorage, driver: Runner, lost: int, state: str
) -> None:
    dead = hand(location, -signal.SIGKILL)
    must_claim(storage, dead.worker_id)
    with changing(location) as connection:
        connection.execute("UPDATE hx_trial SET memory_kills = ?", (lost,))
    driver.hands[dead.worker_id] = dead
    driver.deaths.counter = location.side / "memory.events"
    driver.deaths.counter.write_text(f"oom_kill {driver.deaths.kills_seen + 1}\n")

    driver.reap()

    assert rows(location, "SELECT state, memory_kills FROM hx_trial") == [(state, 1)]
    if state == "FAIL":
        assert rows(location, "SELECT error_class FROM hx_trial") == [("OutOfMemory",)]


def test_one_kill_for_lack_of_memory_explains_one_death(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    driver.deaths.counter = location.side / "memory.events"
    driver.deaths.counter.write_text(f"oom_kill {driver.deaths.kills_seen + 1}\n")
    for slot in (1, 2):
        dead = hand(location, -signal.SIGKILL, slot)
        must_claim(storage, dead.worker_id)
        driver.hands[dead.worker_id] = dead

    driver.reap()

    assert rows(location, "SELECT memory_kills FROM hx_trial ORDER BY 1") == [(0,), (1,)]


def test_a_trial_that_is_killed_again_and_again_waits_longer_each_time(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    pauses: list[float] = []
    for _ in range(deaths.PATIENT_KILLS + 8):
        dead = hand(location, -signal.SIGKILL)
        must_claim(storage, dead.worker_id)
        driver.hands[dead.worker_id] = dead
        driver.reap()
        pauses.append(max(0.0, driver.hire_after - runner.boot_seconds()))

    assert pauses[: deaths.PATIENT_KILLS] == [0.0] * deaths.PATIENT_KILLS
    assert pauses[deaths.PATIENT_KILLS :] == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.9)
    assert rows(location, "SELECT state, crashes FROM hx_trial") == [("WAITING", 0)]


def test_a_write_that_fails_for_lack_of_room_loses_nothing_that_the_runner_knows(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    dead = hand(location, -signal.SIGSEGV)
    must_claim(storage, dead.worker_id)
    driver.hands[dead.worker_id] = dead
    with changing(location) as connection:
        connection.execute("CREATE TABLE filler (x)")
        connection.execute(
            "CREATE TRIGGER fills AFTER INSERT ON hx_event "
            "BEGIN INSERT INTO filler VALUES (zeroblob(1000000)); END"
        )
    connection = driver.ledger.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    assert not driver.ledger.attempt(driver.reap)
    assert not driver.ledger.attempt(driver.reap)

    assert driver.space.waiting
    assert list(driver.hands.values()) == [dead]
    assert rows(location, "SELECT state FROM trials") == [("RUNNING",)]
    with changing(location) as other:
        other.execute("DROP TRIGGER fills")
    assert driver.ledger.attempt(driver.reap)
    assert driver.hands == {}
    assert rows(location, "SELECT state, crashes FROM hx_trial") == [("WAITING", 1)]


def test_workers_that_can_not_start_end_the_experiment_with_the_cause(
    location: Location, driver: Runner
) -> None:
    for _ in range(runner.QUICK_DEATHS):
        dead = hand(location, 1)
        driver.hands[dead.worker_id] = dead
        log = driver.logs.path(1)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("Traceback\nImportError: no licence for libfast\n\n")
        driver.reap()

    with asking(location) as reader:
        experiment = reader.experiment(1)
    assert experiment.state == "failed"
    assert experiment.failure is not None
    assert experiment.failure.startswith(
        "its workers can't start: ImportError: no licence for libfast; see "
    )


def test_workers_that_others_kill_while_they_start_do_not_end_the_experiment(
    location: Location, driver: Runner
) -> None:
    pauses: list[float] = []
    for _ in range(runner.QUICK_DEATHS * 2):
        dead = hand(location, -signal.SIGKILL)
        driver.hands[dead.worker_id] = dead
        driver.reap()
        pauses.append(max(0.0, driver.hire_after - runner.boot_seconds()))

    with asking(location) as reader:
        assert reader.experiment(1).failure is None
    assert pauses == pytest.approx([0, 0, 0, 0, 1, 2, 4, 8, 10, 10], abs=0.9)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="the number can't be kept")
def test_the_tree_of_a_dead_worker_is_killed_while_its_number_is_still_its_own(
    location: Location, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, process_group=0)
    ended = Hand(dead, add_worker(location, slot=1), 1)
    driver.hands[ended.worker_id] = ended
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    numbers: list[bool] = []
    kill = runner.tree.kill

    def spy(pid: int, *others: Any) -> None:
        numbers.append(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is not None)
        kill(pid, *others)

    monkeypatch.setattr(runner.tree, "kill", spy)
    driver.reap()

    assert numbers == [True]
    assert not driver.hands
    assert rows(location, "SELECT end_reason FROM hx_worker") == [("no more work",)]


def test_an_end_that_kills_its_worker_is_settled_without_a_score(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET goal = 0")
    for _ in range(supervision.CRASHES + 1):
        dead = hand(location, -signal.SIGSEGV)
        assert must_claim(storage, dead.worker_id).kind == "closing"
        driver.hands[dead.worker_id] = dead
        driver.reap()

    with asking(location) as reader:
        study = reader.experiment(1).studies[0]
    assert study.state == "done"
    assert study.message == "no held-out score: its process died by SIGSEGV, 4 times"


def count_starts(driver: Runner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The slots in which it would have started a worker."""
    started: list[int] = []

    def start() -> bool:
        taken = {each.slot for each in driver.hands.values()}
        slot = next(n for n in range(1, 99) if n not in taken)
        started.append(slot)
        driver.hands[slot] = Hand(Ended(None), slot, slot)  # type: ignore[arg-type]
        return True

    monkeypatch.setattr(driver, "start_worker", start)
    return started


def test_it_hires_no_more_than_there_is_work_for(
    location: Location, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = count_starts(driver, monkeypatch)
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET workers = 9")
        connection.execute("UPDATE hx_study SET goal = 3")
    facts = look(driver)

    driver.hire(facts, 1.0)
    driver.hire(facts, 2.0)
    del driver.hands[2]
    driver.hire(facts, 3.0)

    assert started == [1, 2, 3, 2]


def test_it_hires_nobody_while_there_is_no_room(
    location: Location, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = count_starts(driver, monkeypatch)
    driver.space.wait()

    driver.hire(look(driver), 1.0)
    assert started == []
    driver.watch_space()  # there is
    driver.hire(look(driver), 1.0)

    assert not driver.space.waiting
    assert started != []
    text = rows(location, "SELECT text FROM hx_event ORDER BY seq DESC LIMIT 1")[0][0]
    assert text.startswith("the disk was full for ")


def test_a_frozen_worker_leaves_its_place_to_another_one(
    location: Location, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = count_starts(driver, monkeypatch)
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET workers = 2")
    facts = look(driver)
    driver.hire(facts, 1.0)
    driver.hands[1].frozen_at = "2026-11-22T10:00:00+00:00"

    driver.hire(facts, 2.0)

    assert started == [1, 2, 3]


def test_of_too_many_workers_idle_ones_go_home_and_then_the_highest_slots(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    for slot in (1, 2, 3, 4):
        living = hand(location, None, slot)
        driver.hands[living.worker_id] = living
        if slot != 2:
            must_claim(storage, living.worker_id)
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET workers = 2")

    driver.hire(look(driver), 1.0)
    driver.hire(look(driver), 2.0)

    assert {h.slot: h.process.stdin.getvalue() for h in driver.hands.values()} == {  # type: ignore[union-attr]
        1: b"",
        2: process.LEAVE,
        3: b"",
        4: process.LEAVE,
    }


def test_limits_and_orders_kill_with_their_reason(
    location: Location, storage: HyperionStorage, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(tree, "memory_mib", lambda pid, others, above: 700.0)
    living = hand(location, None)
    driver.hands[living.worker_id] = living
    must_claim(storage, living.worker_id)

    def watch(seconds: float = 0.0, **budget: float) -> tuple[bool, Any]:
        nonlocal now
        now += seconds
        living.killed, living.verdict = False, None
        with changing(location) as connection:
            connection.execute(
                "UPDATE hx_experiment SET trial_time_s = ?, trial_memory_mib = ?",
                (budget.get("time"), budget.get("memory")),
            )
        driver.ledger.read()
        driver.see(now)
        assert driver.ledger.facts is not None
        driver.watch(driver.ledger.facts, now)
        return living.killed, living.verdict

    assert watch() == (False, None)
    assert watch(10, time=11.0, memory=701.0) == (False, None)
    assert watch(10, time=11.0) == (True, ("TimeLimit", "took longer than --trial-time 11 s"))
    assert watch(10, memory=699.0) == (
        True,
        ("MemoryLimit", "used 700 MiB of --trial-memory 699 MiB"),
    )
    living.frozen_at = "2026-11-22T10:00:00+00:00"
    assert watch(10, time=11.0) == (False, None)
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET want = 'pause', want_now = 1")
    assert watch() == (True, None)


def test_time_is_accounted_while_trials_run_and_ends_the_studies(
    location: Location, storage: HyperionStorage, driver: Runner
) -> None:
    now = driver.accounted
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET time_limit_s = 10")
    living = hand(location, None)
    driver.hands[living.worker_id] = living

    def pass_time(seconds: float) -> float:
        nonlocal now
        now += seconds
        driver.account(look(driver), now)
        return float(rows(location, "SELECT time_used_s FROM hx_experiment")[0][0])

    assert pass_time(5) == 0.0  # nobody is at work
    must_claim(storage, living.worker_id)
    assert pass_time(4) == pytest.approx(4.0)
    living.frozen_at = "2026-11-22T10:00:00+00:00"
    assert pass_time(60) == pytest.approx(4.0)
    living.frozen_at = None
    assert not living.killed
    living.trial, living.since = Held(1, 1, 0, "shapes", "", 0), now
    assert pass_time(7) == pytest.approx(11.0)
    assert rows(location, "SELECT ended_by FROM hx_study") == [("time limit of 10 s",)]

    driver.end_late(look(driver), now + GRACE_S / 2)
    assert not living.killed  # a model that watches the clock has stopped, and is being scored
    driver.end_late(look(driver), now + GRACE_S)
    assert living.killed


def test_a_worker_that_does_nothing_for_long_is_flagged_until_it_moves(
    location: Location, storage: HyperionStorage, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [500]
    monkeypatch.setattr(tree, "processor_ticks", lambda pid, others: used[0])
    now = 5000.0
    living = hand(location, None)
    driver.hands[living.worker_id] = living
    must_claim(storage, living.worker_id)

    def pass_time(seconds: float) -> str | None:
        nonlocal now
        now += seconds
        facts = look(driver)
        driver.watch(facts, now)
        driver.note()
        with asking(location) as reader:
            (worker,) = reader.workers(1)
        return worker.flag

    assert pass_time(0) is None
    living.moved = now
    assert pass_time(limits.HUNG_S - 1) is None
    used[0] += limits.HUNG_TICKS - 1  # a thread that waits uses a little
    assert pass_time(6) == limits.HUNG
    with changing(location) as connection:
        connection.execute(
            "INSERT INTO trial_intermediate_values "
            "(trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (?, 1, 0.5, 'FINITE')",
            (living.trial.trial_id if living.trial else 0,),
        )
    assert pass_time(6) is None
    assert pass_time(limits.HUNG_S + 6) == limits.HUNG
    used[0] += 1000
    assert pass_time(6) is None
    told = rows(location, "SELECT text FROM hx_event WHERE kind = 'worker' ORDER BY seq")
    assert [text for (text,) in told] == [
        f"worker 1: {limits.HUNG}",
        "worker 1 works again",
    ] * 2


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
