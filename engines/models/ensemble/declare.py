"""Gradient boosting libraries: spaces and known-good defaults, as data."""

from __future__ import annotations

from engines.models.spec import ModelSpec
from engines.search.space import Choice, Float, Int, Space

MODELS = (
    ModelSpec(
        name="xgboost",
        family="ensemble",
        build="xgboost:XGBRegressor",
        summary="boosted trees, second-order, regularised",
        package="xgboost",
        install="pip install xgboost-cpu  (macOS: pip install xgboost)",
        seed_argument="random_state",
        fixed={"n_jobs": 1, "tree_method": "hist", "verbosity": 0},
        trials=30,
        space=Space(
            {
                "learning_rate": Float(0.01, 0.5, log=True),
                "n_estimators": Int(30, 600, log=True),
                "max_depth": Int(2, 12),
                "min_child_weight": Float(1e-2, 64.0, log=True),
                "subsample": Float(0.4, 1.0),
                "colsample_bytree": Float(0.3, 1.0),
                "reg_lambda": Float(1e-8, 100.0, log=True),
                "reg_alpha": Float(1e-8, 10.0, log=True),
            }
        ),
        defaults={
            "learning_rate": 0.1,
            "n_estimators": 150,
            "max_depth": 6,
            "min_child_weight": 1.0,
            "subsample": 0.9,
            "colsample_bytree": 0.9,
            "reg_lambda": 1.0,
            "reg_alpha": 1e-8,
        },
    ),
    ModelSpec(
        name="lightgbm",
        family="ensemble",
        build="lightgbm:LGBMRegressor",
        summary="boosted trees grown leaf by leaf: the fastest of the three",
        package="lightgbm",
        install="pip install lightgbm",
        seed_argument="random_state",
        fixed={"n_jobs": 1, "verbosity": -1, "subsample_freq": 1, "deterministic": True},
        trials=30,
        space=Space(
            {
                "learning_rate": Float(0.01, 0.5, log=True),
                "n_estimators": Int(30, 600, log=True),
                "num_leaves": Int(4, 200, log=True),
                "min_child_samples": Int(2, 100, log=True, at_most="train_rows"),
                "subsample": Float(0.4, 1.0),
                "colsample_bytree": Float(0.3, 1.0),
                "reg_lambda": Float(1e-8, 100.0, log=True),
                "reg_alpha": Float(1e-8, 10.0, log=True),
            }
        ),
        defaults={
            "learning_rate": 0.1,
            "n_estimators": 100,
            "num_leaves": 31,
            "min_child_samples": 20,
            "subsample": 1.0,
            "colsample_bytree": 1.0,
            "reg_lambda": 1e-8,
            "reg_alpha": 1e-8,
        },
    ),
    ModelSpec(
        name="catboost",
        family="ensemble",
        build="catboost:CatBoostRegressor",
        summary="boosted symmetric trees: good defaults, slower to train",
        package="catboost",
        install='pip install "hyperion-tui[boost]"',
        seed_argument="random_seed",
        # allow_writing_files: CatBoost would leave a folder in the working directory.
        fixed={"thread_count": 1, "verbose": False, "allow_writing_files": False},
        trials=30,
        space=Space(
            {
                "learning_rate": Float(0.01, 0.5, log=True),
                "iterations": Int(50, 600, log=True),
                "depth": Int(3, 9),
                "l2_leaf_reg": Float(0.1, 100.0, log=True),
                "random_strength": Float(1e-3, 10.0, log=True),
                "bootstrap_type": Choice(("Bayesian", "Bernoulli")),
                "bagging_temperature": Float(0.0, 2.0, when={"bootstrap_type": ("Bayesian",)}),
                "subsample": Float(0.4, 1.0, when={"bootstrap_type": ("Bernoulli",)}),
            }
        ),
        defaults={
            "learning_rate": 0.1,
            "iterations": 200,
            "depth": 6,
            "l2_leaf_reg": 3.0,
            "random_strength": 1.0,
            "bootstrap_type": "Bayesian",
            "bagging_temperature": 1.0,
        },
    ),
)
