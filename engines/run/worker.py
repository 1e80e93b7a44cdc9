"""A worker: a process that claims one job after another of one experiment until none is left.

It dies with its runner. Orders reach it between two trials; what must happen at once, the
runner does by killing it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from functools import cached_property
from typing import Any

import optuna
from sqlalchemy import Executable, Row, select

from engines.data.scoring import Metric, find_metric
from engines.data.snapshot import Snapshot, read_snapshot
from engines.errors import StoreUnavailable, one_line
from engines.models import catalogue
from engines.models.spec import ModelSpec
from engines.run import objective
from engines.run.process import asked_to_leave, die_with
from engines.run.trial import StudyHandle, run_custom_trial, run_model_trial
from engines.study.claims import Job, claim, close_study
from engines.study.database import PATIENCE_S
from engines.study.location import Location, locate
from engines.study.plain import connect_to_read
from engines.study.reader import Reader
from engines.study.states import FINAL
from engines.study.storage import HyperionStorage, TrialTaken
from engines.study.store import open_storage
from engines.study.study_rows import add_baselines
from engines.study.tables import BaselineRow, ExperimentRow, StudyRow

GOODBYE_S = 5.0
"""For threads and exit handlers of objectives, after the last trial."""

IDLE_S = 0.1
"""How long an idle worker waits before it looks again; it looks by reading, which is cheap."""


class Worker:
    """One experiment's worker. Everything it loads, it loads when a job first needs it."""

    def __init__(self, location: Location, experiment_id: int, worker_id: int) -> None:
        self.location = location
        self.experiment_id = experiment_id
        self.worker_id = worker_id
        # A store that is gone must not be made anew: there would be nothing to do in it.
        with contextlib.closing(connect_to_read(location)):
            self.storage: HyperionStorage = open_storage(location)
        self.storage.database.read_patience_s = PATIENCE_S
        self.handles: dict[int, StudyHandle] = {}
        self.loaded_families: set[str] = set()
        self._objective: Any = None
        experiment = self._ask(
            select(ExperimentRow.__table__).where(ExperimentRow.id == experiment_id)
        )
        if experiment is None:  # the store was replaced between our start and now
            raise StoreUnavailable(
                f"{location.shown} has no experiment {experiment_id}: it was deleted, or the store "
                "was replaced while it was in use."
            )
        self.experiment = experiment

    def _ask(self, question: Executable) -> Row[Any] | None:
        return self.storage.database.read(lambda c: c.execute(question).first())

    @cached_property
    def data(self) -> Snapshot:
        """The experiment's rows and split."""
        return read_snapshot(self.location.data(self.experiment_id))

    @cached_property
    def metric(self) -> Metric:
        """The scorer of the experiment."""
        return find_metric(self.experiment.metric)

    def run(self) -> None:
        """Work until the experiment is over or paused."""
        reader = Reader(self.location)
        if self.experiment.objective is None:
            self.score_baselines()
        while not asked_to_leave():
            seen = reader.data_version()
            job = claim(self.storage, self.experiment_id, self.worker_id, self.loaded_families)
            if job is not None:
                self.do(job)
                continue
            state = reader.experiment(self.experiment_id).state
            if state in FINAL or state == "paused":
                return
            self.wait_for_change(reader, seen)

    def wait_for_change(self, reader: Reader, seen: int | str) -> None:
        """Sleep until somebody commits; a second at most, for what the clock alone changes."""
        deadline = time.monotonic() + 1.0
        while reader.data_version() == seen and time.monotonic() < deadline:
            time.sleep(IDLE_S)

    def do(self, job: Job) -> None:
        """Do a claimed job to its end. A trial that was given to somebody else is let go."""
        handle = self.handle(job)
        try:
            if job.kind == "closing":
                self.close(job, handle)
            elif self.experiment.objective is not None:
                run_custom_trial(self.storage, handle, job, self.load_objective)
            else:
                spec = self.spec(job)
                run_model_trial(
                    self.storage,
                    handle,
                    job,
                    lambda params, seed: self.score_folds(spec, params, seed),
                )
        except TrialTaken as taken:
            logging.warning("%s", taken)

    def handle(self, job: Job) -> StudyHandle:
        """The study's sampler and seed, made once."""
        if job.study_id not in self.handles:
            row = self.experiment
            self.handles[job.study_id] = StudyHandle(
                self.storage, job, row.seed, row.sampler, row.pruner
            )
        return self.handles[job.study_id]

    def spec(self, job: Job) -> ModelSpec:
        """The declaration of the job's model."""
        return catalogue.find(job.model)

    def load_objective(self) -> Any:
        """The user's own objective, imported at the first trial: an error there is its reason."""
        if self._objective is None:
            described = self.experiment.objective
            assert described is not None
            self._objective = objective.load(described)
        return self._objective

    def score_folds(self, spec: ModelSpec, params: dict[str, Any], seed: int) -> Any:
        """Fold scores of a declared model; its library is imported here, at the first need."""
        from engines.models import fit  # scikit-learn: 1 s and 140 MiB, only for real models

        self.loaded_families.add(spec.family)
        return fit.fold_scores(spec, params, seed, self.data, self.metric)

    # -- what is scored once ---------------------------------------------------------------

    def close(self, job: Job, handle: StudyHandle) -> None:
        """Settle the end of a study: open the held-out part for its best trial, once."""
        best = self.best_trial(job.study_id)
        if best is None:
            close_study(
                self.storage,
                job.study_id,
                self.worker_id,
                score=None,
                number=None,
                note="no trial completed",
                opened=False,
            )
            return
        number, params = best
        score, note, opened = self.held_out(job, handle, number, params)
        close_study(
            self.storage,
            job.study_id,
            self.worker_id,
            score=score,
            number=number,
            note=note,
            opened=opened,
        )

    def held_out(
        self, job: Job, handle: StudyHandle, number: int, params: dict[str, Any]
    ) -> tuple[float | None, str | None, bool]:
        """(score, note, whether the held-out part was opened) for the chosen trial."""
        if self.experiment.objective is not None:
            return None, "an objective of your own has no held-out part", False
        before = self._ask(
            select(StudyRow.held_out_number, StudyRow.held_out_score).where(
                StudyRow.study_id == job.study_id
            )
        )
        assert before is not None
        if before.held_out_number == number and before.held_out_score is not None:
            return before.held_out_score, None, False
        from engines.models import fit

        rows = self.data.split.held_out
        try:
            predictor = fit.fit_predictor(
                self.spec(job), params, handle.model_seed(params), self.data
            )
            return self.metric.score(self.data.y[rows], predictor(self.data.X[rows])), None, True
        except Exception as error:  # the border of a job: its reason is stored
            logging.exception("held-out score of %s", job.study_name)
            return None, f"no held-out score: {type(error).__name__}: {one_line(error)}", True

    def best_trial(self, study_id: int) -> tuple[int, dict[str, Any]] | None:
        """(number, parameters) of the best complete trial; the earliest among equals."""
        trials = self.storage.get_all_trials(
            study_id, deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)
        )
        scored = [t for t in trials if t.value is not None]
        if not scored:
            return None
        sign = -1.0 if self.experiment.direction == "maximize" else 1.0
        best = min(scored, key=lambda t: (sign * (t.value or 0.0), t.number))
        return best.number, best.params

    def score_baselines(self) -> None:
        """Score the rules that learn next to nothing, unless another worker has."""
        known = select(BaselineRow.name).where(BaselineRow.experiment_id == self.experiment_id)
        if self._ask(known) is not None:
            return
        from engines.models.baselines import score_baselines

        rows = [
            {
                "experiment_id": self.experiment_id,
                "name": name,
                "selection_score": selection,
                "held_out_score": held_out,
            }
            for name, selection, held_out in score_baselines(self.data, self.metric)
        ]
        self.storage.database.write(lambda c: add_baselines(c, rows))


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
        Worker(locate(None), options.experiment, options.worker).run()
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
