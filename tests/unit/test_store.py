"""Opening a store: new and old files, strange paths, and what is not a store at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from engines.errors import BadInput, StoreUnavailable
from engines.study import migrations, reader, store
from engines.study.experiments import create_or_extend
from engines.study.location import Location, home, locate
from engines.study.locks import runner_pid, take_runner_lock
from engines.study.reader import KNOWN_SCHEMA, Reader
from engines.study.sqlite import connect_to_write
from engines.study.storage import HyperionStorage
from engines.study.store import open_storage
from tests.unit.building import (
    add_worker,
    asking,
    changing,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    prepared_bytes,
    rows,
    run_job,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Without the right of an administrator to ignore permissions."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user of this machine can enter and read, and only root can write."""
    folder = Path(tempfile.mkdtemp(prefix="hyperion-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


# -- what opens ---------------------------------------------------------------------------------


def test_a_new_store_and_all_beside_it_belong_to_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "studies.db"

    with opened(Location(path)) as storage:
        create_or_extend(storage, experiment_plan())
        assert mode(path) == 0o600
        assert {mode(p) for p in path.parent.glob("studies.db-*")} == {0o600}

    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    side = [p for p in Location(path).side.rglob("*") if p.is_dir()]
    assert side
    assert {mode(p) for p in [Location(path).side, *side]} == {0o700}
    assert mode(Location(path).init_lock) == 0o600


def test_a_new_store_is_in_wal_mode_and_marked_current(tmp_path: Path) -> None:
    location = Location(tmp_path / "s.db")

    open_storage(location).close()

    assert rows(location, "PRAGMA journal_mode") == [("wal",)]
    assert rows(location, "SELECT number FROM hx_migration") == [
        (step.number,) for step in migrations.STEPS
    ]


@pytest.mark.parametrize(
    "name",
    [
        "a?b=c.db",
        "100%.db",
        "50%41.db",
        "{x}.db",
        "{}.db",
        "with space.db",
        "new\nline.db",
        "a#b.db",
        "ü漢.db",
        "a&b;c.db",
    ],
)
def test_a_path_means_itself_whatever_it_holds(tmp_path: Path, name: str) -> None:
    location = Location(tmp_path / "folder {y}?z" / name)

    with opened(location) as storage:
        create_or_extend(storage, experiment_plan())
    with asking(location) as found:
        experiments = [e.name for e in found.experiments()]

    assert experiments == ["e"]
    # The lock file lies in the folder beside it; nothing else was made.
    assert [p.name for p in tmp_path.iterdir()] == ["folder {y}?z"]
    files = {p.name for p in location.path.parent.iterdir()}
    assert files - {f"{name}-wal", f"{name}-shm"} == {name, f"{name}.d"}


def test_a_file_of_zero_bytes_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.touch()

    open_storage(str(path)).close()

    with asking(Location(path)) as found:
        assert found.experiments() == []


@pytest.mark.parametrize("form", ["{path}", "sqlite:///{path}", "sqlite+pysqlite:///{path}"])
def test_a_store_can_be_named_by_path_or_url(tmp_path: Path, form: str) -> None:
    path = new_store(tmp_path / "s.db").path

    assert locate(form.format(path=path)).path == path


def test_the_store_is_the_option_s_then_the_environment_s_then_the_default() -> None:
    environment = {"HYPERION_STORAGE": "/b/s.db", "HYPERION_HOME": "/c"}

    assert locate("/a/s.db", environment).path == Path("/a/s.db")
    assert locate(None, environment).path == Path("/b/s.db")
    assert locate(None, {"HYPERION_HOME": "/c"}).path == Path("/c/studies.db")
    assert home({}).name == "hyperion-tui"


@pytest.mark.parametrize("url", ["mysql://u:secret@host/db", "mysql+pymysql://host/db"])
def test_another_database_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(
        BadInput, match="a store is a SQLite file or a PostgreSQL database"
    ) as caught:
        locate(url)

    assert "secret" not in str(caught.value)


def test_a_stock_optuna_file_is_taken_up_with_its_studies(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    url = f"sqlite:///{path}"
    theirs = optuna.create_study(storage=url, study_name="theirs")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]

    with opened(Location(path)) as storage:
        create_or_extend(storage, experiment_plan())
        study = optuna.load_study(study_name="theirs", storage=storage)
        assert len(study.trials) == 2

    with asking(Location(path)) as found:
        assert [e.name for e in found.experiments()] == ["e"]


def test_a_file_that_its_maker_has_not_stamped_yet_is_not_taken_for_prepared(
    location: Location,
) -> None:
    assert store._is_prepared(location)

    with changing(location) as connection:
        connection.execute("DELETE FROM alembic_version")

    assert not store._is_prepared(location)
    open_storage(location).close()
    assert store._is_prepared(location)


def test_a_storage_survives_pickling(storage: HyperionStorage) -> None:
    import pickle

    create_or_extend(storage, experiment_plan())

    with contextlib.closing(
        pickle.loads(pickle.dumps(storage)).database.engine.connect()
    ) as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM hx_experiment").scalar()
        assert count == 1
    connection.engine.dispose()


# -- what does not ------------------------------------------------------------------------------


def bad_file(kind: str, path: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE patients (name)")
            connection.commit()
    elif kind == "foreign studies":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE studies (patient)")
            connection.commit()
    elif kind == "newer":
        new_store(path)
        with changing(Location(path)) as connection:
            connection.execute("INSERT INTO hx_migration VALUES (999, 'future', 'then')")
    else:
        content = {
            "one byte": b"x",
            "a few bytes": b"my diary\n",
            "text": b"hello, I am a diary\n" * 200,
            "random": bytes((i * 167 + 13) % 256 for i in range(20_000)),
            "truncated": prepared_bytes()[:9_000],
            "header only": prepared_bytes()[:100],
            "overwritten": prepared_bytes()[:4096] + b"\x00" * 40_000,
        }
        path.write_bytes(content[kind])


BAD = {
    "folder": "is a folder, not a store",
    "foreign": r"is a database of something else \(patients\)",
    "foreign studies": r"is a database of something else \(studies\)",
    "newer": rf"newer Hyperion \(schema 999, this one knows {KNOWN_SCHEMA}\)",
    "a few bytes": "is not a store, or it is damaged",
    "one byte": "is not a store, or it is damaged",
    "text": "is not a store, or it is damaged",
    "random": "is not a store, or it is damaged",
    "truncated": "is not a store, or it is damaged",
    "header only": "is not a store, or it is damaged",
    "overwritten": "is not a store, or it is damaged",
}


def content(path: Path) -> bytes:
    return b"" if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_store_is_named_and_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.db"
    bad_file(kind, path)
    before = content(path)

    with pytest.raises(StoreUnavailable, match=BAD[kind]) as caught:
        open_storage(str(path))

    assert "\n" not in str(caught.value)
    assert content(path) == before
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(("-wal", "-shm"))] == ["s.db"]


READING = {
    **BAD,
    "foreign": "holds no Hyperion tables",
    "foreign studies": "holds no Hyperion tables",
}


@pytest.mark.parametrize("kind", READING)
def test_reading_what_is_no_store_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.db"
    bad_file(kind, path)
    before = content(path)

    with pytest.raises(StoreUnavailable, match=READING[kind]) as caught:
        Reader(Location(path)).experiments()

    assert "\n" not in str(caught.value)
    assert content(path) == before


def test_a_missing_store_is_not_created_by_looking_or_by_an_order(tmp_path: Path) -> None:
    path = tmp_path / "none" / "s.db"

    with pytest.raises(StoreUnavailable, match="No store at .*: start something with"):
        Reader(Location(path))
    with pytest.raises(StoreUnavailable, match="No store at .*: start something with"):
        connect_to_write(path)

    assert not path.parent.exists()


def test_a_file_that_may_not_be_written_is_refused_and_can_be_read(public_folder: Path) -> None:
    location = new_store(public_folder / "s.db")
    location.path.chmod(0o444)

    with unprivileged(), pytest.raises(StoreUnavailable, match="can't be written"):
        open_storage(location)
    with unprivileged(), asking(location) as found:
        assert found.experiments() == []


def test_a_folder_that_may_not_be_written_can_be_read_and_holds_no_new_store(
    public_folder: Path,
) -> None:
    location = new_store(public_folder / "s.db")
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan())
    location.path.chmod(0o666)
    before = sorted(p.name for p in public_folder.iterdir())
    public_folder.chmod(0o555)

    with unprivileged(), asking(location) as found:
        assert [e.name for e in found.experiments()] == ["e"]
        assert "is only looked at: its folder can't be written" in str(found.note)
    with unprivileged(), pytest.raises(StoreUnavailable, match="can't be"):
        open_storage(str(public_folder / "new.db"))

    assert sorted(p.name for p in public_folder.iterdir()) == before


def test_what_waits_in_the_wal_of_a_read_only_folder_is_read_too(public_folder: Path) -> None:
    location = new_store(public_folder / "s.db")
    copy = public_folder / "copy"
    copy.mkdir()
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan())
        for suffix in ("", "-wal"):  # as a machine leaves it that lost its power
            shutil.copy(f"{location.path}{suffix}", copy / f"s.db{suffix}")
            (copy / f"s.db{suffix}").chmod(0o444)
    assert (copy / "s.db-wal").stat().st_size > 0
    copy.chmod(0o555)

    with unprivileged(), asking(Location(copy / "s.db")) as found:
        assert [e.name for e in found.experiments()] == ["e"]
        assert "is read from a private copy, as it was when opened" in str(found.note)

    assert sorted(p.name for p in copy.iterdir()) == ["s.db", "s.db-wal"]
    copy.chmod(0o755)


# -- versions of the schema -----------------------------------------------------------------------


def test_the_reader_knows_the_newest_schema() -> None:
    numbers = [step.number for step in migrations.STEPS]

    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers[-1] == reader.KNOWN_SCHEMA


def a_second_step(applied: list[int]) -> tuple[migrations.Step, ...]:
    def apply(connection) -> None:
        applied.append(1)
        connection.exec_driver_sql("ALTER TABLE hx_experiment ADD COLUMN colour TEXT")

    return (*migrations.STEPS, migrations.Step(99, "colours", apply))


def test_an_older_store_receives_what_it_lacks_exactly_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = new_store(tmp_path / "s.db")
    applied: list[int] = []
    monkeypatch.setattr(migrations, "STEPS", a_second_step(applied))

    for _ in range(2):
        open_storage(location).close()

    assert applied == [1]
    assert rows(location, "SELECT count(*) FROM hx_migration WHERE number = 99") == [(1,)]
    assert rows(location, "SELECT colour FROM hx_experiment") == []


HOLD_LOCK = """
import sys
from pathlib import Path
from engines.study.locks import take_runner_lock
assert take_runner_lock(Path(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


def test_a_schema_change_is_refused_while_a_runner_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = new_store(tmp_path / "s.db")
    lock = location.runner_lock(3)
    monkeypatch.setattr(migrations, "STEPS", a_second_step([]))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"held\n"

        assert runner_pid(lock) == runner.pid
        assert take_runner_lock(lock) is None
        with pytest.raises(StoreUnavailable, match=r"experiments \[3\] are running: pause them"):
            open_storage(location)

        runner.communicate()

    assert runner_pid(lock) is None
    open_storage(location).close()


# -- at the same time -----------------------------------------------------------------------------


def test_a_reader_never_blocks_a_writer_and_sees_one_moment(location: Location) -> None:
    with opened(location) as storage, asking(location) as found:
        create_or_extend(storage, experiment_plan())
        before = found.data_version()
        reading = connect_to_write(location.path)
        reading.execute("BEGIN")
        assert reading.execute("SELECT count(*) FROM hx_trial").fetchone()[0] == 0

        run_job(storage, must_claim(storage, add_worker(location)))

        assert reading.execute("SELECT count(*) FROM hx_trial").fetchone()[0] == 0
        reading.execute("COMMIT")
        reading.close()
        assert found.data_version() != before
        assert found.trials(1)[0].state == "complete"


def test_a_writer_never_blocks_a_reader(location: Location) -> None:
    with opened(location) as storage, asking(location) as found:
        create_or_extend(storage, experiment_plan())
        must_claim(storage, add_worker(location))

        with changing(location) as connection:
            connection.execute("UPDATE hx_trial SET state = 'COMPLETE'")
            assert [t.state for t in found.trials(1)] == ["running"]
            assert storage.get_all_trials(1)[0].state.name == "RUNNING"

        assert [t.state for t in found.trials(1)] == ["complete"]


def test_a_locked_store_says_so_after_its_patience(location: Location) -> None:
    with changing(location), contextlib.closing(connect_to_write(location.path)) as other:
        other.execute("PRAGMA busy_timeout = 1")

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
