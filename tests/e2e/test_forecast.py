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


@pytest.mark.parametrize("model", ["lightgbm", "dlinear"])
def test_an_exported_forecaster_says_what_it_was_scored_for_and_goes_on_behind_the_data(
    world: World, series: Path, model: str
) -> None:
    words = ("--data", str(series), "--target", "sales", "--trials", "1", "--workers", "1")
    more = ("--task", "forecast", "--horizon", "7", "--metric", "mae", "--name", "f")
    document = world.hyperion("run", model, *words, *more)
    to = series.with_name("out")
    world.hyperion("export", f"f/{model}", "--to", str(to))
    said = np.array(world.hyperion("predict", str(to), str(series))["predictions"])
    assert said.shape == (300, 7)
    rows = list(csv.DictReader(series.read_text().splitlines()))
    sales = np.array([float(row["sales"]) for row in rows])
    held_out = document["split"]["held_out_rows"]
    origins = np.arange(300 - 7 - held_out, 300 - 7)
    came = sales[origins[:, None] + np.arange(1, 8)]
    score = document["studies"][0]["best"]["held_out_score"]
    assert np.abs(came - said[origins]).mean() == pytest.approx(score, rel=1e-6)

    # New rows alone: what came before them is known.
    later = series.with_name("later.csv")
    lines = series.read_text().splitlines()
    later.write_text("\n".join([lines[0], *lines[-4:]]) + "\n")
    again = np.array(world.hyperion("predict", str(to), str(later))["predictions"])
    assert again == pytest.approx(said[-4:], rel=1e-6)


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
