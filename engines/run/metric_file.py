"""A metric of a person's own in a file: `file.py:function` or `module:function`, as `--metric`.

Like an objective it is read before an experiment begins and run in workers only. A copy of the file
goes into the folder of the experiment's data, so a study can be resumed and exported after the file
has changed; the copy is run only if it is the one whose hash the store has. What the function
returns is maximised.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import HyperionError, one_line
from engines.files import require_own
from engines.run import objective

if TYPE_CHECKING:
    from engines.data.scoring import Metric

FILE = "metric.py"
MAXIMIZE = True


@dataclass(frozen=True)
class MetricFile:
    """A function of (y_true, y_pred) that was read and not run. name: with a mark of its file."""

    function: str
    source: str
    content: bytes

    @property
    def name(self) -> str:
        """Files of other content have other names, so that no table ranks one by the other."""
        return f"{self.function}@{self._sha256[:8]}"

    @property
    def _sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def described(self) -> dict[str, Any]:
        """What the store remembers of it."""
        return {
            "name": self.name,
            "maximize": MAXIMIZE,
            "sha256": self._sha256,
            "function": self.function,
            "source": self.source,
        }

    def metric(self, task: str, classes: Sequence[str]) -> Metric:
        """It as a metric of a task, for whoever plans and computes no score."""
        return _metric(Path(self.source), self.described(), task, classes)

    def write(self, folder: Path) -> None:
        """Put the copy into a folder that exists, for the owner alone."""
        descriptor = os.open(folder / FILE, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(self.content)


def describe(reference: str) -> dict[str, Any]:
    """What is known of a metric without running it; raises BadInput like `objective.describe`."""
    return objective.describe(reference, objective.Y_TRUE_Y_PRED)


def metric_file(reference: str) -> MetricFile:
    """`file.py:function` or `module:function`, read and not run. Raises BadInput."""
    found = describe(reference)
    return MetricFile(found["function"], found["file"], Path(found["file"]).read_bytes())


def load_copy(folder: Path, described: Mapping[str, Any], task: str, classes: Any) -> Metric:
    """The metric of an experiment. Its code is run at the first score, in the process that scores.

    Raises HyperionError if the copy is gone or can't be trusted.
    """
    path = folder / FILE
    try:
        require_own(folder, path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != described["sha256"]:
            raise ValueError("it is not what was written")
    except (OSError, ValueError) as error:
        raise HyperionError(
            f"The metric {described['function']} can't be read from {path} ({one_line(error)}): "
            "start the experiment again under another name."
        ) from error
    return _metric(path, described, task, classes)


def _metric(path: Path, described: Mapping[str, Any], task: str, classes: Any) -> Metric:
    from engines.data.custom import own_metric

    function = _Loaded(path, described["function"], Path(described["source"]).parent)
    return own_metric(
        described["name"], function, maximize=described["maximize"], task=task, classes=classes
    )


@dataclass
class _Loaded:
    """The function, imported when it is first called: what is wrong with it fails trials."""

    path: Path
    function: str
    folder: Path

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return self._call(y_true, y_pred)

    @cached_property
    def _call(self) -> Callable[[Any, Any], Any]:
        # What it imports lies beside the file that was copied; what is ours comes first.
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))
        spec = importlib.util.spec_from_file_location("hyperion_metric", self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        call: Callable[[Any, Any], Any] = getattr(module, self.function)
        return call
