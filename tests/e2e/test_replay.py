"""Suggestions of real workers, computed once more from what the store kept of them."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import World, wait_until

pytestmark = pytest.mark.e2e

OBJECTIVE = """
import time

def objective(trial):
    x = trial.suggest_float("x", -1.0, 1.0)
    y = trial.suggest_int("y", 1, 100, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    more = trial.suggest_float("more", 0.0, 1.0) if kind == "a" else 0.0
    time.sleep(0.01 * y / 100)  # so that workers overtake each other
    return x * x + more / y
"""


def test_every_suggestion_of_several_workers_can_be_computed_again(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    world.hyperion(
        *("run", f"{tmp_path / 'mine.py'}:objective", "--name", "e", "--detach"),
        *("--trials", "60", "--workers", "3"),
    )
    wait_until(lambda: world.finished() >= 25, "25 finished trials")
    os.kill(wait_until(world.workers, "a worker")[0], signal.SIGKILL)
    wait_until(lambda: world.state("e") == "done", "the end")

    (study,) = [row[0] for row in world.ask("SELECT study_name FROM studies")]
    trials = world.hyperion("trials", study, "--replay")
    verdicts = [trial["replay"]["verdict"] for trial in trials]

    assert len(verdicts) == 60
    assert verdicts.count("same") >= 58  # one may have got its parameters from before the kill
    assert "differs" not in verdicts

    with sqlite3.connect(world.store) as connection:
        connection.execute("UPDATE trial_params SET param_value = 0.123 WHERE param_name = 'x'")
    connection.close()
    changed = world.hyperion("trials", study, "--replay", check=1)
    assert any(trial["replay"]["verdict"] == "differs" for trial in changed)
