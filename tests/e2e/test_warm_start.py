"""Warm starts: the best parameters of an earlier study are tried early, and scored anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.conftest import World

pytestmark = pytest.mark.e2e


def test_the_best_parameters_of_an_earlier_study_are_the_second_trial_of_a_new_one(
    world: World,
) -> None:
    words = ("--trials", "4", "--workers", "1", "--sampler", "random", "--pruner", "none")
    first = world.hyperion("run", "ridge", "lasso", "--data", "diabetes", *words, "--name", "a")
    best = {study["model"]: study["best"]["params"] for study in first["studies"]}
    world.hyperion(
        *("run", "ridge", "lasso", "--data", "concrete", *words, "--name", "b"),
        *("--warm-start", "a"),
    )
    for model, params in best.items():
        trials = world.hyperion("trials", f"b/{model}")
        tried = [trial["params"] for trial in sorted(trials, key=lambda t: t["number"])]
        # The defaults come first wherever they are not what was best.
        assert params in tried[:2]


def test_a_study_without_a_finished_trial_warms_nothing(world: World) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "hyperion_tui", "run", "ridge", "--data", "diabetes"),
            *("--warm-start", "nobody", "--store", str(world.store)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (2, 4)
    assert len(done.stderr.strip().splitlines()) == 1
