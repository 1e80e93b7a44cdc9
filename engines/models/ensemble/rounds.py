"""What the three boosting libraries share: when to stop, what the target is, how rows arrive.

The libraries only add rounds. The number of rounds comes from the validation rows of the fold:
the loss (squared error of the standardised target, or log loss) is computed here after every
round, the same way for each library, and the model is cut back to its best round.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from engines.models.learner import Floats, FoldView, Watch

MOST_ROUNDS = 5_000
"""More rounds than this are never grown; at the lowest rates of the spaces few models get there."""

_LEAST_GAIN = 1e-3
"""The part by which the loss must fall, as long as patience lasts, for training to go on."""

_LARGEST = 1e37
"""Numbers beyond this are cut to it for libraries that compute in float32 (its end is 3.4e38)."""


def patience(rate: float) -> int:
    """Rounds without a better loss after which training stops, for a learning rate.

    Small steps make slow progress, so that patience is measured in steps times rate: 50 rounds at
    0.1, 100 at 0.05, and never under 20 or above 250.
    """
    return min(250, max(20, round(5.0 / rate)))


def plain_rounds(rate: float) -> int:
    """Rounds where there are no validation rows to choose them: 200 at a rate of 0.1."""
    return min(1_000, max(50, round(20.0 / rate)))


def bins(rows: int) -> int:
    """Bins a column is cut into, for so many training rows.

    A round costs bins as much as rows where there are few rows: there, half of the usual 256 take
    time off and leave the error where it was.
    """
    return 128 if rows < 5_000 else 256


@dataclass(frozen=True)
class Numbers:
    """The target of a regression, standardised with the training rows.

    Penalties of the libraries are in units of the target, and two of them compute gradients in
    float32: on a target of mean 0 and deviation 1 neither its unit nor its offset matters.
    """

    mean: float
    scale: float
    least_gain = 0.0  # How much the loss must fall, beside the part that is asked of each.

    @classmethod
    def of(cls, y: Floats) -> Numbers:
        """y: (rows,), finite. The scale is 0 if all values are the same."""
        mean = float(np.mean(y))
        away = y - mean
        widest = float(np.max(np.abs(away)))
        if np.all(y == y[0]) or widest == 0.0:
            return cls(float(y[0]), 0.0)
        # Divided first: squares of values above 1e154 overflow.
        return cls(mean, widest * float(np.std(away / widest)))

    @property
    def settled(self) -> bool:
        """Whether there is nothing to learn."""
        return self.scale == 0.0

    @property
    def count(self) -> int:
        """The number of classes: none."""
        return 0

    def encode(self, y: Floats) -> Floats:
        """(rows,) in units of the training deviation."""
        return (y - self.mean) / self.scale

    def decode(self, raw: Floats) -> Floats:
        """(rows,) in units of the target."""
        return raw * self.scale + self.mean

    def constant(self, rows: int) -> Floats:
        """(rows,): what to say where nothing could be learned."""
        return np.full(rows, self.mean)

    def loss(self, encoded: Floats, raw: Floats) -> float:
        """Mean squared error, in units of the training variance."""
        away = raw - encoded
        return float(away @ away) / len(away)


@dataclass(frozen=True)
class Codes:
    """The target of a classification: class codes, of which a fold may lack some.

    classes: (count,) the codes among the training rows, ascending. shares: (count,) how often.
    """

    classes: Floats
    shares: Floats
    least_gain = 1e-3  # In nats; where classes are separable, log loss falls without end.

    @classmethod
    def of(cls, y: Floats) -> Codes:
        """y: (rows,) class codes."""
        classes, counts = np.unique(y, return_counts=True)
        return cls(classes, counts / float(len(y)))

    @property
    def settled(self) -> bool:
        """Whether there is nothing to learn."""
        return len(self.classes) == 1

    @property
    def count(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def encode(self, y: Floats) -> Floats:
        """(rows,) 0..count-1, and -1 for a class that the training rows lack."""
        place = np.searchsorted(self.classes, y).clip(0, self.count - 1)
        return np.where(self.classes[place] == y, place, -1).astype(np.float64)

    def decode(self, raw: Floats) -> Floats:
        """(rows, count) probabilities; (rows,) are taken as those of the second of two classes."""
        return raw if raw.ndim == 2 else np.column_stack([1.0 - raw, raw])

    def constant(self, rows: int) -> Floats:
        """(rows, count): the shares among the training rows."""
        return np.tile(self.shares, (rows, 1))

    def widen(self, probabilities: Floats, classes: int) -> Floats:
        """(rows, classes): with a column of zeros for every class that was not seen."""
        wide = np.zeros((len(probabilities), classes))
        wide[:, self.classes.astype(np.intp)] = probabilities
        return wide

    def loss(self, encoded: Floats, raw: Floats) -> float:
        """Log loss over the rows whose class was seen; 0 if there is none."""
        seen = encoded >= 0
        if not seen.any():
            return 0.0
        codes = encoded[seen].astype(np.intp)
        chances = self.decode(raw)[seen, codes]
        return -float(np.mean(np.log(np.maximum(chances, 1e-15))))


Target = Numbers | Codes


@dataclass(frozen=True)
class Jury:
    """The validation rows of a fold, as one training is judged by them.

    encoded: (rows,) their target, as `target` encodes it. classes: 0 for regression.
    """

    target: Target
    encoded: Floats
    classes: int
    watch: Watch

    @classmethod
    def of(cls, fold: FoldView, target: Target, watch: Watch) -> Jury:
        """That of `fold`, with a target learned from its training rows."""
        return cls(target, target.encode(fold.y_valid), fold.classes, watch)

    def loss(self, raw: Floats) -> float:
        """Infinite where the predictions are not numbers."""
        loss = self.target.loss(self.encoded, raw)
        return loss if math.isfinite(loss) else math.inf

    def tell(self, round_: int, raw: Floats, *, looked: bool = True) -> None:
        """Tell `watch`, in units of the target, with a column for every class there is.

        looked: whether the course goes by this round; else it is told to who listens only.
        """
        wants, keeps = self.watch.wants(round_), looked and self.watch.keeps
        if not wants and not keeps:
            return
        predicted = self.target.decode(raw)
        if isinstance(self.target, Codes):
            predicted = self.target.widen(predicted, self.classes)
        if keeps:
            self.watch.note(round_, predicted)
        if wants:
            self.watch.report(round_, predicted)


class Course:
    """Follows a training round by round, and says when it is over.

    most: the most rounds. wait: rounds without a better loss after which it ends. rounds: those
    done. best_round: the round to cut the model back to. Without a `jury` it is just so many
    rounds, and `ends` needs no predictions.
    """

    def __init__(self, most: int, wait: int = 0, jury: Jury | None = None) -> None:
        self.most = most
        self.rounds = 0
        self.best_round = 0
        self._wait = wait
        self._jury = jury
        self._best = math.inf
        self._goal = math.inf
        self._goal_round = 0

    @property
    def watches(self) -> bool:
        """Whether `ends` wants to see predictions."""
        return self._jury is not None

    @property
    def listens(self) -> bool:
        """Whether somebody wants to hear of rounds."""
        return self._jury is not None and self._jury.watch.wants(0)

    def passes(self, round_: int, raw: Floats | None) -> bool:
        """Let a round pass without a look at the loss; whether time is up. raw: as for `ends`."""
        if self._jury is None:
            return False
        if raw is not None:
            self._jury.tell(round_, raw, looked=False)
        return self._is_cut(self._jury.watch)

    def _is_cut(self, watch: Watch) -> bool:
        if not watch.is_over():
            return False
        watch.mark_cut()
        return True

    def ends(self, raw: Floats | None = None, grown: int = 1) -> bool:
        """Note the rounds that were just grown; whether they were the last.

        raw: what the model now predicts for the validation rows, encoded as `Target.decode`
        takes it. grown: so many since the last call. Lets pass what `Watch.report` raises.
        """
        self.rounds += grown
        if self._jury is None or raw is None:
            self.best_round = self.rounds
            return self.rounds >= self.most
        self._note(self._jury.loss(raw), self._jury.target.least_gain)
        self._jury.tell(self.rounds, raw)
        if self.rounds - self._goal_round >= self._wait or self.rounds >= self.most:
            return True
        return self._is_cut(self._jury.watch)

    def _note(self, loss: float, least_gain: float) -> None:
        if loss < self._best or self.best_round == 0:
            self._best, self.best_round = loss, self.rounds
        # Patience asks for more than the crumbs that thousands of rounds bring at the end.
        if loss < self._goal:
            self._goal = loss * (1.0 - _LEAST_GAIN) - least_gain
            self._goal_round = self.rounds


class Boosted(BaseEstimator, ABC):
    """A boosting library behind `fit`, `fit_watched` and `fit_rounds`.

    `rounds_`: the rounds that were kept; 0 if there was nothing to learn (one value, one class,
    or no column that varies), when the mean or the shares of the classes are predicted.
    """

    learning_rate: float
    categories: dict[int, int] | None

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train on (rows, columns) and (rows,), by a number of rounds that suits the rate."""
        return self.fit_rounds(X, y, plain_rounds(self.learning_rate))

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """Train exactly `rounds` rounds (0 or fewer: predict the mean, or the shares)."""
        fold = FoldView(0, X, y, X[:0], y[:0], self.categories or {}, 0)
        return self._train(fold, Course(rounds) if rounds > 0 else None)

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Train until the validation rows are predicted no better, or `watch` says stop."""
        target = self._target_of(fold.y)
        if target.settled:
            return self._train(fold, None)
        course = Course(MOST_ROUNDS, patience(self.learning_rate), Jury.of(fold, target, watch))
        return self._train(fold, course)

    def _train(self, fold: FoldView, course: Course | None) -> Self:
        self._target = self._target_of(fold.y)
        if isinstance(self._target, Codes):
            self.classes_ = self._target.classes
        self._model: Any = None
        self.rounds_ = 0
        if course is not None and not self._target.settled and varies(fold.X):
            self._model = self._grow(fold, self._target, course)
            self.rounds_ = course.best_round
        return self

    def _predicted(self, X: Floats) -> Floats:
        if self._model is None:
            return self._target.constant(len(X))
        return self._target.decode(self._raw(X))

    @abstractmethod
    def _target_of(self, y: Floats) -> Target:
        """How the target is given to the library."""

    @abstractmethod
    def _grow(self, fold: FoldView, target: Target, course: Course) -> Any:
        """The library's model, cut back to `course.best_round`."""

    @abstractmethod
    def _raw(self, X: Floats) -> Floats:
        """What the library's model predicts, as `Target.decode` takes it."""


class Regressor(RegressorMixin, Boosted, ABC):
    """Predicts numbers."""

    def predict(self, X: Floats) -> Floats:
        """(rows,) in units of the target."""
        return self._predicted(X)

    def _target_of(self, y: Floats) -> Target:
        return Numbers.of(y)


class Classifier(ClassifierMixin, Boosted, ABC):
    """Predicts class codes and their probabilities."""

    classes_: Floats

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, len(classes_)) probabilities."""
        return self._predicted(X)

    def predict(self, X: Floats) -> Floats:
        """(rows,) the most probable of `classes_`."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]

    def _target_of(self, y: Floats) -> Target:
        return Codes.of(y)


def varies(X: Floats) -> bool:
    """Whether any column has two different values, NaN being one of them."""
    return any(_differs(X[:, column]) for column in range(X.shape[1]))


def _differs(values: Floats) -> bool:
    first = values[0]
    if np.isnan(first):
        return not np.isnan(values).all()
    return bool((values != first).any())


def single(X: Floats) -> npt.NDArray[np.float32]:
    """`X` in float32, numbers too large for it cut to its range; NaN stays."""
    return np.clip(X, -_LARGEST, _LARGEST).astype(np.float32)
