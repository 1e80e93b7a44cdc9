"""What people come for, from one end to the other, on real data: one test a story."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.data.bundled import BUNDLED
from tests.e2e.conftest import World, wait_until
from tests.tui.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def told(world: World, *words: str) -> str:
    """What a command prints for people, on both streams."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hyperion_tui", *words, "--store", str(world.store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=True,
        cwd=world.store.parent,
    )
    return done.stdout


def test_from_a_csv_to_a_table_that_says_how_its_scores_came_to_be(
    world: World, tmp_path: Path
) -> None:
    rows = pd.read_csv(BUNDLED["bikeshare"].path)[:1500]
    rows.to_csv(tmp_path / "bikes.csv", index=False)
    rows.assign(copy=rows["bikers"] * 2.0).to_csv(tmp_path / "leak.csv", index=False)
    about = ("--target", "bikers", "--time-column", "time")

    checked = told(world, "data", "check", "leak.csv", *about)
    said = told(
        *(world, "run", "ridge", "lightgbm", "--data", "bikes.csv", *about, "--past-target"),
        *("--trials", "1", "--name", "bikes"),
    )

    assert "'copy': is almost a copy of (correlation 1.00000) the target" in checked
    assert "in time order, embargo" in said
    assert "rows held out" in said
    for word in ("ridge", "lightgbm", "mean", "last_value", "held-out", "baseline"):
        assert word in said


def test_a_line_that_drops_stops_no_work_and_the_app_shows_it_again(world: World) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "hyperion_tui", "run", "lightgbm", "--data", "diabetes"),
            *("--trials", "12", "--workers", "1", "--name", "dropped"),
            *("--store", str(world.store)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"dropped: ")
    wait_until(world.finished, "the first trial")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    terminal = Terminal(world.store)
    try:
        terminal.read_until(b"dropped", 60.0)
    finally:
        terminal.close()
    wait_until(lambda: world.state("dropped") == "done", "the work to end")

    numbers = [trial["number"] for trial in world.hyperion("trials", "dropped/lightgbm")]
    assert sorted(numbers) == list(range(12))


def test_an_agent_on_real_prices_stands_beside_rules_without_skill(
    world: World, tmp_path: Path
) -> None:
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    pytest.importorskip("arch", reason="the package with the prices is not installed")
    from simulator.samples import load_sample

    prices = load_sample("sp500")[-520:].to_frame()[["open", "high", "low", "close", "volume"]]
    prices.rename_axis("date").to_csv(tmp_path / "index.csv")

    document = world.hyperion(
        *("run", "td3", "--data", "index.csv", "--trials", "1", "--workers", "1", "--name", "e"),
        TRADING_EPISODES="1",
    )

    names = {baseline["name"] for baseline in document["baselines"]}
    assert names == {"flat", "buy_and_hold", "random", "sign_flipped"}
    evidence = document["studies"][0]["evidence"]["trading"]
    assert len(evidence["seeds"]) == len(evidence["held_out_seeds"]) == 3
    assert "dsr_null" in document["luck"]
    assert document["verdict"]


def test_on_a_target_that_is_noise_no_model_is_crowned(world: World, tmp_path: Path) -> None:
    rows = pd.read_csv(BUNDLED["concrete"].path)
    rows["strength_mpa"] = np.random.default_rng(0).permutation(rows["strength_mpa"])
    rows.to_csv(tmp_path / "noise.csv", index=False)

    document = world.hyperion(
        *("run", "ridge", "lightgbm", "--data", "noise.csv", "--target", "strength_mpa"),
        *("--trials", "3", "--workers", "1", "--name", "noise"),
    )

    assert document["verdict"].startswith("No model beats the baseline")


def test_what_is_shipped_predicts_as_it_was_scored_and_can_learn_from_all_rows(
    world: World, tmp_path: Path
) -> None:
    source = str(BUNDLED["concrete"].path)
    world.hyperion(
        *("run", "lightgbm", "--data", "concrete", "--trials", "1", "--workers", "1"),
        *("--name", "ship"),
    )

    card = world.hyperion("export", "ship/lightgbm", "--to", str(tmp_path / "model"))
    again = world.hyperion(
        *("export", "ship/lightgbm", "--to", str(tmp_path / "all"), "--refit", "all")
    )
    predictions = world.hyperion("predict", str(tmp_path / "model"), source)["predictions"]

    scores = card["scores"]
    assert scores["held_out_again"] == pytest.approx(scores["held_out"], rel=1e-9)
    assert again["refit_on_all_rows"] is True
    assert {"sha256", "rows"} <= set(card["data"])
    assert all(card[key] for key in ("split", "versions", "members"))
    assert len(predictions) == len(pd.read_csv(source))
    assert not list((tmp_path / "model").rglob("*.pickle"))
