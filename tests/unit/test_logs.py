"""Logs of workers: capped however much is printed, whole however the printer ends."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.run import logs
from engines.run.logs import CappedFile, LogKeeper, older

CAP = 200_000


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[LogKeeper]:
    keeper = LogKeeper(tmp_path / "logs", CAP)
    yield keeper
    keeper.close()


def printing(keeper: LogKeeper, slot: int, code: str) -> int:
    """Run a program in a slot to its end; returns its exit code."""
    output = keeper.pipe(slot)
    try:
        done = subprocess.run([sys.executable, "-c", code], stdout=output, stderr=output)
    finally:
        os.close(output)
    keeper.last_line(slot)
    return done.returncode


def test_what_a_worker_prints_is_in_its_log(keeper: LogKeeper) -> None:
    printing(keeper, 1, "import sys; print('one'); print('two', file=sys.stderr)")
    printing(keeper, 2, "print('other')")
    printing(keeper, 1, "print('three')")

    assert sorted(keeper.path(1).read_text().split()) == ["one", "three", "two"]
    assert keeper.path(1).read_text().endswith("three\n")
    assert keeper.path(2).read_text() == "other\n"
    assert keeper.path(1).stat().st_mode & 0o777 == 0o600


def test_the_last_words_of_a_process_that_kills_itself_are_kept(keeper: LogKeeper) -> None:
    code = "import os; os.write(2, b'terminate called\\nwhat(): no memory\\n\\n'); os.abort()"

    assert printing(keeper, 1, code) < 0

    assert keeper.last_line(1) == "what(): no memory"
    assert keeper.last_line(7) == ""


def test_a_flood_is_kept_to_two_caps_and_its_end_is_there(keeper: LogKeeper) -> None:
    code = (
        "import sys\nline = 'x' * 99 + '\\n'\n"
        "for _ in range(300): sys.stdout.write(line * 1000)\nprint('the end')"
    )

    printing(keeper, 1, code)

    sizes = [path.stat().st_size for path in (keeper.path(1), older(keeper.path(1)))]
    assert all(0 < size <= CAP for size in sizes)
    assert keeper.last_line(1) == "the end"


def test_a_log_that_can_not_be_written_stops_nobody(
    keeper: LogKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one device that is always full.
    keeper.folder.mkdir(parents=True)
    keeper.path(1).symlink_to("/dev/full")

    assert printing(keeper, 1, "print('x' * 3_000_000)") == 0


def test_a_child_that_outlives_a_worker_does_not_hold_up_the_log(keeper: LogKeeper) -> None:
    output = keeper.pipe(1)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=output
    ) as child:
        os.close(output)
        started = time.monotonic()
        assert keeper.last_line(1, wait_s=0.1) == ""
        assert time.monotonic() - started < 5
        child.communicate(b"\n")


def test_a_file_begins_anew_at_its_cap(tmp_path: Path) -> None:
    file = CappedFile(tmp_path / "a.log", 100)
    for number in range(25):
        file.write(b"%09d\n" % number)
    file.write(b"y" * 250)
    file.close()

    assert (tmp_path / "a.log").read_bytes() == b"y" * 100
    assert (tmp_path / "a.log.1").read_bytes().split()[-1] == b"000000024"


def test_a_runner_s_own_log_is_put_aside_at_its_cap(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    log.write_bytes(b"x" * 99)
    assert not logs.rotate_if_large(log, 100)
    log.write_bytes(b"x" * 100)
    assert logs.rotate_if_large(log, 100)
    assert not log.exists()
    assert older(log).stat().st_size == 100
    assert not logs.rotate_if_large(tmp_path / "absent.log", 100)


def test_a_process_goes_on_writing_into_its_new_log(tmp_path: Path) -> None:
    log = tmp_path / "runner.log"
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom engines.run import logs\n"
        "os.write(1, b'a' * 100)\nassert logs.renew_output(Path(sys.argv[1]), 100)\n"
        "os.write(1, b'b')\nos.write(2, b'c')\n"
    )
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", code, str(log)], stdout=output, check=True)

    assert older(log).read_bytes() == b"a" * 100
    assert log.read_bytes() == b"bc"


def test_logs_that_nobody_has_written_to_for_a_month_go_away(tmp_path: Path) -> None:
    old = time.time() - 31 * 86400
    for name in ("1/worker-1.log", "1/worker-1.log.1", "1/runner.log", "2/worker-1.log"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        if name != "1/runner.log":
            os.utime(path, (old, old))

    assert logs.forget_old(tmp_path) == 3
    assert [p.name for p in tmp_path.glob("*/*")] == ["runner.log"]


def test_a_worker_that_can_have_no_log_costs_no_descriptors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    keeper = LogKeeper(tmp_path / "file" / "logs")
    before = os.listdir("/dev/fd")

    for _ in range(5):
        with pytest.raises(OSError, match="logs"):
            keeper.pipe(1)

    assert len(os.listdir("/dev/fd")) == len(before)
    keeper.close()


def test_a_log_that_can_not_begin_anew_goes_on_when_it_can_again(tmp_path: Path) -> None:
    file = CappedFile(tmp_path / "a.log", 100)
    file.write(b"x" * 90)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))  # nothing can be opened
    try:
        file.write(b"y" * 90)
        file.write(b"y" * 90)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    os.fstat(file.descriptor)  # still its own
    file.write(b"z" * 90)
    file.close()

    assert (tmp_path / "a.log").read_bytes() == b"z" * 90
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 90
