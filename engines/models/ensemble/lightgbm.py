"""LightGBM by its own training interface: binned once a fold, one round at a time."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

from engines.models.ensemble.rounds import Boosted, Classifier, Course, Regressor, Target, bins
from engines.models.learner import Floats, FoldView

_TRIES = 10
"""Rounds in a row that could not split a leaf, after which no more are tried."""


class _LightGBM(Boosted):
    """Parameters have LightGBM's names and meanings; `seed` is its only source of randomness.

    min_data_in_leaf is at most an eighth of the training rows, so that few rows can be split.
    Those of categories (min_data_per_group, cat_smooth, cat_l2) are lower by default than
    LightGBM's 100, 10 and 10, with which it learns little from codes of some dozen rows each.
    """

    def __init__(
        self,
        learning_rate: float = 0.1,
        num_leaves: int = 31,
        min_data_in_leaf: int = 20,
        bagging_fraction: float = 1.0,
        feature_fraction: float = 1.0,
        lambda_l1: float = 0.0,
        lambda_l2: float = 0.0,
        extra_trees: bool = False,
        min_data_per_group: int = 10,
        cat_smooth: float = 1.0,
        cat_l2: float = 1.0,
        seed: int = 0,
        categories: dict[int, int] | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_data_in_leaf = min_data_in_leaf
        self.bagging_fraction = bagging_fraction
        self.feature_fraction = feature_fraction
        self.lambda_l1 = lambda_l1
        self.lambda_l2 = lambda_l2
        self.extra_trees = extra_trees
        self.min_data_per_group = min_data_per_group
        self.cat_smooth = cat_smooth
        self.cat_l2 = cat_l2
        self.seed = seed
        self.categories = categories

    def _grow(self, fold: FoldView, target: Target, course: Course) -> Any:
        train, valid = self._binned(fold, target)
        booster = lightgbm.Booster(self._parameters(target, len(fold.y)), train)
        look = _Look()
        if course.watches:
            booster.add_valid(valid, "valid")
        barren = 0
        while barren < _TRIES:
            # `update` is True where no leaf could be split, and the round was not grown. With
            # thresholds, rows or columns drawn at random another draw may find a split.
            if booster.update():
                barren += 1
                continue
            barren = 0
            if course.watches:
                booster.eval_valid(look)
            if course.ends(look.predicted):
                break
        # A first round that was not grown leaves a tree that holds the mean.
        means = booster.num_trees() // max(1, booster.num_model_per_iteration()) - course.rounds
        # The model as text holds neither data nor scores; it is exact (17 digits).
        text = booster.model_to_string(num_iteration=course.best_round + means)
        return lightgbm.Booster(model_str=text)

    def _raw(self, X: Floats) -> Floats:
        predicted: Floats = self._model.predict(X, num_threads=1)
        return predicted

    def _parameters(self, target: Target, rows: int) -> dict[str, Any]:
        return {
            **_objective(target),
            **_data_parameters(rows),
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": min(self.min_data_in_leaf, max(1, rows // 8)),
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1 if self.bagging_fraction < 1 else 0,
            "feature_fraction": self.feature_fraction,
            "lambda_l1": self.lambda_l1,
            "lambda_l2": self.lambda_l2,
            "extra_trees": self.extra_trees,
            "min_data_per_group": self.min_data_per_group,
            "cat_smooth": self.cat_smooth,
            "cat_l2": self.cat_l2,
            "metric": "None",
            "seed": self.seed,
            "deterministic": True,
            # Else both ways are timed at each start, and the faster one depends on the moment.
            "force_col_wise": True,
        }

    def _binned(self, fold: FoldView, target: Target) -> tuple[Any, Any]:
        """The fold's training and validation rows, binned by the training rows."""
        if "lightgbm" not in fold.cache:
            shared: dict[str, Any] = {
                "params": _data_parameters(len(fold.y)),
                "categorical_feature": sorted(fold.categories) or "auto",
            }
            train = lightgbm.Dataset(fold.X, target.encode(fold.y), **shared).construct()
            valid = None
            if len(fold.X_valid):
                # Labels are asked for, and not used: the loss is computed from predictions.
                labels = np.zeros(len(fold.X_valid))
                valid = lightgbm.Dataset(fold.X_valid, labels, reference=train, **shared)
                valid.construct()
            fold.cache["lightgbm"] = (train, valid)
        return fold.cache["lightgbm"]


class LightGBMRegressor(Regressor, _LightGBM):
    """Squared error."""


class LightGBMClassifier(Classifier, _LightGBM):
    """Log loss over two classes or more."""


class _Look:
    """Takes the predictions that LightGBM keeps for its validation rows."""

    def __init__(self) -> None:
        self.predicted: Floats | None = None

    def __call__(self, predicted: Floats, data: Any) -> tuple[str, float, bool]:
        self.predicted = predicted
        return "look", 0.0, False


def _objective(target: Target) -> dict[str, Any]:
    if target.count == 0:
        return {"objective": "regression"}
    if target.count == 2:
        return {"objective": "binary"}
    return {"objective": "multiclass", "num_class": target.count}


def _data_parameters(rows: int) -> dict[str, Any]:
    """Those that LightGBM keeps with the data: with other values it would bin them anew."""
    return {
        "max_bin": bins(rows) - 1,  # LightGBM adds one for missing values.
        # Else columns are left out by one trial's `min_data_in_leaf` for all trials.
        "feature_pre_filter": False,
        "num_threads": 1,
        "verbosity": -1,
    }
