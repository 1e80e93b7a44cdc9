"""Trees of real processes: found, measured, stopped, killed, and never left behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.run import process, tree
from engines.run.hands import LOG_LOCKS, Hand

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="asks /proc; elsewhere only groups are reached"
)

FAMILY = """
import os, subprocess, sys, threading, time
SLEEP = "import time; {}time.sleep(600)"
def start():
    # Its child has a session of its own and is started by a thread that is not the first one.
    code = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', " \\
        + repr(SLEEP.format("x = bytearray(60_000_000); ")) \\
        + "], start_new_session=True).pid, flush=True); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    time.sleep(600)
threading.Thread(target=start, daemon=True).start()
time.sleep(600)
"""


def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """(a process, its grandchild, which has left its group and its session)."""
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True, process_group=0
    ) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        yield parent.pid, grandchild
        tree.kill(parent.pid)
        parent.wait()


def test_a_tree_reaches_through_threads_sessions_and_generations(family: tuple[int, int]) -> None:
    parent, grandchild = family

    assert len(tree.members(parent)) == 3
    assert tree.members(parent)[-1] == grandchild
    assert os.getpgid(grandchild) != os.getpgid(parent)


def test_memory_of_a_tree_is_that_of_all_its_processes(family: tuple[int, int]) -> None:
    parent, grandchild = family
    until(lambda: tree.memory_mib(grandchild) > 57)

    assert tree.memory_mib(parent) > 57
    assert tree.memory_mib(parent, above=20.0) > 57
    assert tree.memory_mib(2**22 + 1, [grandchild]) > 57


def test_a_stopped_tree_stands_still_whole_and_goes_on_whole(family: tuple[int, int]) -> None:
    parent, _ = family
    members = tree.members(parent)

    assert tree.stop(parent)
    assert {state_of(pid) for pid in members} == {"T"}
    tree.go_on(parent)
    until(lambda: {state_of(pid) for pid in members} <= {"S", "R"})


READING = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for reading in sys.stdin:
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM t").fetchall()
    print("reads", flush=True)
    time.sleep(float(reading))
    connection.execute("COMMIT")
    print("has read", flush=True)
"""


def test_a_worker_that_reads_the_store_is_not_stopped_in_the_middle_of_it(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    writer = sqlite3.connect(store, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (a)")
    with subprocess.Popen(
        [sys.executable, "-c", READING, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(b"0.02\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == b"reads\n"
        assert tree.has_locked(reader.pid, (), tmp_path / "s.db-shm", *LOG_LOCKS)

        Hand(reader, 1, 1).stand_still(0.0, "now", store)

        assert state_of(reader.pid) == "T"
        assert not tree.has_locked(reader.pid, (), tmp_path / "s.db-shm", *LOG_LOCKS)
        writer.execute("INSERT INTO t VALUES (1)")
        busy = writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        assert not busy
        reader.kill()
        reader.communicate()
    writer.close()


def test_a_killed_tree_leaves_nobody(family: tuple[int, int]) -> None:
    parent, _ = family
    members = tree.members(parent)

    tree.kill(parent)

    assert tree.wait_until_gone(members, within_s=10.0)
    assert {state_of(pid) for pid in members} <= {"gone", "Z"}


def test_a_stopped_tree_can_be_killed(family: tuple[int, int]) -> None:
    parent, _ = family
    members = tree.members(parent)
    tree.stop(parent)

    tree.kill(parent)

    assert tree.wait_until_gone(members, within_s=10.0)


def test_processor_time_of_a_tree_grows_with_its_work() -> None:
    code = "import time\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], process_group=0) as child:
        before = tree.processor_ticks(child.pid)
        until(lambda: tree.processor_ticks(child.pid) > before + 5)
        tree.kill(child.pid)


def test_a_process_is_found_by_its_mark() -> None:
    mark = os.fsdecode(b"/a store\xff/%d:7:" % os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={tree.TAG: f"{mark}12"}
    ) as child:
        until(lambda: tree.tagged(mark) == [child.pid])
        assert tree.owner_of(child.pid, mark) == 12
        assert tree.owner_of(os.getpid(), mark) is None
        # A path that is longer by what looks like a number of an experiment.
        assert tree.owner_of(child.pid, mark.removesuffix("7:")) is None
        child.communicate(b"\n")
    assert tree.tagged(mark) == []


def test_a_mark_is_of_one_folder_and_not_of_another_one_of_that_name(tmp_path: Path) -> None:
    folder = tmp_path / "studies.db.d"
    folder.mkdir()
    mark = tree.mark_of(folder, 7)

    assert tree.mark_of(folder, 7) == mark
    assert tree.mark_of(folder, 8) != mark
    folder.rename(tmp_path / "elsewhere")  # as in a container, which sees other folders
    folder.mkdir()
    assert tree.mark_of(folder, 7) != mark


WORKER = """
import os, sys
from engines.run import process
process.die_with(int(sys.argv[1]))
try:
    input()
except EOFError:
    print("nothing to read", flush=True)
while not process.asked_to_leave():
    pass
print(process.frozen_s(), flush=True)
"""


def test_a_worker_hears_what_its_runner_says_and_its_objective_does_not() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"nothing to read\n"
        worker.stdin.write(process.FROZEN % 2.5 + process.FROZEN % 4)
        worker.stdin.write(process.LEAVE)
        worker.stdin.flush()
        assert worker.stdout.readline() == b"6.5\n"
        assert worker.wait(20) == 0


def test_a_worker_ends_with_its_runner_even_when_it_is_stopped() -> None:
    middle = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {WORKER!r}, str(os.getpid())],\n"
        "    stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        worker = int(runner.stdout.readline())
        os.kill(worker, signal.SIGSTOP)
        until(lambda: state_of(worker) == "T")
        runner.kill()
    until(lambda: state_of(worker) in ("gone", "Z"))


GUARDED = """
import os, subprocess, sys, time
from engines.run import guardian, tree
child = os.fork()
if child:
    guardian.become(child)
tree.adopt_orphans()
code = "import os, subprocess, sys; " \\
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], " \\
    "start_new_session=True, env={}).pid, flush=True)"
subprocess.run([sys.executable, "-c", code])  # an orphan with no mark, in its own session
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_runner_that_is_killed(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GUARDED], stdout=subprocess.PIPE, text=True
    ) as guardian:
        assert guardian.stdout is not None
        orphan, runner = int(guardian.stdout.readline()), int(guardian.stdout.readline())
        assert state_of(orphan) in "SR"
        until(lambda: "guardian" in Path(f"/proc/{guardian.pid}/cmdline").read_text())

        os.kill(runner if number == signal.SIGKILL else guardian.pid, number)

        assert guardian.wait(20) == 128 + number
    assert state_of(orphan) in ("gone", "Z")
