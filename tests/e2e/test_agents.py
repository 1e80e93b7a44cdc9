"""Trading agents in real workers: one table in the end, and no trace of pause and kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.bars import Bars
from simulator.synthetic import ornstein_uhlenbeck, pure_noise
from tests.e2e.conftest import World, wait_until

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
pytestmark = pytest.mark.e2e

TABLE = "SELECT study_id, number, state, value, seed FROM hx_trial ORDER BY study_id, number"
RETURNS = "SELECT trial_id, seeds, content FROM hx_returns ORDER BY trial_id"
REPORTS = (
    "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values "
    "ORDER BY trial_id, step"
)


def csv_of(bars: Bars, folder: Path) -> str:
    frame = bars.to_frame()[["open", "high", "low", "close", "volume"]]
    frame.index.name = "date"
    frame.to_csv(folder / "market.csv")
    return str(folder / "market.csv")


def progress(world: World) -> int:
    """Reports that were written so far."""
    found = world.ask("SELECT count(*) FROM hx_event WHERE kind = 'trial_progress'")
    return int(found[0][0])


def saves(world: World) -> list[Path]:
    return list((world.location.side / "checkpoints").rglob("training-*.pickle"))


def shown(world: World, *words: str, **env: str) -> str:
    """What a command prints for people."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hyperion_tui", *words, "--store", str(world.store)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=world.store.parent,
        env={**os.environ, **env},
    )
    return done.stdout + done.stderr


def test_agents_and_baselines_end_in_one_table_and_the_best_policy_trades_again(
    world: World, tmp_path: Path
) -> None:
    data = csv_of(ornstein_uhlenbeck(520, seed=3), tmp_path)

    words = ("run", "td3", "--data", data, "--trials", "1", "--workers", "1", "--name", "e")
    table = shown(world, *words, TRADING_EPISODES="1")

    for word in ("td3", "sharpe_ratio", "DSR", "drawdown", "trades", "No agent beats", "flat"):
        assert word in table
    document = world.hyperion("show", "e")
    assert document["task"] == "trading"
    assert document["metric"] == "sharpe_ratio"
    assert document["split"]["embargo_rows"] > 60
    assert document["split"]["steps"] < 5000
    study = document["studies"][0]
    assert study["best"]["held_out_score"] is not None
    assert study["held_out_openings"] == 1
    assert study["evidence"]["trading"]["trials"] == 1
    assert len(study["evidence"]["trading"]["held_out_seeds"]) == 3
    names = [baseline["name"] for baseline in document["baselines"]]
    assert names == ["flat", "buy_and_hold", "random", "sign_flipped"]
    assert "DSR" in shown(world, "compare", "e")
    again = world.hyperion("backtest", "e/td3", "--data", data)
    assert again["metrics"]["num_trades"] > 0
    home = str(tmp_path / "taken")
    assert world.hyperion("export", "e/td3", "--to", home)["trading"]["periods"]["test"]
    assert world.hyperion("backtest", home, "--data", data)["metrics"] == again["metrics"]
    assert len(world.hyperion("predict", home, data)["predictions"]) == 520


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "episodes"), [("td3", 8), ("sac", 6), ("rainbow_dqn", 20)])
def test_a_training_goes_on_after_pause_and_kill_as_if_nothing_had_happened(
    world: World, tmp_path: Path, agent: str, episodes: int
) -> None:
    data = csv_of(ornstein_uhlenbeck(520, seed=3), tmp_path)
    words = ("run", agent, "--data", data, "--trials", "1", "--workers", "1", "--name", "e")
    env: dict[str, Any] = {"TRADING_EPISODES": str(episodes)}
    calm = World(tmp_path / "calm" / "studies.db")
    calm.store.parent.mkdir()
    calm.hyperion(*words, **env)

    world.hyperion(*words, "--detach", **env)
    wait_until(lambda: progress(world) >= 2, "the first reports")
    world.hyperion("pause", "e")
    wait_until(lambda: world.state("e") == "paused", "the pause", 60)
    assert world.ask("SELECT state FROM hx_trial") == [("WAITING",)]
    assert saves(world)
    before = progress(world)
    world.hyperion("resume", "e")
    wait_until(lambda: progress(world) >= before + 2, "reports after the pause")
    world.kill_everything()
    world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end")

    for question in (TABLE, RETURNS, REPORTS, "SELECT evidence FROM hx_study"):
        assert world.ask(question) == calm.ask(question)
    assert not saves(world)


@pytest.mark.slow
def test_on_noise_no_agent_beats_the_baselines(world: World, tmp_path: Path) -> None:
    data = csv_of(pure_noise(520, seed=11), tmp_path)

    document = world.hyperion(
        *("run", "rl_agents", "--data", data, "--trials", "2", "--workers", "2", "--name", "e"),
        TRADING_EPISODES="1",
    )

    assert {study["model"] for study in document["studies"]} == {"sac", "td3", "rainbow_dqn"}
    assert document["verdict"].startswith("No agent beats the baselines:")
    best = document["studies"][0]["best"]["selection_score"]
    assert best <= 0 or document["luck"]["dsr_null"] < 0.95


@pytest.mark.slow
def test_on_a_market_with_something_to_find_the_verdict_names_the_agent(
    world: World, tmp_path: Path
) -> None:
    data = csv_of(ornstein_uhlenbeck(3_600, seed=5), tmp_path)

    world.hyperion(
        *("run", "td3", "--data", data, "--trials", "1", "--workers", "1", "--name", "e"),
        *("--fee", "0", "--detach"),
        TRADING_EPISODES="1",
    )
    wait_until(lambda: world.state("e") == "done", "the experiment to end", 400)

    document = world.hyperion("show", "e")
    assert document["verdict"].startswith("td3 leads with sharpe_ratio")
    assert document["luck"]["dsr_null"] >= 0.95
