"""scikit-learn's small network, trained epoch by epoch: stopped early, its best weights kept."""

from __future__ import annotations

import itertools
import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from engines.models.learner import Floats, FoldView, Watch

_MOST_EPOCHS = 300
_PATIENCE = 20
_SECONDS = 8.0
"""What all epochs of one training may take on one core, by the two figures below."""
_BATCH_S = 2.5e-4
_PRODUCT_S = 3e-10
"""Seconds for one batch, and for one row times one weight, forwards and backwards."""
_LEAST_BATCHES = 4
_LEAST_ROWS = 256
"""Fewer rows are gone through several times by one call of `partial_fit`, which costs 1 to 4 ms."""


class _Network:
    """Epochs by `partial_fit`, watched by validation rows or by a tenth held back."""

    batch_size: int
    random_state: Any
    hidden_layer_sizes: tuple[int, ...]
    _classifies = False

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train on nine tenths, stop by the last tenth. Below 50 rows, 100 epochs on all."""
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        if len(X) < 50:
            return self.fit_rounds(X, y, 100)
        order = np.random.default_rng(self.random_state).permutation(len(X))
        kept, held = np.sort(order[len(X) // 10 :]), np.sort(order[: len(X) // 10])
        fold = FoldView(
            index=0,
            X=X[kept],
            y=y[kept],
            X_valid=X[held],
            y_valid=y[held],
            categories={},
            classes=int(y.max()) + 1 if self._classifies else 0,
        )
        return self.fit_watched(fold, Watch())

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Train until the loss of the validation rows has not fallen for 20 epochs.

        The loss is the squared error, or the log loss; the weights of its lowest epoch are kept,
        and `rounds_` is that epoch.
        """
        if not len(fold.y_valid):
            return self.fit(fold.X, fold.y)
        self._begin(fold.X, fold.y)
        if self.only_ is not None:
            return self
        best, best_epoch = np.inf, 0
        kept: list[Floats] = []
        passes = _passes(fold.X)
        for epoch in range(passes, self._most_epochs(fold.X) + passes, passes):
            if not self._epoch(fold.X, fold.y, passes) and kept:
                break
            predicted = self._answer(fold.X_valid)
            loss = self._loss_of(predicted, fold.y_valid)
            if loss < best:
                best, best_epoch = loss, epoch
                kept = [a.copy() for a in (*self.coefs_, *self.intercepts_)]
            if watch.keeps or watch.wants(epoch):
                wide = self._widened(predicted, fold.classes)
                watch.note(epoch, wide)
                if watch.wants(epoch):
                    watch.report(epoch, wide)
            if epoch - best_epoch >= _PATIENCE or not np.isfinite(loss):
                break
            if watch.is_over():
                watch.mark_cut()
                break
        if kept:
            layers = len(self.coefs_)
            self.coefs_, self.intercepts_ = kept[:layers], kept[layers:]
        self.rounds_ = max(best_epoch, 1)
        return self

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """Train exactly so many epochs."""
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self._begin(X, y)
        left = 0 if self.only_ is not None else max(1, min(rounds, self._most_epochs(X)))
        while left > 0:
            passes = min(left, _passes(X))
            if not self._epoch(X, y, passes):
                break
            left -= passes
        self.rounds_ = rounds
        return self

    coefs_: list[Floats]
    intercepts_: list[Floats]

    def _begin(self, X: Floats, y: Floats) -> None:
        self.only_: float | None = None
        if self._classifies and len(np.unique(y)) == 1:
            self.only_ = float(y[0])
            self.classes_ = np.unique(y)
        self.rounds_ = 0
        # partial_fit restarts the order of rows from a number at each call; a generator goes on.
        self._generator = np.random.RandomState(self.random_state)
        for left in ("coefs_", "intercepts_", "_optimizer", "_label_binarizer"):
            if hasattr(self, left):
                delattr(self, left)
        self._labels = {"classes": np.unique(y)} if self._classifies else {}

    def _epoch(self, X: Floats, y: Floats, passes: int) -> bool:
        """One call of `partial_fit`; False if the weights are no longer finite."""
        asked = self.random_state, self.batch_size
        self.random_state = self._generator
        self.batch_size = self._batch(len(X))
        if passes > 1:
            X, y = np.tile(X, (passes, 1)), np.tile(y, passes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                self.partial_fit(X, y, **self._labels)
        except ValueError as error:
            if "non-finite" not in str(error):
                raise
            return False
        finally:
            self.random_state, self.batch_size = asked
        return True

    partial_fit: Any

    def _batch(self, rows: int) -> int:
        return max(1, min(self.batch_size, rows // _LEAST_BATCHES))

    def _most_epochs(self, X: Floats) -> int:
        """What `_SECONDS` allow, at least 5."""
        sizes = (X.shape[1], *self.hidden_layer_sizes, 1)
        weights = sum(a * b for a, b in itertools.pairwise(sizes))
        epoch_s = len(X) / self._batch(len(X)) * _BATCH_S + len(X) * weights * _PRODUCT_S
        return int(np.clip(_SECONDS / epoch_s, 5, _MOST_EPOCHS))

    def _answer(self, X: Floats) -> Floats:
        raise NotImplementedError

    def _loss_of(self, predicted: Floats, y: Floats) -> float:
        raise NotImplementedError

    def _widened(self, predicted: Floats, classes: int) -> Floats:
        return predicted


def _passes(X: Floats) -> int:
    return max(1, -(-_LEAST_ROWS // len(X)))


class WatchedMLPRegressor(_Network, MLPRegressor):
    """MLPRegressor by Adam."""

    _parameter_constraints: ClassVar[dict[str, Any]] = MLPRegressor._parameter_constraints

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (64, 64),
        activation: str = "relu",
        alpha: float = 1e-4,
        learning_rate_init: float = 3e-3,
        batch_size: int = 32,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            alpha=alpha,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            random_state=random_state,
        )

    def _answer(self, X: Floats) -> Floats:
        return np.asarray(super().predict(X), np.float64).reshape(len(X))

    def _loss_of(self, predicted: Floats, y: Floats) -> float:
        return float(np.mean((predicted - y) ** 2))


class WatchedMLPClassifier(_Network, MLPClassifier):
    """MLPClassifier by Adam. One class alone is answered with itself."""

    _classifies = True
    _parameter_constraints: ClassVar[dict[str, Any]] = MLPClassifier._parameter_constraints

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (64, 64),
        activation: str = "relu",
        alpha: float = 1e-4,
        learning_rate_init: float = 3e-3,
        batch_size: int = 32,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            alpha=alpha,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            random_state=random_state,
        )

    def predict(self, X: Floats) -> Floats:
        return np.asarray(self.classes_[np.argmax(self.predict_proba(X), axis=1)])

    def predict_proba(self, X: Floats) -> Floats:
        if self.only_ is not None:
            return np.ones((len(X), 1))
        return np.asarray(super().predict_proba(X), np.float64)

    def _answer(self, X: Floats) -> Floats:
        return self.predict_proba(X)

    def _loss_of(self, predicted: Floats, y: Floats) -> float:
        where = np.searchsorted(self.classes_, y)
        known = where < len(self.classes_)
        known[known] = self.classes_[where[known]] == y[known]
        chance = np.full(len(y), 1e-15)
        chance[known] = predicted[np.flatnonzero(known), where[known]]
        return float(-np.log(np.maximum(chance, 1e-15)).mean())

    def _widened(self, predicted: Floats, classes: int) -> Floats:
        wide = np.zeros((len(predicted), classes))
        wide[:, self.classes_.astype(int)] = predicted
        return wide
