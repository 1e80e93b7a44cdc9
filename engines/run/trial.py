"""One trial, from its claim to its end: suggest, train and score, and one transaction.

Only a finite number is a score. Whatever else happens inside an objective (an exception,
`sys.exit`, NaN, text, None) is a failed trial with its reason and the tail of its traceback.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState

from engines.data.scoring import finite
from engines.errors import StoreUnavailable, one_line
from engines.models.learner import OutOfTime
from engines.run import checkpoints
from engines.run.interrupted import TrialKeeper
from engines.run.process import frozen_s, peak_memory_mib
from engines.search.pruner import WARMUP, make_pruner
from engines.search.racing import is_behind
from engines.search.sampler import make_sampler
from engines.search.seeds import derive, params_hash
from engines.search.space import Space
from engines.study import supervision, trial_rows
from engines.study.claims import Job, find_same
from engines.study.database import PATIENCE_S, PAUSE_S
from engines.study.outlook import Held
from engines.study.plain import FAULTS, connect_to_write, writing
from engines.study.storage import Ending, HyperionStorage, TrialInterrupted, TrialTaken

TRACEBACK_CHARACTERS = 4000

STEPS_PER_FOLD = 100_000
"""A report of round r in fold k has the step k * this + r: equal steps are comparable."""

RIVALS = 100
"""So many of the best complete trials say how far apart two trials are by chance."""


class Interrupted(KeyboardInterrupt):
    """The person wants this process back; the trial in its hands has not failed."""


class Evaluation(Protocol):
    """A trial of a declared model, see `engines.models.evaluation`."""

    def scores(self) -> Iterator[float]:
        """The score of each fold."""

    @property
    def value(self) -> float:
        """The selection score."""

    @property
    def objectives(self) -> dict[str, float]:
        """By metric, where those are several."""

    @property
    def metrics(self) -> dict[str, Any]:
        """What the record keeps."""


Listener = Callable[[int, int, float], None]
Evaluator = Callable[[dict[str, Any], int, Listener | None, TrialKeeper], Evaluation]
"""(parameters, seed, who hears of rounds, who keeps what was trained) -> what scores them."""

Keeper = Callable[[int, float, Any], None]
"""(number, value, evaluation): called with a finished trial before its end is recorded."""


class StudyHandle:
    """What a worker keeps of a study between its trials: sampler, pruner, and the study's seed."""

    def __init__(
        self,
        storage: HyperionStorage,
        job: Job,
        seed: int,
        sampler: str,
        pruner: str,
        warm_up: int = WARMUP,
    ) -> None:
        self.name = job.study_name
        self.study_id = job.study_id
        self.seed = derive(seed, job.model)
        self.space = Space.from_json(job.space) if job.space is not None else None
        self.sampler = make_sampler(sampler, self.seed, self.space)
        self.has_several = len(storage.get_study_directions(job.study_id)) > 1
        self._storage = storage
        self._pruner = make_pruner(pruner, warm_up)
        self.pruner = pruner

    def study(self) -> optuna.Study:
        """A study object for one trial; a new one each time, because it caches its trials."""
        return optuna.Study(self.name, self._storage, self.sampler, self._pruner)

    def model_seed(self, params: dict[str, Any]) -> int:
        """The seed of the model's own randomness: the same parameters train the same model."""
        return derive(self.seed, params_hash(params))


@dataclass
class Attempt:
    """A trial while it runs: what is known so far is what its end will record.

    frozen_before: for how many seconds this process had stood still by orders until `started`.
    """

    started: float
    frozen_before: float
    params_hash: str | None = None
    seed: int | None = None
    served_from: int | None = None
    metrics: dict[str, Any] | None = None
    returns: tuple[int, bytes] | None = None


class _Reporter(Protocol):
    def __call__(self, trial: optuna.Trial, attempt: Attempt) -> list[float]: ...


def run_model_trial(
    storage: HyperionStorage,
    handle: StudyHandle,
    job: Job,
    evaluator: Evaluator,
    keep: Keeper,
    *,
    by_steps: bool = False,
) -> TrialState:
    """Run a claimed trial of a declared model to its end; returns the state it ended in.

    by_steps: it has no folds to compare, but reports how it stands after so many steps.
    """
    space = handle.space
    assert space is not None

    def evaluate(trial: optuna.Trial, attempt: Attempt) -> list[float]:
        storage.hold_back(trial._trial_id)
        params = space.suggest(trial)
        attempt.params_hash = params_hash(params)
        attempt.seed = handle.model_seed(params)
        # Before training: whatever becomes of this process, the trial keeps its parameters.
        storage.note(trial._trial_id, params_hash=attempt.params_hash, seed=attempt.seed)
        _note_seen(storage, handle, trial)
        storage.flush(trial._trial_id)
        same = find_same(storage, job.study_id, attempt.params_hash)
        if same is not None:
            attempt.served_from, _ = same
            return _values_of(storage, job.study_id, attempt.served_from)
        keeper = TrialKeeper(storage, trial, STEPS_PER_FOLD)
        listen = _listener(handle, trial, by_steps=by_steps)
        evaluation = evaluator(params, attempt.seed, listen, keeper)
        try:
            if by_steps:
                list(evaluation.scores())
            else:
                _score_folds(storage, handle, trial, evaluation)
            value = evaluation.value
            objectives = evaluation.objectives if handle.has_several else {}
        finally:
            attempt.metrics = evaluation.metrics
            attempt.returns = getattr(evaluation, "returns", None)
        if objectives:
            attempt.metrics["objectives"] = objectives
        keep(trial.number, value, evaluation)
        return list(objectives.values()) or [value]

    return _run(storage, handle, job, evaluate)


def _values_of(storage: HyperionStorage, study_id: int, number: int) -> list[float]:
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    return list(storage.get_trial(trial_id).values)


def _listener(handle: StudyHandle, trial: optuna.Trial, *, by_steps: bool) -> Listener | None:
    """Who hears of the rounds of a trial: a pruner that compares them, or nobody.

    What reports by steps is always heard, but Optuna takes no reports of several metrics.
    """
    if handle.has_several or not (by_steps or handle.pruner in ("median", "halving")):
        return None

    return _reporter(trial)


def _reporter(trial: optuna.Trial) -> Listener:
    def listen(fold: int, round_: int, value: float) -> None:
        trial.report(value, step=fold * STEPS_PER_FOLD + round_)
        if trial.should_prune():
            raise optuna.TrialPruned

    return listen


def _score_folds(
    storage: HyperionStorage, handle: StudyHandle, trial: optuna.Trial, evaluation: Evaluation
) -> None:
    """Score fold after fold; raises TrialPruned for a trial that is clearly behind."""
    folds: list[float] = []
    rivals: Sequence[Sequence[float]] | None = None
    maximize = trial.study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    for score in evaluation.scores():
        folds.append(score)
        if handle.has_several:
            continue  # being behind in one metric is no reason to end
        if handle.pruner == "wilcoxon":
            trial.report(score, step=len(folds))
        elif handle.pruner in ("median", "halving"):
            trial.report(fmean(folds), step=len(folds) * STEPS_PER_FOLD)
        if handle.pruner == "racing":
            if rivals is None:
                rivals = storage.database.read(
                    lambda c: trial_rows.best_folds(c, handle.study_id, maximize, RIVALS)
                )
            if is_behind(folds, rivals, maximize=maximize):
                # For the sampler: how good it was, and after how much.
                trial.report(fmean(folds), step=len(folds))
                raise optuna.TrialPruned
        elif trial.should_prune():
            raise optuna.TrialPruned


def run_custom_trial(
    storage: HyperionStorage,
    handle: StudyHandle,
    job: Job,
    load_objective: Callable[[], Callable[[optuna.Trial], Any]],
) -> TrialState:
    """Run a claimed trial of the user's own objective to its end."""

    def evaluate(trial: optuna.Trial, attempt: Attempt) -> list[float]:
        attempt.seed = derive(handle.seed, trial.number)
        try:
            return [finite(load_objective()(trial))]
        finally:
            _note_seen(storage, handle, trial)

    return _run(storage, handle, job, evaluate)


def _run(
    storage: HyperionStorage, handle: StudyHandle, job: Job, evaluate: _Reporter
) -> TrialState:
    assert job.trial_id is not None
    study = handle.study()
    attempt = Attempt(started=time.perf_counter(), frozen_before=frozen_s())
    owner = os.getpid()
    values: list[float] | None = None
    error: BaseException | None = None
    try:
        trial = optuna.Trial(study, job.trial_id)
        values = evaluate(trial, attempt)
        state = TrialState.COMPLETE
    except (optuna.TrialPruned, OutOfTime):
        state = TrialState.PRUNED
    except TrialTaken:
        storage.drop(job.trial_id)
        raise  # not the objective's doing
    except StoreUnavailable:
        raise
    except Interrupted:
        raise  # whoever holds the runner's lock puts the trial back
    except TrialInterrupted:
        _put_back(storage, job)
        return TrialState.WAITING
    except BaseException as caught:  # the border of a trial: its reason is stored, not lost
        state, error = TrialState.FAIL, caught
    if os.getpid() != owner:
        # The objective forked and the copy came back: it must not tell the trial's end as well.
        os._exit(0)
    frozen = storage.get_trial(job.trial_id)
    if state == TrialState.PRUNED:
        values = _last_report(frozen)
    handle.sampler.after_trial(study, frozen, state, values)
    storage.end_trial(job.trial_id, state, values, _ending(attempt, error))
    checkpoints.forget(storage.location, storage.experiment_of(job.study_id) or 0, job.trial_id)
    return state


def _put_back(storage: HyperionStorage, job: Job) -> None:
    """Back into the queue with its parameters, its checkpoint, and the reports up to that."""
    assert job.trial_id is not None
    assert job.number is not None
    storage.let_go(job.trial_id)
    experiment_id = storage.experiment_of(job.study_id)
    assert experiment_id is not None
    held = Held(job.trial_id, job.study_id, job.number, job.model, "", 0)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with (
                contextlib.closing(connect_to_write(storage.location)) as connection,
                writing(connection),
            ):
                supervision.requeue(connection, experiment_id, held, "paused at a report")
            return
        except (*FAULTS, StoreUnavailable):
            if time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_S)


def _note_seen(storage: HyperionStorage, handle: StudyHandle, trial: optuna.Trial) -> None:
    """Keep what the trial's suggestion knew of the others, so that it can be checked later."""
    record = handle.sampler.take_seen()
    if record is not None:
        storage.note(trial._trial_id, seen=json.dumps(record))


def _last_report(trial: optuna.trial.FrozenTrial) -> list[float] | None:
    """What a pruned trial has for a value, as Optuna has it: its last report, if that is finite."""
    if trial.last_step is None:
        return None
    last = trial.intermediate_values[trial.last_step]
    return [last] if math.isfinite(last) else None


def _ending(attempt: Attempt, error: BaseException | None) -> Ending:
    return Ending(
        duration_s=time.perf_counter() - attempt.started - (frozen_s() - attempt.frozen_before),
        seed=attempt.seed,
        params_hash=attempt.params_hash,
        peak_memory_mib=peak_memory_mib(),
        metrics=attempt.metrics,
        error_class=None if error is None else _storable(type(error).__name__),
        error_message=None if error is None else _message(error),
        error_traceback=None if error is None else _tail(error),
        served_from=attempt.served_from,
        returns=attempt.returns,
    )


def _message(error: BaseException) -> str:
    try:
        return _storable(one_line(error, 500))
    except Exception:  # its own __str__ failed: that must not hide that the trial did
        return "its message can't be shown"


def _tail(error: BaseException) -> str:
    return _storable("".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:])


def _storable(text: str) -> str:
    """Text that a database takes: lone surrogates, as odd file names have, and NUL become marks."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\\x00")
