"""One store, many processes at once: creation, claims and budgets."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from engines.study.claims import claim
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.reader import KNOWN_SCHEMA
from tests.dashboard import ask_dashboard
from tests.unit.building import (
    add_worker,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    rows,
    run_job,
    study_plan,
)

ROOT = Path(__file__).resolve().parents[2]


def create(path: str, number: int) -> Any:
    with opened(Location(Path(path))) as storage:
        return len(storage.get_all_studies())


def claim_queued(path: str, number: int) -> Any:
    with opened(Location(Path(path))) as storage:
        return [i for i in range(1, 61) if storage.set_trial_state_values(i, TrialState.RUNNING)]


def work(path: str, worker: int) -> Any:
    done = []
    with opened(Location(Path(path))) as storage:
        while (job := claim(storage, 1, worker)) is not None and job.kind == "trial":
            started = rows(Location(Path(path)), STARTED, job.study_id)[0][0]
            assert started <= 10, f"{started} trials for a goal of 10"
            run_job(storage, job, [0.5 + worker / 10])
            done.append([job.study_id, job.number])
    return done


STARTED = "SELECT count(*) FROM trials WHERE study_id = ? AND state != 'WAITING'"
TASKS = {"create": create, "claim": claim_queued, "work": work}


def drive(task: str, path: str, count: int) -> None:
    """Run a task in several processes from one moment on; prints what each returned.

    They are forked from this one, which has no threads and no connection: that saves each of
    them a second of imports, and they truly meet.
    """
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(count), context.SimpleQueue()

    def run(number: int) -> None:
        barrier.wait(60)
        answers.put(TASKS[task](path, number))

    processes = [context.Process(target=run, args=(n,), daemon=True) for n in range(1, count + 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0] * count
    print(json.dumps([answers.get() for _ in processes]))


def together(task: str, path: Path, count: int) -> list[Any]:
    """What each of several processes returns that are let go at the same moment."""
    call = f"import {__name__} as here; here.drive({task!r}, {str(path)!r}, {count})"
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eight_processes_create_one_store_together(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.db"

    answers = together("create", path, 8)

    assert answers == [0] * 8
    assert rows(Location(path), "SELECT number FROM hx_migration") == [
        (number,) for number in range(1, KNOWN_SCHEMA + 1)
    ]
    assert rows(Location(path), "SELECT count(*) FROM alembic_version") == [(1,)]
    assert rows(Location(path), "PRAGMA integrity_check") == [("ok",)]


def test_six_processes_claim_sixty_queued_trials_each_once(tmp_path: Path) -> None:
    location = new_store(tmp_path / "s.db")
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(study_plan(goal=100, defaults=None)))
        for _ in range(60):
            storage.create_new_trial(1, create_trial(state=TrialState.WAITING))

    claimed = together("claim", location.path, 6)

    assert sorted(number for part in claimed for number in part) == list(range(1, 61))
    assert rows(location, "SELECT DISTINCT state FROM trials") == [("RUNNING",)]


def test_processes_that_share_a_budget_end_with_exactly_the_total(tmp_path: Path) -> None:
    location = new_store(tmp_path / "s.db")
    with opened(location) as storage:
        create_or_extend(
            storage, experiment_plan(study_plan("a", goal=10), study_plan("b", goal=10))
        )
    for slot in range(1, 5):
        add_worker(location, slot=slot)

    done = together("work", location.path, 4)

    trials = sorted((study, number) for part in done for study, number in part)
    assert trials == [(study, number) for study in (1, 2) for number in range(10)]
    for table in ("trials", "hx_trial"):
        assert rows(location, f"SELECT state, count(*) FROM {table} GROUP BY 1") == [
            ("COMPLETE", 20)
        ]


def test_our_file_is_opened_by_stock_optuna_and_its_dashboard(tmp_path: Path) -> None:
    location = new_store(tmp_path / "s.db")
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan())
        worker = add_worker(location)
        for score in (0.1, 0.7, 0.4):
            run_job(storage, must_claim(storage, worker), [score])

    stock = optuna.storages.RDBStorage(f"sqlite:///{location.path}")
    study = optuna.load_study(study_name="e/shapes", storage=stock)
    told = ask_dashboard(stock, "/api/studies")

    assert (study.best_trial.number, study.best_value) == (1, 0.7)
    (shown,) = told["study_summaries"]
    assert shown["study_name"] == "e/shapes"
    stock.engine.dispose()
