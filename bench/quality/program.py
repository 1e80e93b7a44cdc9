"""The program as people start it, in a folder of its own, and what it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quality.data import Floats


def hyperion(*words: str, folder: Path, more: Mapping[str, str] | None = None) -> Any:
    """The JSON that a command of the program prints.

    Exit status 1 is an answer as well: it ran, and there is no result. Raises RuntimeError with
    the program's own words for any other.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hyperion_tui", *words, "--json"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "HYPERION_HOME": str(folder / "home"),
            "HYPERION_STORAGE": str(folder / "studies.db"),
            **(more or {}),
        },
    )
    if done.returncode not in (0, 1) or not done.stdout.strip():
        said = done.stderr.strip().splitlines()
        raise RuntimeError(f"{' '.join(words[:2])}: {said[-1] if said else done.returncode}")
    return json.loads(done.stdout)


def write_table(folder: Path, X: Floats, y: Floats) -> list[str]:
    """A file of these rows, and the words that name it: rows without an order, target `y`."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    frame["y"] = y
    file = folder / "table.parquet"
    frame.to_parquet(file, index=False)
    return ["--data", str(file), "--target", "y", "--time-column", "none"]
