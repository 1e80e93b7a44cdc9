"""One training at a time on the GPU: turns between processes, and what workers claim without."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.run import gpu, worker
from engines.run.context import Context
from engines.run.gpu import Turn, models_of_gpu, trains_on_gpu
from engines.run.tree import is_stopped
from engines.run.worker import Worker
from engines.study.claims import claim
from engines.study.endings import HeldOut, close_study
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from tests.unit.building import (
    add_worker,
    experiment_plan,
    new_store,
    opened,
    run_job,
    study_plan,
)
from tests.unit.speaking import Other

BEGIN = """
from pathlib import Path
from engines.run.gpu import Turn
turn = Turn(Path(sys.argv[1]))
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[], Other]]:
    started: list[Other] = []

    def start() -> Other:
        started.append(Other(BEGIN, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Turn]:
    turn = Turn(tmp_path)
    yield turn
    turn.close()


def test_one_process_at_a_time_has_the_turn_and_they_take_it_in_turns(
    mine: Turn, other: Callable[[], Other]
) -> None:
    assert mine.take()
    second, third = other(), other()
    assert not second.ask("turn.take()")
    assert not third.ask("turn.take()")

    mine.leave()
    assert not mine.take()  # the second is next, and comes before who has just trained
    assert not third.ask("turn.take()")
    assert second.ask("turn.take()")

    second.ask("turn.leave()")
    assert mine.take() + third.ask("turn.take()") == 1


def test_the_turn_is_free_when_its_holder_is_killed_and_so_is_the_place_in_line(
    mine: Turn, other: Callable[[], Other]
) -> None:
    first, second = other(), other()
    assert first.ask("turn.take()")
    assert not second.ask("turn.take()")

    second.end()
    assert not mine.take()
    first.end()
    assert mine.take()


def test_who_steps_out_of_the_line_lets_the_next_one_in(
    mine: Turn, other: Callable[[], Other]
) -> None:
    second, third = other(), other()
    assert second.ask("turn.take()")
    assert not third.ask("turn.take()")
    third.ask("turn.leave()")
    second.ask("turn.leave()")

    assert mine.take()


def test_others_go_past_a_worker_that_was_frozen(mine: Turn, other: Callable[[], Other]) -> None:
    frozen, third = other(), other()
    assert frozen.ask("turn.take()")
    frozen.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.process.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(frozen.process.pid)

    assert mine.take()
    assert not third.ask("turn.take()")  # one trains past it, not all
    frozen.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while is_stopped(frozen.process.pid) and time.monotonic() < deadline:
        pass
    mine.leave()
    assert not mine.take()
    frozen.ask("turn.leave()")
    assert third.ask("turn.take()")


def test_a_folder_that_can_not_be_used_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    turn = Turn(tmp_path / "file" / "folder")

    assert turn.take()
    turn.leave()
    assert turn.take()


def test_networks_train_on_a_gpu_where_it_was_asked_for_or_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert trains_on_gpu("cuda")
    assert not trains_on_gpu("cpu")

    cuda = SimpleNamespace(is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(gpu, "_DRIVERS", ("/no/such/driver",))
    assert not trains_on_gpu(None)  # torch was not asked: to load it takes seconds
    monkeypatch.setattr(gpu, "_DRIVERS", ("/dev/null",))
    assert trains_on_gpu(None)
    cuda.is_available = lambda: False
    assert not trains_on_gpu(None)


def test_the_networks_and_nothing_else_need_the_turn() -> None:
    pytorch, advanced = {"simple_mlp", "deep_mlp", "lstm", "cnn"}, {"tft", "patchtst"}
    assert models_of_gpu() == pytorch | advanced | {"transformer", "dlinear", "nlinear"}


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return new_store(tmp_path / "studies.db")


@pytest.fixture
def crew(location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A worker of an experiment of a network and a ridge; asking for a GPU finds one."""
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path))
    monkeypatch.setattr(worker, "trains_on_gpu", lambda device: device != "cpu")
    with opened(location) as storage:
        plan = experiment_plan(study_plan("lstm", goal=1), study_plan("ridge", goal=1))
        create_or_extend(storage, plan)
        yield Worker(Context(location, 1, add_worker(location)))


def done(worker: Worker) -> str | None:
    """The model of the next job, its work done; None where there is none."""
    job = worker.claim()
    if job is None:
        return None
    run_job(worker.storage, job, [0.5])
    return job.model


def test_without_the_turn_a_worker_takes_what_needs_no_gpu_and_then_waits_in_line(
    crew: Worker, tmp_path: Path
) -> None:
    first = Other(BEGIN, tmp_path / "run")
    try:
        assert first.ask("turn.take()")
        assert done(crew) == "ridge"
        assert crew.turn is not None
        assert not crew.turn.waits  # or the GPU would stand idle while it trained
        job = crew.claim()
        assert job is None or job.kind == "closing"
        while job is not None:
            close_study(crew.storage, job.study_id, crew.context.worker_id, HeldOut(None, None))
            job = crew.claim()
        assert crew.turn.waits

        first.ask("turn.leave()")
        assert not first.ask("turn.take()")
        assert done(crew) == "lstm"
        assert crew.turn.held
    finally:
        first.end()


def test_with_the_turn_a_worker_keeps_it_for_the_job_that_needs_it_alone(
    crew: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    monkeypatch.setattr(crew, "do", lambda job: held.append((job.model, crew.turn.held)))

    assert crew.work_once()
    assert crew.work_once()
    assert sorted(held) == [("lstm", True), ("ridge", False)]
    assert crew.turn is not None
    assert not crew.turn.held


def test_an_experiment_without_networks_asks_for_no_turn(location: Location) -> None:
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(study_plan("ridge", goal=2)))
        job = claim(storage, 1, add_worker(location))
        assert job is not None
        assert Worker(Context(location, 1, add_worker(location, slot=2))).turn is None
