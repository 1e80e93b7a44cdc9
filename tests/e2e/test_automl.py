"""FLAML in real workers: whole runs, kill -9, pause, and beside another model."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.conftest import World, wait_until

pytest.importorskip("flaml", reason="FLAML is not installed")
pytestmark = pytest.mark.e2e

TABLE = (
    "SELECT t.number, t.state, t.value, p.param_name, p.param_value FROM hx_trial t "
    "LEFT JOIN trial_params p ON p.trial_id = t.trial_id ORDER BY 1, 4"
)


def parameter_sets(world: World) -> list[tuple[tuple[str, float], ...]]:
    """The parameters of each trial, in the order of their numbers."""
    found: dict[int, list[tuple[str, float]]] = {}
    for number, _, _, name, value in world.ask(TABLE):
        found.setdefault(number, []).append((name, value))
    return [tuple(pairs) for _, pairs in sorted(found.items())]


def finished(study: dict) -> int:
    return sum(study["trials"][state] for state in ("complete", "failed", "pruned"))


def test_a_run_has_its_trials_a_held_out_score_and_baselines_beside(world: World) -> None:
    document = world.hyperion(
        *("run", "flaml", "--data", "diabetes", "--trials", "12", "--workers", "2")
    )

    (study,) = document["studies"]
    assert (study["family"], study["state"]) == ("automl", "done")
    assert finished(study) == 12
    assert study["best"]["selection_score"] > 0.3
    assert study["best"]["held_out_score"] > 0.2
    assert study["best"]["params"]["learner"]
    assert {b["name"] for b in document["baselines"]} == {"mean", "median"}
    # One at a time, however many workers there are.
    spans = world.ask("SELECT started_at, finished_at FROM hx_trial ORDER BY number")
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    trials = world.hyperion("trials", study["study"])
    assert all(t["duration_s"] > 0 for t in trials)
    assert all(t["params"]["learner"] for t in trials)
    # Workers write into the store and what lies beside it, and nowhere else.
    left = {path.name for path in world.store.parent.iterdir()}
    assert {name for name in left if not name.startswith(world.store.name)} <= {"home"}, left


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_as_if_nothing_had_happened(
    world: World, tmp_path: Path
) -> None:
    words = ("run", "flaml", "--data", "diabetes", "--trials", "12", "--workers", "1")
    words += ("--name", "e", "--seed", "7")
    calm = World(tmp_path / "calm.db")

    calm.hyperion(*words)
    world.hyperion(*words, "--detach")
    wait_until(lambda: world.finished() >= 4 and world.workers(), "four trials")
    os.kill(world.workers()[0], signal.SIGKILL)
    wait_until(lambda: world.finished() >= 7, "seven trials")
    world.kill_everything()
    world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    assert world.finished() == 12
    assert len(set(parameter_sets(world))) == 12
    assert world.ask("SELECT count(*) FROM hx_trial WHERE served_from IS NOT NULL") == [(0,)]
    # Not only its best points: step sizes and estimates of cost as well.
    assert world.ask(TABLE) == calm.ask(TABLE)


def test_a_pause_waits_for_one_inner_trial_at_most(world: World) -> None:
    world.hyperion(
        *("run", "flaml", "--data", "diabetes", "--name", "e"),
        *("--trials", "500", "--workers", "2", "--detach"),
    )
    wait_until(lambda: world.finished() >= 3, "three trials")

    world.hyperion("pause", "e")
    at_the_order = world.finished()
    wait_until(lambda: world.state("e") == "paused", "the pause", 30)

    assert world.finished() <= at_the_order + 1
    assert world.ask("SELECT count(*) FROM trials WHERE state = 'RUNNING'") == [(0,)]
    goal = world.finished() + 3
    world.hyperion("resume", "e")
    wait_until(lambda: world.finished() >= goal, "three more trials")
    tried = parameter_sets(world)
    assert len(set(tried)) == len(tried)


@pytest.mark.slow
def test_beside_another_model_both_get_their_turn(world: World) -> None:
    document = world.hyperion(
        *("run", "flaml", "ridge", "--data", "diabetes", "--name", "e"),
        *("--trials", "10", "--workers", "1"),
    )

    assert {s["model"]: finished(s) for s in document["studies"]} == {"flaml": 10, "ridge": 10}
    order = world.ask(
        "SELECT s.model FROM hx_trial t JOIN hx_study s ON s.study_id = t.study_id "
        "ORDER BY t.started_at"
    )
    first_half = [model for (model,) in order[:10]]
    assert first_half.count("flaml") == 5


@pytest.mark.slow
def test_under_a_time_limit_it_searches_in_seconds_and_ends_in_time(world: World) -> None:
    document = world.hyperion(
        *("run", "flaml", "ridge", "--data", "concrete", "--name", "e"),
        *("--time", "15s", "--workers", "1"),
    )

    by_model = {s["model"]: s for s in document["studies"]}
    assert finished(by_model["flaml"]) > 5
    assert by_model["flaml"]["best"]["selection_score"] > 0.6
    assert by_model["flaml"]["best"]["held_out_score"] is not None
    assert finished(by_model["ridge"]) > 1
    assert document["time_used_s"] < 25
