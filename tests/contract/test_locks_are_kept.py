"""SQLite's locks are the process's: whatever else opens the file there must not drop them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.sqlite import connect_to_read, connect_to_write
from engines.study.store import open_storage

LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0])
connection.close()
"""


def seen_by_another_process(path: Path) -> int:
    """Complete trials as a process sees them that opens the store, reads, and leaves."""
    words = [sys.executable, "-c", LOOK, str(path)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    "open_again",
    [
        lambda path: Reader(Location(path)),
        lambda path: open_storage(str(path)),
        connect_to_write,
        connect_to_read,
    ],
    ids=["reader", "storage", "to write", "to read"],
)
def test_what_is_acknowledged_is_seen_by_all_after_opening_twice_and_another_one_leaving(
    tmp_path: Path, open_again: Callable[[Path], object]
) -> None:
    path = tmp_path / "s.db"
    storage = open_storage(str(path))
    study = optuna.create_study(storage=storage, study_name="s")

    kept = open_again(path)
    assert seen_by_another_process(path) == 0
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)

    assert seen_by_another_process(path) == 3
    assert len(study.trials) == 3
    getattr(kept, "close", lambda: None)()
    storage.close()
