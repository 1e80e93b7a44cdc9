"""AdaBoost of scikit-learn around trees of a searched depth, with an end when time is up."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import ensemble
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from engines.models.learner import Floats, FoldView, Watch
from engines.models.sklearn.trees import Narrow, changed, narrow, narrow_fold

_OF_TREES = ("max_depth", "min_samples_leaf")


class _TimeIsUp(Exception):
    pass


class _Timed:
    """A tree that refuses to be grown after `deadline`: AdaBoost has no other way to be ended."""

    def __init__(
        self,
        *,
        max_depth: int | None = None,
        min_samples_leaf: int = 1,
        random_state: int | None = None,
        deadline: float | None = None,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            max_depth=max_depth, min_samples_leaf=min_samples_leaf, random_state=random_state
        )
        self.deadline = deadline

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> Self:
        """As a decision tree's. Raises _TimeIsUp after the deadline."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise _TimeIsUp
        super().fit(X, y, sample_weight, check_input)  # type: ignore[misc]
        return self


class _TimedRegressor(_Timed, DecisionTreeRegressor):
    pass


class _TimedClassifier(_Timed, DecisionTreeClassifier):
    pass


class _Adaptive:
    """AdaBoost around trees of a depth, which ends when time is up."""

    n_estimators: int
    max_depth: int
    min_samples_leaf: int
    estimators_: list[Any]
    rounds_: int

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train `n_estimators` rounds, or until a round is perfect or no better than chance."""
        return self._train(narrow(X), y, None)

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """As `fit`, until time is up. The number of rounds is searched."""
        X, _ = narrow_fold(fold)
        try:
            self._train(X, fold.y, watch.deadline)
        except _TimeIsUp:
            watch.mark_cut()
            self.estimators_.pop()
            if not self.estimators_:
                with changed(self, n_estimators=1):
                    self._train(X, fold.y, None)
            self.rounds_ = len(self.estimators_)
        return self

    def _train(self, X: Narrow, y: Floats, deadline: float | None) -> Self:
        with changed(self, estimator=self._tree(deadline)):
            super().fit(X, y)  # type: ignore[misc]
        self.rounds_ = len(self.estimators_)
        return self

    def _tree(self, deadline: float | None) -> Any:
        raise NotImplementedError

    def predict(self, X: Floats) -> Floats:
        """(rows,) in the target's units, or class codes."""
        predicted: Floats = super().predict(narrow(X))  # type: ignore[misc]
        return predicted


class AdaBoostRegressor(_Adaptive, ensemble.AdaBoostRegressor):
    """scikit-learn's (AdaBoost.R2) around trees of a depth."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ensemble.AdaBoostRegressor._parameter_constraints,
        **{name: DecisionTreeRegressor._parameter_constraints[name] for name in _OF_TREES},
    }

    def __init__(
        self,
        *,
        n_estimators: int = 50,
        learning_rate: float = 1.0,
        loss: str = "linear",
        max_depth: int = 3,
        min_samples_leaf: int = 1,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            loss=loss,
            random_state=random_state,
        )
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf

    def _tree(self, deadline: float | None) -> Any:
        return _TimedRegressor(
            max_depth=self.max_depth, min_samples_leaf=self.min_samples_leaf, deadline=deadline
        )


class AdaBoostClassifier(_Adaptive, ensemble.AdaBoostClassifier):
    """scikit-learn's (SAMME) around trees of a depth.

    A first tree no better than chance is no error: it is the model.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ensemble.AdaBoostClassifier._parameter_constraints,
        **{name: DecisionTreeClassifier._parameter_constraints[name] for name in _OF_TREES},
    }

    def __init__(
        self,
        *,
        n_estimators: int = 50,
        learning_rate: float = 1.0,
        max_depth: int = 1,
        min_samples_leaf: int = 1,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators, learning_rate=learning_rate, random_state=random_state
        )
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf

    def _train(self, X: Narrow, y: Floats, deadline: float | None) -> Self:
        try:
            return super()._train(X, y, deadline)
        except ValueError:
            if getattr(self, "estimators_", None) != []:
                raise
        self.estimators_ = [self._tree(None).fit(X, y)]
        self.estimator_weights_ = np.ones(1)
        self.rounds_ = 1
        return self

    def _tree(self, deadline: float | None) -> Any:
        return _TimedClassifier(
            max_depth=self.max_depth, min_samples_leaf=self.min_samples_leaf, deadline=deadline
        )

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes of the training rows)."""
        odds: Floats = super().predict_proba(narrow(X))
        return odds
