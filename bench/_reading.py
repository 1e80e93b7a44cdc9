"""What looking costs: the first screen of a study, a list of studies, a poll, a page of trials.

Stores are synthetic (`_stores.py`), so stock Optuna and we read the very same file. Each look is a
process of its own (`_look.py`), and the file is dropped from the machine's memory before it, where
that can be asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _cells import Cells, Settings

HERE = Path(__file__).resolve().parent
STUDIES = 200
MODELS = 10
LISTED_TRIALS = 100


def look(settings: Settings, folder: Path) -> dict[str, Any]:
    """Build a store and look at it in several ways, one after the other."""
    path = folder / "synthetic.db"
    models = [f"model_{number}:family" for number in range(settings["models"])]
    words = [str(settings["trials"]), *models, "--experiments", str(settings["experiments"])]
    subprocess.run([sys.executable, str(HERE / "_stores.py"), str(path), *words], check=True)
    told = {}
    for way in settings["ways"]:
        _drop_from_memory(path)
        done = subprocess.run(
            [sys.executable, str(HERE / "_look.py"), way, str(path)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        told[way] = json.loads(done.stdout)
    return told


def _drop_from_memory(path: Path) -> None:
    if hasattr(os, "posix_fadvise"):
        # This process has no connection to the store whose locks closing a descriptor could drop.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def first_screen(cells: Cells, trials: int) -> dict[str, Any]:
    """One study of many trials: opened, polled, changed."""
    settings = {"models": 1, "trials": trials, "experiments": 1, "ways": ["stock-study", "study"]}
    return cells.take(f"study-{trials}", look, settings)


def many_studies(cells: Cells) -> dict[str, Any]:
    """A list of 200 studies of 100 trials."""
    settings = {
        **{"models": MODELS, "experiments": STUDIES // MODELS, "trials": LISTED_TRIALS},
        "ways": ["stock-list", "list"],
    }
    return cells.take(f"list-{STUDIES}", look, settings)


def pages(cells: Cells, trials: int) -> dict[str, Any]:
    """Pages of many trials of several models."""
    settings = {
        **{"models": MODELS, "experiments": 1, "trials": trials // MODELS},
        "ways": ["stock-page", "page"],
    }
    return cells.take(f"page-{trials}", look, settings)
