"""Gradient boosting libraries: spaces, known-good defaults and portfolios, as data.

The number of rounds is not searched: training stops early by the validation rows of its fold.
The target of a regression is standardised before a library sees it, so the penalties below are
in units of a target with deviation 1.

Sources of the sets (facts only): `TD`, the tuned defaults of Holzmüller, Grinsztajn and
Steinwart, "Better by default" (NeurIPS 2024, arXiv 2407.04491), as in pytabkit; `TabRepo`,
portfolios learned from many data sets by Salinas and Erickson (AutoML 2024, arXiv 2311.02971),
as in AutoGluon 1.2 to 1.6, by the names that configurations have there; FLAML's zero-shot
portfolio (Wang et al., arXiv 2202.09927). Learning rates under 0.03 are raised to it, and not
searched either: rounds grow as rates fall, and within any time other parameters gain more than
several times the rounds. l1 penalties of regressions are left out, since they were in units of the
raw target.
"""

from __future__ import annotations

from typing import Any

from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Float, Int, Parameter, Space

_LIGHTGBM: dict[str, Parameter] = {
    "learning_rate": Float(0.03, 0.3, log=True),
    "num_leaves": Int(2, 256, log=True),
    "min_data_in_leaf": Int(1, 100, log=True, at_most="train_rows"),
    "bagging_fraction": Float(0.4, 1.0),
    "feature_fraction": Float(0.3, 1.0),
    "lambda_l1": Float(1e-4, 10.0, log=True),
    "lambda_l2": Float(1e-4, 100.0, log=True),
    "extra_trees": Choice((False, True)),
}


def _lightgbm(
    rate: float,
    leaves: int,
    smallest: int,
    rows: float,
    columns: float,
    l1: float = 1e-4,
    l2: float = 1e-4,
    extra: bool = False,
) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "num_leaves": leaves,
        "min_data_in_leaf": smallest,
        "bagging_fraction": rows,
        "feature_fraction": columns,
        "lambda_l1": l1,
        "lambda_l2": l2,
        "extra_trees": extra,
    }


_XGBOOST: dict[str, Parameter] = {
    "learning_rate": Float(0.03, 0.3, log=True),
    "max_depth": Int(2, 12),
    "min_child_weight": Float(1e-3, 64.0, log=True),
    "subsample": Float(0.4, 1.0),
    "colsample_bytree": Float(0.3, 1.0),
    "colsample_bylevel": Float(0.4, 1.0),
    "reg_lambda": Float(1e-4, 100.0, log=True),
    "reg_alpha": Float(1e-4, 10.0, log=True),
}


def _xgboost(
    rate: float,
    depth: int,
    weight: float,
    rows: float,
    columns: float = 1.0,
    by_level: float = 1.0,
    l2: float = 1.0,
    l1: float = 1e-4,
) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "max_depth": depth,
        "min_child_weight": weight,
        "subsample": rows,
        "colsample_bytree": columns,
        "colsample_bylevel": by_level,
        "reg_lambda": l2,
        "reg_alpha": l1,
    }


_CATBOOST: dict[str, Parameter] = {
    "learning_rate": Float(0.03, 0.3, log=True),
    "depth": Int(3, 9),
    "l2_leaf_reg": Float(1e-4, 30.0, log=True),
    "random_strength": Float(1e-3, 10.0, log=True),
    "subsample": Float(0.4, 1.0),
    "rsm": Float(0.3, 1.0),
    "grow_policy": Choice(("SymmetricTree", "Depthwise")),
}


def _catboost(
    rate: float,
    depth: int,
    l2: float,
    noise: float,
    rows: float,
    columns: float = 1.0,
    policy: str = "SymmetricTree",
) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "depth": depth,
        "l2_leaf_reg": l2,
        "random_strength": noise,
        "subsample": rows,
        "rsm": columns,
        "grow_policy": policy,
    }


MODELS = (
    ModelSpec(
        name="xgboost",
        family="ensemble",
        summary="boosted trees grown level by level, regularised",
        package="xgboost",
        install="pip install xgboost-cpu  (macOS: pip install xgboost)",
        trials=30,
        forms={
            "regression": Form(
                build="engines.models.ensemble.xgboost:XGBoostRegressor",
                space=Space(_XGBOOST),
                defaults=_xgboost(0.08, 5, 2.0, 0.8, by_level=0.8),
                portfolio=(
                    # Deeper, with more rows in a leaf: for the same seconds the better set
                    # wherever rows are many.
                    _xgboost(0.1, 8, 5.0, 0.8, by_level=0.8),
                    # TabRepo, XGBoost_r89.
                    _xgboost(0.088, 5, 0.63, 1.0, columns=0.66),
                    # XGBoost_r31 of TabRepo has this depth, and a rate of 0.01.
                    _xgboost(0.05, 4, 0.92, 0.8, columns=0.75),
                    # TD, regression.
                    _xgboost(0.05, 9, 2.0, 0.7, l2=1e-4),
                ),
                weights=(1.0, 1.2, 2.0, 4.0),
                cost=Cost(0.2, rows=0.5, columns=0.7),
                seed_argument="seed",
                columns="raw",
                most_rows=500_000,
                prior=0.9,
            ),
            "classification": Form(
                build="engines.models.ensemble.xgboost:XGBoostClassifier",
                space=Space(_XGBOOST),
                # TD, classification.
                defaults=_xgboost(0.08, 6, 1e-3, 0.65, by_level=0.9, l2=1e-4),
                portfolio=(
                    # TabRepo, XGBoost_r89.
                    _xgboost(0.088, 5, 0.63, 1.0, columns=0.66),
                    # TabRepo, XGBoost_r33.
                    _xgboost(0.03, 10, 0.60, 1.0, columns=0.69),
                ),
                weights=(1.0, 6.0),
                cost=Cost(0.2, rows=0.5, columns=0.7),
                seed_argument="seed",
                columns="raw",
                most_rows=500_000,
                prior=0.9,
            ),
        },
    ),
    ModelSpec(
        name="lightgbm",
        family="ensemble",
        summary="boosted trees grown leaf by leaf: fast and strong",
        package="lightgbm",
        install="pip install lightgbm",
        trials=30,
        forms={
            "regression": Form(
                build="engines.models.ensemble.lightgbm:LightGBMRegressor",
                space=Space(_LIGHTGBM),
                defaults=_lightgbm(0.1, 16, 5, 0.8, 0.8),
                portfolio=(
                    # As many leaves as AutoGluon's `LightGBMLarge`, of more rows each: for the
                    # same seconds the better set wherever rows are many, and the other one else.
                    _lightgbm(0.1, 128, 20, 0.9, 0.8, l2=1.0),
                    # The defaults in smaller steps.
                    _lightgbm(0.05, 16, 5, 0.8, 0.8),
                    # TD, regression.
                    _lightgbm(0.05, 100, 3, 0.7, 1.0),
                    # AutoGluon's `LightGBMXT`: random thresholds, for another kind of error.
                    _lightgbm(0.1, 31, 5, 0.8, 0.8, extra=True),
                    # FLAML's second portfolio entry.
                    _lightgbm(0.03, 42, 12, 1.0, 0.74, l1=3.6e-3, l2=12.0),
                ),
                weights=(1.3, 2.0, 5.0, 5.0, 5.0),
                cost=Cost(0.1, rows=0.6, columns=0.6),
                seed_argument="seed",
                columns="raw",
                most_rows=500_000,
                prior=1.0,
            ),
            "classification": Form(
                build="engines.models.ensemble.lightgbm:LightGBMClassifier",
                space=Space(_LIGHTGBM),
                defaults=_lightgbm(0.1, 16, 10, 0.8, 0.8),
                portfolio=(
                    # AutoGluon's `LightGBMXT`.
                    _lightgbm(0.1, 31, 5, 0.8, 0.8, extra=True),
                    # TabRepo, LightGBM_r96: small, much randomised trees.
                    _lightgbm(0.03, 16, 48, 1.0, 0.56, extra=True),
                    # TD, classification.
                    _lightgbm(0.04, 50, 40, 0.75, 1.0),
                    # TabRepo, LightGBM_r33.
                    _lightgbm(0.03, 68, 1, 0.96, 0.62, l1=0.16, l2=0.69),
                ),
                weights=(1.0, 3.0, 4.0, 4.0),
                cost=Cost(0.1, rows=0.6, columns=0.8),
                seed_argument="seed",
                columns="raw",
                most_rows=500_000,
                prior=1.0,
            ),
        },
    ),
    ModelSpec(
        name="catboost",
        family="ensemble",
        summary="boosted symmetric trees: good defaults, slower",
        package="catboost",
        install='pip install "hyperion-tui[boost]"',
        trials=30,
        forms={
            "regression": Form(
                build="engines.models.ensemble.catboost:CatBoostRegressor",
                space=Space(_CATBOOST),
                defaults=_catboost(0.1, 6, 3.0, 1.0, 0.8),
                portfolio=(
                    # TabRepo, CatBoost_r137.
                    _catboost(0.07, 4, 4.6, 1.0, 0.8),
                    # TabRepo, CatBoost_r177.
                    _catboost(0.069, 6, 2.15, 1.0, 0.8),
                    # TD, regression.
                    _catboost(0.09, 9, 1e-4, 1e-3, 0.9),
                ),
                weights=(1.0, 1.5, 4.0),
                cost=Cost(0.6, rows=0.6, columns=0.6),
                seed_argument="seed",
                columns="raw",
                most_rows=200_000,
                prior=0.95,
            ),
            "classification": Form(
                build="engines.models.ensemble.catboost:CatBoostClassifier",
                space=Space(_CATBOOST),
                defaults=_catboost(0.1, 6, 3.0, 1.0, 0.8),
                portfolio=(
                    # TabRepo, CatBoost_r137.
                    _catboost(0.07, 4, 4.6, 1.0, 0.8),
                    # TD, classification.
                    _catboost(0.08, 7, 1e-4, 0.8, 0.9),
                ),
                weights=(1.0, 2.0),
                cost=Cost(0.7, rows=0.6, columns=0.7),
                seed_argument="seed",
                columns="raw",
                most_rows=200_000,
                prior=0.95,
            ),
        },
    ),
)
