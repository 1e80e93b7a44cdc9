"""Stores of older versions become today's, with what is in them."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from engines.errors import StoreOutdated
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.store import open_storage
from tests.unit.building import new_store

OLD = Path(__file__).with_name("schema_1.sql")


@pytest.fixture
def old(tmp_path: Path) -> Location:
    """An empty store of version 0.1.0."""
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD.read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    return Location(path)


def schema(location: Location) -> dict[str, object]:
    """Columns and indexes of our tables; the order of columns may differ."""
    found: dict[str, object] = {}
    with contextlib.closing(sqlite3.connect(location.path)) as connection:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'hx_%'"
        for (table,) in connection.execute(names).fetchall():
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            found[table] = {(name, null, key) for _, name, _, null, _, key in columns}
        for name, sql in connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'hx_%'"
        ):
            found[name] = " ".join(sql.split())
    return found


def test_a_store_of_the_first_version_gets_today_s_schema(old: Location, tmp_path: Path) -> None:
    with contextlib.closing(open_storage(old)) as storage:
        assert storage.get_all_studies() == []

    assert schema(old) == schema(new_store(tmp_path / "new.db"))


def test_looking_at_a_store_of_the_first_version_brings_it_up_to_date(old: Location) -> None:
    with pytest.raises(StoreOutdated, match="older Hyperion"):
        Reader(old)

    words = ["-m", "hyperion_tui", "list", "--json", "--store", str(old.path)]
    done = subprocess.run(
        [sys.executable, "-P", *words], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
    Reader(old).close()
