"""Stores on a PostgreSQL server: what they are called, what their errors say, who holds a lock."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import HyperionError, PackageMissing
from engines.files import make_private_folder
from engines.run.ledger import Ledger
from engines.study import locks, plain, postgres
from engines.study.location import Location, has_password, locate
from engines.study.plain import connect_to_read, connect_to_write, explain, writing
from engines.study.postgres import Refused, ServerConnection, ServerError
from engines.study.reader import Reader
from engines.study.store import open_storage
from hyperion_tui import cli
from tests.postgres import Server


@pytest.fixture
def server(postgres_url: str) -> Location:
    """An empty database."""
    return locate(postgres_url)


# -- names ------------------------------------------------------------------------------------


def test_a_database_is_shown_without_its_password_and_meant_with_it() -> None:
    secret = "s3:cr%40et"
    for url in (
        f"postgresql://u:{secret}@h:5433/d",
        f"postgresql://u@h:5433/d?password={secret}&sslmode=require",
        f"postgres://u:{secret}@h/d",
        f"postgresql+psycopg://u:{secret}@h/d",
    ):
        location = locate(url, {})

        assert not location.is_file
        assert secret not in f"{location.shown} {location!r} {location} {location.path}"
        assert "***" in location.shown
        assert secret in location.option
        assert locate(location.option, {}) == location
        assert has_password(url)
    assert not has_password("postgresql://u@h/d")
    assert not has_password("a:b@c.db")


def test_one_database_has_one_folder_however_it_is_spelled() -> None:
    spellings = (
        "postgresql://u:one@h/d",
        "postgresql://other:two@h:5432/d?sslmode=require",
        "postgres://h/d?password=three",
    )

    assert len({locate(url, {}).path for url in spellings}) == 1
    assert len({locate(f"postgresql://h/{name}", {}).path for name in ("a", "b", "a b")}) == 3


# -- errors -----------------------------------------------------------------------------------

Change = Callable[[str], str]


def _user(url: str) -> str:
    return url.rpartition("@")[0]


ANSWERS: dict[str, tuple[Change, int, str]] = {
    "wrong password": (
        lambda url: url.replace("p%40", "wrong%40"),
        *(4, "the server refuses the password: put it into HYPERION_STORAGE"),
    ),
    "no such database": (
        lambda url: f"{url}_none",
        *(4, "there is no such database: create it"),
    ),
    "closed port": (lambda url: f"{_user(url)}@127.0.0.1:1/db", 4, "can't be reached"),
    "no such host": (lambda url: f"{_user(url)}@h.invalid/db", 4, "can't be reached"),
    "port out of range": (lambda url: url.replace("127.0.0.1:", "127.0.0.1:9"), 2, "out of range"),
    "no database": (lambda url: url.rpartition("/")[0], 2, "names no database"),
    "bad quoting": (lambda url: url.replace("p%40", "p%zz"), 4, "can't be"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_server_that_does_not_answer_is_one_line_without_its_password(
    case: str,
    postgres_url: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change, code, words = ANSWERS[case]
    url = change(postgres_url)
    monkeypatch.setenv("HYPERION_STORAGE", url)
    secret = url.partition("hyperion:")[2].partition("@")[0][:16]

    for command in ("list", "run ridge --data diabetes --detach", "pause e", "trials e/a"):
        assert cli.main(command.split()) == code

        out, err = capfd.readouterr()
        assert out == ""
        assert words in err
        assert err.count("\n") == 1
        assert secret not in err
        assert "hyperion:***@" in err


def test_without_psycopg_the_package_is_named(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "psycopg", None)
        for opening in (Reader, open_storage):
            with pytest.raises(PackageMissing, match=r"pip install 'hyperion-tui\[postgres\]'"):
                opening(locate(postgres_url))


def test_a_file_needs_no_driver_of_servers() -> None:
    code = "import sys, hyperion_tui.cli as c; c.main(['list']); print('psycopg' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_a_role_that_may_not_write_is_told_so(
    postgres_url: str, server: Location, postgres_server: Server
) -> None:
    open_storage(server).close()
    with contextlib.closing(postgres_server.connect(postgres_url.rpartition("/")[2])) as owner:
        owner.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        try:
            owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
            host = postgres_url.partition("@")[2]
            guest = locate(f"postgresql://guest:guest@{host}")
            with contextlib.closing(Reader(guest)) as reader:
                assert reader.experiments() == []
            with contextlib.closing(connect_to_write(guest)) as connection:
                with pytest.raises(ServerError) as caught:
                    connection.execute("DELETE FROM hx_event")
                assert "may not use its tables: ask for GRANT" in str(explain(caught.value, guest))
        finally:
            owner.execute("DROP OWNED BY guest")
            owner.execute("DROP ROLE guest")


def test_a_database_of_something_else_is_left_alone(
    server: Location, postgres_url: str, postgres_server: Server
) -> None:
    with contextlib.closing(postgres_server.connect(postgres_url.rpartition("/")[2])) as owner:
        owner.execute("CREATE TABLE patients (name text)")

    with pytest.raises(HyperionError, match=r"is a database of something else \(patients\)"):
        open_storage(server)
    with pytest.raises(HyperionError, match="holds no Hyperion tables"):
        Reader(server)


def test_a_database_of_a_newer_version_is_left_alone(server: Location) -> None:
    open_storage(server).close()
    with contextlib.closing(connect_to_write(server)) as connection:
        connection.execute("INSERT INTO hx_migration VALUES (999, 'future', 'then')")

    for opening in (open_storage, Reader):
        with pytest.raises(HyperionError, match=r"newer Hyperion \(schema 999, this one knows"):
            opening(server)


# -- connections --------------------------------------------------------------------------------


def test_answers_look_as_those_of_sqlite(server: Location) -> None:
    with contextlib.closing(connect_to_write(server)) as connection:
        connection.execute(
            'CREATE TABLE t (a int, j json, s timestamp, b boolean, "key" varchar, n numeric)'
        )
        connection.execute(
            "INSERT INTO t VALUES (?, ?, ?, ?, 'what? 100%', 1.5)",
            (1, '{"x": 1}', "2026-11-22 20:41:07.5", True),
        )
        row = connection.execute(
            "SELECT * FROM t WHERE \"key\" LIKE '%?%' AND a = ?", (1,)
        ).fetchone()

        assert row["a"] == row[0] == 1
        assert row["j"] == '{"x": 1}'
        assert row["s"] == "2026-11-22 20:41:07.500000"
        assert (row["key"], row["n"], bool(row["b"])) == ("what? 100%", 1.5, True)
        assert isinstance(row["n"], float)
        assert row.keys() == ["a", "j", "s", "b", "key", "n"]
        assert tuple(row) == (1, '{"x": 1}', "2026-11-22 20:41:07.500000", True, "what? 100%", 1.5)
        with pytest.raises(IndexError):
            row["other"]
        assert connection.execute("UPDATE t SET a = a + ?", (1,)).rowcount == 1


def test_a_reader_can_change_nothing(server: Location) -> None:
    open_storage(server).close()

    with (
        contextlib.closing(connect_to_read(server)) as connection,
        pytest.raises(ServerError, match="read-only"),
    ):
        connection.execute("DELETE FROM hx_event")


def test_writers_follow_one_another_and_readers_wait_for_none(
    server: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_storage(server).close()
    with (
        contextlib.closing(connect_to_write(server)) as first,
        contextlib.closing(connect_to_write(server)) as second,
        contextlib.closing(Reader(server)) as reader,
    ):
        before = reader.data_version()
        assert reader.data_version() == before
        with writing(first):
            first.execute("INSERT INTO hx_event (at, kind, text) VALUES ('now', 'k', 't')")
            assert reader.last_seq() == 0
            monkeypatch.setattr(postgres, "BUSY_TIMEOUT_S", 0.05)
            with pytest.raises(ServerError) as caught, writing(second):
                pass
        assert "locked by another process" in str(explain(caught.value, server))
        with writing(second, durable=True):
            assert second.execute("SHOW synchronous_commit").fetchone()[0] == "on"
        with writing(second):
            assert second.execute("SHOW synchronous_commit").fetchone()[0] == "off"
        assert reader.data_version() != before
        assert reader.last_seq() == 1


def test_a_write_that_fails_changes_nothing_and_the_next_one_goes_on(server: Location) -> None:
    open_storage(server).close()
    with contextlib.closing(connect_to_write(server)) as connection:
        with contextlib.suppress(KeyError), writing(connection):
            connection.execute("INSERT INTO hx_event (at, kind, text) VALUES ('n', 'k', 't')")
            raise KeyError
        with pytest.raises(ServerError), writing(connection):
            connection.execute("INSERT INTO hx_event (nonsense) VALUES (1)")
        with writing(connection):
            assert connection.execute("SELECT count(*) FROM hx_event").fetchone()[0] == 0


def test_a_text_with_a_nul_is_stored_with_a_mark(server: Location) -> None:
    open_storage(server).close()
    with contextlib.closing(connect_to_write(server)) as connection:
        connection.execute("INSERT INTO hx_event (at, kind, text) VALUES ('n', 'k', ?)", ("a\0b",))

        assert connection.execute("SELECT text FROM hx_event").fetchone()[0] == "a\ufffdb"


# -- who runs -----------------------------------------------------------------------------------


def test_one_runner_an_experiment_on_all_machines_until_its_connection_ends(
    server: Location,
) -> None:
    open_storage(server).close()
    with contextlib.closing(connect_to_write(server)) as here:
        there = connect_to_write(server)
        assert locks.hold_experiment(there, 7)
        assert locks.hold_experiment(there, 8)
        there.execute(
            "INSERT INTO hx_runner (experiment_id, pid, host, started_at) "
            "VALUES (7, 4711, 'other', 'now')"
        )

        assert not locks.hold_experiment(here, 7)
        assert locks.find_runner(server, 7) == (4711, "other")
        assert locks.find_runner(server, 9) is None
        assert locks.living_runners(server) == [7, 8]
        assert locks.runners(server, here, [7, 9]) == {7: (4711, "other")}
        there.close()

        assert locks.hold_experiment(here, 7)
        assert locks.living_runners(server) == [7]


def test_a_runner_waits_for_a_server_and_not_for_a_database_that_was_dropped(
    postgres_server: Server, own_home: Path
) -> None:
    with postgres_server.database() as url:
        location = locate(url)
        open_storage(location).close()
        make_private_folder(location.runner_lock(1).parent)
        ledger = Ledger(location, 1)
        assert ledger.attempt(ledger.look)
        with postgres_server.away():
            assert not ledger.attempt(ledger.look)
        ledger._reconnect_after = 0.0
        assert not ledger.attempt(ledger.look)
        assert ledger.attempt(ledger.look)

    ledger._reconnect_after = 0.0
    with pytest.raises(Refused, match="there is no such database"):
        ledger.attempt(ledger.look)
    ledger.close()


def test_a_schema_lock_is_held_by_one(server: Location) -> None:
    with locks.init_lock(server), contextlib.closing(connect_to_read(server)) as other:
        taken = other.execute("SELECT pg_try_advisory_lock(?)", (postgres.SCHEMA_LOCK,)).fetchone()
        assert not taken[0]

    with contextlib.closing(connect_to_read(server)) as other:
        taken = other.execute("SELECT pg_try_advisory_lock(?)", (postgres.SCHEMA_LOCK,)).fetchone()
        assert taken[0]


def test_a_plain_connection_is_the_database_s_own(server: Location, location: Location) -> None:
    with (
        contextlib.closing(connect_to_read(server)) as over_there,
        contextlib.closing(connect_to_read(location)) as file,
    ):
        assert isinstance(over_there, ServerConnection)
        assert plain.table_names(over_there) == set()
        assert "hx_trial" in plain.table_names(file)
        assert plain.note(over_there) is None


# -- the password on the command line ---------------------------------------------------------


def test_a_password_that_was_typed_is_out_of_sight_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    url = "postgresql://u:secret@h/d"
    for words in (
        ["run", "ridge", "--store", url, "--data", "x"],
        [f"--store={url}", "run", "ridge", "--data", "x"],
        ["--store", "other.db", "run", "ridge", "--data", "x", "--store", url],
    ):
        monkeypatch.setattr(sys, "argv", ["hyperion-tui", *words])
        monkeypatch.setattr(sys, "orig_argv", ["python", "-P", "-m", "hyperion_tui", *words])

        cli.hide_password()

        program, arguments, environment = started.pop()
        assert program == sys.executable
        assert arguments == [
            *("python", "-P", "-m", "hyperion_tui", "run", "ridge", "--data", "x"),
        ]
        assert environment["HYPERION_STORAGE"] == url
        assert "secret" not in capsys.readouterr().err
    for words in ("--store postgresql://u@h/d", "--json", "--store a:b@c"):
        monkeypatch.setattr(sys, "argv", ["hyperion-tui", "list", *words.split()])
        cli.hide_password()
    assert started == []
