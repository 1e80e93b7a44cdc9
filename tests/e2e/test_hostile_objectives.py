"""Objectives of the user's own that misbehave: each is a failed trial with its reason."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import World, wait_until

pytestmark = pytest.mark.e2e

RETURNS = {
    "nan": ("float('nan')", "ScoreError"),
    "inf": ("float('inf')", "ScoreError"),
    "none": ("None", "ScoreError"),
    "text": ("'1.5'", "ScoreError"),
    "pair": ("(1.0, 2.0)", "ScoreError"),
    "raise": ("1 / 0", "ZeroDivisionError"),
    "exit": ("__import__('sys').exit(0)", "SystemExit"),
    "recursion": ("(lambda f: f(f))(lambda f: f(f))", "RecursionError"),
    "surrogate": ("open('no \\udcff such file')", "FileNotFoundError"),
    "mute": ("(_ for _ in ()).throw(Mute())", "Mute"),
}


def write(world: World, body: str) -> None:
    world.store.with_name("mine.py").write_text(
        f"import os, time\ndef objective(trial):\n    x = trial.suggest_float('x', 0, 1)\n{body}"
    )


def test_what_is_no_finite_number_is_a_failed_trial_with_its_reason(world: World) -> None:
    branches = "".join(
        f"    if trial.number == {i}:\n        return {code}\n"
        for i, (code, _) in enumerate(RETURNS.values())
    )
    write(world, branches + "    return x\n")
    with world.store.with_name("mine.py").open("a") as file:
        file.write("class Mute(Exception):\n    def __str__(self):\n        raise ValueError\n")

    document = world.hyperion(
        *("run", "mine.py:objective", "--trials", str(len(RETURNS) + 2), "--workers", "1")
    )

    trials = world.hyperion("trials", document["studies"][0]["study"])
    errors = [trial["error"] for trial in trials]
    assert [e.split(":")[0] for e in errors[: len(RETURNS)]] == [e for _, e in RETURNS.values()]
    assert [trial["state"] for trial in trials[-2:]] == ["complete", "complete"]
    assert document["studies"][0]["best"]["number"] >= len(RETURNS)


def test_five_failures_in_a_row_for_one_cause_end_the_study(world: World) -> None:
    write(world, "    raise RuntimeError('no licence')\n")

    document = world.hyperion(
        *("run", "mine.py:objective", "--trials", "50", "--workers", "1"), check=1
    )

    study = document["studies"][0]
    assert (study["state"], study["trials"]["failed"]) == ("failed", 5)
    assert "RuntimeError: no licence" in study["message"]


def test_a_process_that_dies_is_tried_four_times_and_then_named(world: World) -> None:
    write(world, "    if trial.number == 1:\n        os.abort()\n    return x\n")

    document = world.hyperion("run", "mine.py:objective", "--trials", "3", "--workers", "1")

    trials = world.hyperion("trials", document["studies"][0]["study"])
    assert [t["state"] for t in trials] == ["complete", "failed", "complete"]
    assert "SIGABRT" in trials[1]["error"]
    assert world.ask("SELECT requeues FROM hx_trial WHERE number = 1") == [(3,)]


def test_a_process_that_exits_quietly_is_no_success(world: World) -> None:
    write(world, "    if trial.number == 0:\n        os._exit(0)\n    return x\n")

    document = world.hyperion("run", "mine.py:objective", "--trials", "2", "--workers", "1")

    trials = world.hyperion("trials", document["studies"][0]["study"])
    assert [t["state"] for t in trials] == ["failed", "complete"]
    assert "exited with 0" in trials[0]["error"]


def test_a_forked_copy_that_returns_does_not_end_the_trial_twice(world: World) -> None:
    write(world, "    os.fork()\n    return x\n")

    document = world.hyperion("run", "mine.py:objective", "--trials", "3", "--workers", "1")

    assert document["studies"][0]["trials"]["complete"] == 3
    ends = world.ask("SELECT count(*) FROM hx_event WHERE kind = 'trial_complete'")
    assert ends == [(3,)]


def test_a_trial_that_takes_too_long_is_ended_with_that_reason(world: World) -> None:
    write(world, "    if trial.number == 0:\n        time.sleep(600)\n    return x\n")

    document = world.hyperion(
        *("run", "mine.py:objective", "--trials", "3", "--workers", "1", "--trial-time", "1s")
    )

    trials = world.hyperion("trials", document["studies"][0]["study"])
    assert [t["state"] for t in trials] == ["failed", "complete", "complete"]
    assert trials[0]["error"].startswith("TimeLimit: took longer than --trial-time 1 s")


def test_a_time_budget_ends_the_experiment_without_a_goal(world: World) -> None:
    write(world, "    time.sleep(0.01)\n    return x\n")

    document = world.hyperion("run", "mine.py:objective", "--time", "2s", "--workers", "1")

    assert document["state"] == "done"
    assert document["studies"][0]["trials"]["goal"] is None
    assert document["studies"][0]["trials"]["complete"] > 5
    assert 1.5 < document["time_used_s"] < 6


def test_patience_ends_a_study_that_stands_still(world: World) -> None:
    write(world, "    return 1.0\n")

    document = world.hyperion(
        *("run", "mine.py:objective", "--trials", "100", "--workers", "1", "--patience", "7")
    )

    assert document["state"] == "done"
    assert document["studies"][0]["trials"]["complete"] == 8


def test_workers_run_our_code_from_a_folder_that_holds_other_packages_of_that_name(
    world: World,
) -> None:
    for name in ("engines", "simulator", "optuna"):
        world.store.with_name(f"{name}.py").write_text("raise SystemExit('the wrong module')\n")

    document = world.hyperion("run", "ridge", "--data", "diabetes", "--trials", "2")

    assert document["studies"][0]["trials"]["complete"] == 2


def test_failed_trials_can_be_queued_again_as_new_numbers(world: World) -> None:
    write(
        world,
        "    if not os.path.exists('fixed'):\n        raise OSError('no disk')\n    return x\n",
    )
    document = world.hyperion(
        *("run", "mine.py:objective", "--trials", "9", "--workers", "1", "--name", "e"), check=1
    )
    assert document["studies"][0]["state"] == "failed"

    world.store.with_name("fixed").touch()
    queued = world.hyperion("retry", "e/objective")["queued"]
    wait_until(lambda: world.state("e") == "done", "the retried trials")

    trials = world.hyperion("trials", "e/objective")
    assert queued == [5, 6, 7, 8, 9]
    assert [t["retry_of"] for t in trials[5:10]] == [0, 1, 2, 3, 4]
    assert [t["params"] for t in trials[5:10]] == [t["params"] for t in trials[:5]]
    assert [t["state"] for t in trials] == ["failed"] * 5 + ["complete"] * 9
