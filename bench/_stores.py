"""Stores made up for the benchmarks: the schema is real, the trials never ran.

An experiment is created as the program creates one; its trials are inserted by the thousand,
because running 100,000 would take hours. The scores are random numbers and mean nothing: such a
store is only good for measuring how long it takes to look at it. Each is built in a temporary
folder and named `synthetic-benchmark`, so that nobody takes it for results.

A process of its own (`python bench/_stores.py FILE TRIALS MODEL:FAMILY... [--experiments N]`), so
that the one that measures stays small: a large process takes longer to fork.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engines.search.space import Choice, Float, Space
from engines.study.experiments import DatasetPlan, ExperimentPlan, StudyPlan, create_or_extend
from engines.study.location import Location
from engines.study.sqlite import connect_to_write, writing
from engines.study.store import open_storage

NAME = "synthetic-benchmark"
CHOICES = ("gini", "entropy", "log_loss")
FLOATS = ("alpha", "beta", "gamma", "delta", "epsilon")
SPACE = Space({**{name: Float(0.0, 1.0) for name in FLOATS}, "kind": Choice(CHOICES)})
BATCH = 5_000

FLOAT_JSON = json.dumps(
    {
        "name": "FloatDistribution",
        "attributes": {"step": None, "low": 0.0, "high": 1.0, "log": False},
    }
)
CHOICE_JSON = json.dumps(
    {"name": "CategoricalDistribution", "attributes": {"choices": list(CHOICES)}}
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def build(path: Path, models: list[tuple[str, str]], trials: int, experiments: int = 1) -> None:
    """A store with finished experiments: a study for each (model, family), `trials` each."""
    storage = open_storage(Location(path))
    for number in range(1, experiments + 1):
        name = NAME if experiments == 1 else f"{NAME}-{number}"
        create_or_extend(storage, _plan(name, models, trials))
    storage.close()
    connection = connect_to_write(path)
    studies = connection.execute(
        "SELECT study_id, experiment_id FROM hx_study ORDER BY study_id"
    ).fetchall()
    rng = random.Random(20260101)
    ids = itertools.count(1)
    for study_id, experiment_id in studies:
        rows = (_trial(rng, next(ids), study_id, experiment_id, number) for number in range(trials))
        for batch in _batches(rows):
            with writing(connection):
                for table in batch[0]:
                    _insert(connection, table, [row for trial in batch for row in trial[table]])
    with writing(connection, durable=True):
        connection.execute(
            "UPDATE hx_study SET closed_at = ?, held_out_number = 0, held_out_score = 0.5, "
            "openings = 1",
            (START.isoformat(),),
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _plan(name: str, models: list[tuple[str, str]], trials: int) -> ExperimentPlan:
    dataset = DatasetPlan(
        sha256="0" * 64,
        name=NAME,
        path=None,
        rows=1000,
        columns=6,
        target="y",
        time_column=None,
        notices=("made up for a benchmark: no trial ran",),
        write=lambda folder: None,
    )
    studies = tuple(StudyPlan(model, family, trials, SPACE, None) for model, family in models)
    return ExperimentPlan(
        name=name,
        task="regression",
        dataset=dataset,
        objective=None,
        metric="r2",
        maximize=True,
        seed=42,
        split=None,
        sampler="tpe",
        pruner="none",
        workers=2,
        patience=None,
        min_improvement=0.0,
        time_limit_s=None,
        trial_time_s=None,
        trial_memory_mib=None,
        studies=studies,
    )


def _batches(rows: Iterator[dict[str, list[dict[str, Any]]]]) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _insert(connection: Any, table: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) "
        f"VALUES ({', '.join(':' + name for name in names)})",
        rows,
    )


def _trial(
    rng: random.Random, trial_id: int, study_id: int, experiment_id: int, number: int
) -> dict[str, list[dict[str, Any]]]:
    """The rows of one trial by table: 97 of 100 complete, the others failed."""
    failed = rng.random() < 0.03
    value = None if failed else round(rng.gauss(0.4, 0.1), 6)
    begin = START + timedelta(seconds=2 * number)
    seconds = rng.uniform(0.1, 1.9)
    finish = begin + timedelta(seconds=seconds)
    return {
        "trials": [_optuna_row(trial_id, study_id, number, failed, begin, finish)],
        "trial_params": _parameters(rng, trial_id),
        "trial_values": [] if value is None else [_value(trial_id, value)],
        "hx_trial": [_our_row(trial_id, study_id, number, value, begin, finish)],
        "hx_event": _events(experiment_id, study_id, number, value, begin, finish),
    }


def _optuna_row(
    trial_id: int, study_id: int, number: int, failed: bool, begin: datetime, finish: datetime
) -> dict[str, Any]:
    form = "%Y-%m-%d %H:%M:%S.%f"
    return {
        "trial_id": trial_id,
        "study_id": study_id,
        "number": number,
        "state": "FAIL" if failed else "COMPLETE",
        "datetime_start": begin.strftime(form),
        "datetime_complete": finish.strftime(form),
    }


def _parameters(rng: random.Random, trial_id: int) -> list[dict[str, Any]]:
    values: list[tuple[str, float, str]] = [(name, rng.random(), FLOAT_JSON) for name in FLOATS]
    values.append(("kind", float(rng.randrange(len(CHOICES))), CHOICE_JSON))
    return [
        {"trial_id": trial_id, "param_name": n, "param_value": v, "distribution_json": d}
        for n, v, d in values
    ]


def _value(trial_id: int, value: float) -> dict[str, Any]:
    return {"trial_id": trial_id, "objective": 0, "value": value, "value_type": "FINITE"}


def _our_row(
    trial_id: int,
    study_id: int,
    number: int,
    value: float | None,
    begin: datetime,
    finish: datetime,
) -> dict[str, Any]:
    failed = value is None
    return {
        "trial_id": trial_id,
        "study_id": study_id,
        "number": number,
        "state": "FAIL" if failed else "COMPLETE",
        "value": value,
        "started_at": begin.isoformat(timespec="microseconds"),
        "finished_at": finish.isoformat(timespec="microseconds"),
        "duration_s": (finish - begin).total_seconds(),
        "seed": trial_id,
        "params_hash": f"{trial_id:024x}",
        "peak_memory_mib": 150.0,
        "error_class": "ValueError" if failed else None,
        "error_message": "made up for a benchmark" if failed else None,
        "requeues": 0,
        "crashes": 0,
    }


def _events(
    experiment_id: int,
    study_id: int,
    number: int,
    value: float | None,
    begin: datetime,
    finish: datetime,
) -> list[dict[str, Any]]:
    ended = "trial_failed" if value is None else "trial_complete"
    said = "failed: ValueError: made up" if value is None else f"{value:.6g} (1.0 s)"
    return [
        {
            "at": at.isoformat(timespec="microseconds"),
            "experiment_id": experiment_id,
            "study_id": study_id,
            "trial_number": number,
            "kind": kind,
            "text": text,
        }
        for at, kind, text in ((begin, "trial_started", "started"), (finish, ended, said))
    ]


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("trials", type=int, help="of each study")
    parser.add_argument("models", nargs="+", metavar="MODEL:FAMILY")
    parser.add_argument("--experiments", type=int, default=1)
    options = parser.parse_args()
    models = [(word.split(":")[0], word.split(":")[1]) for word in options.models]
    build(options.file, models, options.trials, options.experiments)


if __name__ == "__main__":
    main()
