"""The plain SQL of reader, control and supervision against the tables that SQLAlchemy makes."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import fields
from pathlib import Path

import pytest

from engines.errors import BadInput
from engines.study import control, supervision
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.outlook import facts, frozen_jobs, held_by, look_ahead
from engines.study.pages import TRIAL_ORDERS
from engines.study.reader import Reader
from engines.study.storage import HyperionStorage
from engines.study.tables import HyperionTable
from tests.postgres import copy_store
from tests.unit.building import (
    add_worker,
    asking,
    changing,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    rows,
    run_job,
    study_plan,
)


@pytest.fixture(params=["file", "server"])
def populated(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A store with trials in every state, in a file and in a database of a server."""
    path = tmp_path / "populated.db"
    path.write_bytes(populated_bytes())
    if request.param == "file":
        return Location(path)
    return copy_store(Location(path), request.getfixturevalue("postgres_url"))


@functools.cache
def populated_bytes() -> bytes:
    """Made once a process: every test of this file starts from a copy."""
    with tempfile.TemporaryDirectory() as folder:
        location = new_store(Path(folder) / "s.db")
        with opened(location) as storage:
            populate(location, storage)
        return location.path.read_bytes()


def populate(location: Location, storage: HyperionStorage) -> None:
    """Two studies: complete, failed, running and waiting trials; baselines; a living worker."""
    create_or_extend(storage, experiment_plan(study_plan("a"), study_plan("b"), name="first"))
    create_or_extend(
        storage,
        experiment_plan(study_plan("a", goal=None), name="second", maximize=False, metric="mae"),
    )
    worker = add_worker(location)
    for score in (0.3, 0.9, 0.9, 0.1):
        run_job(storage, must_claim(storage, worker), [score])
    run_job(storage, must_claim(storage, worker), ValueError("bad depth"))
    run_job(storage, must_claim(storage, worker), ValueError("bad depth"))
    must_claim(storage, worker)
    with changing(location) as connection:
        for name, score in (("mean", 0.0), ("median", None)):
            connection.execute(
                "INSERT INTO hx_baseline (experiment_id, name, selection_score) VALUES (1, ?, ?)",
                (name, score),
            )


def test_every_question_of_the_reader_is_answered(populated: Location) -> None:
    with asking(populated) as reader:
        second, first = reader.experiments()
        a, b = first.studies
        trials = reader.trials(a.study_id)
        detail = reader.trial(a.study_id, 2)
        workers = reader.workers(1)
        events = reader.events(1)
        version = reader.data_version()

        assert (first.name, first.state, second.name, second.state) == (
            *("first", "running"),
            *("second", "waiting"),
        )
        assert (first.goal, second.goal, first.finished) == (8, None, 6)
        assert first.dataset is not None
        assert first.dataset.notices == ("2 rows dropped",)
        assert [(x.name, x.selection_score) for x in first.baselines] == [
            ("mean", 0.0),
            ("median", None),
        ]
        assert (a.counts.complete, a.counts.failed, a.counts.running, a.counts.goal) == (2, 1, 1, 4)
        assert a.best is not None
        assert (a.best.number, a.best.selection_score, a.best.held_out_score) == (1, 0.9, None) or (
            a.best.selection_score == 0.9
        )
        assert a.median_s is not None
        assert a.train_s > 0
        assert b.best is not None
        assert [t.number for t in trials] == [0, 1, 2, 3]
        assert (detail.trial.state, detail.same_cause) == ("failed", 1)
        assert detail.trial.error == "ValueError: bad depth"
        assert reader.best_params(a.study_id, 0) == {"kind": "round", "size": 1.0}
        assert reader.best_params(a.study_id, 99) == {}
        assert [w.trial for w in workers] == ["a#3"]
        assert [e.seq for e in events] == sorted(e.seq for e in events)
        assert reader.events(2)[0].text.startswith("created")
        assert reader.events(after=reader.last_seq()) == []
        assert len(reader.events(limit=3)) == 3
        assert reader.trial_count(a.study_id) == 4
        assert reader.trial_count(a.study_id, ["failed", "running"]) == 2
        assert reader.experiment(1).name == "first"
        assert reader.data_version() == version
        with pytest.raises(BadInput, match="This study has no trial 99"):
            reader.trial(a.study_id, 99)
        with pytest.raises(BadInput, match="Experiment 99 is no longer in the store"):
            reader.experiment(99)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", TRIAL_ORDERS)
def test_trials_sort_by_every_column_with_missing_values_last(
    populated: Location, order: str, descending: bool
) -> None:
    with asking(populated) as reader:
        page = reader.trials(1, order=order, descending=descending)
        rest = reader.trials(1, order=order, descending=descending, limit=2, offset=2)

    assert page[2:] == rest
    if order == "state":
        assert sorted({t.state for t in page}) == ["complete", "failed", "running"]
        return
    attribute = {"duration": "duration_s"}.get(order, order)
    values = [getattr(trial, attribute) for trial in page]
    known = [value for value in values if value is not None]
    assert values == known + [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=descending)


def test_names_are_found_by_prefix_glob_and_study(populated: Location) -> None:
    with asking(populated) as reader:
        assert [e.name for e in reader.find_experiments("fi")] == ["first"]
        assert {e.name for e in reader.find_experiments("*s*")} == {"first", "second"}
        assert [s.name for _, s in reader.find_studies("first/b")] == ["first/b"]
        assert [s.name for _, s in reader.find_studies("first")] == ["first/a", "first/b"]
        assert {s.name for _, s in reader.find_studies("*/a")} == {"first/a", "second/a"}
        for name, reason in {
            "frist": "No experiment `frist`: did you mean first",
            "x*": r"No experiment matches `x\*`",
            "first/": "`first/` could be first/a, first/b",
        }.items():
            with pytest.raises(BadInput, match=reason):
                reader.find_studies(name) if "/" in name else reader.find_experiments(name)


def test_orders_and_supervision_run_on_the_real_tables(populated: Location) -> None:
    with asking(populated) as reader:
        first = reader.experiment(1)
    pairs = [(first, study) for study in first.studies]

    control.order(populated, pairs, "pause", now=True)
    with changing(populated) as connection:
        runner = supervision.add_runner(connection, 1)
        outlook = look_ahead(connection, 1)
        (held,) = held_by(connection, 1)
        assert outlook is not None
        assert supervision.has_begun(connection, 1)
        known = facts(connection, 1)
        assert known is not None
        assert (known.failed, known.frozen, known.closing) == (False, set(), {})
        assert held.study_id in known.interrupted
        assert (outlook.state, outlook.claimable) == ("pausing", 1)
        assert frozen_jobs(connection) == {}
        assert supervision.recent_deaths(connection, 1) == 1
        supervision.end_runner(connection, runner, "done")
        assert len(supervision.living_workers(connection, 1)) == 1
        supervision.fail(connection, 1, held, "TimeLimit", "too long", 1.5)
        supervision.free_closing(connection, 1)
        supervision.note_worker(connection, 1, 4711, 12, None, "no processor time")
        supervision.close_without_score(connection, 1, held.study_id, "it can't be scored")
        supervision.end_worker(connection, 1, "killed")
        supervision.add_time(connection, 1, 2.5)
        supervision.end_by_time(connection, 1, 10.0)
        supervision.set_failure(connection, 1, "because")
        assert look_ahead(connection, 99) is None
        assert held_by(connection, 1) == []

    with asking(populated) as reader:
        after = reader.experiment(1)
        failed = reader.trial(1, 3)
        assert reader.workers(1) == []
    assert (after.state, after.failure, after.time_used_s) == ("failed", "because", 2.5)
    assert (failed.trial.error, failed.trial.duration_s) == ("TimeLimit: too long", 1.5)
    assert "time limit of 10 s" in {study.message for study in after.studies}
    control.change_experiment(populated, 1, workers=7, time_limit_s=100.0)
    assert control.raise_goals(populated, pairs, 20) == ["first/a", "first/b"]
    assert control.retry(populated, *pairs[0], [2]) == [4]
    with asking(populated) as reader:
        again = reader.experiment(1)
    assert (again.workers, again.time_limit_s, again.failure) == (7, 100.0, None)
    assert [study.state for study in again.studies] == ["running", "running"]


def test_copies_of_state_and_value_equal_optuna_s(populated: Location) -> None:
    differences = rows(
        populated,
        "SELECT o.trial_id FROM trials o LEFT JOIN hx_trial h ON h.trial_id = o.trial_id "
        "LEFT JOIN trial_values v ON v.trial_id = o.trial_id "
        "WHERE h.trial_id IS NULL OR h.state != CAST(o.state AS VARCHAR) OR h.number != o.number "
        "OR h.study_id != o.study_id OR coalesce(h.value, -1) != coalesce(v.value, -1)",
    )

    assert differences == []
    assert len(rows(populated, "SELECT 1 FROM trials")) == 7


def test_no_table_or_index_of_ours_touches_optuna_s(location: Location, tmp_path: Path) -> None:
    ours = {table.name for table in HyperionTable.metadata.sorted_tables}

    indexes = rows(location, "SELECT tbl_name FROM sqlite_master WHERE name LIKE '%hx_%'")

    assert all(name.startswith("hx_") for name in ours)
    assert {name for (name,) in indexes} == ours


def test_a_reader_has_a_field_for_every_count() -> None:
    from engines.study.states import TRIAL_WORDS, Counts

    assert {f.name for f in fields(Counts)} == {*TRIAL_WORDS.values(), "goal"}
    assert set(TRIAL_ORDERS) == {"number", "value", "duration", "state"}
    assert Reader.__doc__
