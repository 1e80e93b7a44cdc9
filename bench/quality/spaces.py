"""What a careful person writes by hand for Optuna: one space a model, ranges as in tutorials.

Rounds are searched like the rest. Models that need it see standardised columns and target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Params = dict[str, Any]

ALL = (
    *("lightgbm", "xgboost", "catboost", "random_forest", "extra_trees"),
    *("hist_gradient_boosting", "svr", "k_neighbors", "mlp", "ridge", "elastic_net"),
)
MODES = {
    "any": ALL,
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost",),
    "random_forest": ("random_forest",),
    "svr": ("svr",),
}


def suggest(trial: Any, mode: str) -> tuple[str, Params]:
    """(model, parameters) of a trial."""
    names = MODES[mode]
    name = trial.suggest_categorical("model", names) if len(names) > 1 else names[0]

    def real(key: str, low: float, high: float, log: bool = False) -> float:
        return float(trial.suggest_float(f"{name}_{key}", low, high, log=log))

    def whole(key: str, low: int, high: int, log: bool = False) -> int:
        return int(trial.suggest_int(f"{name}_{key}", low, high, log=log))

    def choice(key: str, options: tuple[Any, ...]) -> Any:
        return trial.suggest_categorical(f"{name}_{key}", options)

    return name, _SPACES[name](real, whole, choice)


def _lightgbm(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "n_estimators": whole("n_estimators", 50, 1000),
        "learning_rate": real("learning_rate", 0.01, 0.3, log=True),
        "num_leaves": whole("num_leaves", 8, 256, log=True),
        "min_child_samples": whole("min_child_samples", 5, 100),
        "subsample": real("subsample", 0.5, 1.0),
        "colsample_bytree": real("colsample_bytree", 0.5, 1.0),
        "reg_alpha": real("reg_alpha", 1e-8, 10.0, log=True),
        "reg_lambda": real("reg_lambda", 1e-8, 10.0, log=True),
    }


def _xgboost(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "n_estimators": whole("n_estimators", 50, 1000),
        "learning_rate": real("learning_rate", 0.01, 0.3, log=True),
        "max_depth": whole("max_depth", 3, 10),
        "min_child_weight": whole("min_child_weight", 1, 10),
        "subsample": real("subsample", 0.5, 1.0),
        "colsample_bytree": real("colsample_bytree", 0.5, 1.0),
        "reg_alpha": real("reg_alpha", 1e-8, 10.0, log=True),
        "reg_lambda": real("reg_lambda", 1e-8, 10.0, log=True),
    }


def _catboost(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "iterations": whole("iterations", 50, 1000),
        "learning_rate": real("learning_rate", 0.01, 0.3, log=True),
        "depth": whole("depth", 4, 10),
        "l2_leaf_reg": real("l2_leaf_reg", 1.0, 10.0, log=True),
    }


def _forest(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "n_estimators": whole("n_estimators", 50, 500),
        "max_depth": whole("max_depth", 3, 30),
        "min_samples_split": whole("min_samples_split", 2, 20),
        "min_samples_leaf": whole("min_samples_leaf", 1, 10),
        "max_features": real("max_features", 0.2, 1.0),
    }


def _hist_gradient_boosting(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "max_iter": whole("max_iter", 50, 500),
        "learning_rate": real("learning_rate", 0.01, 0.3, log=True),
        "max_leaf_nodes": whole("max_leaf_nodes", 8, 128, log=True),
        "min_samples_leaf": whole("min_samples_leaf", 5, 100),
        "l2_regularization": real("l2_regularization", 1e-8, 10.0, log=True),
    }


def _svr(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "C": real("C", 0.1, 100.0, log=True),
        "epsilon": real("epsilon", 1e-3, 1.0, log=True),
        "gamma": real("gamma", 1e-4, 10.0, log=True),
    }


def _k_neighbors(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "n_neighbors": whole("n_neighbors", 1, 50),
        "weights": choice("weights", ("uniform", "distance")),
        "p": whole("p", 1, 2),
    }


def _mlp(real: Any, whole: Any, choice: Any) -> Params:
    return {
        "hidden_layer_sizes": (whole("width", 16, 256, log=True),) * whole("depth", 1, 3),
        "alpha": real("alpha", 1e-6, 1e-1, log=True),
        "learning_rate_init": real("learning_rate_init", 1e-4, 1e-2, log=True),
    }


def _ridge(real: Any, whole: Any, choice: Any) -> Params:
    return {"alpha": real("alpha", 1e-3, 1e3, log=True)}


def _elastic_net(real: Any, whole: Any, choice: Any) -> Params:
    return {"alpha": real("alpha", 1e-4, 1.0, log=True), "l1_ratio": real("l1_ratio", 0.0, 1.0)}


_SPACES: dict[str, Callable[[Any, Any, Any], Params]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "random_forest": _forest,
    "extra_trees": _forest,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "svr": _svr,
    "k_neighbors": _k_neighbors,
    "mlp": _mlp,
    "ridge": _ridge,
    "elastic_net": _elastic_net,
}


def build(name: str, params: Params, seed: int) -> Any:
    """An unfitted estimator. No parameters: the library's own defaults."""
    from catboost import CatBoostRegressor
    from lightgbm import LGBMRegressor
    from sklearn.ensemble import (
        ExtraTreesRegressor,
        HistGradientBoostingRegressor,
        RandomForestRegressor,
    )
    from sklearn.linear_model import ElasticNet, Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import SVR
    from xgboost import XGBRegressor

    seeded = {"random_state": seed, **params}
    match name:
        case "lightgbm":
            return LGBMRegressor(n_jobs=1, verbosity=-1, subsample_freq=1, **seeded)
        case "xgboost":
            return XGBRegressor(n_jobs=1, tree_method="hist", verbosity=0, **seeded)
        case "catboost":
            return CatBoostRegressor(
                thread_count=1, verbose=False, allow_writing_files=False, random_seed=seed, **params
            )
        case "random_forest":
            return RandomForestRegressor(n_jobs=1, **seeded)
        case "extra_trees":
            return ExtraTreesRegressor(n_jobs=1, **seeded)
        case "hist_gradient_boosting":
            return HistGradientBoostingRegressor(**seeded)
        case "svr":
            return _scaled(SVR(**params))
        case "k_neighbors":
            return _scaled(KNeighborsRegressor(**params))
        case "mlp":
            return _scaled(MLPRegressor(early_stopping=True, **seeded))
        case "ridge":
            return _scaled(Ridge(**params))
        case "elastic_net":
            return _scaled(ElasticNet(**seeded))
    raise KeyError(name)


def _scaled(model: Any) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), model), transformer=StandardScaler()
    )
