"""What a model declares about itself, in strings and numbers: nothing is imported to read it."""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass, field
from typing import Any

from engines.search.space import Space

FAMILIES = ("sklearn", "ensemble", "pytorch", "advanced", "rl_agents", "automl")
"""The branches of the model tree, in its order."""


@dataclass(frozen=True)
class ModelSpec:
    """An entry of the model tree.

    name: snake_case, as typed. family: one of `FAMILIES`. build: `"module:Class"` of an
    estimator with fit and predict. summary: one line for the tree. space: what is searched.
    defaults: a known-good set of parameters, inside the space, which becomes trial 0.
    fixed: arguments that are never searched. seed_argument: the argument that takes the seed,
    or None. scale: whether numbers are standardised first. package and install: what must be
    importable, and the line that installs it. trials: the default budget.
    """

    name: str
    family: str
    build: str
    summary: str
    space: Space
    defaults: dict[str, Any]
    fixed: dict[str, Any] = field(default_factory=dict)
    seed_argument: str | None = None
    scale: bool = False
    package: str = "sklearn"
    install: str = "pip install scikit-learn"
    trials: int = 20

    def __post_init__(self) -> None:
        if not self.space.contains(self.defaults):
            raise ValueError(f"`defaults` of {self.name} are not inside its space: {self.defaults}")

    @property
    def reason_missing(self) -> str | None:
        """Why the model can't run here and how to change that, or None if it can."""
        if is_installed(self.package):
            return None
        return f"needs {self.package}: {self.install}"

    def load_class(self) -> Any:
        """Import the estimator's class: the moment a model's library is loaded."""
        module, _, name = self.build.partition(":")
        return getattr(importlib.import_module(module), name)


def is_installed(package: str) -> bool:
    """Whether a top-level package can be found, without importing it.

    HYPERION_HIDE_PACKAGES, a comma-separated list, makes packages look absent: for trying out
    what a lean installation shows.
    """
    if package in os.environ.get("HYPERION_HIDE_PACKAGES", "").split(","):
        return False
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
