"""What an estimator of the catalogue must do, and what it may know of its surroundings.

Every estimator has `fit(X, y)` and `predict(X)`, as scikit-learn's have; one that classifies has
`classes_` after `fit` and, if it can, `predict_proba(X)`. X and y are as `Form.columns` says.

One that grows by rounds (boosting, forests, networks) may also have `fit_watched(fold, watch)`,
called instead of `fit` where validation rows exist: it stops early by them where that is right,
stops when time is up, and tells the pruner how it does. It leaves `rounds_`, the number of rounds
it kept, and has `fit_rounds(X, y, rounds)`, which trains exactly that many without validation
rows: for the refit of ordered data.

One that reads windows (`reads_windows`) says of a row what the rows up to it tell: its `predict`
and `predict_proba` also take `before`, the rows that came right before X in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class OutOfTime(Exception):
    """The time of the experiment ended between two folds of a trial."""


@dataclass
class FoldView:
    """The rows of one fold, as one kind of estimator takes them.

    X: (rows, columns), y: (rows,): they train. X_valid, y_valid: they score, and may stop early.
    y is standardised for `scaled` regressors; class codes 0..k-1 for classifiers.
    categories: column number to number of codes, for `raw` columns. classes: 0 for regression.
    ordered: whether the rows are in time order. before_valid: then, for an estimator that reads
    windows, the rows right before X_valid.
    cache: kept as long as these arrays are: whatever an estimator prepares from them (binned
    data, for instance) and can use again in its next trial belongs in here, under its own key.
    """

    index: int
    X: Floats
    y: Floats
    X_valid: Floats
    y_valid: Floats
    categories: dict[int, int]
    classes: int
    ordered: bool = False
    before_valid: Floats | None = None
    cache: dict[Hashable, Any] = field(default_factory=dict)


class Saver(Protocol):
    """Keeps the state of one training, so that another process can go on with it.

    state: what an earlier process has kept of this training, or None. Called after each round, from
    1, with a function that packs the state: that is asked for now and then. May raise what
    interrupts the trial, once the state is safe.
    """

    state: bytes | None

    def __call__(self, round_: int, pack: Callable[[], bytes]) -> None: ...


class Watch:
    """How long a fit may take, and who listens while it goes on.

    keeps: whether `note` remembers anything, so that nobody has to compute it in vain. course: what
    it was told, the rounds ascending: (round, predictions as float32).
    deadline: `time.monotonic()` seconds, None without limit. listen: called by `report`, or None
    if nobody wants to know. cut_short: set by `mark_cut` when time ended the training before it
    was over; the model is what it was until then.
    saver: keeps the state of the training, or None where nothing needs to outlive the process.
    """

    def __init__(
        self,
        deadline: float | None = None,
        listen: Callable[[int, Floats], None] | None = None,
        every: int = 10,
        keeps: bool = False,
        saver: Saver | None = None,
    ) -> None:
        self.deadline = deadline
        self.saver = saver
        self.cut_short = False
        self.keeps = keeps
        self.course: list[tuple[int, npt.NDArray[np.float32]]] = []
        self._listen = listen
        self._every = every

    @property
    def seconds_left(self) -> float:
        """Seconds to the deadline, infinite without one, never below zero."""
        if self.deadline is None:
            return float("inf")
        return max(0.0, self.deadline - time.monotonic())

    def is_over(self) -> bool:
        """Whether the deadline has passed. The caller stops after the round it is in."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def mark_cut(self) -> None:
        """Note that time ended the training early."""
        self.cut_short = True

    def note(self, round_: int, predicted: Floats) -> None:
        """Remember how the validation rows are predicted after `round_` rounds, if it `keeps`.

        predicted: as for `report`. Call it after every round: which of them is scored is decided
        when the other folds are done.
        """
        if self.keeps:
            self.course.append((round_, predicted.astype(np.float32)))

    def wants(self, round_: int) -> bool:
        """Whether to compute and `report` predictions after this round (the first is 1)."""
        return self._listen is not None and round_ % self._every == 0

    def report(self, round_: int, predicted: Floats) -> None:
        """Tell how the validation rows are predicted after `round_` rounds.

        predicted: (rows,) in units of `y`, or (rows, classes) probabilities. Raises what stops the
        trial (`optuna.TrialPruned`): let it pass.
        """
        if self._listen is not None:
            self._listen(round_, predicted)
