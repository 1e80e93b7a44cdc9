"""The storage suite that Optuna ships, run against ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import _CachedStorage
from optuna.testing.pytest_storages import StorageTestCase

from engines.study.storage import HyperionStorage
from engines.study.store import open_storage


class TestHyperionStorage(StorageTestCase):
    """Every promise that Optuna makes about a storage."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[HyperionStorage]:
        storage = open_storage(str(tmp_path / "s.db"))
        yield storage
        storage.engine.dispose()


class TestCachedHyperionStorage(StorageTestCase):
    """The same through the cache that Optuna puts around every relational storage."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[_CachedStorage]:
        storage = open_storage(str(tmp_path / "s.db"))
        yield _CachedStorage(storage)
        storage.engine.dispose()
