"""What a runner does for its workers: limits, freezing, sharing, logs, and nobody left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.clock import boot_seconds
from tests.e2e.conftest import World, wait_until

pytestmark = pytest.mark.e2e

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")

HEADER = """import os, subprocess, sys, time
def child(code, **how):
    with open(f"child-{os.getpid()}", "w") as file:
        file.write(str(subprocess.Popen([sys.executable, "-c", code], **how).pid))
    os.rename(f"child-{os.getpid()}", "child")
def wait(name):
    while not os.path.exists(name):
        time.sleep(0.01)
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
"""

SLEEPING = "'import time; time.sleep(600)', start_new_session=True"


def write(world: World, body: str) -> None:
    lines = "".join(f"    {line}\n" for line in body.strip().split("\n"))
    world.store.with_name("mine.py").write_text(HEADER + lines)


def start(world: World, *words: str, name: str = "e") -> None:
    world.hyperion("run", "mine.py:objective", "--name", name, "--detach", *words)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def child_of(world: World) -> int:
    path = world.store.with_name("child")
    return int(wait_until(lambda: path.exists() and path.read_text(), "the objective's child"))


def gone(pid: int) -> bool:
    return state_of(pid) in ("gone", "Z")


# -- limits ---------------------------------------------------------------------------------------


@linux
@pytest.mark.slow
def test_a_limit_counts_and_ends_all_that_a_trial_has_started(world: World) -> None:
    write(
        world,
        "if trial.number == 0:\n"
        "    child('import time; x = bytearray(300_000_000); time.sleep(600)',"
        " start_new_session=True)\n"
        "    time.sleep(600)\n"
        "if trial.number == 1:\n"
        f"    child({SLEEPING})\n"
        "    time.sleep(600)\n"
        "return x",
    )
    words = ("--trials", "3", "--workers", "1", "--trial-memory", "250M", "--trial-time", "8s")
    document = world.hyperion("run", "mine.py:objective", *words)

    trials = world.hyperion("trials", document["studies"][0]["study"])
    assert [t["state"] for t in trials] == ["failed", "failed", "complete"]
    assert trials[0]["error"].startswith("MemoryLimit: used ")
    assert trials[1]["error"] == "TimeLimit: took longer than --trial-time 8 s"
    assert gone(child_of(world))


@linux
@pytest.mark.parametrize("victim", ["worker", "runner"])
def test_what_an_objective_has_started_ends_with_its_worker_and_with_the_runner(
    world: World, victim: str
) -> None:
    write(
        world,
        f"if not os.path.exists('open'):\n    child({SLEEPING})\n    wait('open')\nreturn x",
    )
    start(world, "--trials", "1", "--workers", "1")
    child = child_of(world)
    assert state_of(child) in "SR"

    target = world.runner() if victim == "runner" else world.workers()[0]
    assert target is not None
    os.kill(target, signal.SIGKILL)

    wait_until(lambda: gone(child), "the objective's child to be gone", 20)
    world.store.with_name("open").touch()
    if victim == "runner":
        wait_until(lambda: world.runner() is None, "the runner to be gone")
        world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")


def test_a_trial_whose_worker_was_killed_by_a_signal_from_outside_is_run_again(
    world: World,
) -> None:
    write(
        world,
        "if not os.path.exists('killed'):\n"
        "    open('killed', 'w').close()\n"
        "    os.kill(os.getpid(), 9)\n"
        "return x",
    )

    document = world.hyperion("run", "mine.py:objective", "--trials", "2", "--workers", "1")

    assert document["studies"][0]["trials"]["complete"] == 2
    assert world.ask("SELECT requeues, crashes FROM hx_trial ORDER BY number") == [(1, 0), (0, 0)]


@contextlib.contextmanager
def memory_group(mib: int) -> Iterator[Path]:
    """A control group with so much memory, or no test: only root may make one."""
    for root, limit in (("unified", "memory.max"), ("memory", "memory.limit_in_bytes"), ("", "")):
        parent = Path("/sys/fs/cgroup") / root
        group = parent / f"hyperion-test-{os.getpid()}"
        try:
            group.mkdir()
            try:
                (group / (limit or "memory.max")).write_text(str(mib * 1024**2))
                break
            except OSError:
                group.rmdir()
        except OSError:
            continue
    else:
        pytest.skip("a control group for memory can't be made here")
    try:
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the group to be empty")
        group.rmdir()


@linux
@pytest.mark.slow
def test_a_trial_that_memory_runs_out_for_fails_after_one_more_try(world: World) -> None:
    write(world, "if trial.number == 0:\n    x = bytearray(800_000_000)\nreturn 1.0")
    start(world, "--trials", "2", "--workers", "1", "--seed", "1")
    wait_until(lambda: world.state("e") == "done", "a first experiment, for its imports")

    with memory_group(400) as group:
        subprocess.run(
            [
                *(sys.executable, "-P", "-m", "hyperion_tui", "run", "mine.py:objective"),
                *("--name", "small", "--trials", "2", "--workers", "1", "--detach"),
                *("--store", str(world.store)),
            ],
            check=True,
            cwd=world.store.parent,
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
        )
        wait_until(lambda: world.state("small") == "done", "the experiment to end")
        trials = world.hyperion("trials", "small/objective")
        wait_until(lambda: world.runner(2) is None, "the runner to leave")

    assert [t["state"] for t in trials] == ["failed", "complete"]
    assert trials[0]["error"].startswith("OutOfMemory: ")
    assert world.ask("SELECT memory_kills FROM hx_trial WHERE study_id = 2 ORDER BY number") == [
        (1,),
        (0,),
    ]


# -- freezing -------------------------------------------------------------------------------------


@linux
def test_a_frozen_study_stands_still_blocks_nobody_and_goes_on_where_it_was(world: World) -> None:
    write(
        world,
        f"if os.path.exists('quick'):\n    return x\nchild({SLEEPING})\nwait('open')\nreturn x",
    )
    start(world, "--trials", "2", "--workers", "2", "--trial-time", "5s", "--time", "60s")
    wait_until(lambda: len(world.ask("SELECT 1 FROM trial_params")) == 2, "two trials at work")
    processes = [child_of(world), *world.workers()]

    world.hyperion("pause", "--freeze", "e")
    wait_until(lambda: world.state("e") == "paused", "the freeze")
    frozen = boot_seconds()
    used = world.hyperion("show", "e")["time_used_s"]
    assert [state_of(pid) for pid in processes] == ["T", "T", "T"]

    world.store.with_name("quick").touch()
    start(world, "--trials", "20", "--workers", "2", name="other")
    wait_until(lambda: world.state("other") == "done", "another experiment on the same store")
    wait_until(lambda: boot_seconds() > frozen + 6, "more than a trial may take")
    document = world.hyperion("show", "e")
    assert document["state"] == "paused"
    assert document["time_used_s"] == used

    world.hyperion("resume", "e")
    wait_until(lambda: {state_of(p) for p in world.workers()} <= {"S", "R"}, "the thaw")
    world.store.with_name("open").touch()
    wait_until(lambda: world.state("e") == "done", "the experiment to end")
    assert world.ask("SELECT state, requeues FROM hx_trial WHERE study_id = 1") == [
        ("COMPLETE", 0),
        ("COMPLETE", 0),
    ]


@linux
@pytest.mark.slow
def test_a_frozen_study_can_be_cancelled_stopped_interrupted_and_lose_its_runner(
    world: World,
) -> None:
    write(world, "wait('open')\nreturn x")
    for name in ("cancel", "stop", "now", "kill"):
        start(world, "--trials", "2", "--workers", "1", name=name)
    wait_until(lambda: len(world.ask("SELECT 1 FROM trial_params")) == 4, "four trials at work")
    workers = world.workers()
    world.hyperion("pause", "--freeze", "*")
    wait_until(lambda: [state_of(pid) for pid in workers] == ["T"] * 4, "all to stand still")

    runner = world.runner(4)
    assert runner is not None
    os.kill(runner, signal.SIGKILL)
    world.hyperion("cancel", "cancel")
    world.hyperion("pause", "now", "--now")
    world.hyperion("stop", "stop")
    wait_until(lambda: world.state("cancel") == "cancelled", "the cancel", 30)
    wait_until(lambda: world.state("now") == "paused", "the interruption", 30)
    wait_until(lambda: sum(map(gone, workers)) == 3, "three stopped processes to die", 30)
    world.store.with_name("open").touch()
    wait_until(lambda: world.state("stop") == "stopped", "the stop")
    # Nobody holds its trial any more, and that is what it says.
    assert world.state("kill") == "pausing"
    world.hyperion("resume", "kill")
    wait_until(lambda: world.state("kill") == "done", "the last one to end")

    assert world.hyperion("show", "stop")["studies"][0]["trials"]["complete"] == 1
    states = world.ask("SELECT state, requeues FROM hx_trial ORDER BY study_id, number")
    assert states[:3] == [("WAITING", 1), ("COMPLETE", 0), ("WAITING", 1)]
    assert states[3:] == [("COMPLETE", 1), ("COMPLETE", 0)]


# -- workers --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fewer_workers_means_that_some_go_home_after_their_trial(world: World) -> None:
    write(world, "time.sleep(0.3)\nreturn x")
    start(world, "--trials", "5000", "--workers", "3")
    wait_until(lambda: len(world.workers()) == 3 and world.finished() > 3, "three at work")

    world.hyperion("resume", "e", "--workers", "1")
    ended = "SELECT end_reason FROM hx_worker WHERE ended_at IS NOT NULL"
    wait_until(lambda: len(world.ask(ended)) == 2, "two to go home", 30)

    assert world.ask(ended) == [("sent home",), ("sent home",)]
    assert world.ask("SELECT sum(requeues) FROM hx_trial") == [(0,)]
    assert len(world.workers()) == 1
    world.hyperion("cancel", "e")


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process, and what it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@linux
@pytest.mark.usefixtures("one_core")
@pytest.mark.slow
def test_two_experiments_share_the_cores_and_one_alone_has_what_it_asked_for(
    world: World,
) -> None:
    def at_work(experiment_id: int) -> int:
        return len(
            world.ask(
                "SELECT 1 FROM hx_worker WHERE ended_at IS NULL AND experiment_id = ?",
                experiment_id,
            )
        )

    write(world, "time.sleep(0.2)\nreturn x")
    start(world, "--trials", "5000", "--workers", "2", name="first")
    wait_until(lambda: at_work(1) == 2, "as many as were asked for")
    start(world, "--trials", "5000", "--workers", "2", name="second")

    wait_until(lambda: (at_work(1), at_work(2)) == (1, 1), "both to have their share")
    assert world.ask("SELECT sum(requeues) FROM hx_trial") == [(0,)]
    world.hyperion("cancel", "second")
    wait_until(lambda: (at_work(1), at_work(2)) == (2, 0), "the first to have it all again")
    world.hyperion("cancel", "first")


def test_a_library_that_can_not_be_imported_ends_its_studies_and_no_other(world: World) -> None:
    broken = world.store.with_name("broken") / "lightgbm"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libgomp.so.1: cannot open it')\n")

    document = world.hyperion(
        *("run", "ridge", "lightgbm", "--data", "diabetes", "--trials", "6", "--workers", "2"),
        *("--pruner", "none"),
        check=None,
        PYTHONPATH=f"{broken.parent}:{os.environ.get('PYTHONPATH', '')}",
    )

    studies = {study["model"]: study for study in document["studies"]}
    assert studies["ridge"]["state"] == "done"
    assert studies["ridge"]["trials"]["complete"] == 6
    assert studies["lightgbm"]["state"] == "failed"
    assert "libgomp.so.1: cannot open it" in studies["lightgbm"]["message"]
    assert world.ask("SELECT count(*) FROM hx_worker") == [(2,)]


@pytest.mark.slow
def test_workers_that_die_at_once_end_the_experiment_with_what_they_said_last(
    world: World,
) -> None:
    write(world, "time.sleep(0.1)\nreturn x")
    start(world, "--trials", "5000", "--workers", "2")
    wait_until(lambda: world.finished() > 1, "some trials")
    world.hyperion("pause", "e")
    wait_until(lambda: world.state("e") == "paused", "the pause")
    wait_until(lambda: world.runner() is None, "its runner, which finds that library, to leave")
    broken = world.store.with_name("broken") / "optuna"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('the licence server is away')\n")

    path = f"{broken.parent}:{os.environ.get('PYTHONPATH', '')}"
    world.hyperion("resume", "e", PYTHONPATH=path)
    wait_until(lambda: world.state("e") == "failed", "it to be given up")

    failure = world.ask("SELECT failure FROM hx_experiment")[0][0]
    assert failure.startswith(
        "its workers can't start: ImportError: the licence server is away; see "
    )
    world.hyperion("resume", "e", "--trials", "6000")
    before = world.finished()
    wait_until(lambda: world.finished() > before, "it to go on once that is mended")
    world.hyperion("cancel", "e")


def test_a_flood_of_output_fills_no_disk_and_stops_no_trial(world: World) -> None:
    write(
        world,
        "line = 'x' * 99 + '\\n'\n"
        "for _ in range(600):\n"
        "    sys.stdout.write(line * 1000)\n"
        "print('the end')\n"
        "return x",
    )

    document = world.hyperion("run", "mine.py:objective", "--trials", "1", "--workers", "1")

    assert document["studies"][0]["trials"]["complete"] == 1
    wait_until(lambda: world.runner() is None, "the runner to leave")
    logs = sorted(world.location.logs(1).glob("worker-*"))
    assert [path.name for path in logs] == ["worker-1.log", "worker-1.log.1"]
    assert sum(path.stat().st_size for path in logs) <= 20 * 1024**2
    assert logs[0].read_bytes().rstrip().endswith(b"the end")


# -- the runner -----------------------------------------------------------------------------------


def test_six_starters_at_once_start_one_runner(world: World) -> None:
    write(world, "wait('open')\nreturn x")
    start(world, "--trials", "1", "--workers", "1")
    wait_until(world.workers, "a worker")
    world.kill_everything()
    code = (
        "import sys\nfrom pathlib import Path\nfrom engines.run.launcher import start_runner\n"
        "from engines.study.location import Location\n"
        "sys.stdin.readline()\nprint(start_runner(Location(Path(sys.argv[1])), 1))\n"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(world.store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=world.store.parent,
        )
        for _ in range(6)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()
    said = {int(starter.communicate(timeout=60)[0]) for starter in starters}

    assert said == {world.runner()}
    wait_until(world.workers, "its worker")
    assert len(world.ask("SELECT 1 FROM hx_runner")) == 2
    world.store.with_name("open").touch()
    wait_until(lambda: world.state("e") == "done", "the experiment to end")


def test_what_is_left_when_a_runner_leaves_is_one_file_and_a_line_in_the_log(world: World) -> None:
    write(world, "return x")
    start(world, "--trials", "5", "--workers", "2")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")
    wait_until(lambda: world.runner() is None, "the runner to leave")

    wal = world.store.with_name("studies.db-wal")
    assert not wal.exists() or wal.stat().st_size == 0
    assert world.ask("SELECT text FROM hx_event ORDER BY seq DESC LIMIT 1") == [
        ("the runner left: nothing left to do",)
    ]


@linux
def test_the_store_is_handed_on_by_the_environment(world: World) -> None:
    write(world, "wait('open')\nreturn x")
    start(world, "--trials", "1", "--workers", "1")
    wait_until(world.workers, "a worker")

    for pid in (world.runner(), world.workers()[0]):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert world.location.shown in words
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert f"HYPERION_STORAGE={world.location.option}" in environment
    world.hyperion("cancel", "e")


def test_time_that_is_used_up_is_said_before_anything_starts(world: World) -> None:
    write(world, "time.sleep(0.05)\nreturn x")
    world.hyperion("run", "mine.py:objective", "--time", "1s", "--workers", "1", "--name", "e")

    for words in (("resume", "e"), ("resume", "e", "--time", "1s"), ("retry", "e/objective")):
        world.hyperion(*words, check=2)
    before = world.finished()
    world.hyperion("resume", "e", "--time", "10m")
    wait_until(lambda: world.finished() > before, "more trials")
    world.hyperion("cancel", "e")


# -- no room --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[World]:
    """A store on a disk of 16 MiB of its own; only root may have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk can't be mounted here")
    world = World(folder / "studies.db")
    try:
        yield world
        world.kill_everything()
    finally:
        deadline = time.monotonic() + 20
        while subprocess.run(["umount", str(folder)], capture_output=True).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@linux
def test_a_full_disk_is_waited_for_and_said(small_disk: World) -> None:
    world = small_disk
    write(world, "time.sleep(0.02)\nreturn x")
    start(world, "--trials", "60", "--workers", "2")
    wait_until(lambda: world.finished() > 3, "some trials")

    filler = world.store.with_name("filler")
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)
            file.flush()
    document = wait_until(
        lambda: (d := world.hyperion("show", "e"))["trouble"] and d, "the trouble to be said"
    )
    assert document["trouble"] == "the disk is full: it goes on by itself when there is space"
    assert document["state"] == "running"
    runner = world.runner()
    filler.unlink()

    wait_until(lambda: world.state("e") == "done", "the experiment to go on and end")
    assert world.runner() in (runner, None)
    document = world.hyperion("show", "e")
    assert document["trouble"] is None
    assert document["studies"][0]["trials"]["complete"] == 60
    assert len(world.ask("SELECT 1 FROM hx_runner")) == 1
