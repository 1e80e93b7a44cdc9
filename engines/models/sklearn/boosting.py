"""Boosted trees of scikit-learn: how many rounds is found on the validation rows.

Each class is scikit-learn's estimator. The most rounds there may be is its own argument
(`n_estimators`, `max_iter`), and training ends when the loss of the validation rows (squared error,
or log loss) has not fallen for a while, or when time is up; the rounds after the best one are
dropped.
"""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn import ensemble

from engines.models.learner import Floats, FoldView, Watch
from engines.models.sklearn.trees import Narrow, changed, narrow, narrow_fold

MOST_CATEGORIES = 255
"""A column with more categories than this counts as numbers: scikit-learn has no more bins."""


def patience(rate: float) -> int:
    """Rounds without a lower loss after which training ends: 40 at a learning rate of 0.1.

    A round moves by the rate, so a slow model needs more of them to show that it still learns.
    """
    return min(150, max(15, round(4.0 / rate)))


def plain_rounds(rate: float) -> int:
    """Rounds where there are no validation rows to find their number: 150 at a rate of 0.1."""
    return min(1_000, max(30, round(15.0 / rate)))


# -- exact splits --------------------------------------------------------------------------


class _Stages:
    """Follows the validation rows through the rounds of a gradient boosting: its `monitor`."""

    def __init__(self, X: Narrow, fold: FoldView, watch: Watch) -> None:
        self._X = X
        self._fold = fold
        self._watch = watch
        self._raw: Floats | None = None
        self.best, self._least = 1, math.inf

    def __call__(self, stage: int, model: Any, _: dict[str, Any]) -> bool:
        """Whether to stop after `stage`, the first of which is 0."""
        if self._raw is None:
            # The first stage of all is what boosting started from, with one tree on top.
            staged = model.staged_decision_function if self._fold.classes else model.staged_predict
            self._raw = np.array(next(staged(self._X)), dtype=np.float64).reshape(len(self._X), -1)
        else:
            for column, tree in enumerate(model.estimators_[stage]):
                step = tree.predict(self._X, check_input=False)
                self._raw[:, column] += model.learning_rate * step
        predicted = self._predicted(model, self._raw)
        loss = self._loss(predicted)
        if loss < self._least:
            self._least, self.best = loss, stage + 1
        self._watch.note(stage + 1, predicted)
        if self._watch.wants(stage + 1):
            self._watch.report(stage + 1, predicted)
        if stage + 1 < model.n_estimators and self._watch.is_over():
            self._watch.mark_cut()
            return True
        return stage + 1 - self.best >= patience(model.learning_rate)

    def _predicted(self, model: Any, raw: Floats) -> Floats:
        if not self._fold.classes:
            return raw[:, 0].copy()
        odds = expit(raw) if raw.shape[1] == 1 else softmax(raw, axis=1)
        if odds.shape[1] == 1:
            odds = np.hstack([1.0 - odds, odds])
        wide = np.zeros((len(raw), self._fold.classes))
        wide[:, model.classes_.astype(np.intp)] = odds
        return wide

    def _loss(self, predicted: Floats) -> float:
        y = self._fold.y_valid
        if not self._fold.classes:
            return float(np.mean((predicted - y) ** 2))
        hit = predicted[np.arange(len(y)), y.astype(np.intp)]
        # A class that no training row has costs the same whatever is learned.
        return float(-np.mean(np.log(np.maximum(hit, 1e-15))))


class _Gradient:
    n_estimators: int
    learning_rate: float
    estimators_: npt.NDArray[Any]
    rounds_: int

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train as many rounds as the learning rate usually takes."""
        return self.fit_rounds(X, y, min(self.n_estimators, plain_rounds(self.learning_rate)))

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """Train `rounds` rounds."""
        with changed(self, n_estimators=rounds):
            self._train(narrow(X), y, None)
        self.rounds_ = rounds
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Train until the validation rows gain nothing or time is up; keep the best round."""
        X, X_valid = narrow_fold(fold)
        stages = _Stages(X_valid, fold, watch)
        self._train(X, fold.y, stages)
        self.rounds_ = stages.best
        self.estimators_ = self.estimators_[: stages.best].copy()
        return self

    def _train(self, X: Narrow, y: Floats, monitor: Any) -> None:
        super().fit(X, y, monitor=monitor)  # type: ignore[misc]

    def predict(self, X: Floats) -> Floats:
        """(rows,) in the target's units, or class codes."""
        predicted: Floats = super().predict(narrow(X))  # type: ignore[misc]
        return predicted


class GradientBoostingRegressor(_Gradient, ensemble.GradientBoostingRegressor):
    """scikit-learn's, with rounds found on the validation rows."""


class GradientBoostingClassifier(_Gradient, ensemble.GradientBoostingClassifier):
    """scikit-learn's, with rounds found on the validation rows; one class alone is no error."""

    def _train(self, X: Narrow, y: Floats, monitor: Any) -> None:
        only = np.unique(y)
        if len(only) > 1:
            super()._train(X, y, monitor)
            return
        self.classes_ = only
        self.estimators_ = np.empty((0, 1), dtype=object)

    def predict(self, X: Floats) -> Floats:
        """(rows,) class codes."""
        codes: Floats = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return codes

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes of the training rows)."""
        if len(self.classes_) == 1:
            return np.ones((len(X), 1))
        odds: Floats = super().predict_proba(narrow(X))
        return odds


# -- binned columns ------------------------------------------------------------------------

_FIRST = 20
_AFFORD = 0.8


class _Histogram:
    """What both histogram boosters do.

    categories: column number to number of codes, NaN where a code is missing.
    """

    max_iter: int
    learning_rate: float
    categories: dict[int, int] | None
    rounds_: int
    n_iter_: int
    validation_score_: Floats

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train as many rounds as the learning rate usually takes."""
        return self.fit_rounds(X, y, min(self.max_iter, plain_rounds(self.learning_rate)))

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """Train `rounds` rounds."""
        self._blank = _all_missing(X)
        arguments = {"early_stopping": False, **self._columns()}
        with changed(self, max_iter=rounds, **arguments):
            super().fit(self._filled(X), y)  # type: ignore[misc]
        self.rounds_ = rounds
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Train until the validation rows gain nothing or time is up; keep the best round.

        scikit-learn stops by itself on validation rows, but knows no deadline and has no
        callback: rounds are asked for by the chunk, and each chunk after the first bins its
        columns again, so that there are as few as the deadline and the pruner allow.
        """
        self._blank = _all_missing(fold.X)
        # A validation row of a class that no training row has can't be scored.
        known = np.isin(fold.y_valid, fold.y) if fold.classes else np.isfinite(fold.y_valid)
        if not known.any():
            return self.fit(fold.X, fold.y)
        X, X_valid = self._filled(fold.X), self._filled(fold.X_valid)
        rows = {"X_val": X_valid[known], "y_val": fold.y_valid[known]}
        arguments = {"early_stopping": True, **self._columns()}
        begun, done = time.monotonic(), 0
        chunk = self._first_chunk(watch)
        while True:
            asked = min(self.max_iter, done + chunk)
            with changed(self, max_iter=asked, warm_start=done > 0, **arguments):
                super().fit(X, fold.y, **rows)  # type: ignore[misc]
            done = self.n_iter_
            self.rounds_ = max(1, int(np.argmax(self.validation_score_)))
            if watch.wants(done):
                watch.report(done, self._wide(X_valid, fold.classes))
            if done < asked or done >= self.max_iter:
                break
            chunk = self._next_chunk(watch, done, (time.monotonic() - begun) / done)
            if chunk == 0:
                watch.mark_cut()
                break
        if watch.keeps:
            self._note_all(X_valid, fold.classes, watch)
        return self

    def _note_all(self, X: Floats, classes: int, watch: Watch) -> None:
        """Tell `watch` of every round, afterwards. X: filled."""
        if not classes:
            for round_, predicted in enumerate(super().staged_predict(X), 1):  # type: ignore[misc]
                watch.note(round_, predicted)
            return
        if len(self.classes_) == 1:  # type: ignore[attr-defined]
            return
        codes = self.classes_.astype(np.intp)  # type: ignore[attr-defined]
        for round_, odds in enumerate(super().staged_predict_proba(X), 1):  # type: ignore[misc]
            wide = np.zeros((len(X), classes))
            wide[:, codes] = odds
            watch.note(round_, wide)

    def _first_chunk(self, watch: Watch) -> int:
        unhurried = math.isinf(watch.seconds_left) and not watch.wants(_FIRST)
        return self.max_iter if unhurried else _FIRST

    def _next_chunk(self, watch: Watch, done: int, pace: float) -> int:
        """How many rounds more: 0 if there is no time for one. pace: seconds a round so far."""
        affordable = _AFFORD * watch.seconds_left / max(pace, 1e-9)
        if affordable < 1.0:
            return 0
        # The pruner hears of rounds 20, 80, 320, ...: each report costs a binning.
        listened = 3 * done if watch.wants(done) else self.max_iter
        return int(min(listened, affordable, self.max_iter))

    def _columns(self) -> dict[str, Any]:
        """Which columns hold categories. The others are numbers."""
        usable = [c for c, codes in (self.categories or {}).items() if codes <= MOST_CATEGORIES]
        return {
            "categorical_features": [c for c in sorted(usable) if not self._blank[c]] or None,
            "n_iter_no_change": patience(self.learning_rate),
            "scoring": "loss",
            "tol": 0.0,
        }

    def _filled(self, X: Floats) -> Floats:
        """A column that was missing in all training rows can't be binned: it is one number."""
        if not self._blank.any():
            return X
        return np.where(self._blank, 0.0, X)

    def _wide(self, X: Floats, classes: int) -> Floats:
        """As `Watch.report` takes predictions. X: filled."""
        if not classes:
            return _last(super().staged_predict(X), self.rounds_)  # type: ignore[misc]
        wide = np.zeros((len(X), classes))
        codes = self.classes_.astype(np.intp)  # type: ignore[attr-defined]
        wide[:, codes] = self.predict_proba(X)  # type: ignore[attr-defined]
        return wide


class HistGradientBoostingRegressor(_Histogram, ensemble.HistGradientBoostingRegressor):
    """scikit-learn's, with rounds found on the validation rows and categories as they come."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ensemble.HistGradientBoostingRegressor._parameter_constraints,
        "categories": [dict, None],
    }

    def __init__(
        self,
        *,
        learning_rate: float = 0.1,
        max_iter: int = 1_000,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        categories: dict[int, int] | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            max_iter=max_iter,
            max_leaf_nodes=max_leaf_nodes,
            min_samples_leaf=min_samples_leaf,
            l2_regularization=l2_regularization,
            max_features=max_features,
            random_state=random_state,
        )
        self.categories = categories

    def predict(self, X: Floats) -> Floats:
        """(rows,) in the target's units, of the best round."""
        return self._wide(self._filled(X), 0)


class HistGradientBoostingClassifier(_Histogram, ensemble.HistGradientBoostingClassifier):
    """scikit-learn's, with rounds found on the validation rows and categories as they come."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ensemble.HistGradientBoostingClassifier._parameter_constraints,
        "categories": [dict, None],
    }

    def __init__(
        self,
        *,
        learning_rate: float = 0.1,
        max_iter: int = 1_000,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        categories: dict[int, int] | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            max_iter=max_iter,
            max_leaf_nodes=max_leaf_nodes,
            min_samples_leaf=min_samples_leaf,
            l2_regularization=l2_regularization,
            max_features=max_features,
            random_state=random_state,
        )
        self.categories = categories

    def predict(self, X: Floats) -> Floats:
        """(rows,) class codes, of the best round."""
        codes: Floats = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return codes

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes of the training rows), of the best round."""
        if len(self.classes_) == 1:  # scikit-learn gives two columns
            return np.ones((len(X), 1))
        return _last(super().staged_predict_proba(self._filled(X)), self.rounds_)


def _all_missing(X: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isnan(X).all(axis=0))


def _last(stages: Any, rounds: int) -> Floats:
    """What the `rounds`-th of some stages says."""
    for _ in range(rounds - 1):
        next(stages)
    last: Floats = next(stages)
    return last
