"""Forecasts from the command line to the table: what is asked, what is scored, what is refused."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import World

pytestmark = pytest.mark.e2e


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Daily rows with a season of a week."""
    random = np.random.default_rng(0)
    days = np.datetime64("2024-01-01") + np.arange(300)
    week = np.tile(random.normal(size=7) * 3, 43)[:300]
    path = tmp_path / "shop.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "weather", "sales"])
        for day, base, noise, weather in zip(
            days, week, random.normal(size=300), random.normal(size=300), strict=True
        ):
            writer.writerow([day, f"{weather:.4f}", f"{20 + base + noise:.4f}"])
    return path


def test_models_forecast_beside_the_naive_rules_and_are_told_apart_from_them(
    world: World, series: Path
) -> None:
    words = ("--data", str(series), "--target", "sales", "--trials", "2", "--workers", "1")
    document = world.hyperion(
        "run", "ridge", "lightgbm", *words, "--horizon", "7", "--task", "forecast", "--name", "f"
    )
    assert document["task"] == "forecast"
    assert document["metric"] == "mase"
    assert document["split"]["horizon"] == 7
    assert document["split"]["season"] == 7
    assert document["split"]["embargo_rows"] >= 7
    names = [row["name"] for row in document["baselines"]]
    assert names == ["mean", "last_value", "seasonal_naive", "drift"]
    best = {study["model"]: study["best"] for study in document["studies"]}
    last = {row["name"]: row["held_out_score"] for row in document["baselines"]}
    assert best["ridge"]["held_out_score"] < last["seasonal_naive"]
    assert best["ridge"]["params"]["target_as"] in ("change", "level")
    assert document["ensemble"]["held_out_score"] is not None

    # Another horizon is another question.
    other = world.hyperion(
        "run", "ridge", *words, "--task", "forecast", "--horizon", "3", "--name", "f", check=5
    )
    assert other is None


def test_with_the_past_of_the_target_every_model_is_given_the_day_before(
    world: World, series: Path
) -> None:
    words = ("--data", str(series), "--target", "sales", "--workers", "1")
    document = world.hyperion("run", "ridge", *words, "--trials", "1", "--past-target")
    names = [row["name"] for row in document["baselines"]]
    assert names == ["mean", "median", "last_value", "seasonal_naive", "drift"]
    assert document["split"]["past_target"] is True
    with_past = document["studies"][0]["best"]["held_out_score"]
    without = world.hyperion("run", "ridge", *words, "--trials", "1")
    assert with_past > without["studies"][0]["best"]["held_out_score"] + 0.3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--task", "forecast"), "needs --horizon"),
        (("--task", "forecast", "--horizon", "290"), "at most"),
        (("--task", "forecast", "--horizon", "0"), "--horizon"),
        (("--task", "forecast", "--horizon", "3", "--time-column", "none"), "--time-column"),
        (("--task", "regression", "--horizon", "3"), "--task forecast"),
        (("--metric", "mase"), "can't score regression"),
        (("--device", "tpu"), "cpu or cuda"),
    ],
)
def test_what_can_not_be_forecast_is_refused_in_one_line(
    world: World, series: Path, words: tuple[str, ...], why: str
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "hyperion_tui", "run", "ridge", "--data", str(series)),
            *("--target", "sales", "--store", str(world.store), *words),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert why in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
