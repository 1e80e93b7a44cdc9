"""Stores for unit tests: copies of one prepared file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.study.location import Location
from engines.study.storage import HyperionStorage
from tests.unit.building import new_store, opened


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """An empty store."""
    return new_store(tmp_path / "studies.db")


@pytest.fixture
def storage(location: Location) -> Iterator[HyperionStorage]:
    """Its storage."""
    with opened(location) as storage:
        yield storage
