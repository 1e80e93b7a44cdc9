"""CatBoost: quantised once a fold, followed every few rounds through its callback and metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import catboost
import numpy as np

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


def look_every(rate: float) -> int:
    """Rounds from one look at the validation rows to the next: 5 at a learning rate of 0.1.

    At each round CatBoost hands its callback the whole history of metrics, which takes longer the
    more looks there were: with one at every round, 2,000 rounds took several times as long as
    without any. Between two looks the model moves by no more than half a step of rate 1.
    """
    return max(1, round(0.5 / rate))


class _CatBoost(Boosted):
    """Parameters have CatBoost's names and meanings; `seed` is its only source of randomness."""

    def __init__(
        self,
        learning_rate: float = 0.1,
        depth: int = 6,
        l2_leaf_reg: float = 3.0,
        random_strength: float = 1.0,
        subsample: float = 0.8,
        rsm: float = 1.0,
        leaf_estimation_iterations: int = 1,
        grow_policy: str = "SymmetricTree",
        one_hot_max_size: int = 10,
        max_ctr_complexity: int = 2,
        seed: int = 0,
        categories: dict[int, int] | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.depth = depth
        self.l2_leaf_reg = l2_leaf_reg
        self.random_strength = random_strength
        self.subsample = subsample
        self.rsm = rsm
        self.leaf_estimation_iterations = leaf_estimation_iterations
        self.grow_policy = grow_policy
        self.one_hot_max_size = one_hot_max_size
        self.max_ctr_complexity = max_ctr_complexity
        self.seed = seed
        self.categories = categories

    def _grow(self, fold: FoldView, target: Target, course: Course) -> Any:
        train, valid = self._quantised(fold, target)
        parameters = {**self._parameters(target), "iterations": course.most}
        if course.watches:
            every = look_every(self.learning_rate)
            follower = _Follower(course, target.count, every)
            followed = {"eval_metric": follower, "metric_period": 1 if course.listens else every}
            model = catboost.CatBoost({**parameters, **followed})
            model.fit(train, eval_set=valid, callbacks=[follower])
            if follower.raised is not None:
                raise follower.raised
            if self.grow_policy == "SymmetricTree":
                model.shrink(course.best_round)
        else:
            model = catboost.CatBoost(parameters)
            model.fit(train)
            course.best_round = course.most
        # CatBoost can't cut other trees off; they are left out where the model predicts.
        self._end = course.best_round
        # Without the parameters, which hold the follower and with it the fold's rows.
        bare = catboost.CatBoost()
        bare.load_model(blob=model._serialize_model())
        return bare

    def _raw(self, X: Floats) -> Floats:
        pool = _pool(X, self.categories or {})
        kind = "Probability" if self._target.count else "RawFormulaVal"
        predicted: Floats = self._model.predict(
            pool, prediction_type=kind, ntree_end=self._end, thread_count=1
        )
        return predicted

    def _parameters(self, target: Target) -> dict[str, Any]:
        bootstrap = {"bootstrap_type": "Bernoulli", "subsample": self.subsample}
        return {
            **_objective(target),
            **(bootstrap if self.subsample < 1 else {"bootstrap_type": "No"}),
            "learning_rate": self.learning_rate,
            "depth": self.depth,
            "l2_leaf_reg": self.l2_leaf_reg,
            "random_strength": self.random_strength,
            "rsm": self.rsm,
            "leaf_estimation_iterations": self.leaf_estimation_iterations,
            "grow_policy": self.grow_policy,
            "one_hot_max_size": self.one_hot_max_size,
            "max_ctr_complexity": self.max_ctr_complexity,
            "boosting_type": "Plain",
            "random_seed": self.seed,
            "thread_count": 1,
            "logging_level": "Silent",
            # CatBoost would leave a folder in the working directory.
            "allow_writing_files": False,
        }

    def _quantised(self, fold: FoldView, target: Target) -> tuple[Any, Any]:
        """The fold's training rows, quantised, and its validation rows."""
        if "catboost" not in fold.cache:
            train = _pool(fold.X, fold.categories, target.encode(fold.y))
            train.quantize(border_count=bins(len(fold.y)) - 1)
            valid = None
            if len(fold.X_valid):
                # CatBoost asks for labels of validation rows, and knows no class but those of
                # the training rows; the loss is computed from predictions.
                valid = _pool(fold.X_valid, fold.categories, np.zeros(len(fold.X_valid)))
            fold.cache["catboost"] = (train, valid)
        return fold.cache["catboost"]


class CatBoostRegressor(Regressor, _CatBoost):
    """Squared error."""


class CatBoostClassifier(Classifier, _CatBoost):
    """Log loss over two classes or more."""


class _Follower:
    """Follows a training for a `Course`, as CatBoost's metric and as its callback.

    Every `metric_period` rounds CatBoost computes the metric, of the training rows first and then
    of the validation rows. After every round it calls the callback, which ends the training.
    every: rounds from one look at the loss to the next, the first of which is at round 1.
    """

    no_jit = True  # Else CatBoost has numba compile the metric, and warns that it can't.

    def __init__(self, course: Course, classes: int, every: int) -> None:
        self.raised: BaseException | None = None
        self._course = course
        self._classes = classes
        self._every = every
        self._of_validation = False
        self._seen: Floats | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Follower:
        # CatBoost copies its parameters, and this is one of them: the copy would be followed.
        return self

    def is_max_optimal(self) -> bool:
        return False

    def get_final_error(self, error: float, weight: float) -> float:
        return error

    def evaluate(
        self, approximations: Sequence[Floats], target: Floats, weight: Floats | None
    ) -> tuple[float, float]:
        if self._of_validation:
            self._seen = self._as_predicted(approximations)
        self._of_validation = not self._of_validation
        return 0.0, 1.0

    def after_iteration(self, info: Any) -> bool:
        seen, self._seen = self._seen, None
        round_, course = info.iteration, self._course
        looks = (round_ - 1) % self._every == 0 or round_ >= course.most
        try:
            if seen is not None and looks:
                return not course.ends(seen, round_ - course.rounds)
            return not course.passes(round_, seen)
        except BaseException as stop:
            # It would come out of CatBoost as an error of its own, without its kind.
            self.raised = stop
            return False

    def _as_predicted(self, approximations: Sequence[Floats]) -> Floats:
        if self._classes == 0:
            return np.array(approximations[0])
        if self._classes == 2:
            return 1.0 / (1.0 + np.exp(-np.clip(approximations[0], -500.0, 500.0)))
        scores = np.stack(approximations, axis=1)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _pool(X: Floats, categories: dict[int, int], labels: Floats | None = None) -> Any:
    """Rows as CatBoost takes them: numbers first, then codes as words; a missing code is one."""
    if not categories:
        return catboost.Pool(single(X), labels)
    coded = sorted(categories)
    numbers = [column for column in range(X.shape[1]) if column not in categories]
    codes = np.nan_to_num(X[:, coded], nan=-1.0).astype(np.int64)
    words = np.array([b"%d" % code for code in range(-1, int(codes.max()) + 1)], dtype=object)
    data = catboost.FeaturesData(
        num_feature_data=single(X[:, numbers]) if numbers else None,
        cat_feature_data=words[codes + 1],
    )
    return catboost.Pool(data, labels)


def _objective(target: Target) -> dict[str, Any]:
    if target.count == 0:
        return {"loss_function": "RMSE"}
    if target.count == 2:
        return {"loss_function": "Logloss"}
    return {"loss_function": "MultiClass", "classes_count": target.count}
