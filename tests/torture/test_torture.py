"""The short form of the torture: what `make torture` does for an hour, in a minute or two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.torture import scenarios
from tests.torture.harness import CHEAP, World

pytestmark = pytest.mark.torture

Possible = Callable[..., Any]


@pytest.mark.parametrize(
    ("kills", "selectors"), [(16, (CHEAP,)), (9, scenarios.MODELS)], ids=["cheap", "models"]
)
def test_kill_9_of_anything_loses_doubles_and_strands_no_trial(
    world: World, kills: int, selectors: tuple[str, ...]
) -> None:
    facts = scenarios.storm(world, 20261123, kills, selectors)

    assert sum(facts["kills"].values()) == kills


def test_a_stopped_lock_holder_makes_everybody_wait_and_nobody_die(world: World) -> None:
    scenarios.stopped_lock_holder(world, 6.0)


def test_a_worker_that_was_stopped_goes_on_where_it_was(world: World) -> None:
    scenarios.stopped_worker(world, 4.0, 8, seed=5)


def test_a_stopped_runner_keeps_its_place(world: World) -> None:
    scenarios.stopped_runner(world, 2.0)


def test_clocks_that_jump_by_an_hour_fail_and_lose_nothing(
    tmp_path: Path, possible: Possible
) -> None:
    possible(scenarios.clock_jumps, tmp_path, must=True)


def test_a_full_disk_is_waited_out(tmp_path: Path, possible: Possible) -> None:
    # Where no disk may be mounted, the test below stands for this one.
    possible(scenarios.disk_full, tmp_path, 3.0, 2, must=False)


def test_a_limit_on_the_size_of_files_is_waited_out(tmp_path: Path) -> None:
    scenarios.file_limit(tmp_path, 3.0, 1)


def test_eight_processes_open_a_new_store_together(tmp_path: Path) -> None:
    scenarios.first_opens(tmp_path, rounds=8)


def test_six_commands_begin_on_a_new_store_together(world: World) -> None:
    scenarios.first_runs(world, 6)


@pytest.mark.parametrize(("trials", "workers"), [(400, 4), (60, 8)])
def test_queued_trials_run_once_each_and_all_workers_leave_in_peace(
    world: World, trials: int, workers: int
) -> None:
    scenarios.queued(world, trials, workers)


def test_six_starters_make_one_runner(world: World) -> None:
    scenarios.starters(world, 6)


def test_a_runner_that_dies_three_times_is_given_up_with_its_log_named(world: World) -> None:
    scenarios.three_deaths(world)


def test_objectives_that_wreck_their_process_wreck_nothing_else(tmp_path: Path) -> None:
    scenarios.parade(tmp_path, (*scenarios.HARMLESS, *scenarios.HARMFUL))


def test_no_grandchild_survives(tmp_path: Path) -> None:
    scenarios.grandchildren(tmp_path)


def test_a_gigabyte_of_output_leaves_a_bounded_log(tmp_path: Path) -> None:
    scenarios.gigabyte(tmp_path)


def test_a_trial_that_eats_memory_is_ended_with_that_reason(tmp_path: Path) -> None:
    scenarios.memory(tmp_path)


def test_threads_and_exit_handlers_that_never_end_keep_nothing_running(tmp_path: Path) -> None:
    scenarios.what_is_left_running(tmp_path)
