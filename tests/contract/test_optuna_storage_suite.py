"""The storage suite that Optuna ships, run against ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import _CachedStorage
from optuna.testing.pytest_storages import StorageTestCase

from engines.study.storage import HyperionStorage
from tests.unit.building import new_store, opened


class TestHyperionStorage(StorageTestCase):
    """Every promise that Optuna makes about a storage."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[HyperionStorage]:
        with opened(new_store(tmp_path / "s.db")) as storage:
            yield storage


class TestCachedHyperionStorage(StorageTestCase):
    """The same through the cache that Optuna puts around every relational storage."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[_CachedStorage]:
        with opened(new_store(tmp_path / "s.db")) as storage:
            yield _CachedStorage(storage)
