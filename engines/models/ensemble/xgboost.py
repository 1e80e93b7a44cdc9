"""XGBoost by its own training interface: binned once a fold, one round at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost

from engines.models.ensemble.rounds import (
    Boosted,
    Classifier,
    Course,
    Regressor,
    Target,
    bins,
    single,
)
from engines.models.learner import Floats, FoldView


class _XGBoost(Boosted):
    """Parameters have XGBoost's names and meanings; `seed` is its only source of randomness."""

    def __init__(
        self,
        learning_rate: float = 0.3,
        max_depth: int = 6,
        min_child_weight: float = 1.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        colsample_bylevel: float = 1.0,
        reg_lambda: float = 1.0,
        reg_alpha: float = 0.0,
        seed: int = 0,
        categories: dict[int, int] | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.colsample_bylevel = colsample_bylevel
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.seed = seed
        self.categories = categories

    def _grow(self, fold: FoldView, target: Target, course: Course) -> Any:
        train, valid = self._binned(fold, target)
        known = [train, valid] if course.watches else [train]
        booster = xgboost.Booster(self._parameters(target, len(fold.y)), known)
        over = False
        while not over:
            booster.update(train, course.rounds)
            # Predictions of known data are kept: each costs only the last round's trees.
            over = course.ends(booster.predict(valid) if course.watches else None)
        return booster[: course.best_round]

    def _raw(self, X: Floats) -> Floats:
        self._model.set_param("nthread", 1)
        predicted = self._model.inplace_predict(single(X), missing=np.nan, validate_features=False)
        return np.asarray(predicted, dtype=np.float64)

    def _parameters(self, target: Target, rows: int) -> dict[str, Any]:
        return {
            **_objective(target),
            "tree_method": "hist",
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "colsample_bylevel": self.colsample_bylevel,
            "reg_lambda": self.reg_lambda,
            "reg_alpha": self.reg_alpha,
            "max_bin": bins(rows),
            "disable_default_eval_metric": True,
            "seed": self.seed,
            "nthread": 1,
            "verbosity": 0,
        }

    def _binned(self, fold: FoldView, target: Target) -> tuple[Any, Any]:
        """The fold's training and validation rows, binned by the training rows."""
        if "xgboost" not in fold.cache:
            kinds = ["c" if i in fold.categories else "q" for i in range(fold.X.shape[1])]
            shape = {
                "feature_types": kinds,
                "max_bin": bins(len(fold.y)),
                "missing": np.nan,
                "nthread": 1,
            }
            labels = target.encode(fold.y)
            train = xgboost.QuantileDMatrix(single(fold.X), labels, **shape)
            valid = None
            if len(fold.X_valid):
                valid = xgboost.QuantileDMatrix(single(fold.X_valid), ref=train, **shape)
            fold.cache["xgboost"] = (train, valid)
        return fold.cache["xgboost"]


class XGBoostRegressor(Regressor, _XGBoost):
    """Squared error."""


class XGBoostClassifier(Classifier, _XGBoost):
    """Log loss over two classes or more."""


def _objective(target: Target) -> dict[str, Any]:
    if target.count == 0:
        return {"objective": "reg:squarederror"}
    if target.count == 2:
        return {"objective": "binary:logistic"}
    return {"objective": "multi:softprob", "num_class": target.count}
