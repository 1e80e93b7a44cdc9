"""A world for each torture, ended with all of its processes whatever becomes of the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.torture.harness import World, end_leftovers
from tests.torture.scenarios import Missing


@pytest.fixture(scope="session", autouse=True)
def no_leftovers() -> None:
    end_leftovers()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    yield world
    world.end()


@pytest.fixture
def possible() -> Callable[..., Any]:
    """Call a scenario; skip the test if this machine lacks what it needs.

    must: in the continuous checks, where HYPERION_TORTURE_WHOLE is set, that is a failure.
    """

    def call(scenario: Callable[..., Any], *arguments: Any, must: bool) -> Any:
        try:
            return scenario(*arguments)
        except Missing as missing:
            if must and os.environ.get("HYPERION_TORTURE_WHOLE"):
                raise
            pytest.skip(f"needs {missing}")

    return call
