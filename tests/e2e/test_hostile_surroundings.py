"""A store whose surroundings change under running processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines.study.locks import runner_pid
from tests.e2e.conftest import World, wait_until
from tests.unit.building import new_store

pytestmark = pytest.mark.e2e

GATE = """
import time
def objective(trial):
    trial.suggest_float("x", 0, 1)
    time.sleep(600)
    return 1.0
"""


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_store_that_is_taken_away_ends_its_processes_and_is_not_made_anew(
    world: World, tmp_path: Path, how: str
) -> None:
    (tmp_path / "gate.py").write_text(GATE)
    watching = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "hyperion_tui", "run", "gate.py:objective"),
            *("--workers", "2", "--store", str(world.store)),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(
        lambda: world.location.runner_lock(1).exists() and len(world.workers()) == 2,
        "two workers",
    )
    lock = world.location.runner_lock(1)

    for suffix in ("-wal", "-shm", ""):
        Path(f"{world.store}{suffix}").unlink()
    if how == "replaced":
        new_store(world.store)
    out, err = watching.communicate(timeout=60)
    wait_until(lambda: runner_pid(lock) is None, "the runner to leave", 30)
    said = f"{world.store} was deleted or replaced while it was in use."
    log = world.location.logs(1) / "runner.log"
    wait_until(lambda: said in log.read_text(), "its last word", 10)

    assert (watching.returncode, out) == (4, "")
    assert err.splitlines()[-1] == f"hyperion-tui: {said}"
    logs = {path.name: path.read_text() for path in world.location.logs(1).iterdir()}
    assert not any("Traceback" in text for text in logs.values()), logs
    assert world.store.exists() == (how == "replaced")
    if how == "replaced":
        assert world.hyperion("list") == []
