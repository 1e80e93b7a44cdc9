"""Opening a store: `open_storage` gives the Optuna storage of a path, old or new.

It may be called in any process, by many at once. Creation, the switch to WAL and migrations
happen under a lock file; a file that is current is opened without it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import event

from engines.errors import StoreUnavailable
from engines.files import make_private_folder
from engines.study import migrations
from engines.study.location import Location, locate
from engines.study.locks import init_lock, living_runners
from engines.study.sqlite import explain, require_database
from engines.study.storage import HyperionStorage, connect


def open_storage(url: str | Location | None = None) -> HyperionStorage:
    """The Optuna storage of a store, which is created or brought up to date if need be.

    url: a path, a `sqlite:///` URL, a Location, or None for the user's own store. Stock Optuna
    takes the result as `storage=`. Raises BadInput for another kind of database and
    StoreUnavailable for a file that is no store, can't be written, or is from a newer version.
    """
    location = url if isinstance(url, Location) else locate(url)
    try:
        _prepare(location)
        return HyperionStorage(location)
    except StoreUnavailable:
        raise
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise explain(cause, location.path) from error


def _prepare(location: Location) -> None:
    """Create or migrate the file, once, however many processes ask at the same time."""
    path = location.path
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder, not a store: name a file in it.")
    if path.exists() and not os.access(path, os.W_OK):
        raise StoreUnavailable(
            f"{path} can't be written: check its permissions, or name another with --store."
        )
    make_private_folder(path.parent)
    if path.exists():
        require_database(path)
    if path.exists() and path.stat().st_size and _is_prepared(location):
        return
    with init_lock(location):
        # SQLite gives -wal and -shm the mode of the main file, so one private file is enough.
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if not _is_prepared(location):
            _build(location)


def _is_prepared(location: Location) -> bool:
    """Whether the file has both schemas, complete. Raises StoreUnavailable for a foreign one."""
    with contextlib.closing(connect(str(location.path))) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = {row[0] for row in rows}
        if names and "hx_migration" not in names and not names >= {"studies", "trials"}:
            raise StoreUnavailable(
                f"{location.path} is a database of something else "
                f"({', '.join(sorted(names)[:3])}): name another file with --store; "
                "nothing was changed."
            )
        if "hx_migration" not in names:
            return False
        if not migrations.is_current(connection) or "alembic_version" not in names:
            return False
        # Optuna's stamp comes last. Between table and row its maker is still at work, and a
        # second process that opened the file would stamp it, too.
        return connection.execute("SELECT 1 FROM alembic_version").fetchone() is not None


def _build(location: Location) -> None:
    """Switch to WAL and bring both schemas up to date. The caller holds the init lock."""
    living = living_runners(location)
    if living:
        raise StoreUnavailable(
            f"{location.path} needs a schema change, but experiments {living} are running: "
            "pause them first with `hyperion-tui pause`."
        )
    creator = functools.partial(connect, str(location.path))
    with contextlib.closing(creator()) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    engine = sqlalchemy.create_engine(
        "sqlite://", creator=creator, poolclass=sqlalchemy.pool.NullPool
    )
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as transaction:
        models.BaseModel.metadata.create_all(transaction)
        migrations.migrate(transaction)
    # Optuna stamps the version of its own schema when it first opens a file.
    RDBStorage("sqlite://", engine_kwargs={"creator": creator}).engine.dispose()
