"""Whole experiments of several metrics, with real models and real processes."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from simulator.synthetic import ornstein_uhlenbeck
from tests.e2e.conftest import World, wait_until
from tests.e2e.test_agents import csv_of, shown

pytestmark = pytest.mark.e2e

TWO = ("--metric", "r2,fit_time")


def test_a_run_of_two_metrics_survives_kill_9_and_opens_the_held_out_part_for_the_knee_alone(
    world: World,
) -> None:
    world.hyperion(
        *("run", "k_neighbors", "--data", "diabetes", *TWO, "--name", "e"),
        *("--trials", "12", "--workers", "1", "--detach"),
    )
    wait_until(lambda: world.finished() >= 3, "3 finished trials")
    before = world.ask("SELECT trial_id, objective, value FROM trial_values")
    world.kill_everything()
    world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    document = world.hyperion("show", "e")
    assert set(before) <= set(world.ask("SELECT trial_id, objective, value FROM trial_values"))
    ended = (
        "SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM trial_values GROUP BY trial_id)"
    )
    assert world.ask(ended) == [(12, 24)]
    assert document["metrics"] == {"r2": "maximize", "fit_time": "minimize"}
    assert (document["ensemble"], document["ensemble_note"]) == (
        None,
        "no ensemble: several metrics have none",
    )
    storage = optuna.storages.RDBStorage(f"sqlite:///{world.store}")
    for study in document["studies"]:
        theirs = optuna.load_study(study_name=study["study"], storage=storage)
        front = [trial.number for trial in theirs.best_trials]
        assert set(study["pareto"]) <= set(front)  # of equal trials Optuna names all
        best = study["best"]
        assert best["number"] in study["pareto"]
        assert best["selection_score"] == best["values"]["r2"]
        assert 0.0 < best["values"]["fit_time"] < 5.0
        assert study["held_out_openings"] == 1
        held_out = study["evidence"]["held_out_values"]
        assert held_out == {"r2": best["held_out_score"], "fit_time": None}
    storage.engine.dispose()
    told = shown(world, "show", "e")
    assert "front of" in told
    assert "#: the knee" in told


@pytest.mark.slow
def test_agents_are_judged_by_sharpe_ratio_and_drawdown_together(
    world: World, tmp_path: Path
) -> None:
    data = csv_of(ornstein_uhlenbeck(520, seed=3), tmp_path)
    document = world.hyperion(
        *("run", "rainbow_dqn", "--data", data, "--metric", "sharpe_ratio,max_drawdown"),
        *("--trials", "1", "--workers", "1", "--seed", "4"),
        TRADING_EPISODES="1",
    )

    (study,) = document["studies"]
    assert study["trials"]["complete"] == 1, study
    assert document["metrics"] == {"sharpe_ratio": "maximize", "max_drawdown": "maximize"}
    assert study["best"]["number"] in study["pareto"]
    assert -1.0 < study["best"]["values"]["max_drawdown"] <= 0.0
    held_out = study["evidence"]["held_out_values"]
    assert held_out["sharpe_ratio"] == study["best"]["held_out_score"]
    assert -1.0 < held_out["max_drawdown"] <= 0.0
