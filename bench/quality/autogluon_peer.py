"""AutoGluon's side of its peer: `python -m quality.autogluon_peer FOLDER`, in its environment.

Reads train.npz and settings.json in FOLDER, warms up, fits with the clock on, says how it went in
one line of JSON, waits for a line, and predicts the rows of test.npy into predicted.npy. Imports
nothing of Hyperion.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from quality import warm

TORCH = ["NN_TORCH", "FASTAI"]
"""Not installed; named, so that no time is lost on trying them."""


def main() -> int:
    """Fit, tell, predict."""
    warm.one_thread()
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):
        told, predictor = fit(folder, settings)
    print(json.dumps(told), flush=True)
    if sys.stdin.readline().strip() == "predict":
        import numpy as np

        with contextlib.redirect_stdout(sys.stderr):
            predicted = predictor.predict(_frame(np.load(folder / "test.npy")))
        np.save(folder / "predicted.npy", predicted.to_numpy())
    return 0


def fit(folder: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """(what is told of the fit, the predictor)."""
    import numpy as np

    warm.libraries()
    tiny_X, tiny_y = warm.tiny()
    tiny = _predictor(folder / "warm").fit(
        _frame(tiny_X, tiny_y), time_limit=5, hyperparameters={"GBM": {}}, num_cpus=1, num_gpus=0
    )
    tiny.predict(_frame(tiny_X))
    data = np.load(folder / "train.npz")
    frame = _frame(data["X"], data["y"])
    cpu, start = warm.cpu_s(), time.perf_counter()
    predictor = _predictor(folder / "models").fit(
        frame,
        time_limit=settings["seconds"],
        presets=settings["preset"],
        excluded_model_types=TORCH,
        num_cpus=1,
        num_gpus=0,
    )
    fit_s, cpu_s = time.perf_counter() - start, warm.cpu_s() - cpu
    board = predictor.leaderboard(display=False)
    best = board[board["model"] == predictor.model_best].iloc[0]
    told = {
        "fit_s": fit_s,
        "cpu_s": cpu_s,
        "selection": float(best["score_val"]),
        "chosen": predictor.model_best,
        "models": len(board),
        "versions": warm.versions(),
    }
    return told, predictor


def _predictor(path: Path) -> Any:
    from autogluon.tabular import TabularPredictor

    return TabularPredictor(
        label="y",
        problem_type="regression",
        eval_metric="root_mean_squared_error",
        path=str(path),
        verbosity=0,
    )


def _frame(X: Any, y: Any = None) -> Any:
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    if y is not None:
        frame["y"] = y
    return frame


if __name__ == "__main__":
    sys.exit(main())
