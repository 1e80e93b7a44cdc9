"""Scenarios, each on a world of its own; short and long forms differ in numbers only.

Each returns what it counted and measured. What must hold is asserted.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna

from engines.study.location import Location
from engines.study.store import open_storage
from tests.torture.harness import (
    CHEAP,
    HERE,
    Storm,
    World,
    at_work,
    check,
    goes_on,
    send,
    tagged,
    wait_until,
    watched,
)

# What only fails its own trial (raises, returns NaN or text, exits) is in
# tests/e2e/test_hostile_objectives.py.
HOSTILE = f"{HERE / 'objectives' / 'hostile.py'}:objective"
STUDY = "e/objective"
MODELS = ("ridge", "lightgbm", "--data", "diabetes")
HOUR_S = 3600
LOG_LIMIT_BYTES = 10 * 1024**2
"""What one worker may leave in its logs, as the design says; see `gigabyte`."""


class Missing(Exception):
    """This machine lacks something that a scenario needs."""


def run(world: World, *words: str, goal: int, workers: int, objective: str = CHEAP) -> None:
    """Start the experiment `e` in the background."""
    numbers = ("--trials", str(goal), "--workers", str(workers), "--name", "e")
    world.hyperion("run", objective, *numbers, *words, "--detach")


def run_for(world: World, *words: str, seconds: float, workers: int) -> None:
    """Start `e` with trials of a second at most, enough of them for so long."""
    world.env["HYPERION_TORTURE_LONGEST_S"] = "1.0"
    run(world, *words, goal=30 + round(workers * seconds / 0.5), workers=workers)


def finish(world: World, **allowed: Any) -> dict[str, Any]:
    """Let the trials that are left be quick, wait for the end, and check."""
    goal = world.ask("SELECT goal FROM hx_study")[0][0]
    assert world.finished() < goal, "it ended before the torture did: too few trials"
    (world.record / "hurry").touch()
    world.wait_done()
    return vars(check(world, {STUDY: goal}, **allowed))


# -- kill -9 -------------------------------------------------------------------------------


def storm(world: World, seed: int, kills: int, selectors: tuple[str, ...]) -> dict[str, Any]:
    """Random kill -9 of workers, runner, readers and orders, with `resume` after it."""
    # A worker that trains models imports for seconds: fewer of them, or nobody gets to train.
    workers = 3 if selectors == (CHEAP,) else 2
    return Storm(world, random.Random(seed), selectors, workers=workers).run(kills)


# -- processes that stop -------------------------------------------------------------------


def stopped_lock_holder(world: World, seconds: float) -> dict[str, Any]:
    """Another program takes the write lock and is stopped; everybody waits, nobody dies."""
    run_for(world, seconds=20, workers=3)
    workers, runner = at_work(world, 5, 3), world.runner()
    holder = world.start(
        str(HERE / "holder.py"), str(world.store), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    send(holder.pid, signal.SIGSTOP)
    held = world.finished()
    for _ in watched(seconds):
        assert world.finished() == held, "somebody wrote without the lock"
    assert [e["state"] for e in world.hyperion("list")] == ["running"]
    assert sorted(world.pids("worker")) == sorted(workers)
    assert world.runner() == runner
    send(holder.pid, signal.SIGCONT)
    holder.communicate(timeout=60)
    goes_on(world)
    assert sorted(world.pids("worker")) == sorted(workers)
    assert world.runner() == runner
    return {"held_s": seconds, **finish(world)}


def stopped_worker(world: World, seconds: float, turns: int, seed: int) -> dict[str, Any]:
    """Workers are stopped in mid-trial, maybe with the write lock, and go on later."""
    rng = random.Random(seed)
    run_for(world, seconds=seconds + 20 + 2 * turns, workers=3)
    workers, runner = at_work(world, 5, 3), world.runner()
    for turn in range(turns):
        victim = rng.choice(workers)
        send(victim, signal.SIGSTOP)
        # The first stop is the long one; the others are to hit the write lock now and then.
        time.sleep(seconds if turn == 0 else rng.uniform(0.0, 0.3))
        send(victim, signal.SIGCONT)
        goes_on(world)
    assert sorted(world.pids("worker")) == sorted(workers), "a worker was lost"
    assert world.runner() == runner
    return {"stopped_s": seconds, "turns": turns, **finish(world)}


def stopped_runner(world: World, seconds: float) -> dict[str, Any]:
    """A stopped runner keeps its lock: nobody takes its place, and it goes on later."""
    run_for(world, seconds=seconds + 20, workers=2)
    workers, runner = at_work(world, 5, 2), world.runner()
    assert runner is not None
    send(runner, signal.SIGSTOP)
    world.hyperion("resume", "e")
    send(workers[0], signal.SIGKILL)
    time.sleep(seconds)
    assert world.runner() == runner
    assert world.pids("runner") == [runner]
    send(runner, signal.SIGCONT)
    wait_until(lambda: not world.orphans(), "the dead worker's trial to be put back", 5)
    goes_on(world)
    assert world.runner() == runner
    return {"stopped_s": seconds, **finish(world, killed=1)}


# -- clocks --------------------------------------------------------------------------------


def build_clock(folder: Path) -> Path:
    """The library that gives each process a clock that can be set; raises Missing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise Missing("a C compiler on Linux")
    library = folder / "clock.so"
    words = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-o",
        str(library),
        str(HERE / "clock.c"),
        "-ldl",
        "-lpthread",
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


def clock_jumps(folder: Path) -> dict[str, Any]:
    """The wall clock of single processes jumps by an hour, forth and back, under budgets."""
    clocks = folder / "clocks"
    clocks.mkdir(parents=True)
    library = build_clock(folder)
    world = World(folder / "world", HYPERION_TORTURE_CLOCKS=str(clocks), LD_PRELOAD=str(library))

    def jump(pid: int, seconds: int) -> None:
        with (clocks / str(pid)).open("r+b") as file:
            file.write(struct.pack("q", seconds))

    with ended(world):
        run_for(world, "--time", "20m", "--trial-time", "60s", seconds=30, workers=2)
        workers, runner = at_work(world, 5, 2), world.runner()
        assert runner is not None
        jumps = [(workers[0], HOUR_S), (runner, HOUR_S), (runner, -HOUR_S), (workers[1], -HOUR_S)]
        for pid, seconds in jumps:
            jump(pid, seconds)
            goes_on(world, 5)
            time.sleep(1.2)  # the runner adds up time once a second
        assert sorted(world.pids("worker")) == sorted(workers)
        assert world.runner() == runner
        used = world.ask("SELECT time_used_s FROM hx_experiment")[0][0]
        assert 0 < used < 300, f"{used} s of the budget are used"
        # A runner that dies in the past is followed by one in the present.
        send(runner, signal.SIGKILL)
        wait_until(lambda: not world.pids("worker"), "the workers to die with it", 10)
        world.hyperion("resume", "e")
        goes_on(world)
        skewed = _skewed(world)
        assert len(skewed) >= 2, "no worker lived in another hour: the clocks did not jump"
        return {"skewed_workers": len(skewed), **finish(world, killed=2)}


def _skewed(world: World) -> set[int]:
    """Workers that noted something in another hour than the file system did."""
    found = set()
    for file in world.record.glob("*.jsonl"):
        written = file.stat().st_mtime
        for line in file.read_text().splitlines():
            note = json.loads(line)
            if abs(note["clock"] - written) > HOUR_S / 2:
                found.add(note["pid"])
    return found


# -- no room -------------------------------------------------------------------------------


@contextlib.contextmanager
def ended(world: World) -> Iterator[World]:
    """End the world's processes, whatever happens."""
    try:
        yield world
    finally:
        world.end()


@contextlib.contextmanager
def small_disk(folder: Path, mib: int = 8) -> Iterator[Path]:
    """A tmpfs of that size; raises Missing where mounting is not allowed."""
    place = folder / "disk"
    place.mkdir(parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    words = [b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={mib}m,mode=0700".encode()]
    if not sys.platform.startswith("linux") or libc.mount(*words) != 0:
        raise Missing(f"the right to mount a small disk ({os.strerror(ctypes.get_errno())})")
    try:
        yield place
    finally:
        assert libc.umount2(os.fsencode(place), 2) == 0


def fill(ballast: Path) -> None:
    """Write until the disk is full, to the last byte."""
    size = 1024**2
    with ballast.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2


def disk_full(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """The store's disk fills up under running trials; after room is made, all goes on."""
    with small_disk(folder) as place:
        world = World(folder / "world", place / "studies.db")
        ballast = place / "ballast"
        with ended(world):
            return _without_room(world, seconds, rounds, lambda: fill(ballast), ballast.unlink)


def file_limit(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """The same with a limit on the size of files, where no disk can be mounted."""
    world = World(folder / "world")

    def limit(size: int) -> None:
        for process in tagged(world.tag):
            with contextlib.suppress(ProcessLookupError):
                hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))

    with ended(world):
        return _without_room(
            world, seconds, rounds, lambda: limit(4096), lambda: limit(resource.RLIM_INFINITY)
        )


def _without_room(
    world: World,
    seconds: float,
    rounds: int,
    fill_up: Callable[[], object],
    make_room: Callable[[], object],
) -> dict[str, Any]:
    run_for(world, seconds=rounds * (seconds + 10) + 20, workers=2)
    workers, runner = at_work(world, 5, 2), world.runner()
    stood_still = 0.0
    for _ in range(rounds):
        fill_up()
        full_at, still = world.finished(), 0.0
        for _ in watched(seconds):
            now = world.finished()
            still = still + 0.2 if now == full_at else 0.0
            full_at = now
            assert sorted(world.pids("worker")) == sorted(workers), "a worker died"
            assert world.runner() == runner, "the runner died"
        stood_still = max(stood_still, still)
        assert [e["name"] if "name" in e else e["experiment"] for e in world.hyperion("list")] == [
            "e"
        ]
        make_room()
        goes_on(world)
        assert sorted(world.pids("worker")) == sorted(workers), "a worker died"
        assert world.runner() == runner, "the runner died"
    assert stood_still > 0, "the disk never stopped anybody: nothing was tested"
    return {"full_s": seconds, "rounds": rounds, "still_s": stood_still, **finish(world)}


# -- many at once --------------------------------------------------------------------------


def first_opens(folder: Path, rounds: int, processes: int = 8) -> dict[str, Any]:
    """Processes open a new store at the same moment; all of them get it."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(HERE / "openers.py"), str(folder), str(rounds), str(processes)],
        capture_output=True,
        text=True,
        timeout=60 + 5 * rounds,
        cwd=HERE.parents[1],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", done.stdout
    for number in range(rounds):
        world = World(folder / "worlds", folder / str(number) / "new.db")
        assert world.ask("PRAGMA integrity_check") == [("ok",)]
        assert world.ask("SELECT count(*) FROM alembic_version") == [(1,)]
        numbers = [row[0] for row in world.ask("SELECT number FROM hx_migration ORDER BY 1")]
        assert numbers == list(range(1, len(numbers) + 1))
    return {"opens": rounds * processes}


def first_runs(world: World, commands: int) -> dict[str, Any]:
    """Commands that each begin an experiment, on a store that none of them finds."""
    words = ("--trials", "3", "--workers", "1", "--detach")
    started = [
        world.command("run", CHEAP, *words, "--name", f"e{number}", stderr=subprocess.PIPE)
        for number in range(commands)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * commands, said
    for number in range(commands):
        world.wait_done(f"e{number}")
    return vars(check(world, {f"e{number}/objective": 3 for number in range(commands)}))


def queued(world: World, trials: int, workers: int) -> dict[str, Any]:
    """Queued trials against many workers: each runs once, and every worker leaves in peace."""
    run(world, goal=1, workers=1)
    world.wait_done()
    storage = open_storage(Location(world.store))
    try:
        study = optuna.load_study(study_name=STUDY, storage=storage)
        for number in range(trials):
            study.enqueue_trial({"x": number / trials, "y": 1 + number % 9, "kind": "sine"})
    finally:
        storage.close()
    words = ("--trials", str(trials + 1), "--workers", str(workers))
    world.hyperion("resume", "e", *words)
    world.wait_done()
    facts = vars(check(world, {STUDY: trials + 1}))
    ran = [note["number"] for note in world.notes("began")]
    assert sorted(ran) == list(range(trials + 1)), "a trial ran twice, or never"
    asked = [note["params"]["x"] for note in world.notes("ran") if note["number"] > 0]
    assert sorted(asked) == [number / trials for number in range(trials)]
    reasons = world.ask("SELECT end_reason, count(*) FROM hx_worker GROUP BY 1")
    assert [reason for reason, _ in reasons] == ["no more work"], reasons  # they exited with 0
    return {"queued": trials, "workers": workers, "left": reasons[0][1], **facts}


def starters(world: World, commands: int) -> dict[str, Any]:
    """Several commands bring back one experiment: one runner comes of it."""
    run_for(world, seconds=25, workers=2)
    at_work(world, 5, 2)
    send(world.runner() or 0, signal.SIGKILL)
    wait_until(lambda: not world.pids("worker"), "the workers to die with their runner", 10)
    started = [world.command("resume", "e", stderr=subprocess.PIPE) for _ in range(commands)]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * commands, said
    goes_on(world)
    assert len(world.pids("runner")) == 1
    assert world.ask("SELECT count(*) FROM hx_runner") == [(2,)], "one before, one after"
    assert len(world.pids("worker")) <= 2
    return {"commands": commands, **finish(world, killed=2)}


def three_deaths(world: World) -> dict[str, Any]:
    """A runner that dies three times is given up, with its log named; `resume` forgives."""
    world.env["HYPERION_TORTURE_LONGEST_S"] = "1.0"
    words = ("--trials", "200", "--workers", "1", "--name", "e", "--json")
    person = world.command("run", CHEAP, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    dead: set[int] = set()

    def another() -> int | None:
        runner = world.runner() if world.store.exists() else None
        # Registered: else its death can't be counted.
        known = runner and world.ask("SELECT 1 FROM hx_runner WHERE pid = ?", runner)
        return runner if known and runner not in dead else None

    for _ in range(3):
        runner = wait_until(another, "a runner", 30)
        send(runner, signal.SIGKILL)
        dead.add(runner)
    out, err = person.communicate(timeout=60)
    assert person.returncode in (0, 1), err
    document = json.loads(out)
    assert document["state"] == "failed", document["state"]
    failure = world.ask("SELECT failure FROM hx_experiment")[0][0]
    assert str(world.location.logs(1) / "runner.log") in failure, failure
    assert world.runner() is None
    world.hyperion("resume", "e")
    goes_on(world)
    return finish(world, killed=3)


# -- hostile objectives --------------------------------------------------------------------

HARMLESS = (
    "close_standard",
    "lose_folder",
    "ignore_signals",
    "delete_logs",
    "forget_environment",
    "mute_python",
)
HARMFUL = ("segfault", "close_all", "no_files", "hang")


def parade(folder: Path, acts: tuple[str, ...]) -> dict[str, Any]:
    """Objectives that wreck their own process: the next trial runs in a sound one."""
    with ended(_hostile_world(folder, acts)) as world:
        run(world, "--trial-time", "5s", goal=len(acts) + 3, workers=2, objective=HOSTILE)
        world.wait_done()
        rows = world.ask("SELECT state, error_message FROM hx_trial ORDER BY number")
        ended_as = dict(zip(acts, rows, strict=False))
        for act in acts:
            expected = "FAIL" if act in HARMFUL else "COMPLETE"
            assert ended_as[act][0] == expected, (act, ended_as)
        assert all(state == "COMPLETE" for state, _ in rows[len(acts) :]), rows
        _check_sound(world, len(acts) + 3)
        return {act: ended_as[act][1] or ended_as[act][0] for act in acts}


def _hostile_world(folder: Path, acts: tuple[str, ...]) -> World:
    world = World(folder / "world")
    world.env |= {
        "HYPERION_TORTURE_ACTS": ",".join(acts),
        "HYPERION_TORTURE_LOGS": str(world.location.logs(1)),
    }
    return world


def _check_sound(world: World, goal: int) -> None:
    assert world.ask("PRAGMA integrity_check") == [("ok",)]
    states = dict(world.ask("SELECT state, count(*) FROM trials GROUP BY 1"))
    assert set(states) <= {"COMPLETE", "FAIL"}, states
    assert sum(states.values()) == goal
    wait_until(lambda: world.runner() is None, "the runner to leave", 10)


def grandchildren(folder: Path) -> dict[str, Any]:
    """What a trial has started ends with its worker, in whatever session it hides."""
    with ended(_hostile_world(folder, ("breed", "breed_and_hang"))) as world:
        # A length of sleep that nothing else asks for finds those with an empty environment.
        length = f"3600.{random.randrange(10**9):09}"
        world.env["HYPERION_TORTURE_SLEEP"] = length
        run(world, "--trial-time", "4s", goal=4, workers=1, objective=HOSTILE)
        most = 0

        def done() -> bool:
            nonlocal most
            most = max(most, len(world.strays()) + len(_sleepers(length)))
            return world.state("e") == "done" and world.runner() is None

        try:
            wait_until(done, "the experiment to end", 60)
            assert most >= 30, f"{most} grandchildren were ever seen: nothing was tested"
            wait_until(
                lambda: not world.strays() and not _sleepers(length), "the last grandchild", 5
            )
        finally:
            for pid in _sleepers(length):
                send(pid, signal.SIGKILL)
        _check_sound(world, 4)
        return {"most": most, "left": 0}


def _sleepers(length: str) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if length in Path(f"/proc/{entry}/cmdline").read_text(errors="replace"):
                    found.append(int(entry))
    return found


def gigabyte(folder: Path) -> dict[str, Any]:
    """An objective prints a gigabyte: its log keeps a bounded end of it."""
    with ended(_hostile_world(folder, ("gigabyte",))) as world:
        run(world, goal=3, workers=1, objective=HOSTILE)
        peak = 0

        def done() -> bool:
            nonlocal peak
            peak = max(peak, _used(world.location.logs(1)))
            return world.state("e") == "done" and world.runner() is None

        wait_until(done, "the experiment to end", 120)
        left = _used(world.location.logs(1))
        assert peak < 30 * LOG_LIMIT_BYTES, f"{peak / 1e6:.0f} MB of logs at one time"
        assert left <= 2 * LOG_LIMIT_BYTES, f"{left / 1e6:.0f} MB of logs are left"
        rows = world.ask("SELECT state FROM trials")
        assert rows == [("COMPLETE",)] * 3, rows
        _check_sound(world, 3)
        return {"peak_mb": round(peak / 1e6, 1), "left_mb": round(left / 1e6, 1)}


def _used(folder: Path) -> int:
    """Bytes on disk, of files that vanish while one looks as well."""
    total = 0
    for file in folder.glob("**/*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_blocks * 512
    return total


def memory(folder: Path) -> dict[str, Any]:
    """An objective eats memory: it is killed at its limit, and the next one runs."""
    with ended(_hostile_world(folder, ("eat",))) as world:
        run(world, "--trial-memory", "600M", goal=3, workers=1, objective=HOSTILE)
        world.wait_done()
        rows = world.ask("SELECT state, error_class, error_message FROM hx_trial ORDER BY number")
        assert [row[0] for row in rows] == ["FAIL", "COMPLETE", "COMPLETE"], rows
        assert rows[0][1] == "MemoryLimit", rows
        _check_sound(world, 3)
        return {"message": rows[0][2]}


def what_is_left_running(folder: Path) -> dict[str, Any]:
    """A thread or an exit handler that never ends does not keep the experiment from ending."""
    with ended(_hostile_world(folder, ("leave_thread", "hang_at_exit"))) as world:
        run(world, goal=4, workers=2, objective=HOSTILE)
        wait_until(lambda: world.state("e") == "done", "the experiment to be done", 60)
        done = time.monotonic()
        wait_until(lambda: not tagged(world.tag), "its processes to leave", 60)
        _check_sound(world, 4)
        return {"left_after_s": round(time.monotonic() - done, 1)}
