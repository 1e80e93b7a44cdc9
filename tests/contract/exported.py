"""Fitted models of the catalogue, written as `export` does, and read back in another process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from engines.export.predictor import write_model
from tests.contract import spaces
from tests.contract.spaces import SEED, SHAPES, Case

SHAPE = next(shape for shape in SHAPES if shape.name == "five-columns")

READ = """
import sys
from pathlib import Path
import numpy as np
from engines.export.predictor import read_model
for name in sys.argv[1:]:
    folder = Path(name)
    with np.load(folder / "rows.npz") as rows:
        before = rows["before"] if "before" in rows else None
        np.save(folder / "read.npy", read_model(folder / "model").predict(rows["X"], before))
"""


def write(case: Case, params: dict[str, Any], folder: Path) -> None:
    """Fit one fold, write the model, the held-out rows, and what the model says of them."""
    how = SHAPE, case.task, case.form.windows
    known, deadline = spaces.data(*how), time.monotonic() + 0.3
    model = spaces.trainer(*how).fit_fold(case.form, params, SEED, 0, deadline=deadline).model
    rows = known.split.held_out
    arrays = {"X": known.X[rows], "said": model.predict(known.X[rows])}
    if case.form.windows:
        arrays["before"] = known.before(rows)
        arrays["said"] = model.predict(known.X[rows], arrays["before"])
    write_model(folder / "model", model)
    np.savez(folder / "rows.npz", **arrays)


def defaults(case: Case) -> dict[str, Any]:
    """The first trial's parameters, on these rows."""
    space = case.form.space.bind(spaces.facts(SHAPE, case))
    return space.clip(case.form.defaults)


def require_same(folders: Iterable[Path]) -> None:
    """Read all of them in one fresh process; AssertionError unless each says the same."""
    names = [str(folder) for folder in folders]
    subprocess.run([sys.executable, "-P", "-c", READ, *names], check=True, timeout=300)
    for name in names:
        with np.load(Path(name) / "rows.npz") as rows:
            said, read = rows["said"], np.load(Path(name) / "read.npy")
            size = max(1.0, float(np.abs(said).max()))
            assert np.abs(read - said).max() <= 1e-9 * size, name
