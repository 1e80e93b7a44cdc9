"""Optuna as an expert sets it up: what is left over stock TPE when one knows what matters.

Rounds of boosters by early stopping instead of a searched count, the libraries' defaults first,
multivariate TPE, and a fifth of the time kept for the last trial and the refit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quality import spaces
from quality.data import Floats

ROUNDS = 2_000
PATIENCE = 50
SEARCH_SHARE = 0.8
ROUNDS_OF = {"lightgbm": "n_estimators", "xgboost": "n_estimators", "catboost": "iterations"}
DEFAULTS: dict[str, spaces.Params] = {
    "lightgbm": {"learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20},
    "xgboost": {"learning_rate": 0.1, "max_depth": 6, "min_child_weight": 1},
    "catboost": {"learning_rate": 0.05, "depth": 6, "l2_leaf_reg": 3.0},
    "random_forest": {"max_depth": 30, "min_samples_split": 2, "min_samples_leaf": 1},
    "svr": {"C": 1.0, "epsilon": 0.1},
}
"""What is tried first; the parameters that are not named are drawn."""

Parts = tuple[Floats, Floats, Floats, Floats]
"""X and y to train on, X and y to score on."""


def enqueue(study: Any, mode: str) -> None:
    """The defaults of the mode's models as first trials."""
    names = spaces.MODES[mode]
    for name in names:
        if name in DEFAULTS:
            model = {"model": name} if len(names) > 1 else {}
            study.enqueue_trial(
                model | {f"{name}_{key}": value for key, value in DEFAULTS[name].items()}
            )


def fit_stopped(
    name: str, params: spaces.Params, seed: int, parts: Parts
) -> tuple[Any, spaces.Params]:
    """(fitted model, parameters for the refit, rounds included)."""
    X, y, X_valid, y_valid = parts
    if name not in ROUNDS_OF:
        return spaces.build(name, params, seed).fit(X, y), params
    params = {**params, ROUNDS_OF[name]: ROUNDS}
    if name == "lightgbm":
        import lightgbm

        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        model = spaces.build(name, params, seed)
        model.fit(X, y, eval_set=[(X_valid, y_valid)], callbacks=[stop])
        rounds = model.best_iteration_
    elif name == "xgboost":
        model = spaces.build(name, {**params, "early_stopping_rounds": PATIENCE}, seed)
        model.fit(X, y, eval_set=[(X_valid, y_valid)], verbose=False)
        rounds = model.best_iteration + 1
    else:
        model = spaces.build(name, params, seed)
        model.fit(X, y, eval_set=(X_valid, y_valid), early_stopping_rounds=PATIENCE)
        rounds = model.tree_count_
    return model, {**params, ROUNDS_OF[name]: max(1, int(np.asarray(rounds)))}
