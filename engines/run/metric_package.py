"""A metric that an installed package declares, see `engines.data.scorers`.

The store remembers the package and its version; another version may compute another number, so it
scores no study that was begun with this one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.data.scorers import Scorer, scorers
from engines.errors import BadInput, HyperionError
from engines.run import objective
from engines.run.metric_file import MetricFile, metric_file

if TYPE_CHECKING:
    from engines.data.scoring import Metric


@dataclass(frozen=True)
class MetricPackage:
    """A declared metric. package: `name 1.0`."""

    scorer: Scorer
    package: str

    @property
    def name(self) -> str:
        """With the version, so that no table ranks one by another."""
        return f"{self.scorer.name}@{self.package.rpartition(' ')[2]}"

    def described(self) -> dict[str, Any]:
        """What the store remembers of it."""
        maximize = self.scorer.maximize
        return {"name": self.name, "maximize": maximize, "package": self.package}

    def metric(self, task: str, classes: Sequence[str]) -> Metric:
        """It as a metric of a task. Raises BadInput for one that it can't score."""
        from engines.data.custom import own_metric

        if task not in self.scorer.tasks:
            can = " and ".join(self.scorer.tasks)
            raise BadInput(f"--metric {self.scorer.name} can't score {task}, only {can}.")
        function = _Loaded(self.scorer)
        maximize = self.scorer.maximize
        return own_metric(self.name, function, maximize=maximize, task=task, classes=classes)

    def write(self, folder: Path) -> None:
        """Nothing to keep: it is installed."""


def metric_package(name: str) -> MetricPackage | None:
    """The metric of this name, or None where no package declares one."""
    found = scorers().get(name.lower())
    return None if found is None else MetricPackage(*found)


def named_metric(word: str) -> MetricFile | MetricPackage | None:
    """What --metric names where it is no name of ours: code in a file, or a package's metric.

    Raises BadInput for a file that can't be used.
    """
    return metric_file(word) if objective.is_objective(word) else metric_package(word)


def load_installed(described: Mapping[str, Any], task: str, classes: Any) -> Metric:
    """The metric of an experiment. Raises HyperionError if its package is not what it was."""
    found = metric_package(str(described["name"]).partition("@")[0])
    if found is None or found.package != described["package"]:
        there = "is not installed" if found is None else f"is now {found.package}"
        raise HyperionError(
            f"The metric {described['name']} was that of {described['package']}, which {there}: "
            "install it again, or start the experiment again under another name."
        )
    return found.metric(task, classes)


@dataclass
class _Loaded:
    """The function, imported when it is first called: what is wrong with it fails trials."""

    scorer: Scorer

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return self._call(y_true, y_pred)

    @cached_property
    def _call(self) -> Callable[[Any, Any], Any]:
        module, _, name = self.scorer.function.partition(":")
        call: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
        return call
