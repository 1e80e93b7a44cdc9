"""Stores for tests of screens, written row by row: no worker is needed to have trials."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engines.clock import optuna_now, utc_now
from engines.models import catalogue
from engines.search.space import Choice, Int
from engines.study.location import Location
from engines.study.store import open_storage

TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "train.py", line 88, in fit\n'
    "    model.fit(X, y)\n"
    "ValueError: max_bin must be in [2, 65535]\n"
)

EVIDENCE = {
    "selection_interval": [0.71, 0.79],
    "held_out_interval": [0.652, 0.758],
    "baseline": "mean",
    "p_beats_baseline": 0.0004,
}


@functools.cache
def _template() -> bytes:
    """An empty store. Making one takes a third of a second, copying it nothing."""
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "studies.db"
        open_storage(Location(original)).remove_session()
        copy = Path(folder) / "copy.db"
        with contextlib.closing(sqlite3.connect(original)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        return copy.read_bytes()


class Store:
    """A store file and short words for what can be in it."""

    def __init__(self, path: Path) -> None:
        self.location = Location(path)
        path.write_bytes(_template())
        path.chmod(0o600)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self._positions: dict[int, int] = {}
        self._defaults: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        self.connection.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Several rows in one commit, as a worker writes them."""
        self.connection.execute("BEGIN IMMEDIATE")
        yield
        self.connection.execute("COMMIT")

    def insert(self, table: str, **given: Any) -> int:
        values = {**self._needed(table), **given}
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        cursor = self.connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values())
        )
        return int(cursor.lastrowid or 0)

    def _needed(self, table: str) -> dict[str, Any]:
        """Something for each column that must not be empty, so that tests name what matters."""
        if table not in self._defaults:
            columns = self.connection.execute(f"PRAGMA table_info({table})").fetchall()
            self._defaults[table] = {
                name: "{}" if kind == "JSON" else "" if kind.startswith("VARCHAR") else 0
                for _, name, kind, needed, default, key in columns
                if needed and default is None and not key
            }
        return self._defaults[table]

    def change(self, table: str, where: str, **values: Any) -> None:
        sets = ", ".join(f"{name} = ?" for name in values)
        self.connection.execute(f"UPDATE {table} SET {sets} WHERE {where}", tuple(values.values()))

    # -- rows --------------------------------------------------------------------------------

    def experiment(self, name: str = "demo", **more: Any) -> int:
        dataset = self.insert(
            "hx_dataset",
            **{
                "sha256": more.pop("sha256", "ab" * 32),
                "name": more.pop("data", "concrete"),
                "path": None,
                "rows": 1030,
                "columns": 9,
                "target": more.pop("target", "strength_mpa"),
                "time_column": None,
                "notices": "[]",
            },
        )
        values = {
            "name": name,
            "created_at": "2026-11-22T20:41:07.000000+00:00",
            "task": "regression",
            "dataset_id": dataset,
            "metric": "r2",
            "direction": "maximize",
            "seed": 42,
            "split": json.dumps({"kind": "random"}),
            "sampler": "tpe",
            "pruner": "none",
            "versions": "{}",
            "workers": 2,
            "min_improvement": 0.0,
            "time_used_s": 0.0,
        }
        return self.insert("hx_experiment", **{**values, **more})

    def study(self, experiment_id: int, model: str, *, goal: int | None = 20, **more: Any) -> int:
        name = self.connection.execute(
            "SELECT name FROM hx_experiment WHERE id = ?", (experiment_id,)
        ).fetchone()[0]
        study_id = self.insert("studies", study_name=f"{name}/{model}")
        self.insert("study_directions", study_id=study_id, direction="MAXIMIZE", objective=0)
        position = self._positions.get(experiment_id, 0)
        self._positions[experiment_id] = position + 1
        spec = catalogue.models().get(model)
        values = {
            "study_id": study_id,
            "experiment_id": experiment_id,
            "position": position,
            "model": model,
            "family": spec.family if spec else "sklearn",
            "goal": goal,
            "want": "run",
            "want_now": 0,
            "openings": 0,
        }
        self.insert("hx_study", **{**values, **more})
        return study_id

    def trial(
        self,
        study_id: int,
        number: int,
        value: float | None = None,
        state: str = "COMPLETE",
        params: dict[str, Any] | None = None,
        duration_s: float | None = 1.5,
        **more: Any,
    ) -> int:
        trial_id = self.insert(
            "trials", number=number, study_id=study_id, state=state, datetime_start=optuna_now()
        )
        ended = state not in ("RUNNING", "WAITING")
        values = {
            "trial_id": trial_id,
            "study_id": study_id,
            "number": number,
            "state": state,
            "value": value,
            "started_at": utc_now(),
            "finished_at": utc_now() if ended else None,
            "duration_s": duration_s if ended else None,
            "seed": 1000 + number,
            "requeues": 0,
            "crashes": 0,
        }
        self.insert("hx_trial", **{**values, **more})
        for name, given in (params or {}).items():
            self._param(trial_id, name, given)
        return trial_id

    def _param(self, trial_id: int, name: str, given: Any) -> None:
        if isinstance(given, int | float) and not isinstance(given, bool):
            kind = "IntDistribution" if isinstance(given, int) else "FloatDistribution"
            distribution = {"name": kind, "attributes": {"low": 0, "high": 1e9}}
            value = float(given)
        else:
            distribution = {"name": "CategoricalDistribution", "attributes": {"choices": [given]}}
            value = 0.0
        self.insert(
            "trial_params",
            trial_id=trial_id,
            param_name=name,
            param_value=value,
            distribution_json=json.dumps(distribution),
        )

    def failed(self, study_id: int, number: int, message: str, **more: Any) -> int:
        return self.trial(
            study_id,
            number,
            state="FAIL",
            error_class="ValueError",
            error_message=message,
            error_traceback=more.pop("error_traceback", TRACEBACK),
            **more,
        )

    def event(
        self,
        experiment_id: int,
        kind: str,
        text: str,
        study_id: int | None = None,
        number: int | None = None,
        at: str | None = None,
    ) -> int:
        return self.insert(
            "hx_event",
            at=at or utc_now(),
            experiment_id=experiment_id,
            study_id=study_id,
            trial_number=number,
            kind=kind,
            text=text,
        )

    def baseline(
        self, experiment_id: int, name: str, score: float | None, held_out: float | None = None
    ) -> int:
        return self.insert(
            "hx_baseline",
            experiment_id=experiment_id,
            name=name,
            selection_score=score,
            held_out_score=held_out,
        )

    def worker(self, experiment_id: int, slot: int) -> int:
        return self.insert(
            "hx_worker",
            experiment_id=experiment_id,
            slot=slot,
            pid=1,
            start_ticks=0,
            boot_id="",
            host="here",
            started_at=utc_now(),
        )

    def ensemble(
        self, experiment_id: int, score: float, held_out: float, members: dict[str, float]
    ) -> int:
        """The ensemble that ends an experiment. members: weights, by `study#number`."""
        parts = [(*who.split("#"), weight) for who, weight in members.items()]
        listed = [{"study": s, "number": int(n), "weight": weight} for s, n, weight in parts]
        return self.insert(
            "hx_ensemble",
            experiment_id=experiment_id,
            worker_id=1,
            made_at=utc_now(),
            selection_score=score,
            held_out_score=held_out,
            members=json.dumps(listed),
            evidence=json.dumps(EVIDENCE),
        )

    def end(
        self, study_id: int, held_out: float, number: int, evidence: dict[str, Any] | None = None
    ) -> None:
        """Settle the end of a study: its held-out score is open."""
        self.change(
            "hx_study",
            f"study_id = {study_id}",
            closed_at=utc_now(),
            held_out_score=held_out,
            held_out_number=number,
            openings=1,
            evidence=None if evidence is None else json.dumps(evidence),
        )


def typical_params(model: str, number: int) -> dict[str, Any]:
    """Parameters as the model's space has them, a little different for each number."""
    form = catalogue.models()[model].form("regression")
    params = dict(form.defaults)
    for name, domain in form.space.parameters.items():
        if name in params and not isinstance(domain, Choice):
            given = params[name]
            moved = given + number % 7 if isinstance(domain, Int) else given * (1 + number % 7 / 10)
            params[name] = moved
    return params


def add_typical(
    store: Store,
    name: str = "demo",
    models: Sequence[str] = ("ridge", "random_forest", "xgboost", "lightgbm"),
    *,
    trials: int = 12,
    goal: int = 20,
    paused: bool = True,
    at: str | None = None,
) -> tuple[int, list[int]]:
    """An experiment with some trials of several models, a failed and a pruned one, and a log."""
    with store.together():
        experiment = store.experiment(name)
        ids = []
        for place, model in enumerate(models):
            study = store.study(experiment, model, goal=goal, want="pause" if paused else "run")
            ids.append(study)
            for number in range(trials):
                _typical_trial(store, experiment, study, model, number, 0.70 + 0.05 * place, at)
        store.baseline(experiment, "mean", -0.0021, -0.0101)
        store.baseline(experiment, "median", -0.0312)
    return experiment, ids


def _typical_trial(
    store: Store,
    experiment: int,
    study: int,
    model: str,
    number: int,
    level: float,
    at: str | None,
) -> None:
    params = typical_params(model, number)
    if number == 5:
        message = "max_bin must be in [2, 65535]"
        store.failed(study, number, message, params=params, duration_s=0.4)
        said = f"failed: ValueError: {message} (0.4 s)"
        store.event(experiment, "trial_failed", said, study, number, at)
    elif number == 7:
        store.trial(study, number, level / 2, "PRUNED", params, 0.9)
        said = f"pruned at {level / 2:.6g} (0.9 s)"
        store.event(experiment, "trial_pruned", said, study, number, at)
    else:
        value = level + 0.01 * (number * 7 % 11) / 2
        store.trial(study, number, value, "COMPLETE", params, 1.2 + number / 10)
        said = f"{value:.6g} ({1.2 + number / 10:.1f} s)"
        store.event(experiment, "trial_complete", said, study, number, at)
