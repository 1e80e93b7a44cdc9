"""For tests of screens: a store to fill, and no process is ever started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.run import orders as engine_orders
from hyperion_tui import children, orders
from tests.tui.stores import Store


@pytest.fixture
def store(own_home: Path) -> Iterator[Store]:
    """An empty store at the usual place."""
    own_home.mkdir(parents=True, exist_ok=True)
    made = Store(own_home / "studies.db")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def runners(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The experiments for which a runner was asked; none is started."""
    asked: list[int] = []

    def pretend(location: object, experiment_id: int) -> int:
        asked.append(experiment_id)
        return 1

    monkeypatch.setattr(orders, "start_runner", pretend)
    monkeypatch.setattr(engine_orders, "start_runner", pretend)
    return asked


class Children:
    """Pretended child processes: what was asked, and what they answer."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.environments: list[object] = []
        self.answers: dict[str, children.Done] = {}

    def run(self, words: list[str], environment: object = None) -> children.Done:
        self.asked.append(list(words))
        self.environments.append(environment)
        return self.answers.get(words[2], children.Done(0, "", ""))

    @property
    def commands(self) -> list[list[str]]:
        """The words behind `hyperion-tui` of each child."""
        return [words[2:] for words in self.asked if words[:2] == ["-m", "hyperion_tui"]]


@pytest.fixture(autouse=True)
def spawned(monkeypatch: pytest.MonkeyPatch) -> Children:
    """Stands in for child processes."""
    pretended = Children()
    monkeypatch.setattr(children, "run_child", pretended.run)
    return pretended
