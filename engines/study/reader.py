"""Read-only questions to the store, in plain SQL over one connection that can lock nothing.

Used by the screen, by `list` and its kin, and by idle workers; the runner asks `supervision`.
Every question fetches all its rows at once, so no read transaction stays open. A contract test
holds this module and `tables.py` together.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from engines.errors import BadInput, StoreUnavailable
from engines.study.location import Location
from engines.study.locks import runner_pid
from engines.study.records import (
    Baseline,
    Best,
    Dataset,
    Event,
    Experiment,
    Study,
    Trial,
    TrialDetail,
    Worker,
)
from engines.study.sqlite import connect_to_read, explain
from engines.study.states import TRIAL_WORDS, Counts, experiment_state, study_state

OPTUNA_WORDS = {word: state for state, word in TRIAL_WORDS.items()}

TRIAL_ORDERS = {
    "number": "t.number",
    "value": "t.value",
    "duration": "t.duration_s",
    "state": "t.state",
}
"""What a list of trials can be sorted by; ties keep the order of numbers."""


class Reader:
    """A view on one store. Raises StoreUnavailable when the file can't be read."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._connection = connect_to_read(location.path)
        self._check_schema()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _ask(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.location.path) from error

    def _check_schema(self) -> None:
        names = {r[0] for r in self._ask("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not names:
            return
        if "hx_migration" not in names:
            raise StoreUnavailable(
                f"{self.location.path} holds no Hyperion tables: name another with --store."
            )
        newest = self._ask("SELECT max(number) FROM hx_migration")[0][0]
        if newest is not None and newest > KNOWN_SCHEMA:
            raise StoreUnavailable(
                f"{self.location.path} was written by a newer Hyperion (schema {newest}, this one "
                f"knows {KNOWN_SCHEMA}): upgrade with `pip install -U hyperion-tui`."
            )

    def data_version(self) -> int:
        """A number that changes when somebody else has committed: 0.02 ms, ask it first."""
        return int(self._ask("PRAGMA data_version")[0][0])

    # -- experiments and studies ---------------------------------------------------------------

    def experiments(self) -> list[Experiment]:
        """Every experiment, the newest first."""
        return self._experiments("", ())

    def experiment(self, experiment_id: int) -> Experiment:
        """One experiment. Raises BadInput if it is gone."""
        found = self._experiments("WHERE e.id = ?", (experiment_id,))
        if not found:
            raise BadInput(f"Experiment {experiment_id} is no longer in the store.")
        return found[0]

    def _experiments(self, where: str, values: Sequence[Any]) -> list[Experiment]:
        rows = self._ask(f"SELECT e.* FROM hx_experiment e {where} ORDER BY e.id DESC", values)
        if not rows:
            return []
        ids = [row["id"] for row in rows]
        studies = self._studies(rows)
        datasets = self._datasets(row["dataset_id"] for row in rows)
        baselines: dict[int, list[Baseline]] = defaultdict(list)
        for row in self._ask(
            f"SELECT * FROM hx_baseline WHERE experiment_id IN ({_marks(ids)}) ORDER BY id", ids
        ):
            baselines[row["experiment_id"]].append(
                Baseline(row["name"], row["selection_score"], row["held_out_score"])
            )
        return [
            _experiment(
                row,
                tuple(studies[row["id"]]),
                tuple(baselines[row["id"]]),
                datasets.get(row["dataset_id"]),
                runner_pid(self.location.runner_lock(row["id"])),
            )
            for row in rows
        ]

    def _datasets(self, ids: Iterable[int | None]) -> dict[int, Dataset]:
        wanted = sorted({i for i in ids if i is not None})
        return {
            row["id"]: Dataset(
                name=row["name"],
                path=row["path"],
                sha256=row["sha256"],
                rows=row["rows"],
                columns=row["columns"],
                target=row["target"],
                time_column=row["time_column"],
                notices=tuple(json.loads(row["notices"])),
            )
            for row in self._ask(f"SELECT * FROM hx_dataset WHERE id IN ({_marks(wanted)})", wanted)
        }

    def _studies(self, experiments: list[sqlite3.Row]) -> dict[int, list[Study]]:
        ids = [row["id"] for row in experiments]
        maximize = {row["id"]: row["direction"] == "maximize" for row in experiments}
        rows = self._ask(
            "SELECT s.*, o.study_name FROM hx_study s JOIN studies o ON o.study_id = s.study_id "
            f"WHERE s.experiment_id IN ({_marks(ids)}) ORDER BY s.position",
            ids,
        )
        counts = self._counts([row["study_id"] for row in rows])
        grouped: dict[int, list[Study]] = defaultdict(list)
        for row in rows:
            tally, seconds = counts.get(row["study_id"], ({}, 0.0))
            best = self._best(row["study_id"], maximize[row["experiment_id"]])
            grouped[row["experiment_id"]].append(
                _study(row, tally, seconds, best, self._median(row["study_id"], tally))
            )
        return grouped

    def _counts(self, ids: list[int]) -> dict[int, tuple[dict[str, int], float]]:
        tallies: dict[int, dict[str, int]] = defaultdict(dict)
        seconds: dict[int, float] = defaultdict(float)
        for row in self._ask(
            "SELECT study_id, state, count(*) AS n, sum(duration_s) AS s FROM hx_trial "
            f"WHERE study_id IN ({_marks(ids)}) GROUP BY study_id, state",
            ids,
        ):
            tallies[row["study_id"]][TRIAL_WORDS[row["state"]]] = row["n"]
            seconds[row["study_id"]] += row["s"] or 0.0
        return {study_id: (tally, seconds[study_id]) for study_id, tally in tallies.items()}

    def _best(self, study_id: int, maximize: bool) -> tuple[int, float] | None:
        rows = self._ask(
            "SELECT number, value FROM hx_trial WHERE study_id = ? AND state = 'COMPLETE' "
            f"AND value IS NOT NULL ORDER BY value {'DESC' if maximize else 'ASC'}, number LIMIT 1",
            (study_id,),
        )
        return (rows[0]["number"], rows[0]["value"]) if rows else None

    def _median(self, study_id: int, tally: dict[str, int]) -> float | None:
        finished = sum(tally.get(word, 0) for word in ("complete", "failed", "pruned"))
        if not finished:
            return None
        # The latest 51 say more about what is to come than the whole history, and cost less.
        rows = self._ask(
            "SELECT duration_s FROM hx_trial WHERE study_id = ? AND state != 'WAITING' "
            "AND duration_s IS NOT NULL ORDER BY number DESC LIMIT 51",
            (study_id,),
        )
        durations = sorted(row[0] for row in rows)
        return durations[len(durations) // 2] if durations else None

    def best_params(self, study_id: int, number: int) -> dict[str, Any]:
        """The hyperparameters of one trial of a study."""
        rows = self._ask(
            "SELECT trial_id FROM hx_trial WHERE study_id = ? AND number = ?", (study_id, number)
        )
        return self._params([rows[0][0]])[rows[0][0]] if rows else {}

    # -- names -----------------------------------------------------------------------------------

    def find_experiments(self, name: str) -> list[Experiment]:
        """The experiments that `name` means: itself, a glob, or a unique prefix.

        Raises BadInput when nothing or, for a prefix, more than one matches.
        """
        everything = {e.name: e for e in self.experiments()}
        return [everything[n] for n in _match(name, list(everything), "experiment")]

    def find_studies(self, name: str) -> list[tuple[Experiment, Study]]:
        """The studies that `name` means, or all of an experiment that it names.

        Raises BadInput when nothing matches, or a prefix matches more than one.
        """
        experiments = self.experiments()
        by_experiment = {e.name: e for e in experiments}
        by_study = {s.name: (e, s) for e in experiments for s in e.studies}
        if "/" not in name:
            found = _match(name, list(by_experiment), "experiment or study")
            return [(by_experiment[n], s) for n in found for s in by_experiment[n].studies]
        return [by_study[n] for n in _match(name, list(by_study), "study")]

    # -- trials ----------------------------------------------------------------------------------

    def trial_count(self, study_id: int, states: Sequence[str] = ()) -> int:
        """How many trials a study has, of some states (complete, failed, ...) or of all."""
        where, values = _state_filter(states)
        return int(
            self._ask(
                f"SELECT count(*) FROM hx_trial t WHERE t.study_id = ? {where}",
                (study_id, *values),
            )[0][0]
        )

    def trials(
        self,
        study_id: int,
        *,
        order: str = "number",
        descending: bool = False,
        states: Sequence[str] = (),
        limit: int = -1,
        offset: int = 0,
    ) -> list[Trial]:
        """A page of a study's trials. order: a key of `TRIAL_ORDERS`; NULLs come last."""
        where, values = _state_filter(states)
        # NULLS LAST lets SQLite walk the index on (study, value); `IS NULL` as a key would not.
        key = f"{TRIAL_ORDERS[order]} {'DESC' if descending else 'ASC'} NULLS LAST"
        rows = self._ask(
            "SELECT t.*, w.slot FROM hx_trial t LEFT JOIN hx_worker w ON w.id = t.worker_id "
            f"WHERE t.study_id = ? {where} ORDER BY {key}, t.number LIMIT ? OFFSET ?",
            (study_id, *values, limit, offset),
        )
        params = self._params([row["trial_id"] for row in rows])
        return [_trial(row, params.get(row["trial_id"], {})) for row in rows]

    def trial(self, study_id: int, number: int) -> TrialDetail:
        """One trial with all that is known about it. Raises BadInput if there is none."""
        rows = self._ask(
            "SELECT t.*, w.slot FROM hx_trial t LEFT JOIN hx_worker w ON w.id = t.worker_id "
            "WHERE t.study_id = ? AND t.number = ?",
            (study_id, number),
        )
        if not rows:
            raise BadInput(f"This study has no trial {number}.")
        row = rows[0]
        reports = self._ask(
            "SELECT step, intermediate_value FROM trial_intermediate_values "
            "WHERE trial_id = ? ORDER BY step",
            (row["trial_id"],),
        )
        same = self._ask(
            "SELECT count(*) FROM hx_trial WHERE study_id = ? AND state = 'FAIL' "
            "AND error_class IS ? AND error_message IS ?",
            (study_id, row["error_class"], row["error_message"]),
        )
        return TrialDetail(
            trial=_trial(row, self._params([row["trial_id"]]).get(row["trial_id"], {})),
            traceback=row["error_traceback"],
            metrics=json.loads(row["metrics"]) if row["metrics"] else {},
            reports=tuple((r["step"], r["intermediate_value"]) for r in reports),
            peak_memory_mib=row["peak_memory_mib"],
            requeues=row["requeues"],
            same_cause=same[0][0] if row["state"] == "FAIL" else 0,
        )

    def attributes(self, study_id: int) -> dict[int, dict[str, Any]]:
        """What Optuna and objectives noted about trials, by trial id and Optuna's column name."""
        found: dict[int, dict[str, Any]] = defaultdict(dict)
        for kind in ("user", "system"):
            for row in self._ask(
                f"SELECT a.trial_id, a.key, a.value_json FROM trial_{kind}_attributes a "
                "JOIN trials t ON t.trial_id = a.trial_id WHERE t.study_id = ?",
                (study_id,),
            ):
                found[row["trial_id"]][f"{kind}_attrs_{row['key']}"] = json.loads(row["value_json"])
        return dict(found)

    def _params(self, trial_ids: list[int]) -> dict[int, dict[str, Any]]:
        grouped: dict[int, dict[str, Any]] = {trial_id: {} for trial_id in trial_ids}
        for start in range(0, len(trial_ids), 500):
            page = trial_ids[start : start + 500]
            for row in self._ask(
                "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params "
                f"WHERE trial_id IN ({_marks(page)}) ORDER BY param_id",
                page,
            ):
                grouped[row["trial_id"]][row["param_name"]] = _external(
                    row["param_value"], row["distribution_json"]
                )
        return grouped

    # -- what happens ----------------------------------------------------------------------------

    def last_seq(self) -> int:
        """The number of the newest event, 0 in an empty store."""
        return int(self._ask("SELECT coalesce(max(seq), 0) FROM hx_event")[0][0])

    def events(
        self, experiment_id: int | None = None, *, after: int = 0, limit: int = 1000
    ) -> list[Event]:
        """The latest `limit` events above `after`, oldest first, of one experiment or of all."""
        where = "" if experiment_id is None else "AND v.experiment_id = ?"
        values = [after] if experiment_id is None else [after, experiment_id]
        rows = self._ask(
            "SELECT v.*, s.model FROM hx_event v LEFT JOIN hx_study s ON s.study_id = v.study_id "
            f"WHERE v.seq > ? {where} ORDER BY v.seq DESC LIMIT ?",
            [*values, limit],
        )
        return [
            Event(
                seq=row["seq"],
                at=row["at"],
                kind=row["kind"],
                text=row["text"],
                study_id=row["study_id"],
                model=row["model"],
                trial_number=row["trial_number"],
            )
            for row in reversed(rows)
        ]

    def workers(self, experiment_id: int) -> list[Worker]:
        """The workers of an experiment that have not ended, with the trial each one runs."""
        rows = self._ask(
            "SELECT w.*, s.model, t.number FROM hx_worker w "
            "LEFT JOIN hx_trial t ON t.worker_id = w.id AND t.state = 'RUNNING' "
            "LEFT JOIN hx_study s ON s.study_id = t.study_id "
            "WHERE w.experiment_id = ? AND w.ended_at IS NULL ORDER BY w.slot",
            (experiment_id,),
        )
        return [
            Worker(
                worker_id=row["id"],
                slot=row["slot"],
                pid=row["pid"],
                started_at=row["started_at"],
                trial=None if row["number"] is None else f"{row['model']}#{row['number']}",
            )
            for row in rows
        ]


KNOWN_SCHEMA = 1
"""The newest step of `migrations.STEPS`, repeated here because that module needs SQLAlchemy."""


def _experiment(
    row: sqlite3.Row,
    studies: tuple[Study, ...],
    baselines: tuple[Baseline, ...],
    dataset: Dataset | None,
    pid: int | None,
) -> Experiment:
    return Experiment(
        experiment_id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        state=experiment_state((study.state for study in studies), row["failure"]),
        task=row["task"],
        dataset=dataset,
        objective=json.loads(row["objective"]) if row["objective"] else None,
        metric=row["metric"],
        maximize=row["direction"] == "maximize",
        seed=row["seed"],
        split=json.loads(row["split"]) if row["split"] else None,
        sampler=row["sampler"],
        pruner=row["pruner"],
        workers=row["workers"],
        time_limit_s=row["time_limit_s"],
        time_used_s=row["time_used_s"],
        failure=row["failure"],
        versions=json.loads(row["versions"]),
        runner_pid=pid,
        studies=studies,
        baselines=baselines,
    )


def _study(
    row: sqlite3.Row,
    tally: dict[str, int],
    seconds: float,
    best: tuple[int, float] | None,
    median_s: float | None,
) -> Study:
    counts = Counts(**tally, goal=row["goal"])
    closed = row["closed_at"] is not None
    state = study_state(
        want=row["want"],
        counts=counts,
        closed=closed,
        ended_by=row["ended_by"],
        failure=row["failure"],
        closing=row["closing_worker"] is not None,
    )
    opened = state in ("done", "stopped") and best and row["held_out_number"] == best[0]
    return Study(
        study_id=row["study_id"],
        experiment_id=row["experiment_id"],
        name=row["study_name"],
        model=row["model"],
        family=row["family"],
        state=state,
        want=row["want"],
        counts=counts,
        best=Best(best[0], best[1], row["held_out_score"] if opened else None) if best else None,
        message=row["failure"] or row["ended_by"] or row["held_out_note"],
        openings=row["openings"],
        train_s=seconds,
        median_s=median_s,
    )


def _trial(row: sqlite3.Row, params: dict[str, Any]) -> Trial:
    error = None
    if row["error_class"] is not None:
        error = f"{row['error_class']}: {row['error_message'] or ''}".rstrip(": ")
    return Trial(
        trial_id=row["trial_id"],
        study_id=row["study_id"],
        number=row["number"],
        state=TRIAL_WORDS[row["state"]],
        value=row["value"],
        params=params,
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        duration_s=row["duration_s"],
        worker=row["slot"],
        seed=row["seed"],
        error=error,
        served_from=row["served_from"],
        retry_of=row["retry_of"],
    )


def _external(value: float, distribution_json: str) -> Any:
    """A parameter as its user wrote it, from Optuna's number and its distribution."""
    distribution = json.loads(distribution_json)
    kind, attributes = distribution["name"], distribution["attributes"]
    if kind == "CategoricalDistribution":
        return attributes["choices"][int(value)]
    return int(value) if kind.startswith("Int") else value


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _state_filter(states: Sequence[str]) -> tuple[str, list[str]]:
    if not states:
        return "", []
    return f"AND t.state IN ({_marks(states)})", [OPTUNA_WORDS[word] for word in states]


def _match(name: str, names: list[str], what: str) -> list[str]:
    if name in names:
        return [name]
    if any(c in name for c in "*?["):
        found = fnmatch.filter(names, name)
        if not found:
            raise BadInput(f"No {what} matches `{name}`: see `hyperion-tui list`.")
        return found
    prefixed = [candidate for candidate in names if candidate.startswith(name)]
    if len(prefixed) == 1:
        return prefixed
    if prefixed:
        raise BadInput(f"`{name}` could be {', '.join(sorted(prefixed)[:5])}: type more of it.")
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(close)}?" if close else ": see `hyperion-tui list`."
    raise BadInput(f"No {what} `{name}`{hint}")
