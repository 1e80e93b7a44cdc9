"""One worker process of `store.py`: waits for the start, runs trials, tells what it did.

It gets its orders as one JSON argument, imports and opens everything, runs a few trials of a
study in memory so that nothing is loaded later, and writes `ready`. The line that it then reads
is the time of the start on the clock that all processes share. It writes one JSON at the end.

A way ends like a user's would: an exception out of `study.optimize`, or out of the claim path, is
the end of that worker, with exit code 1. Nothing is tried again.

With `wanted` in its orders it runs so many trials instead of for a time, and counts what SQLite is
asked to do or how much processor time it takes: figures that depend little on how busy the
machine is. `reports` is how many steps every trial reports.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import MaxTrialsCallback

from engines.run.trial import StudyHandle, run_custom_trial
from engines.study.claims import claim
from engines.study.experiments import ExperimentPlan, StudyPlan, create_or_extend
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.storage import HyperionStorage
from engines.study.store import open_storage

FLOATS = tuple(f"x{number}" for number in range(5))
KINDS = ("a", "b", "c")
STUDY = "load/objective"
SAMPLER_SEED = 1
GOAL = 1_000_000

Note = Callable[[], None]


def objective(trial: optuna.Trial, reports: int = 0) -> float:
    """Five numbers and a choice; the sum of squares costs nothing."""
    for step in range(reports):
        trial.report(float(step), step)
    total = sum((trial.suggest_float(name, -1.0, 1.0) - 0.3) ** 2 for name in FLOATS)
    return float(total + KINDS.index(trial.suggest_categorical("kind", KINDS)))


def stock(path: str) -> RDBStorage:
    """Optuna's storage as it comes."""
    return RDBStorage(f"sqlite:///{path}")


def stock_wal(path: str) -> RDBStorage:
    """Optuna's storage with the pragmas that people recommend for it."""
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}})

    def prepare(connection: Any, _: object) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 30000"):
            connection.execute(f"PRAGMA {pragma}")

    sqlalchemy.event.listen(storage.engine, "connect", prepare)
    # Connections that the constructor opened have not heard of it.
    storage.engine.dispose()
    return storage


OPENERS: dict[str, Callable[[str], BaseStorage]] = {
    "memory": lambda _: InMemoryStorage(),
    "stock": stock,
    "stock+wal": stock_wal,
    "ours": open_storage,
    "ours, claim": open_storage,
}


def engine_of(storage: BaseStorage) -> sqlalchemy.Engine:
    """Where a storage's statements go through."""
    if isinstance(storage, HyperionStorage):
        return storage.database.engine
    assert isinstance(storage, RDBStorage)
    return storage.engine


def make_sampler(name: str, seed: int) -> BaseSampler:
    """Optuna's own samplers, as its users make them."""
    return TPESampler(seed=seed) if name == "tpe" else RandomSampler(seed=seed)


class Asked:
    """What SQLite was asked to do, statement by statement.

    A transaction that changed something is a write; it is fsynced unless `synchronous` is NORMAL.
    """

    def __init__(self, *, durable: bool) -> None:
        self.tally = dict.fromkeys(("selects", "changes", "writes", "fsynced"), 0)
        self._durable = durable
        self._changed = False

    def listen(self, engine: sqlalchemy.Engine) -> None:
        """Count on every connection that is opened from now on; those that are open are closed."""
        engine.dispose()
        sqlalchemy.event.listen(engine, "connect", lambda raw, _: raw.set_trace_callback(self.note))

    def note(self, statement: str) -> None:
        """Take one statement as SQLite sees it, whoever sent it."""
        word, *rest = statement.upper().split()
        if word == "SELECT":
            self.tally["selects"] += 1
        elif word in ("INSERT", "UPDATE", "DELETE"):
            self.tally["changes"] += 1
            self._changed = True
        elif word == "PRAGMA" and rest[0].startswith("SYNCHRONOUS"):
            self._durable = rest[-1] == "FULL"
        elif word in ("COMMIT", "ROLLBACK"):
            wrote = self._changed and word == "COMMIT"
            self.tally["writes"] += wrote
            self.tally["fsynced"] += wrote and self._durable
            self._changed = False


class Worker:
    """What one process runs and writes down.

    executed: the number of every trial whose objective was called. told: the number of every
    trial whose end the store has accepted; ended: when that was.
    """

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders
        self.executed: list[int] = []
        self.told: list[int] = []
        self.ended: list[float] = []
        self.deadline = 0.0
        self.wanted: int | None = None
        self.reports = int(orders.get("reports", 0))
        self.storage = OPENERS[orders["way"]](orders["path"])

    def objective(self, trial: optuna.Trial) -> float:
        """The objective, noting who is run."""
        self.executed.append(trial.number)
        return objective(trial, self.reports)

    def warm_up(self) -> None:
        """Load what a trial loads: enough of them for the sampler's second phase."""
        study = optuna.create_study(sampler=make_sampler(self.orders["sampler"], 0))
        study.optimize(objective, n_trials=15)

    def prepare(self) -> Note:
        """What runs trials: until the deadline, or `wanted` of them."""
        if self.orders["way"] == "ours, claim":
            return self._prepare_claims()
        sampler = make_sampler(self.orders["sampler"], SAMPLER_SEED + self.orders["index"])
        study = optuna.create_study(
            study_name=STUDY, storage=self.storage, sampler=sampler, load_if_exists=True
        )
        # With a queue to empty, as its users have it: no new trials once so many have ended.
        goal = self.orders.get("goal")
        enough = [] if goal is None else [MaxTrialsCallback(goal)]

        def run() -> None:
            left = self.deadline - time.monotonic()
            study.optimize(self.objective, self.wanted, left, callbacks=[self._count, *enough])

        return run

    def _count(self, _: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        self._note_end(trial.number)

    def _note_end(self, number: int) -> None:
        self.told.append(number)
        self.ended.append(time.monotonic())

    def _prepare_claims(self) -> Note:
        """The loop of `engines.run.worker.Worker.run`, without its runner."""
        storage: Any = self.storage
        reader = Reader(Location(Path(self.orders["path"])))
        worker_id = self.orders["index"] + 1
        handles: dict[int, StudyHandle] = {}

        def run() -> None:
            enough = float("inf") if self.wanted is None else len(self.ended) + self.wanted
            while time.monotonic() < self.deadline and len(self.ended) < enough:
                reader.data_version()
                job = claim(storage, 1, worker_id, ())
                if job is None or job.kind != "trial":
                    return  # the queue is empty and the goal reached
                if job.study_id not in handles:
                    sampler = self.orders["sampler"]
                    handles[job.study_id] = StudyHandle(storage, job, SAMPLER_SEED, sampler, "none")
                handle = handles[job.study_id]
                run_custom_trial(storage, handle, job, lambda: self.objective)
                self._note_end(-1 if job.number is None else job.number)

        return run

    def main(self) -> dict[str, Any]:
        """From the warm-up to what happened."""
        self.warm_up()
        run = self.prepare()
        print("ready", flush=True)
        start = float(sys.stdin.readline())
        if self.orders.get("wanted"):
            return self.count(run)
        self.deadline = start + self.orders["seconds"]
        time.sleep(max(0.0, start - time.monotonic()))
        cpu, error = time.process_time(), None
        try:
            run()
        except Exception as caught:  # the end of a worker is a result here
            error = f"{type(caught).__name__}: {caught}".splitlines()[0][:200]
        return {
            "error": error,
            "died_after_s": time.monotonic() - start if error else None,
            "executed": self.executed,
            "told": self.told,
            "in_time": sum(end <= self.deadline for end in self.ended),
            "cpu_s": time.process_time() - cpu,
            "slowest_s": max((b - a for a, b in pairwise([start, *self.ended])), default=None),
        }

    def count(self, run: Note) -> dict[str, Any]:
        """What a trial takes on average, after 20 that are not counted."""
        self.deadline = time.monotonic() + 600
        self.wanted = 20
        run()
        asked = Asked(durable=self.orders["way"] == "stock")
        if self.orders.get("statements"):
            asked.listen(engine_of(self.storage))
        self.wanted = self.orders["wanted"]
        began, cpu = time.monotonic(), time.process_time()
        run()
        took = {"cpu_ms": 1000 * (time.process_time() - cpu), "s": time.monotonic() - began}
        return {name: n / self.orders["wanted"] for name, n in (asked.tally | took).items()}


def create(orders: dict[str, Any]) -> None:
    """A new file with the study and its queue; for our workers also the experiment around it."""
    storage: Any = OPENERS[orders["way"]](orders["path"])
    if orders["way"] == "ours, claim":
        create_or_extend(storage, _plan(orders["sampler"], orders.get("goal", GOAL)))
        study = optuna.load_study(study_name=STUDY, storage=storage)
    else:
        study = optuna.create_study(study_name=STUDY, storage=storage)
    queued = orders["queued"]
    for number in range(queued):
        study.enqueue_trial(dict.fromkeys(FLOATS, number / queued))


def _plan(sampler: str, goal: int) -> ExperimentPlan:
    experiment, _, model = STUDY.partition("/")
    return ExperimentPlan(
        name=experiment,
        task="custom",
        dataset=None,
        objective={"sha256": "none"},
        metric="value",
        maximize=False,
        seed=SAMPLER_SEED,
        split=None,
        sampler=sampler,
        pruner="none",
        workers=1,
        patience=None,
        min_improvement=0.0,
        time_limit_s=None,
        trial_time_s=None,
        trial_memory_mib=None,
        studies=(StudyPlan(model, "custom", goal, None, None),),
    )


def main() -> None:
    """Do what the orders say."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.WARNING)
    orders = json.loads(sys.argv[1])
    if orders.get("create"):
        create(orders)
    else:
        told = Worker(orders).main()
        print(json.dumps(told), flush=True)
        sys.exit(1 if told.get("error") else 0)


if __name__ == "__main__":
    main()
