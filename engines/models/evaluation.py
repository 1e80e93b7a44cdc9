"""One set of parameters on the folds of an experiment: its scores, predictions and models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from engines.data.scoring import FIT_TIME, Metric, selection_score
from engines.models.fit import FittedModel, Floats, FoldOutcome, Listener, Trainer
from engines.models.learner import OutOfTime, Saver
from engines.models.spec import Form


class FoldKeeper(Protocol):
    """Keeps what an interrupted trial has done, for whoever takes it up again."""

    def outcome(self, index: int) -> FoldOutcome | None:
        """What an earlier process made of a fold, if it finished that one."""

    def done(self, index: int, outcome: FoldOutcome) -> None:
        """A fold is finished."""

    def saver(self, index: int) -> Saver:
        """What keeps the state of the training of a fold."""


class Evaluation:
    """A trial of a declared model, fold after fold.

    seconds_left: until the experiment's time is up, None without limit. A fold may take its share
    of what is left; estimators that grow by rounds stop there, so that even a trial that is too
    long for its time has a score, of the shorter training that it got. keeper: for a model whose
    training can be taken up again, else None. metrics: what it is scored by, where those are
    several; the first is the trainer's.
    """

    def __init__(
        self,
        trainer: Trainer,
        form: Form,
        params: dict[str, Any],
        seed: int,
        *,
        seconds_left: float | None = None,
        listen: Listener | None = None,
        keeper: FoldKeeper | None = None,
        metrics: Sequence[Metric] = (),
    ) -> None:
        self._metrics = metrics
        self._keeper = keeper
        self._trainer = trainer
        self._form = form
        self._params = params
        self._seed = seed
        self._listen = listen
        self._end = None if seconds_left is None else time.monotonic() + seconds_left
        self.outcomes: list[FoldOutcome] = []

    def scores(self) -> Iterator[float]:
        """The score of each fold's validation rows, as soon as it is known.

        Raises ScoreError for one that is not finite, OutOfTime, and what the library raises.
        """
        for index in range(self._trainer.folds):
            outcome = self._outcome(index)
            self.outcomes.append(outcome)
            yield outcome.score

    def _outcome(self, index: int) -> FoldOutcome:
        keeper = self._keeper
        known = None if keeper is None else keeper.outcome(index)
        if known is not None:
            return known
        outcome = self._trainer.fit_fold(
            self._form,
            self._params,
            self._seed,
            index,
            deadline=self._deadline(index),
            listen=self._listen,
            saver=None if keeper is None else keeper.saver(index),
        )
        if keeper is not None:
            keeper.done(index, outcome)
        return outcome

    def _deadline(self, index: int) -> float | None:
        if self._end is None:
            return None
        now = time.monotonic()
        if index and now >= self._end:
            raise OutOfTime(f"time was up after {index} of {self._trainer.folds} folds")
        return now + (self._end - now) / (self._trainer.folds - index)

    @property
    def value(self) -> float:
        """The selection score, once all folds are done. Raises ScoreError if it is not finite."""
        return self._score(self._trainer.metric)

    @property
    def objectives(self) -> dict[str, float]:
        """The selection score by each of several metrics, as `value`; `fit_time` in seconds."""
        return {metric.name: self._score(metric) for metric in self._metrics}

    def _score(self, metric: Metric) -> float:
        if metric is FIT_TIME:
            return fmean(outcome.fit_s for outcome in self.outcomes)
        folds = self._trainer.data.split.folds
        y = self._trainer.data.truth
        parts = [
            (y[fold.valid], predicted)
            for fold, predicted in zip(folds, self.predictions, strict=True)
        ]
        return selection_score(metric, parts)

    @property
    def models(self) -> list[FittedModel]:
        """The fold models."""
        return [outcome.model for outcome in self.outcomes]

    @cached_property
    def predictions(self) -> list[Floats]:
        """The validation rows of each fold as they count, once all folds are done.

        A model that stops early was stopped by the very rows that score it, which flatters it,
        the more the fewer they are. So each fold is scored at the mean of the rounds that the
        other folds have chosen, where the predictions of that round were kept.
        """
        found = []
        for number, outcome in enumerate(self.outcomes):
            others = [o.rounds for o in self.outcomes[:number] + self.outcomes[number + 1 :]]
            rounds = [r for r in others if r is not None]
            if outcome.courses and rounds and len(rounds) == len(others):
                found.append(outcome.after(np.atleast_1d(np.mean(rounds, axis=0)).tolist()))
            else:
                found.append(outcome.predicted)
        return found

    @property
    def metrics(self) -> dict[str, Any]:
        """What the record keeps of the folds done so far.

        folds: scores. raced: scores at each fold's own best round, which trials are compared by
        while they run, where they differ. rows: (used, there were) of the first fold, if a cap
        left some out. epoch_rows: the like for an epoch of a network, of the last fold, which has
        the most rows where they are in order. rounds: of each fold, for models that grow by
        rounds. cut_short: folds whose training was ended by time.
        """
        raced = [outcome.score for outcome in self.outcomes]
        found: dict[str, Any] = {"folds": raced}
        if len(raced) == self._trainer.folds and any(outcome.courses for outcome in self.outcomes):
            found = {"folds": self._fold_scores(), "raced": raced}
        used, there = self.outcomes[0].rows if self.outcomes else (0, 0)
        if used < there:
            found["rows"] = [used, there]
        used, there = (self.outcomes[-1].epoch_rows if self.outcomes else None) or (0, 0)
        if used < there:
            found["epoch_rows"] = [used, there]
        rounds = [outcome.rounds for outcome in self.outcomes if outcome.rounds is not None]
        if rounds:
            found["rounds"] = rounds
        cut = sum(outcome.cut_short for outcome in self.outcomes)
        if cut:
            found["cut_short"] = cut
        return found

    def _fold_scores(self) -> list[float]:
        data, metric = self._trainer.data, self._trainer.metric
        pairs = zip(data.split.folds, self.predictions, strict=True)
        return [metric.score(data.truth[fold.valid], predicted) for fold, predicted in pairs]


def mean_rounds(metrics: dict[str, Any]) -> int | list[int] | None:
    """The rounds that a refit on all rows gets: the mean over the folds; None without rounds.

    A list has those of each step, for a forecast of one estimator a step.
    """
    rounds = metrics.get("rounds")
    if not rounds:
        return None
    mean: int | list[int] = np.maximum(1, np.round(np.mean(rounds, axis=0)).astype(int)).tolist()
    return mean
