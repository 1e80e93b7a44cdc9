"""Opening a store: `open_storage` gives the Optuna storage of a path or a server, old or new.

It may be called in any process, by many at once. Creation, the switch to WAL and migrations
happen under a lock; a store that is current is opened without it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import Connection, inspect, text

from engines.errors import StoreUnavailable
from engines.files import make_private_folder
from engines.study import migrations
from engines.study.database import Database, connect
from engines.study.location import Location, locate
from engines.study.locks import init_lock, living_runners
from engines.study.plain import explain
from engines.study.postgres import ServerError, open_connection, schema_lock
from engines.study.sqlite import require_database
from engines.study.storage import HyperionStorage
from engines.study.surroundings import require_local

OPTUNA_SCHEMA = "v3.2.0.a"
"""The version of Optuna's own schema, as it stamps its files since 2023; a test asks it."""


def open_storage(url: str | Location | None = None) -> HyperionStorage:
    """The Optuna storage of a store, which is created or brought up to date if need be.

    url: a path, a `sqlite:///` or `postgresql://` URL, a Location, or None for the user's own
    store. Stock Optuna takes the result as `storage=`. Raises BadInput for another kind of
    database and StoreUnavailable for one that is no store, can't be written or reached, or is
    from a newer version; PackageMissing without the driver of the server.
    """
    location = url if isinstance(url, Location) else locate(url)
    try:
        if location.is_file:
            _prepare_file(location)
        else:
            _prepare_on_server(location)
        return HyperionStorage(location)
    except (sqlite3.Error, ServerError, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise explain(getattr(error, "orig", None) or error, location) from None


def _prepare_file(location: Location) -> None:
    """Create or migrate the file, once, however many processes ask at the same time."""
    path = location.path
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder, not a store: name a file in it.")
    require_local(path)
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
            with contextlib.closing(connect(str(path))) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            _build(location)


def _prepare_on_server(location: Location) -> None:
    """Create or migrate the tables, once."""
    if _is_prepared(location):
        return
    with schema_lock(location):
        if not _is_prepared(location):
            _build(location)


def _is_prepared(location: Location) -> bool:
    """Whether the store has both schemas, complete. Raises StoreUnavailable for a foreign one."""
    with contextlib.closing(Database(location)) as database:
        return database.read(functools.partial(_has_both_schemas, shown=location.shown))


def _has_both_schemas(connection: Connection, *, shown: str) -> bool:
    names = set(inspect(connection).get_table_names())
    if names and "hx_migration" not in names and not names >= {"studies", "trials"}:
        raise StoreUnavailable(
            f"{shown} is a database of something else ({', '.join(sorted(names)[:3])}): "
            "name another store with --store; nothing was changed."
        )
    if "hx_migration" not in names:
        return False
    if not migrations.is_current(connection) or "alembic_version" not in names:
        return False
    # Optuna's stamp comes last. Between table and row its maker is still at work, and a
    # second process that opened the store would stamp it, too.
    stamp = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if stamp not in (None, OPTUNA_SCHEMA):
        raise StoreUnavailable(
            f"{shown} has Optuna's tables in version {stamp}, this program knows {OPTUNA_SCHEMA}: "
            "use a Hyperion and an Optuna that fit it; nothing was changed."
        )
    return stamp is not None


def _build(location: Location) -> None:
    """Bring both schemas up to date. The caller holds the lock for this."""
    living = living_runners(location)
    if living:
        raise StoreUnavailable(
            f"{location.shown} needs a schema change, but experiments {living} are running: "
            "pause them first with `hyperion-tui pause`."
        )
    with contextlib.closing(Database(location)) as database:
        database.write(_make_tables, durable=True)
    # Optuna stamps the version of its own schema when it first opens a store.
    if location.is_file:
        url, creator = "sqlite://", functools.partial(connect, str(location.path))
    else:
        url, creator = "postgresql+psycopg://", functools.partial(open_connection, location)
    options = {"creator": creator, "poolclass": sqlalchemy.pool.NullPool}
    RDBStorage(url, engine_kwargs=options).remove_session()


def _make_tables(connection: Connection) -> None:
    models.BaseModel.metadata.create_all(connection)
    migrations.migrate(connection)
