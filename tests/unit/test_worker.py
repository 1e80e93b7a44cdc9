"""The worker process, without a runner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.building import new_store


def test_a_worker_whose_experiment_is_not_in_the_store_says_so_in_one_line(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    new_store(store)
    told = tmp_path / "stderr"
    with told.open("w") as stderr:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "engines.run.worker", "7", "1", str(os.getpid()), "shown"],
            env={**os.environ, "HYPERION_STORAGE": str(store)},
            stdin=subprocess.PIPE,  # held open: its end means that the runner is gone
            stderr=stderr,
        )
        assert worker.wait(60) == 4
    assert worker.stdin is not None
    worker.stdin.close()
    assert "has no experiment 7" in told.read_text()
    assert "Traceback" not in told.read_text()
