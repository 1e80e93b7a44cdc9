"""A trial that saves its state is interrupted at a report and goes on where it was."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import World, wait_until

pytestmark = pytest.mark.e2e

OBJECTIVE = """
import os, time
from pathlib import Path
from engines.run.checkpoints import Checkpoint

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    checkpoint = Checkpoint(trial)
    state = checkpoint.folder / "epoch"
    first = int(state.read_text()) + 1 if checkpoint.step is not None else 0
    for epoch in range(first, 40):
        with open("epochs.txt", "a") as file:
            file.write(f"{trial.number} {epoch} {x!r}\\n")
        time.sleep(1.0 if Path("slowly").exists() else 0.02)
        state.write_text(str(epoch))
        checkpoint.saved(epoch)
        trial.report(x + epoch, epoch)
    return x
"""


def test_a_pause_interrupts_at_a_report_and_no_epoch_runs_twice(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    log = tmp_path / "epochs.txt"
    world.hyperion(
        *("run", f"{tmp_path / 'mine.py'}:objective", "--name", "e", "--detach"),
        *("--trials", "2", "--workers", "1"),
    )

    for epochs in (5, 20, 50):
        wait_until(
            lambda epochs=epochs: log.exists() and len(log.read_text().splitlines()) >= epochs,
            f"{epochs} epochs",
        )
        # However long the command takes to start: the trial must not end before it.
        (tmp_path / "slowly").touch()
        ordered = time.monotonic()
        world.hyperion("pause", "e")
        wait_until(lambda: world.state("e") == "paused", "the pause")
        assert (
            time.monotonic() - ordered < 30.0
        )  # an epoch takes a second, and so may a slow machine
        (tmp_path / "slowly").unlink()
        states = [state for (state,) in world.ask("SELECT state FROM trials")]
        assert states.count("WAITING") == 1
        world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the end")

    ran = [line.split() for line in log.read_text().splitlines()]
    assert [(int(n), int(epoch)) for n, epoch, _ in ran] == [
        (n, e) for n in (0, 1) for e in range(40)
    ]
    assert len({x for _, _, x in ran}) == 2  # and each kept its parameters
    reports = world.ask("SELECT count(*) FROM trial_intermediate_values")
    assert reports == [(80,)]
    assert not list((world.location.side / "checkpoints").rglob("epoch"))
