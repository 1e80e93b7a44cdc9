"""The storage suite that Optuna ships, run against ours on both databases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.testing.pytest_storages import StorageTestCase

from engines.study.storage import HyperionStorage
from engines.study.store import OPTUNA_SCHEMA, open_storage
from tests.unit.building import new_store, opened


class TestOnSQLite(StorageTestCase):
    """Every promise that Optuna makes about a storage, on a file."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[HyperionStorage]:
        with opened(new_store(tmp_path / "s.db")) as storage:
            yield storage


class TestOnPostgreSQL(StorageTestCase):
    """The same on a real server."""

    @pytest.fixture
    def storage(self, postgres_store_url: str) -> Iterator[HyperionStorage]:
        with contextlib.closing(open_storage(postgres_store_url)) as storage:
            yield storage


def test_the_schema_that_is_expected_is_the_one_that_optuna_makes(tmp_path: Path) -> None:
    stock = RDBStorage(f"sqlite:///{tmp_path / 'stock.db'}")

    assert stock.get_current_version() == stock.get_head_version() == OPTUNA_SCHEMA
    stock.engine.dispose()
