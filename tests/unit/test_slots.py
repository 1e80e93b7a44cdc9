"""Cores shared by locks between processes, and what a lock file says besides who lives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.run import slots
from engines.run.slots import Cores
from engines.run.space import Space, free_mib
from engines.study.locks import is_waiting_for_space, runner_pid, take_runner_lock
from tests.unit.speaking import Other

BEGIN = """
from pathlib import Path
from engines.run.slots import Cores
from engines.run.space import Space
from engines.study.locks import take_runner_lock
cores = Cores(Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[int], Other]]:
    started: list[Other] = []

    def start(cores: int) -> Other:
        started.append(Other(BEGIN, tmp_path, cores))
        started[-1].ask("None")
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Cores]:
    cores = Cores(tmp_path, 2)
    yield cores
    cores.close()


def test_one_experiment_alone_has_as_many_workers_as_it_was_asked_for(mine: Cores) -> None:
    for count in range(5):
        assert mine.may_start(count)
        mine.settle(count + 1, 5)

    assert len(mine.held) == 2
    assert not mine.must_give(5)


def test_every_experiment_has_one_worker_however_many_there_are(
    mine: Cores, other: Callable[[int], Other]
) -> None:
    mine.settle(2, 2)
    second, third = other(2), other(2)

    for each in (second, third):
        assert each.ask("cores.may_start(0)")
        each.ask("cores.settle(1, 2)")
        assert not each.ask("cores.may_start(1)")


def test_who_has_more_than_a_share_gives_to_who_has_less_and_takes_back_later(
    mine: Cores, other: Callable[[int], Other]
) -> None:
    mine.settle(2, 2)
    second = other(2)
    assert not mine.must_give(2)  # it has asked for nothing
    second.ask("cores.settle(1, 2)")
    assert mine.must_give(2)

    mine.settle(1, 2)  # one went home
    assert not mine.may_start(1)  # what was given is not taken back at once
    second.ask("cores.settle(1, 2)")
    assert second.ask("len(cores.held)") == 1
    assert not second.ask("cores.hungry")
    assert not mine.must_give(1)
    assert not mine.may_start(1)
    assert not second.ask("cores.may_start(1)")

    second.end()
    assert mine.may_start(1)
    assert len(mine.held) == 2


def test_who_wants_one_worker_gets_a_core_for_it(
    mine: Cores, other: Callable[[int], Other]
) -> None:
    mine.settle(2, 2)
    second = other(2)
    assert second.ask("cores.may_start(0)")
    second.ask("cores.settle(1, 1)")
    assert mine.must_give(2)

    mine.settle(1, 2)
    second.ask("cores.settle(1, 1)")
    assert second.ask("len(cores.held)") == 1
    assert not mine.must_give(1)
    assert not mine.may_start(1)


def test_cores_that_an_experiment_has_no_use_for_are_used_by_others(
    mine: Cores, other: Callable[[int], Other]
) -> None:
    second = other(2)
    second.ask("cores.settle(0, 0)")

    assert mine.may_start(0)
    mine.settle(1, 2)
    assert mine.may_start(1)
    mine.settle(2, 2)
    assert not mine.must_give(2)


def test_a_folder_that_can_not_be_used_shares_nothing_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    cores = Cores(tmp_path / "file" / "folder", 1)

    assert all(cores.may_start(count) for count in range(4))
    cores.settle(3, 4)
    assert not cores.must_give(3)
    cores.close()


def test_runners_of_one_person_agree_on_a_folder(tmp_path: Path) -> None:
    runtime = str(tmp_path)

    def folder(**environment: str) -> Path:
        return slots.shared_folder(environment)

    assert folder(XDG_RUNTIME_DIR=runtime) == tmp_path / "hyperion-tui"
    assert folder(XDG_RUNTIME_DIR=runtime, HYPERION_HOME="/h") == Path("/h/run")
    assert folder(XDG_RUNTIME_DIR="/no/such", HYPERION_HOME="/h") == Path("/h/run")


# -- room on the disk -----------------------------------------------------------------------------


def test_a_runner_says_by_a_lock_that_it_waits_for_room(
    tmp_path: Path, other: Callable[[int], Other]
) -> None:
    lock = tmp_path / "runner.lock"
    runner = other(1)
    assert not is_waiting_for_space(lock)
    runner.ask(f"globals().update(d=take_runner_lock(Path({str(lock)!r})))")
    runner.ask("globals().update(space=Space(Path('/'), d))")
    assert runner_pid(lock) == runner.process.pid
    assert not is_waiting_for_space(lock)

    runner.ask("space.wait()")
    assert is_waiting_for_space(lock)
    assert runner_pid(lock) == runner.process.pid
    assert take_runner_lock(lock) is None
    runner.ask("space.go_on()")
    assert not is_waiting_for_space(lock)
    assert runner_pid(lock) == runner.process.pid

    runner.ask("space.wait()")
    runner.end()
    assert not is_waiting_for_space(lock)
    assert runner_pid(lock) is None


def test_free_room_is_known_before_a_folder_exists(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)

    assert 0 < free_mib(tmp_path / "not" / "yet") <= disk.f_blocks * disk.f_frsize / 1024**2
    assert not Space(tmp_path).is_short()
