"""Before a clock starts: every library of models is imported and has fitted something small.

Imports nothing of ours: it runs in AutoGluon's environment as well.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

THREADS = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT"),
    ),
    "1",
)
PACKAGES = (
    *("hyperion-tui", "optuna", "flaml", "autogluon.tabular", "scikit-learn", "lightgbm"),
    *("xgboost-cpu", "xgboost", "catboost", "numpy", "pandas", "scipy"),
)
ROWS = 80


def versions() -> dict[str, str]:
    """The versions that a score depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def tiny() -> tuple[Any, Any]:
    """A table to warm up with: 80 rows, 4 columns."""
    import numpy as np

    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, 4))
    return X, X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.1 * random.normal(size=ROWS)


def libraries() -> None:
    """One small fit and prediction by each library: the same for all peers."""
    from catboost import CatBoostRegressor
    from lightgbm import LGBMRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import SVR
    from xgboost import XGBRegressor

    X, y = tiny()
    for model in (
        LGBMRegressor(n_estimators=5, n_jobs=1, verbosity=-1),
        XGBRegressor(n_estimators=5, n_jobs=1),
        CatBoostRegressor(iterations=5, thread_count=1, verbose=False, allow_writing_files=False),
        RandomForestRegressor(n_estimators=5),
        HistGradientBoostingRegressor(max_iter=5),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=300, tol=1.0),
        Ridge(),
        KNeighborsRegressor(),
        SVR(),
    ):
        model.fit(X, y).predict(X)


def one_thread() -> None:
    """For this process and what it starts; before numpy is imported."""
    os.environ.update(THREADS)


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
