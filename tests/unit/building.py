"""What tests of the store are built from: prepared files, plans, and trials without processes.

A store takes 0.3 s to create and 1 ms to copy, so each test process creates one and copies it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from sqlalchemy.util import LRUCache

from engines.data.scoring import finite
from engines.data.snapshot import Snapshot
from engines.data.splits import make_split
from engines.files import make_private_folder
from engines.run.trial import StudyHandle, run_custom_trial, run_model_trial
from engines.search.space import Choice, Float, Int, Space
from engines.study import supervision
from engines.study.claims import Job, claim
from engines.study.experiments import DatasetPlan, ExperimentPlan, StudyPlan
from engines.study.location import Location
from engines.study.plain import Connection, connect_to_read, connect_to_write, writing
from engines.study.reader import Reader
from engines.study.records import Baseline, Best, Dataset, Experiment, Study
from engines.study.states import Counts
from engines.study.storage import HyperionStorage
from engines.study.store import open_storage

SPACE = Space(
    {
        "kind": Choice(("round", "square")),
        "size": Float(0.1, 10.0, log=True),
        "corners": Int(3, 8, when={"kind": ("square",)}),
    }
)
DEFAULTS = {"kind": "round", "size": 1.0}


_STATEMENTS: Any = LRUCache(2000)


@functools.cache
def prepared_bytes() -> bytes:
    """The content of an empty, current store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        open_storage(str(path)).close()
        assert not path.with_name("template.db-wal").exists()
        return path.read_bytes()


def new_store(path: Path) -> Location:
    """An empty, current store at `path`, as `open_storage` leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(prepared_bytes())
    return Location(path)


@contextlib.contextmanager
def opened(location: Location) -> Iterator[HyperionStorage]:
    """Its Optuna storage, let go of at the end."""
    with contextlib.closing(open_storage(location)) as storage:
        # Statements compile once a process instead of once a store: a third of a test's time.
        storage.database.engine._compiled_cache = _STATEMENTS
        yield storage


@contextlib.contextmanager
def asking(location: Location) -> Iterator[Reader]:
    """A reader of it, closed at the end."""
    with contextlib.closing(Reader(location)) as reader:
        yield reader


def rows(location: Location, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """The answer of a plain connection, in the database's own words."""
    if not location.is_file:
        with contextlib.closing(connect_to_read(location)) as server:
            return [tuple(row) for row in server.execute(sql, values).fetchall()]
    uri = f"{location.path.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


@contextlib.contextmanager
def changing(location: Location) -> Iterator[Connection]:
    """A write transaction of the kind that the runner and screens use."""
    with (
        contextlib.closing(connect_to_write(location)) as connection,
        writing(connection),
    ):
        yield connection


def study_plan(
    model: str = "shapes",
    goal: int | None = 4,
    defaults: dict[str, Any] | None = DEFAULTS,
    **changes: Any,
) -> StudyPlan:
    """A study whose trial 0 is `defaults`; None: nothing is planned before the search."""
    known = None if defaults is None else {"portfolio": [defaults], "weights": [1.0]}
    plan = StudyPlan(model=model, family="sklearn", goal=goal, space=SPACE, plan=known)
    return replace(plan, **changes)


def dataset_plan(**changes: Any) -> DatasetPlan:
    def write(folder: Path) -> None:
        make_private_folder(folder)
        (folder / "data.npz").write_bytes(b"data")

    plan = DatasetPlan(
        sha256="a" * 64,
        name="towns",
        path=None,
        rows=100,
        columns=3,
        target="price",
        time_column=None,
        notices=("2 rows dropped",),
        write=write,
    )
    return replace(plan, **changes)


def experiment_plan(*studies: StudyPlan, **changes: Any) -> ExperimentPlan:
    plan = ExperimentPlan(
        name="e",
        task="regression",
        dataset=dataset_plan(),
        objective=None,
        metric="r2",
        maximize=True,
        seed=7,
        split=make_split(100, ordered=False, seed=7).describe(),
        sampler="random",
        pruner="none",
        workers=2,
        default_workers=1,
        patience=None,
        min_improvement=0.0,
        time_limit_s=None,
        trial_time_s=None,
        trial_memory_mib=None,
        studies=studies or (study_plan(),),
    )
    return replace(plan, **changes)


def add_worker(location: Location, experiment_id: int = 1, slot: int = 1) -> int:
    """A worker's row, without a process."""
    with changing(location) as connection:
        return supervision.add_worker(connection, experiment_id, slot, 0, 0, "boot")


def must_claim(storage: HyperionStorage, worker_id: int, experiment_id: int = 1) -> Job:
    job = claim(storage, experiment_id, worker_id)
    assert job is not None
    return job


def run_job(
    storage: HyperionStorage,
    job: Job,
    scores: Iterable[float] | BaseException = (0.5,),
    *,
    sampler: str = "random",
    seed: int = 7,
    pruner: str = "none",
) -> optuna.trial.TrialState:
    """Run a claimed trial whose folds score as given, or which raises."""
    handle = StudyHandle(storage, job, seed, sampler, pruner)

    def evaluator(*_: object) -> Scored:
        return Scored(scores)

    return run_model_trial(storage, handle, job, evaluator, lambda *_: None)


class Scored:
    """The evaluation of a trial whose fold scores are known beforehand."""

    def __init__(self, scores: Iterable[float] | BaseException) -> None:
        self._given = scores
        self._folds: list[float] = []

    def scores(self) -> Iterator[float]:
        """Each given score, or the given error."""
        if isinstance(self._given, BaseException):
            raise self._given
        for score in self._given:
            self._folds.append(score)
            yield score

    @property
    def value(self) -> float:
        """Their mean."""
        return finite(fmean(self._folds))

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores so far."""
        return {"folds": list(self._folds)}


def run_objective(
    storage: HyperionStorage, job: Job, objective: Callable[[optuna.Trial], Any]
) -> optuna.trial.TrialState:
    """Run a claimed trial of a function of the user's own."""
    handle = StudyHandle(storage, job, 7, "random", "none")
    return run_custom_trial(storage, handle, job, lambda: objective)


def snapshot(
    rows: int = 60, columns: int = 3, *, ordered: bool = False, categories: int = 0, seed: int = 0
) -> Snapshot:
    """Data with a pattern that models can find; the last column holds codes if there are any."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, columns))
    y = X[:, 0] * 2.0 + random.normal(scale=0.1, size=rows)
    codes = {}
    if categories:
        X[:, -1] = np.arange(rows) % categories
        codes = {columns - 1: categories}
    return Snapshot(X, y, codes, make_split(rows, ordered=ordered, seed=seed))


def a_study(name: str = "e/ridge", **changes: Any) -> Study:
    """A record of a study that is done."""
    experiment, _, model = name.partition("/")
    study = Study(
        study_id=abs(hash(name)) % 10**6,
        experiment_id=abs(hash(experiment)) % 10**6,
        name=name,
        model=model,
        family="sklearn",
        state="done",
        want="run",
        counts=Counts(complete=3, goal=3),
        best=Best(1, 0.8, 0.7),
        message=None,
        openings=1,
        train_s=1.5,
        median_s=0.5,
    )
    return replace(study, **changes)


def an_experiment(name: str = "e", *studies: Study, **changes: Any) -> Experiment:
    """A record of an experiment that is done."""
    experiment = Experiment(
        experiment_id=abs(hash(name)) % 10**6,
        name=name,
        created_at="2026-11-22T20:41:07.123456+00:00",
        state="done",
        task="regression",
        dataset=Dataset("towns", None, "a" * 64, 100, 3, "price", None, ()),
        objective=None,
        metric="r2",
        maximize=True,
        seed=7,
        split=make_split(100, ordered=False, seed=7).describe(),
        sampler="tpe",
        pruner="none",
        workers=2,
        time_limit_s=None,
        time_used_s=3.0,
        failure=None,
        runner_pid=None,
        versions={},
        studies=studies or (a_study(f"{name}/ridge"),),
        baselines=(Baseline("mean", 0.0, -0.1), Baseline("median", -0.2, -0.3)),
    )
    return replace(experiment, **changes)
