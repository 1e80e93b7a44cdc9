"""Whole experiments with real models and real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import optuna
import pytest

from tests.e2e.conftest import World, wait_until

pytestmark = pytest.mark.e2e


def total(document: dict) -> int:
    return sum(map(finished, document["studies"]))


def finished(study: dict) -> int:
    return sum(study["trials"][state] for state in ("complete", "failed", "pruned"))


def test_a_run_gives_exactly_the_trials_asked_for_with_both_scores(world: World) -> None:
    document = world.hyperion(
        *("run", "ridge", "lightgbm", "--data", "diabetes"), *("--trials", "20", "--workers", "2")
    )

    assert document["state"] == "done"
    assert [finished(s) for s in document["studies"]] == [20, 20]
    for study in document["studies"]:
        assert 0.3 < study["best"]["held_out_score"] < study["best"]["selection_score"] < 0.6
        assert study["best"]["params"]
        assert study["held_out_openings"] == 1
    assert {b["name"] for b in document["baselines"]} == {"mean", "median"}
    assert "leads" in document["verdict"]


def test_stock_optuna_reads_the_same_trials(world: World) -> None:
    document = world.hyperion("run", "ridge", "--data", "diabetes", "--trials", "5")

    storage = optuna.storages.RDBStorage(f"sqlite:///{world.store}")
    study = optuna.load_study(study_name=document["studies"][0]["study"], storage=storage)

    assert len(study.trials) == 5
    assert study.best_value == document["studies"][0]["best"]["selection_score"]
    assert study.best_params == document["studies"][0]["best"]["params"]
    storage.engine.dispose()


def test_after_kill_9_of_everything_resume_brings_exactly_the_total(world: World) -> None:
    world.hyperion(
        *("run", "svr", "lightgbm", "--data", "diabetes", "--name", "e"),
        *("--trials", "25", "--workers", "2", "--detach"),
    )

    for at in (5, 15, 30):
        wait_until(lambda at=at: world.finished() >= at, f"{at} finished trials")
        before = world.ask("SELECT trial_id, value FROM hx_trial WHERE state = 'COMPLETE'")
        world.kill_everything()
        after = dict(world.ask("SELECT trial_id, value FROM hx_trial WHERE state = 'COMPLETE'"))
        assert all(after[trial_id] == value for trial_id, value in before)
        world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    document = world.hyperion("show", "e")
    assert total(document) == 50
    assert world.ask("SELECT count(*) FROM trials WHERE state IN ('RUNNING', 'WAITING')") == [(0,)]
    assert world.ask("SELECT count(*), count(DISTINCT study_id || '/' || number) FROM trials") == [
        (50, 50)
    ]
    ends = "SELECT max(n) FROM (SELECT count(*) AS n FROM hx_event WHERE kind IN "
    ends += "('trial_complete', 'trial_failed', 'trial_pruned') GROUP BY study_id, trial_number)"
    assert world.ask(ends) == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_worker_gives_the_same_table_however_often_it_is_killed(
    world: World, tmp_path: Path, sampler: str
) -> None:
    words = ("run", "svr", "lightgbm", "--data", "diabetes", "--trials", "16", "--workers", "1")
    words += ("--seed", "7", "--sampler", sampler)
    table = (
        "SELECT s.model, t.number, t.state, t.value, t.seed, p.param_name, p.param_value "
        "FROM hx_trial t JOIN hx_study s ON s.study_id = t.study_id "
        "LEFT JOIN trial_params p ON p.trial_id = t.trial_id ORDER BY 1, 2, 6"
    )
    calm = World(tmp_path / "calm.db")

    calm.hyperion(*words, "--name", "e")
    world.hyperion(*words, "--name", "e", "--detach")
    for at in (3, 12, 23):
        wait_until(lambda at=at: world.finished() >= at, f"{at} finished trials")
        world.kill_everything()
        world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    assert world.ask(table) == calm.ask(table)
    assert world.ask("SELECT held_out_score FROM hx_study") == calm.ask(
        "SELECT held_out_score FROM hx_study"
    )


def test_a_dead_worker_is_replaced_and_its_trial_runs_again(world: World) -> None:
    world.hyperion(
        *("run", "lightgbm", "--data", "diabetes", "--name", "e"),
        *("--trials", "12", "--workers", "1", "--detach"),
    )
    wait_until(lambda: world.finished() >= 3 and world.workers(), "a worker at work")

    os.kill(world.workers()[0], signal.SIGKILL)
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    assert world.finished() == 12
    assert len(world.ask("SELECT id FROM hx_worker")) >= 2


def test_a_paused_experiment_has_no_process_and_resumes_to_its_total(world: World) -> None:
    world.hyperion(
        *("run", "lightgbm", "--data", "diabetes", "--name", "e"),
        *("--trials", "30", "--workers", "2", "--detach"),
    )
    wait_until(lambda: world.finished() >= 2, "two finished trials")

    world.hyperion("pause", "e")
    wait_until(lambda: world.state("e") == "paused", "the pause")
    wait_until(lambda: world.runner() is None, "the runner to leave")
    paused_at = world.finished()

    assert paused_at < 30
    assert world.ask("SELECT count(*) FROM trials WHERE state = 'RUNNING'") == [(0,)]
    assert world.hyperion("show", "e")["studies"][0]["best"]["held_out_score"] is None
    assert not world.workers()

    world.hyperion("resume", "e", "--trials", "33")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    assert world.finished() == 33


def test_stop_is_final_and_opens_the_held_out_part(world: World) -> None:
    world.hyperion(
        *("run", "ridge", "--data", "diabetes", "--name", "e"),
        *("--trials", "5000", "--workers", "1", "--detach"),
    )
    wait_until(lambda: world.finished() >= 3, "some trials")

    world.hyperion("stop", "e")
    wait_until(lambda: world.state("e") == "stopped", "the stop")

    document = world.hyperion("show", "e")
    assert document["studies"][0]["best"]["held_out_score"] is not None
    assert total(document) < 5000
    assert world.hyperion("resume", "e", check=2) is None


def test_cancel_kills_at_once_and_scores_nothing_more(world: World) -> None:
    world.store.with_name("slow.py").write_text(
        "import time\ndef objective(trial):\n    trial.suggest_float('x', 0, 1)\n"
        "    time.sleep(600)\n    return 1.0\n"
    )
    world.hyperion("run", "slow.py:objective", "--name", "e", "--workers", "1", "--detach")
    wait_until(lambda: world.ask("SELECT 1 FROM trial_params"), "a trial at work")

    world.hyperion("cancel", "e")
    wait_until(lambda: world.state("e") == "cancelled", "the cancel", 15)

    assert world.ask("SELECT count(*) FROM trials WHERE state = 'RUNNING'") == [(0,)]
    assert not world.workers()


def test_pause_now_puts_the_running_trial_back_with_its_parameters(world: World) -> None:
    world.store.with_name("gate.py").write_text(
        "import os, time\ndef objective(trial):\n    x = trial.suggest_float('x', 0, 1)\n"
        "    while not os.path.exists('open'):\n        time.sleep(0.01)\n    return x\n"
    )
    world.hyperion(
        *("run", "gate.py:objective", "--name", "e", "--trials", "2", "--workers", "1", "--detach")
    )
    before = wait_until(
        lambda: world.ask("SELECT trial_id, param_value FROM trial_params"), "a trial at work"
    )

    world.hyperion("pause", "e", "--now")
    wait_until(lambda: world.state("e") == "paused", "the pause", 15)
    assert world.ask("SELECT number, state FROM trials") == [(0, "WAITING")]
    world.store.with_name("open").touch()
    world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    assert world.ask("SELECT trial_id, param_value FROM trial_params WHERE trial_id = 1") == before
    assert world.ask("SELECT requeues FROM hx_trial ORDER BY number") == [(1,), (0,)]


def test_more_models_and_trials_join_an_experiment_of_the_same_name(world: World) -> None:
    world.hyperion("run", "ridge", "--data", "diabetes", "--trials", "4", "--name", "e")

    document = world.hyperion(
        *("run", "ridge", "lasso", "--data", "diabetes", "--trials", "6", "--name", "e")
    )

    assert {s["model"]: finished(s) for s in document["studies"]} == {
        "ridge": 6,
        "lasso": 6,
    }
    world.hyperion(
        *("run", "ridge", "--data", "diabetes", "--trials", "4", "--name", "e", "--seed", "1"),
        check=5,
    )
