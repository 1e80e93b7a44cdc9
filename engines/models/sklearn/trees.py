"""Forests and bagged trees of scikit-learn, with as many trees as it takes and no more.

Trees grown side by side differ from each other only by chance, so that the squared error of the
mean of T of them is, on average, R(T) = R(inf) + V / T, with V the variance of one tree's
prediction (Scornet, "On the asymptotics of random forests", J. Multivariate Analysis 146, 2016,
theorem 3.3). V is estimated on the validation rows from the trees at hand, and growing ends when
V / T has become small beside the error: no number of trees has to be searched, none is too small,
and nothing is selected by the validation rows' target.

Each class is scikit-learn's estimator. `n_estimators` is the most trees there may be; after
training it is the number that was grown.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn import ensemble
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from engines.models.learner import Floats, FoldView, Watch

Narrow = npt.NDArray[np.float32]

FEWEST, STEP = 20, 10
"""Trees before the first look at the error, and between two looks."""

SETTLED = 0.02
"""Growing ends when more trees would lower the mean squared error by at most this part of it.

Several such models are averaged, which divides what is left again.
"""

PLAIN = 100
"""Trees where there are no validation rows: scikit-learn's own default."""

MOST_BYTES = 64_000_000
"""Growing ends when the trees take more memory than this."""

ROWS_A_LEAF = 20_000
"""A leaf holds at least one row for each so many training rows, see `least_leaf`."""

_NODE_BYTES = 64
_LARGEST = 3e38


def least_leaf(rows: int) -> int:
    """The fewest rows of a leaf that are worth their memory.

    Within `MOST_BYTES` few full trees of many rows find room. Leaves of two rows and twice the
    trees lower the error then, while trees of fewer rows raise it.
    """
    return math.ceil(rows / ROWS_A_LEAF)


def narrow(X: Floats) -> Narrow:
    """X as trees take it: (rows, columns) float32; what float32 can't hold is cut to its ends."""
    return np.ascontiguousarray(np.clip(X, -_LARGEST, _LARGEST), dtype=np.float32)


def narrow_fold(fold: FoldView) -> tuple[Narrow, Narrow]:
    """Training and validation rows for trees, made once for all trials of a fold."""
    if "float32" not in fold.cache:
        fold.cache["float32"] = narrow(fold.X), narrow(fold.X_valid)
    pair: tuple[Narrow, Narrow] = fold.cache["float32"]
    return pair


@contextlib.contextmanager
def changed(estimator: Any, /, **values: Any) -> Iterator[None]:
    """Other arguments for the time of a fit: `get_params` and `clone` tell what was asked."""
    asked = {name: getattr(estimator, name) for name in values}
    for name, value in values.items():
        setattr(estimator, name, value)
    try:
        yield
    finally:
        for name, value in asked.items():
            setattr(estimator, name, value)


class _Tally:
    """What the trees grown so far say of the validation rows, and how far they differ."""

    def __init__(self, X: Narrow, fold: FoldView) -> None:
        self._X = X
        # Brier's score is the squared error of probabilities against one column for each class.
        self._target = (
            np.eye(fold.classes)[fold.y_valid.astype(np.intp)]
            if fold.classes
            else fold.y_valid.reshape(len(X), -1)
        )
        self._sum = np.zeros(self._target.shape)
        self._squares = np.zeros(self._target.shape)
        self._votes = bool(fold.classes)
        self._flat = not fold.classes and fold.y_valid.ndim == 1
        self._trees = 0

    def add(self, model: Any, first: int) -> None:
        """Count the trees from number `first` on. Earlier ones are not asked again."""
        drawn = getattr(model, "estimators_features_", None)
        for number, tree in enumerate(model.estimators_[first:], first):
            X = self._X if drawn is None else np.ascontiguousarray(self._X[:, drawn[number]])
            said = np.zeros_like(self._sum)
            if not self._votes:
                said[:] = tree.predict(X, check_input=False).reshape(said.shape)
            else:
                # A tree's classes are places among the forest's, which are codes of the data.
                codes = model.classes_[tree.classes_.astype(np.intp)].astype(np.intp)
                said[:, codes] = tree.predict_proba(X, check_input=False)
            self._sum += said
            self._squares += said * said
            self._trees += 1

    @property
    def mean(self) -> Floats:
        """(rows,), (rows, classes) or (rows, steps): the prediction of the forest."""
        mean: Floats = self._sum / self._trees
        return mean[:, 0] if self._flat else mean

    def is_settled(self) -> bool:
        """Whether more trees would not lower the error by much."""
        mean = self._sum / self._trees
        error = float(np.mean((mean - self._target) ** 2))
        spread = float(np.mean(self._squares / self._trees - mean * mean))
        # Variance of one tree is spread * T / (T - 1); a T-th of it is what is left to gain.
        return spread / (self._trees - 1) <= SETTLED * error


class _Grown:
    """Grows trees by the handful with `warm_start`, which gives the same trees as all at once."""

    n_estimators: int
    warm_start: bool
    estimators_: list[Any]
    rounds_: int

    def fit(self, X: Floats, y: Floats) -> Self:
        """Grow `PLAIN` trees, or `n_estimators` if that is less."""
        return self.fit_rounds(X, y, min(PLAIN, self.n_estimators))

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """Grow `rounds` trees, or fewer if they take too much memory."""
        self._grow(narrow(X), y, rounds, Watch(), None)
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Grow trees until more of them would change little, or until time is up."""
        X, X_valid = narrow_fold(fold)
        self._grow(X, fold.y, self.n_estimators, watch, _Tally(X_valid, fold))
        return self

    def _grow(self, X: Narrow, y: Floats, most: int, watch: Watch, tally: _Tally | None) -> None:
        grown, used, step = 0, 0, 1
        while grown < most:
            begun = time.monotonic()
            self.n_estimators = min(most, grown + step)
            with changed(self, warm_start=grown > 0, **self._bounds(len(X))):
                super().fit(X, y)  # type: ignore[misc]
            used += sum(map(_bytes, self.estimators_[grown:]))
            if tally is not None:
                tally.add(self, grown)
            pace = (time.monotonic() - begun) / (self.n_estimators - grown)
            grown = self.n_estimators
            if tally is not None and watch.wants(grown):
                watch.report(grown, tally.mean)
            if used > MOST_BYTES or (tally is not None and _looks(grown) and tally.is_settled()):
                break
            if grown < most and watch.seconds_left <= pace:
                watch.mark_cut()
                break
            # To the next look at most, and no more than there is time for.
            step = min(STEP - grown % STEP, _whole(watch.seconds_left / max(pace, 1e-9)))
        self.rounds_ = grown

    def _bounds(self, rows: int) -> dict[str, Any]:
        """Arguments that depend on the number of training rows."""
        raise NotImplementedError

    def predict(self, X: Floats) -> Floats:
        """(rows,) in the target's units, or class codes."""
        predicted: Floats = super().predict(narrow(X))  # type: ignore[misc]
        return predicted


class _GrownClassifier(_Grown):
    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes): the mean of the trees' shares."""
        shares: Floats = super().predict_proba(narrow(X))  # type: ignore[misc]
        return shares


class _Forest(_Grown):
    """`max_samples`: the part of the training rows that a tree draws, if it draws."""

    min_samples_leaf: int
    bootstrap: bool
    max_samples: float | None

    def _bounds(self, rows: int) -> dict[str, Any]:
        drawn = None
        if self.bootstrap and self.max_samples is not None:
            # A whole number: scikit-learn warns of a part that is few rows.
            drawn = max(1, round(self.max_samples * rows))
        leaf = max(self.min_samples_leaf, least_leaf(rows))
        return {"min_samples_leaf": leaf, "max_samples": drawn}


class RandomForestRegressor(_Forest, ensemble.RandomForestRegressor):
    """scikit-learn's, with as many trees as it takes."""


class RandomForestClassifier(_Forest, _GrownClassifier, ensemble.RandomForestClassifier):
    """scikit-learn's, with as many trees as it takes."""


class ExtraTreesRegressor(_Forest, ensemble.ExtraTreesRegressor):
    """scikit-learn's, with as many trees as it takes."""


class ExtraTreesClassifier(_Forest, _GrownClassifier, ensemble.ExtraTreesClassifier):
    """scikit-learn's, with as many trees as it takes."""


class _Bagging(_Grown):
    """Full trees, each on rows and columns of its own.

    max_samples, max_features: parts of the rows and columns that a tree sees, drawn once for the
    whole tree. min_samples_leaf: of the trees.
    """

    min_samples_leaf: int
    max_samples: float

    def _bounds(self, rows: int) -> dict[str, Any]:
        leaf = max(self.min_samples_leaf, least_leaf(rows))
        tree = self._tree(min_samples_leaf=leaf)
        return {"estimator": tree, "max_samples": max(1, round(self.max_samples * rows))}

    def _tree(self, min_samples_leaf: int) -> Any:
        raise NotImplementedError


class BaggingRegressor(_Bagging, ensemble.BaggingRegressor):
    """scikit-learn's around its decision tree, with as many trees as it takes."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ensemble.BaggingRegressor._parameter_constraints,
        "min_samples_leaf": DecisionTreeRegressor._parameter_constraints["min_samples_leaf"],
    }

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_samples: float = 1.0,
        max_features: float = 1.0,
        bootstrap: bool = True,
        min_samples_leaf: int = 1,
        random_state: int | None = None,
    ) -> None:
        ensemble.BaggingRegressor.__init__(
            self,
            n_estimators=n_estimators,
            max_samples=max_samples,
            max_features=max_features,
            bootstrap=bootstrap,
            random_state=random_state,
        )
        self.min_samples_leaf = min_samples_leaf

    def _tree(self, min_samples_leaf: int) -> Any:
        return DecisionTreeRegressor(min_samples_leaf=min_samples_leaf)


class BaggingClassifier(_Bagging, _GrownClassifier, ensemble.BaggingClassifier):
    """scikit-learn's around its decision tree, with as many trees as it takes."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ensemble.BaggingClassifier._parameter_constraints,
        "min_samples_leaf": DecisionTreeClassifier._parameter_constraints["min_samples_leaf"],
    }

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_samples: float = 1.0,
        max_features: float = 1.0,
        bootstrap: bool = True,
        min_samples_leaf: int = 1,
        random_state: int | None = None,
    ) -> None:
        ensemble.BaggingClassifier.__init__(
            self,
            n_estimators=n_estimators,
            max_samples=max_samples,
            max_features=max_features,
            bootstrap=bootstrap,
            random_state=random_state,
        )
        self.min_samples_leaf = min_samples_leaf

    def _tree(self, min_samples_leaf: int) -> Any:
        return DecisionTreeClassifier(min_samples_leaf=min_samples_leaf)


def _looks(grown: int) -> bool:
    return grown >= FEWEST and grown % STEP == 0


def _whole(trees: float) -> int:
    """At least 1, and not infinite."""
    return int(min(max(trees, 1.0), STEP))


def _bytes(tree: Any) -> int:
    """What a tree's nodes take, in memory as in a file."""
    inner = tree.tree_
    return int(inner.node_count) * (_NODE_BYTES + 8 * int(inner.max_n_classes))
