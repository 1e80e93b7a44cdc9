"""Read-only questions to the store, in plain SQL over one connection that can lock nothing.

Used by the screen, by `list` and its kin, and by idle workers; the runner asks `supervision`.
Every question fetches all its rows at once, so no read transaction stays open. A contract test
holds this module and `tables.py` together.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from engines.errors import BadInput, StoreOutdated, StoreUnavailable
from engines.study import fronts, labels
from engines.study.decoding import (
    ensemble_of,
    experiment_of,
    external,
    returns_of,
    study_of,
    trial_of,
)
from engines.study.location import Location
from engines.study.locks import is_waiting_for_space, runners
from engines.study.outlook import FROZEN
from engines.study.pages import Window, page_of_ids
from engines.study.plain import (
    FAULTS,
    connect_to_read,
    data_version,
    explain,
    note,
    table_names,
)
from engines.study.records import (
    Baseline,
    Dataset,
    Event,
    Experiment,
    Front,
    Study,
    Trial,
    TrialDetail,
    Worker,
)
from engines.study.states import TRIAL_WORDS
from engines.study.tallies import Tallies
from engines.study.trash import IN_TRASH

OPTUNA_WORDS = {word: state for state, word in TRIAL_WORDS.items()}


class Reader:
    """A view on one store. Raises StoreUnavailable when the file can't be read."""

    def __init__(self, location: Location, like: Reader | None = None) -> None:
        """like: a reader of the same store, which nobody uses now: what it has counted already."""
        self.location = location
        self._connection = connect_to_read(location)
        self._tallies: Tallies = (
            Tallies(self._ask) if like is None else like._tallies.copy(self._ask)
        )
        try:
            self._check_schema()
        except BaseException:
            self._connection.close()
            raise

    @property
    def note(self) -> str | None:
        """What a person should know about the way in which the store is read, or None."""
        return note(self._connection)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _ask(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except FAULTS as error:
            raise explain(error, self.location) from error

    def _check_schema(self) -> None:
        try:
            names = table_names(self._connection)
        except FAULTS as error:
            raise explain(error, self.location) from error
        self._is_blank = not names
        if self._is_blank:
            return
        if "hx_migration" not in names and names >= {"studies", "trials"}:
            raise StoreUnavailable(
                f"{self.location.shown} is Optuna's, and Hyperion has not used it yet: look at it "
                "with optuna-dashboard; `hyperion-tui run` with this --store adds what Hyperion "
                "needs beside its studies."
            )
        if "hx_migration" not in names:
            raise StoreUnavailable(
                f"{self.location.shown} holds no Hyperion tables: name another with --store."
            )
        newest = self._ask("SELECT max(number) FROM hx_migration")[0][0]
        if newest is not None and newest > KNOWN_SCHEMA:
            raise StoreUnavailable(
                f"{self.location.shown} was written by a newer Hyperion (schema {newest}, this one "
                f"knows {KNOWN_SCHEMA}): upgrade with `pip install -U hyperion-tui`."
            )
        if newest is not None and newest < KNOWN_SCHEMA:
            raise StoreOutdated(
                f"{self.location.shown} was written by an older Hyperion (schema {newest}, this "
                f"one needs {KNOWN_SCHEMA}) and can't be brought up to date: see "
                "`hyperion-tui doctor`."
            )

    def data_version(self) -> int | str:
        """A value that changes when somebody else has committed: 0.02 ms, ask it first."""
        try:
            return data_version(self._connection)
        except FAULTS as error:
            raise explain(error, self.location) from error

    # -- experiments and studies ---------------------------------------------------------------

    def experiments(self) -> list[Experiment]:
        """Every experiment, the newest first, but for the trash; none in a blank database."""
        if self._is_blank:
            self._check_schema()
        if self._is_blank:
            return []
        return self._experiments(f"WHERE NOT {IN_TRASH}", ())

    def trash(self) -> list[Experiment]:
        """What was deleted and not purged yet, the newest first."""
        return [] if self._is_blank else self._experiments(f"WHERE {IN_TRASH}", ())

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
        ensembles = {
            row["experiment_id"]: ensemble_of(row)
            for row in self._ask(
                f"SELECT * FROM hx_ensemble WHERE experiment_id IN ({_marks(ids)}) "
                "AND made_at IS NOT NULL",
                ids,
            )
        }
        living = self.runners(ids)
        found = [
            experiment_of(
                row,
                tuple(studies[row["id"]]),
                tuple(baselines[row["id"]]),
                ensembles.get(row["id"]),
                datasets.get(row["dataset_id"]),
                living.get(row["id"]),
                self.trouble(row["id"], living.get(row["id"])),
            )
            for row in rows
        ]
        return labels.on_experiments(self._ask, found)

    def runners(self, experiment_ids: Iterable[int]) -> dict[int, tuple[int, str | None]]:
        """The runners that live, by experiment: process id, and host if it is another machine."""
        try:
            return runners(self.location, self._connection, experiment_ids)
        except FAULTS as error:
            raise explain(error, self.location) from error

    def trouble(self, experiment_id: int, runner: tuple[int, str | None] | None) -> str | None:
        """What a living runner waits for, or None. It can't write this down: there is no room."""
        if runner is None or runner[1] is not None:
            return None
        waits = is_waiting_for_space(self.location.runner_lock(experiment_id))
        return NO_SPACE if waits else None

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
                group_column=row["group_column"],
                classes=tuple(json.loads(row["classes"] or "[]")),
            )
            for row in self._ask(f"SELECT * FROM hx_dataset WHERE id IN ({_marks(wanted)})", wanted)
        }

    def _studies(self, experiments: list[Any]) -> dict[int, list[Study]]:
        ids = [row["id"] for row in experiments]
        rows = self._ask(
            "SELECT s.*, o.study_name FROM hx_study s JOIN studies o ON o.study_id = s.study_id "
            f"WHERE s.experiment_id IN ({_marks(ids)}) ORDER BY s.position",
            ids,
        )
        self._tallies.refresh()
        frozen = self._frozen({r["experiment_id"] for r in rows if r["want_frozen"]})
        several = {row["id"] for row in experiments if fronts.SEPARATOR in row["metric"]}
        grouped: dict[int, list[Study]] = defaultdict(list)
        for row in rows:
            still = frozen[row["study_id"]]
            front = self._front(row["study_id"]) if row["experiment_id"] in several else None
            study = study_of(row, self._tallies.of(row["study_id"]), still, front)
            grouped[row["experiment_id"]].append(study)
        return grouped

    def _front(self, study_id: int) -> Front:
        maximize = fronts.maximized(self._ask(fronts.directions("?"), (study_id,)))
        return fronts.front_of(self.points(study_id, len(maximize)), maximize)

    def points(self, study_id: int, metrics: int) -> dict[int, tuple[float, ...]]:
        """The scores of complete trials in so many metrics, by number."""
        return fronts.points_of(self._ask(fronts.values("?"), (study_id,)), metrics)

    def _frozen(self, experiment_ids: set[int]) -> Counter[int]:
        """How many jobs of each study stand still; none without the runner that stopped them."""
        if not experiment_ids or not self.runners(experiment_ids):
            return Counter()
        return Counter(row["study_id"] for row in self._ask(FROZEN))

    def best_params(self, study_id: int, number: int) -> dict[str, Any]:
        """The hyperparameters of one trial of a study."""
        rows = self._ask(
            "SELECT trial_id FROM hx_trial WHERE study_id = ? AND number = ?", (study_id, number)
        )
        return self._params([rows[0][0]])[rows[0][0]] if rows else {}

    def space(self, study_id: int) -> list[Any] | None:
        """The space that a study is searched in, as plain data; None for one's own objective."""
        rows = self._ask("SELECT space FROM hx_study WHERE study_id = ?", (study_id,))
        return json.loads(rows[0]["space"]) if rows and rows[0]["space"] else None

    # -- names -----------------------------------------------------------------------------------

    def find_experiments(self, name: str) -> list[Experiment]:
        """The experiments that `name` means: itself, a glob, or a unique prefix.

        Raises BadInput when nothing or, for a prefix, more than one matches.
        """
        everything = {e.name: e for e in self.experiments()}
        return [everything[n] for n in self._match(name, list(everything), "experiment")]

    def find_in_trash(self, name: str) -> list[Experiment]:
        """As `find_experiments`, among those in the trash."""
        deleted = {e.name: e for e in self.trash()}
        if not deleted:
            raise BadInput("The trash is empty: `hyperion-tui delete NAME` puts something into it.")
        return [deleted[n] for n in _match(name, list(deleted), "experiment in the trash")]

    def find_studies(self, name: str) -> list[tuple[Experiment, Study]]:
        """The studies that `name` means, or all of an experiment that it names.

        Raises BadInput when nothing matches, or a prefix matches more than one.
        """
        experiments = self.experiments()
        by_experiment = {e.name: e for e in experiments}
        by_study = {s.name: (e, s) for e in experiments for s in e.studies}
        if "/" not in name:
            found = self._match(name, list(by_experiment), "experiment or study")
            return [(by_experiment[n], s) for n in found for s in by_experiment[n].studies]
        return [by_study[n] for n in self._match(name, list(by_study), "study")]

    def _match(self, name: str, names: list[str], what: str) -> list[str]:
        try:
            return _match(name, names, what)
        except BadInput:
            experiment = name.partition("/")[0]
            if all(e.name != experiment for e in self.trash()):
                raise
            raise BadInput(
                f"`{experiment}` is in the trash: `hyperion-tui restore {experiment}` brings it "
                "back."
            ) from None

    # -- trials ----------------------------------------------------------------------------------

    def trial_count(self, study_id: int, states: Sequence[str] = ()) -> int:
        """How many trials a study has, of some states (complete, failed, ...) or of all."""
        return self._total([study_id], states)

    def trials(
        self,
        study_id: int,
        *,
        order: str = "number",
        descending: bool = False,
        states: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Trial]:
        """A page of a study's trials. order: a key of `TRIAL_ORDERS`; those without come last."""
        return self._page([study_id], order, descending, states, limit, offset)

    def scores(self, study_id: int) -> Iterator[tuple[int, float]]:
        """Number and score of every complete trial of a study, by number, one after the other:
        a list of 100,000 would take 30 MiB."""
        try:
            for row in self._connection.execute(
                "SELECT number, value FROM hx_trial WHERE study_id = ? AND state = 'COMPLETE' "
                "AND value IS NOT NULL ORDER BY number",
                (study_id,),
            ):
                yield row["number"], row["value"]
        except FAULTS as error:
            raise explain(error, self.location) from error

    def trials_page_count(
        self, experiment_id: int, *, models: Sequence[str] = (), states: Sequence[str] = ()
    ) -> int:
        """How many rows all pages of `trials_page` have together."""
        return self._total(self._study_ids(experiment_id, models), states)

    def trials_page(
        self,
        experiment_id: int,
        *,
        models: Sequence[str] = (),
        states: Sequence[str] = (),
        order: str = "number",
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Trial]:
        """A page of the trials of a whole experiment, or of some of its models and states."""
        study_ids = self._study_ids(experiment_id, models)
        return self._page(study_ids, order, descending, states, limit, offset)

    def _study_ids(self, experiment_id: int, models: Sequence[str]) -> list[int]:
        rows = self._ask(
            "SELECT study_id, model FROM hx_study WHERE experiment_id = ? ORDER BY position",
            (experiment_id,),
        )
        return [row["study_id"] for row in rows if not models or row["model"] in models]

    def _total(self, study_ids: Sequence[int], states: Sequence[str]) -> int:
        self._tallies.refresh()
        wanted = [OPTUNA_WORDS[word] for word in states or OPTUNA_WORDS]
        tallies = [self._tallies.of(study_id).counts for study_id in study_ids]
        return sum(counts[state] for counts in tallies for state in wanted)

    def _page(
        self,
        study_ids: Sequence[int],
        order: str,
        descending: bool,
        states: Sequence[str],
        limit: int | None,
        offset: int,
    ) -> list[Trial]:
        window = Window(limit, offset, self._total(study_ids, states))
        study_ids = [i for i in study_ids if self._tallies.of(i).counts.total()]
        if not study_ids:
            return []
        sql, values = page_of_ids(
            study_ids,
            [OPTUNA_WORDS[word] for word in states],
            order=order,
            descending=descending,
            window=window,
        )
        ids = [row["trial_id"] for row in self._ask(sql, values)]
        return self._trials(ids[::-1] if window.from_the_end else ids)

    def _trials(self, ids: list[int]) -> list[Trial]:
        """The trials of some ids, in their order."""
        params = self._params(ids)
        found: dict[int, Trial] = {}
        for start in range(0, len(ids), 500):
            page = ids[start : start + 500]
            for row in self._ask(
                "SELECT t.*, w.slot FROM hx_trial t LEFT JOIN hx_worker w ON w.id = t.worker_id "
                f"WHERE t.trial_id IN ({_marks(page)})",
                page,
            ):
                found[row["trial_id"]] = trial_of(row, params[row["trial_id"]])
        found = labels.on_trials(self._ask, found)
        return [found[trial_id] for trial_id in ids if trial_id in found]

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
            "AND coalesce(error_class, '') = ? AND coalesce(error_message, '') = ?",
            (study_id, row["error_class"] or "", row["error_message"] or ""),
        )
        trial = trial_of(row, self._params([row["trial_id"]]).get(row["trial_id"], {}))
        return TrialDetail(
            trial=labels.on_trials(self._ask, {trial.trial_id: trial})[trial.trial_id],
            traceback=row["error_traceback"],
            metrics=json.loads(row["metrics"]) if row["metrics"] else {},
            reports=tuple((r["step"], r["intermediate_value"]) for r in reports),
            peak_memory_mib=row["peak_memory_mib"],
            requeues=row["requeues"],
            same_cause=same[0][0] if row["state"] == "FAIL" else 0,
        )

    def labelled_trials(self, study_id: int) -> dict[int, labels.Labels]:
        """The tags and notes of the trials of a study that have any, by number."""
        return labels.of_study(self._ask, study_id)

    def numbered(self, study_id: int, numbers: Sequence[int]) -> list[Trial]:
        """The trials of some numbers, in their order; those that there are not are left out."""
        ids: dict[int, int] = {}
        for start in range(0, len(numbers), 500):
            page = numbers[start : start + 500]
            rows = self._ask(
                "SELECT number, trial_id FROM hx_trial WHERE study_id = ? "
                f"AND number IN ({_marks(page)}) ORDER BY number",
                [study_id, *page],
            )
            ids |= {row["number"]: row["trial_id"] for row in rows}
        return self._trials([ids[number] for number in numbers if number in ids])

    def returns(self, experiment_id: int, trial_id: int) -> list[array[float]]:
        """What a trial of an agent earned on the validation bars, a seed after the other.

        The median seed is the first. trial_id: `records.BUY_AND_HOLD` for that. Nothing for a
        trial that has none.
        """
        found = self._ask(
            "SELECT seeds, content FROM hx_returns WHERE experiment_id = ? AND trial_id = ?",
            (experiment_id, trial_id),
        )
        return returns_of(found[0]["seeds"], bytes(found[0]["content"])) if found else []

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
                grouped[row["trial_id"]][row["param_name"]] = external(
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
            "SELECT w.*, s.model, t.number, t.started_at AS trial_started_at FROM hx_worker w "
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
                flag="frozen" if row["frozen_at"] is not None else row["flag"],
                trial=None if row["number"] is None else f"{row['model']}#{row['number']}",
                trial_started_at=row["trial_started_at"],
                start_ticks=row["start_ticks"],
                boot_id=row["boot_id"],
            )
            for row in rows
        ]

    def history(self, study_id: int) -> list[dict[str, Any]]:
        """Every trial as Optuna keeps it, with what its suggestion had seen: for replays."""
        # States come first: what had finished by then has its parameters and values for good.
        trials = {
            row["trial_id"]: {**dict(row), "value": None, "params": {}, "reports": {}, "system": {}}
            for row in self._ask(
                "SELECT t.trial_id, t.number, CAST(t.state AS VARCHAR) AS state, "
                "h.worker_id, h.retry_of, h.seen FROM trials t "
                "LEFT JOIN hx_trial h ON h.trial_id = t.trial_id "
                "WHERE t.study_id = ? ORDER BY t.number",
                (study_id,),
            )
        }
        for trial in trials.values():
            trial["seen"] = json.loads(trial["seen"]) if trial["seen"] else None
        for table, columns in _HISTORY.items():
            for trial_id, key, value, kind in self._ask(
                f"SELECT a.trial_id, {columns} FROM {table} a "
                "JOIN trials t ON t.trial_id = a.trial_id WHERE t.study_id = ? ORDER BY 1, 2",
                (study_id,),
            ):
                _fill(trials.get(trial_id), table, key, value, kind)
        return list(trials.values())


_HISTORY = {
    "trial_values": "a.objective, a.value, CAST(a.value_type AS VARCHAR)",
    "trial_params": "a.param_name, a.param_value, a.distribution_json",
    "trial_intermediate_values": "a.step, a.intermediate_value, "
    "CAST(a.intermediate_value_type AS VARCHAR)",
    "trial_system_attributes": "a.key, a.value_json, NULL",
}
"""What `Reader.history` asks for, by Optuna's tables: a name, a value, and what kind it is."""

_ODD_NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""Numbers that Optuna keeps as a word, because not every database has them."""


def _fill(trial: dict[str, Any] | None, table: str, key: Any, value: Any, kind: Any) -> None:
    if trial is None:
        return
    if table == "trial_params":
        trial["params"][key] = (value, kind)
    elif table == "trial_system_attributes":
        trial["system"][key] = json.loads(value)
    elif table == "trial_values" and key == 0:  # the first of several metrics
        trial["value"] = _ODD_NUMBERS.get(kind, value)
    elif table == "trial_intermediate_values":
        trial["reports"][key] = _ODD_NUMBERS.get(kind, value)


NO_SPACE = "the disk is full: it goes on by itself when there is space"

KNOWN_SCHEMA = 4
"""The newest step of `migrations.STEPS`, repeated here because that module needs SQLAlchemy."""


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


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
