"""A worker: a process that claims one job after another of one experiment until none is left.

It dies with its runner. Orders reach it between two trials; what must happen at once, the
runner does by killing it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import Any, cast

import optuna

from engines.data.scoring import FIT_TIME, TRADING
from engines.errors import StoreUnavailable
from engines.models import catalogue
from engines.run import automl, objective, settle
from engines.run.context import Context
from engines.run.gpu import Turn, models_of_gpu, trains_on_gpu
from engines.run.interrupted import TrialKeeper
from engines.run.process import asked_to_leave, die_with
from engines.run.several import place_among_kept
from engines.run.trial import (
    Evaluator,
    Listener,
    StudyHandle,
    run_custom_trial,
    run_model_trial,
)
from engines.search.pruner import WARMUP
from engines.study.claims import Job, claim
from engines.study.endings import add_note
from engines.study.location import locate
from engines.study.reader import Reader
from engines.study.states import FINAL
from engines.study.storage import TrialTaken
from engines.study.study_rows import models_of

GOODBYE_S = 5.0
"""For threads and exit handlers of objectives, after the last trial."""

IDLE_S = 0.1
"""How long an idle worker waits before it looks again; it looks by reading, which is cheap."""


class Worker:
    """One experiment's worker: the loop, and what it hands each job to."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.storage = context.storage
        self.experiment = context.experiment
        self.handles: dict[int, StudyHandle] = {}
        self.loaded_families: set[str] = set()
        self._objective: Any = None
        self._agents: Any = None
        self._turn: Turn | None = None

    @property
    def turn(self) -> Turn | None:
        """This worker's turn on the GPU; None where nothing of this experiment trains on one."""
        if self._turn is None and self._has_networks() and trains_on_gpu(self.context.device):
            self._turn = Turn()
        return self._turn

    def _has_networks(self) -> bool:
        # Asked for every claim: models can be added to an experiment that runs.
        studies = self.storage.database.read(lambda c: models_of(c, self.context.experiment_id))
        return not models_of_gpu().isdisjoint(studies)

    @property
    def agents(self) -> Any:
        """What works on trading agents; None for any other task. It loads pandas and numba."""
        if self._agents is None and self.experiment.task == TRADING:
            from engines.run.agents import Agents

            self._agents = Agents(self.context)
        return self._agents

    def begin(self) -> None:
        """Do what comes before the first trial: its time is counted from the first claim."""
        if self.agents is not None:
            self.agents.score_baselines()
        elif self.experiment.objective is None:
            settle.score_baselines(self.context)
            _ = self.context.trainer

    def close(self) -> None:
        """Let go of the GPU, and of the place in the line for it."""
        if self._turn is not None:
            self._turn.close()
            self._turn = None

    def run(self) -> None:
        """Work until the experiment is over or paused."""
        reader = Reader(self.context.location)
        experiment_id = self.context.experiment_id
        self.begin()
        while not asked_to_leave():
            seen = reader.data_version()
            if self.work_once():
                continue
            state = reader.experiment(experiment_id).state
            if state in FINAL or state == "paused":
                return
            self.wait_for_change(reader, seen)

    def work_once(self) -> bool:
        """Claim a job and do it; False if there is none now."""
        job = self.claim()
        if job is None:
            return False
        try:
            self.do(job)
        finally:
            if self._turn is not None:
                self._turn.leave()
        return True

    def claim(self) -> Job | None:
        """The next job, or None. Without its turn on the GPU, one of those that need none."""
        where = self.storage, self.context.experiment_id, self.context.worker_id
        turn = self.turn
        if turn is None:
            return claim(*where, self.loaded_families)
        on_gpu = models_of_gpu()
        job = claim(*where, self.loaded_families, () if turn.take() else on_gpu)
        # In line only while there is nothing else to do: or the GPU would wait for this worker.
        of_use = turn.waits if job is None else job.model in on_gpu or job.kind == "ensemble"
        if not of_use:
            turn.leave()
        return job

    def wait_for_change(self, reader: Reader, seen: int | str) -> None:
        """Sleep until somebody commits; a second at most, for what the clock alone changes."""
        deadline = time.monotonic() + 1.0
        while reader.data_version() == seen and time.monotonic() < deadline:
            time.sleep(IDLE_S)
            if self._turn is not None and self._turn.waits and self._turn.take():
                return

    def do(self, job: Job) -> None:
        """Do a claimed job to its end. A trial that was given to somebody else is let go."""
        agents = self.agents
        if job.kind == "ensemble":
            settle.make_ensemble(self.context) if agents is None else agents.finish()
            return
        if job.kind == "closing":
            settle.close(self.context, job, agents and agents.open_held_out)
            return
        handle = self.handle(job)
        try:
            if self.experiment.objective is not None:
                run_custom_trial(self.storage, handle, job, self.load_objective)
            elif agents is not None:
                keep, evaluator = partial(agents.keep, job), agents.evaluator(job)
                run_model_trial(self.storage, handle, job, evaluator, keep, by_steps=True)
            else:
                evaluator = self.evaluator(job)
                if automl.chooses_itself(job.model):
                    evaluator = automl.with_samples(self.context, job, evaluator)
                run_model_trial(self.storage, handle, job, evaluator, partial(self.keep, job))
        except TrialTaken as taken:
            logging.warning("%s", taken)

    def handle(self, job: Job) -> StudyHandle:
        """The study's sampler and seed, made once."""
        if job.study_id not in self.handles:
            row = self.experiment
            warm_up = WARMUP if self.agents is None else self.agents.terms.warm_up
            handle = StudyHandle(self.storage, job, row.seed, row.sampler, row.pruner, warm_up)
            if row.objective is None and automl.chooses_itself(job.model):
                handle.sampler = cast(Any, automl.sampler(self.context, handle.seed))
            self.handles[job.study_id] = handle
        return self.handles[job.study_id]

    def load_objective(self) -> Any:
        """The user's own objective, imported at the first trial: an error there is its reason."""
        if self._objective is None:
            described = self.experiment.objective
            assert described is not None
            self._objective = objective.load(described)
        return self._objective

    def evaluator(self, job: Job) -> Evaluator:
        """What scores the parameters of a trial; the model's library is imported at its call."""
        begun = time.monotonic()

        def evaluate(
            params: dict[str, Any], seed: int, listen: Listener | None, keeper: TrialKeeper
        ) -> Any:
            from engines.models.evaluation import Evaluation

            self.loaded_families.add(catalogue.find(job.model).family)
            left = job.seconds_left
            if left is not None:
                left = max(0.0, left - (time.monotonic() - begun))
            form, several = self.context.form(job.model), self.context.has_several
            # The seconds of a training that was taken up again would be those of its end alone.
            timed = several and FIT_TIME in self.context.metrics
            return Evaluation(
                self.context.trainer,
                form,
                params,
                seed,
                seconds_left=left,
                listen=listen,
                keeper=keeper if form.resumes and not timed else None,
                metrics=self.context.metrics if several else (),
            )

        return evaluate

    def keep(self, job: Job, number: int, value: float, evaluation: Any) -> None:
        """Keep the fold models and predictions of a trial that is among the best of its study."""
        context = self.context
        place = place_among_kept(context, job.study_id, value, number, evaluation)
        if place is None or not context.artefacts.wants(job.study_id, *place):
            return
        rows = [fold.valid for fold in context.data.split.folds]
        outcome = context.artefacts.keep(
            job.study_id,
            number,
            place[0],
            evaluation.models,
            list(zip(rows, evaluation.predictions, strict=True)),
            maximize=place[1],
        )
        if outcome.reason is not None:
            logging.info(
                "%s trial %d: %s kept: %s", job.model, number, outcome.kept, outcome.reason
            )
        for gone in outcome.evicted:
            if "to stay within" in gone.why:
                text = f"{gone.what} of trial {gone.number} removed {gone.why}"
                add_note(self.storage, context.experiment_id, gone.study_id, text)


def main(arguments: list[str] | None = None) -> int:
    """The process: `python -P -m engines.run.worker EXPERIMENT WORKER PARENT STORE_AS_SHOWN`.

    The store itself comes through the environment, because it may hold a password.
    """
    parser = argparse.ArgumentParser(prog="engines.run.worker")
    parser.add_argument("experiment", type=int)
    parser.add_argument("worker", type=int)
    parser.add_argument("parent", type=int)
    parser.add_argument("shown", help="for whoever lists processes")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(options.parent)
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    code = 0
    try:
        Worker(Context(locate(None), options.experiment, options.worker)).run()
    except StoreUnavailable as error:
        logging.error("%s", error)
        code = error.exit_code
    _leave_in_time(code)
    return code


def _leave_in_time(code: int) -> None:
    """End the process though a thread or an exit handler of some objective never does."""

    def leave() -> None:
        time.sleep(GOODBYE_S)
        os._exit(code)

    threading.Thread(target=leave, name="goodbye", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
