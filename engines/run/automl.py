"""FLAML's trials among all others: its questions become trials, their ends its answers.

A trial of FLAML's search is a trial of its study like any other: claimed, trained on the folds,
scored by the metric of the experiment, recorded, paused, put back. Only what it tries next comes
from FLAML, which is told how the trials on record ended, in the order of their numbers. With the
same answers it asks the same questions. So a worker that takes the study over, or takes it up
again after a pause or a death, goes on exactly where it stood; and any worker may take the next
trial, as long as it is one at a time.

Where the record doesn't fit the questions (another version of FLAML, a learner that is not
installed here, a budget that was in trials and is in seconds now, trials that somebody else added),
a new search begins from the best configuration of each learner on record, as FLAML's
`starting_points` has it. None of them is trained again. The step sizes of its local searches and
its estimates of cost begin anew then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from engines.data.snapshot import MOST_SPREAD
from engines.models import catalogue
from engines.models.automl.declare import LEARNER, LEARNERS, ROWS, SAMPLE_SIZE
from engines.models.spec import Task, is_installed
from engines.run.context import Context
from engines.search import seen
from engines.study.claims import Job

if TYPE_CHECKING:
    from engines.models.automl.chooser import Chooser, Question, Table
    from engines.run.interrupted import TrialKeeper
    from engines.run.trial import Evaluator, Listener


def chooses_itself(model: str) -> bool:
    """Whether a model of the catalogue brings its own search."""
    return catalogue.find(model).sequential


def sampler(context: Context, seed: int) -> FlamlSampler:
    """FLAML as the sampler of its study. seed: the study's."""
    from engines.models.automl.chooser import Table

    data = context.data
    codes = data.categories.values()
    table = Table(
        rows=data.train_rows,
        # As the estimator gets them, see `engines.models.prepare`.
        columns=data.X.shape[1] - len(codes) + sum(min(n + 1, MOST_SPREAD) for n in codes),
        classes=len(data.classes),
        folds=len(data.split.folds),
    )
    timed = context.experiment.time_limit_s is not None
    return FlamlSampler(table, seed, timed=timed)


def with_samples(context: Context, job: Job, evaluator: Evaluator) -> Evaluator:
    """`evaluator`, but for trials on a sample of the rows what scores those."""
    begun = time.monotonic()

    def evaluate(
        params: dict[str, Any], seed: int, listen: Listener | None, keeper: TrialKeeper
    ) -> Any:
        if params[ROWS] == "all":
            return evaluator(params, seed, listen, keeper)
        from engines.models.automl.sampled import SampledEvaluation

        assert job.trial_id is not None
        size, left = int(params[SAMPLE_SIZE]), job.seconds_left
        if left is not None:
            left = max(0.0, left - (time.monotonic() - begun))
        return SampledEvaluation(
            context.trainer,
            context.form(job.model),
            params,
            seed,
            size=size,
            # A step of a trial is what it has cost, as Optuna has it: here, rows.
            report=partial(context.storage.set_trial_intermediate_value, job.trial_id, size),
            seconds_left=left,
            listen=listen,
        )

    return evaluate


class FlamlSampler(BaseSampler):
    """Answers what a trial asks with what FLAML wants to know next.

    It reads the finished trials of the study before each trial: nothing else is kept, and nothing
    is lost with the process.
    """

    def __init__(self, table: Table, seed: int, *, timed: bool) -> None:
        task: Task = "classification" if table.classes else "regression"
        self._table = table
        self._seed = seed
        self._timed = timed
        self._learners = [
            learner
            for learner in LEARNERS[task]
            if learner != "catboost" or is_installed("catboost")
        ]
        self._chooser: Chooser | None = None
        self._given: list[FrozenTrial] = []
        self._heard: set[int] = set()
        self._question: tuple[int, Question] | None = None
        self._untold: dict[str, Any] | None = None

    # -- what Optuna asks -----------------------------------------------------------------------

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if self._question is None or self._question[0] != trial.number:
            maximize = study.direction == StudyDirection.MAXIMIZE
            trials = study._get_trials(deepcopy=False)
            self._question = (trial.number, self.next_question(trials, maximize=maximize))
            self._untold = seen.not_kept("FLAML chose it, from all that came before")
        return self._question[1].params[param_name]

    def take_seen(self, number: int | None = None) -> dict[str, Any] | None:
        """That a suggestion can't be computed again from a record; None if told already."""
        record, self._untold = self._untold, None
        return record

    # -- what FLAML is told ----------------------------------------------------------------------

    def next_question(self, trials: Sequence[FrozenTrial], *, maximize: bool) -> Question:
        """What FLAML wants to know, after all finished ones of `trials`, which are by number.

        Raises `engines.models.automl.chooser.NothingLeft`.
        """
        finished = [t for t in trials if t.state.is_finished()]
        chooser = self._chooser or self._begin({})
        lost = False
        for trial in finished:
            if trial.number in self._heard:
                continue
            self._heard.add(trial.number)
            if is_same(self._ask(chooser, maximize).params, trial.params):
                chooser.tell(loss_of(trial, maximize=maximize), seconds_of(trial))
            elif trial.params and "fixed_params" not in trial.system_attrs:
                lost = True
        if lost:
            self._given = best_of_learners(finished, maximize=maximize)
            chooser = self._begin({t.params[LEARNER]: _config(t.params) for t in self._given})
        return self._ask(chooser, maximize)

    def _begin(self, starting: Mapping[str, dict[str, Any]]) -> Chooser:
        from engines.models.automl.chooser import Chooser

        self._chooser = Chooser(
            self._table, self._learners, self._seed, timed=self._timed, starting=starting
        )
        return self._chooser

    def _ask(self, chooser: Chooser, maximize: bool) -> Question:
        """The next question that the starting points don't answer."""
        while True:
            question = chooser.ask()
            known = next((t for t in self._given if is_same(question.params, t.params)), None)
            if known is None:
                return question
            self._given.remove(known)
            chooser.tell(loss_of(known, maximize=maximize), seconds_of(known))


def loss_of(trial: FrozenTrial, *, maximize: bool) -> float | None:
    """What FLAML minimises: 1 - score or the score; None for a trial without a finite one.

    1 is the best of all scores that are maximised in its tasks, and FLAML's own losses are that.
    A pruned trial has what it reached: the score on its sample, or the mean of its folds so far.
    """
    if trial.state == TrialState.FAIL or not trial.values or not math.isfinite(trial.values[0]):
        return None
    return 1.0 - trial.values[0] if maximize else trial.values[0]


def seconds_of(trial: FrozenTrial) -> float:
    """What a finished trial has cost."""
    return trial.duration.total_seconds() if trial.duration is not None else 0.0


def is_same(asked: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether a trial answers a question. Numbers may differ in the last digits: FLAML computes
    its bounds and starting points back and forth between scales."""
    return asked.keys() == params.keys() and all(
        math.isclose(value, params[name], rel_tol=1e-9)
        if isinstance(value, float) and isinstance(params[name], int | float)
        else value == params[name]
        for name, value in asked.items()
    )


def best_of_learners(trials: Iterable[FrozenTrial], *, maximize: bool) -> list[FrozenTrial]:
    """The best complete trial of each learner, on all rows; none that isn't FLAML's."""
    best: dict[str, FrozenTrial] = {}
    for trial in trials:
        loss = loss_of(trial, maximize=maximize)
        if trial.state != TrialState.COMPLETE or loss is None or trial.params.get(ROWS) != "all":
            continue
        before = best.get(trial.params[LEARNER])
        known = None if before is None else loss_of(before, maximize=maximize)
        if known is None or loss < known:
            best[trial.params[LEARNER]] = trial
    return list(best.values())


def _config(params: Mapping[str, Any]) -> dict[str, Any]:
    from engines.models.automl.chooser import to_config

    return to_config(params)
