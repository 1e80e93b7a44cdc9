"""Trash, purge, backup and what lies beside a store."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import BadInput
from engines.study import backup, control, trash
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.locks import take_runner_lock
from engines.study.records import Experiment
from engines.study.tables import HyperionTable
from hyperion_tui import cli
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

DATABASES = ["file", pytest.param("server", marks=pytest.mark.slow)]


@pytest.fixture(params=DATABASES)
def kept(request: pytest.FixtureRequest, own_home: Path) -> Location:
    """A store with the experiment `other` in it, at rest, with a trial."""
    if request.param == "file":
        location = new_store(own_home / "studies.db")
    else:
        location = locate(request.getfixturevalue("postgres_store_url"))
    add(location, "other")
    return location


def add(location: Location, name: str, **changes: object) -> int:
    """A cancelled experiment of two studies with a trial, and something in each folder of it."""
    with opened(location) as storage:
        plan = experiment_plan(study_plan("a"), study_plan("b"), name=name, **changes)
        experiment_id = create_or_extend(storage, plan)
        worker = add_worker(location, experiment_id)
        run_job(storage, must_claim(storage, worker, experiment_id), [0.5])
    found = find(location, name)
    control.order(location, [(found, s) for s in found.studies], "cancel")
    for folder in location.folders(experiment_id):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "something").write_bytes(b"x" * 1000)
    return experiment_id


def find(location: Location, name: str) -> Experiment:
    with asking(location) as reader:
        return reader.find_experiments(name)[0]


def names(location: Location) -> tuple[list[str], list[str]]:
    """(in sight, in the trash)."""
    with asking(location) as reader:
        return [e.name for e in reader.experiments()], [e.name for e in reader.trash()]


def all_counts(location: Location) -> dict[str, int]:
    """How many rows each table has, ours and Optuna's."""
    tables = [*HyperionTable.metadata.tables, *trash.OF_A_TRIAL, *trash.OF_A_STUDY]
    return {t: rows(location, f"SELECT count(*) FROM {t}")[0][0] for t in sorted(set(tables))}


def test_what_is_deleted_is_out_of_sight_and_comes_back_as_it_was(kept: Location):
    add(kept, "mine")
    before = find(kept, "mine")

    trash.delete(kept, [before])
    assert names(kept) == (["other"], ["mine"])
    with asking(kept) as reader, pytest.raises(BadInput, match="`mine` is in the trash.*restore"):
        reader.find_studies("mine/a")

    trash.restore(kept, [before])
    assert names(kept) == (["mine", "other"], [])
    assert find(kept, "mine") == before


def test_a_purge_leaves_no_row_and_no_file_of_it_and_all_of_the_others(kept: Location):
    before = all_counts(kept)
    experiment_id = add(kept, "mine", dataset=experiment_plan().dataset)
    mine = find(kept, "mine")
    trash.delete(kept, [mine])

    freed = trash.purge(kept, mine)

    assert all_counts(kept) == before
    assert not any(folder.exists() for folder in kept.folders(experiment_id))
    # Beside the five of `add` there is the data that was written for it.
    assert freed.files >= 5 * 1000
    assert find(kept, "other").finished == 1
    assert all((f / "something").exists() for f in kept.folders(find(kept, "other").experiment_id))


def test_what_happens_to_an_experiment_takes_it_out_of_the_trash(kept: Location):
    other = find(kept, "other")
    trash.delete(kept, [other])

    with changing(kept) as connection:
        control.add_event(connection, other.experiment_id, "study", "to be resumed")

    assert names(kept) == (["other"], [])
    with pytest.raises(BadInput, match="not in the trash any more"):
        trash.purge(kept, other)
    assert find(kept, "other").finished == 1


def test_what_is_at_work_is_not_deleted(kept: Location):
    with opened(kept) as storage:
        create_or_extend(storage, experiment_plan(name="busy"))
    with pytest.raises(BadInput, match="busy is waiting: end it first, `hyperion-tui cancel busy`"):
        trash.delete(kept, [find(kept, "other"), find(kept, "busy")])

    assert names(kept) == (["busy", "other"], [])


def test_nothing_is_removed_under_a_runner(location: Location):
    add(location, "mine")
    mine = find(location, "mine")
    child = os.fork()
    if child == 0:
        take_runner_lock(location.runner_lock(mine.experiment_id))
        time.sleep(60)
        os._exit(0)
    try:
        lock = location.runner_lock(mine.experiment_id)
        while not (lock.exists() and find(location, "mine").runner_pid):
            pass
        with pytest.raises(BadInput, match="its processes are still there"):
            trash.delete(location, [mine])
        with pytest.raises(BadInput, match="at work again"):
            trash.purge(location, mine)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert names(location) == (["mine"], [])


def test_the_name_of_what_is_in_the_trash_is_not_used_again(kept: Location):
    trash.delete(kept, [find(kept, "other")])

    with opened(kept) as storage:
        with pytest.raises(BadInput, match="`other` is in the trash: bring it back with"):
            create_or_extend(storage, experiment_plan(study_plan("a"), name="other"))
        create_or_extend(storage, experiment_plan(study_plan("a"), name=None))

    assert names(kept) == (["towns-1"], ["other"])


def test_orphans_are_removed_and_what_is_in_the_trash_is_none(location: Location):
    mine = add(location, "mine")
    trash.delete(location, [find(location, "mine")])
    for folder in location.folders(77):
        folder.mkdir(parents=True)
        (folder / "left").write_bytes(b"x" * 10)

    assert len(trash.orphans(location, {mine})) == 5
    assert trash.remove_orphans(location) == 50
    assert not any(folder.exists() for folder in location.folders(77))
    assert all(folder.exists() for folder in location.folders(mine))


# -- backup ---------------------------------------------------------------------------------------


def test_a_backup_is_a_store_of_one_moment_for_the_owner_alone(location: Location, tmp_path: Path):
    add(location, "mine")
    with asking(location) as before:  # somebody reads on, and the log is not empty
        written = backup.backup(location, tmp_path / "copy.db")
        assert before.experiments()

    copy = Location(tmp_path / "copy.db")
    assert written == copy.path.stat().st_size
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o600
    assert find(copy, "mine").studies == find(location, "mine").studies
    with opened(copy) as storage:
        assert len(storage.get_all_studies()) == 2
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []


def test_a_backup_that_can_not_be_leaves_nothing(location: Location, tmp_path: Path):
    there = tmp_path / "there.db"
    there.write_text("precious")

    for target, why in (
        (there, "exists: name another file, or add --force"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "where.db", "lies in no folder"),
        (location.path, "is the store itself"),
    ):
        with pytest.raises(BadInput, match=why):
            backup.backup(location, target)
    with pytest.raises(BadInput, match="pg_dump"):
        backup.backup(locate("postgresql://me:secret@db/x"), tmp_path / "y.db")

    assert there.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []
    log = there.with_name("there.db-wal")
    log.write_text("what a killed program left")
    with pytest.raises(BadInput, match="is a database in use"):
        backup.backup(location, there, replace=True)
    log.unlink()
    backup.backup(location, there, replace=True)
    assert sqlite3.connect(there).execute("SELECT count(*) FROM hx_migration").fetchone()[0]


# -- as commands ----------------------------------------------------------------------------------


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = cli.main(list(words))
        return (code, *capfd.readouterr())

    return call


def test_delete_list_restore_purge_as_commands(say, own_home: Path):
    location = new_store(own_home / "studies.db")
    add(location, "mine")
    add(location, "other")

    assert say("delete", "mine")[0] == 0
    assert "mine" not in say("list")[1]
    assert "mine" in say("list", "--trash")[1]
    assert "trash: mine: `hyperion-tui restore NAME`" in say("doctor")[1]
    assert say("restore", "mine") == (0, "", "Brought back: mine.\n")
    code, _, told = say("purge", "mine")
    assert (code, told) == (
        2,
        "hyperion-tui: The trash is empty: `hyperion-tui delete NAME` puts something into it.\n",
    )
    say("delete", "*", "--json")
    (other, mine) = json.loads(say("purge", "*", "--json")[1])
    assert {other["experiment"], mine["experiment"]} == {"other", "mine"}
    assert mine["file_bytes"] >= 5000
    assert json.loads(say("list", "--json")[1]) == []
    assert "is one study: the trash takes whole experiments, `mine`" in say("delete", "mine/a")[2]


def test_doctor_counts_what_is_left_behind_and_cleans_it(say, own_home: Path):
    location = new_store(own_home / "studies.db")
    mine = add(location, "mine")
    left = location.side / "artefacts" / "99"
    left.mkdir(parents=True)
    (left / "models").write_bytes(b"x" * 2048)
    old = location.logs(mine) / "worker-1.log"
    old.write_text("old")
    os.utime(old, (time.time() - 31 * 86400,) * 2)

    assert "left behind: 1 folder of no experiment (2.0 KiB): doctor --clean" in say("doctor")[1]
    assert "clean: 2.0 KiB freed; 1 log older than 30 days removed" in say("doctor", "--clean")[1]
    assert not left.exists()
    assert not old.exists()
    assert location.data(mine).exists()
    where = json.loads(say("doctor", "--where", "--json")[1])
    assert {"store", "logs", "data", "models", "checkpoints", "settings"} <= where.keys()
