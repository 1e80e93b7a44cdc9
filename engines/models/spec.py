"""What a model declares about itself, in strings and numbers: nothing is imported to read it."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from engines.data.scoring import CLASSIFICATION, FORECAST, REGRESSION, TRADING
from engines.search.space import Choice, Space

FAMILIES = ("sklearn", "ensemble", "pytorch", "advanced", "rl_agents", "automl")
"""The branches of the model tree, in its order."""

Task: TypeAlias = Literal["regression", "classification", "trading"]

TASKS: tuple[str, ...] = (REGRESSION, CLASSIFICATION, FORECAST, TRADING)
"""What may be asked for. A forecast is a regression of the values to come, see `Form.with_past`."""

TARGET_AS = "target_as"
"""Where models read the target's past: whether one is trained on the change from the last known
value or on the value itself. Trees can't leave the range of what they were trained on."""

Facts: TypeAlias = Mapping[str, Any]
"""What is known of an experiment's data before anything is trained: `engines.data.facts`."""

Need: TypeAlias = Callable[[Facts], str | None]
"""Why a form can't be used on some data, for the person who asks, or None if it can."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The law of what one fit of the defaults costs on one core, to order trials and to cut them.

    seconds: at 1,000 training rows and 10 columns, as measured on a 2.5 GHz server core; a worker
    corrects it by what its own trials took. rows, columns: the powers with which it grows.
    """

    seconds: float
    rows: float = 1.0
    columns: float = 1.0

    def of(self, rows: int, columns: int) -> float:
        """Seconds for one fit of `rows` x `columns`."""
        return self.seconds * (rows / 1000) ** self.rows * (max(columns, 1) / 10) ** self.columns


@dataclass(frozen=True)
class Form:
    """A model as it does one task.

    build: `"module:Class"` of an estimator, see `engines.models.learner` for what it must do.
    space: what is searched. defaults: a known-good set of parameters inside the space, which
    becomes trial 0. portfolio: more such sets, tried next, the cheap ones first. weights: what
    each of them costs, in units of the defaults; as much as those where it is not said.
    fixed: arguments that are never searched. seed_argument: the argument that takes the seed.
    columns: how the rows reach the estimator. `raw`: NaN is missing, categories are codes, and
    the argument `categories` tells which columns hold them ({column: number of codes}).
    `numbers`: imputed, categories as one column each. `scaled`: also standardised, and so is the
    target of a regression.
    cost: the law of one fit. most_rows: more training rows than this are never used; a sample
    stands for them. needs: what the data must satisfy, see `needs.py`.
    windows: whether it reads windows of rows in time order. resumes: whether its training can be
    interrupted and taken up again by another process. gpu: whether it trains on a GPU where there
    is one.
    averages: whether its rounds are averaged, so that a few of them are a good model already:
    under a time limit its first trial may be cut short.
    joint: whether it learns all steps of a forecast at once; else there is one for each. own:
    whether it knows what to do with a column of the target's past. shifts: whether the target may
    be moved, so that it is below zero, for instance.
    prior: what this model is expected to bring before it was tried, from 0 (a reference only) to
    1 (usually among the best), as published comparisons on tabular data have it.
    """

    build: str
    space: Space
    defaults: dict[str, Any]
    cost: Cost
    portfolio: tuple[dict[str, Any], ...] = ()
    weights: tuple[float, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)
    seed_argument: str | None = None
    columns: Literal["raw", "numbers", "scaled"] = "numbers"
    most_rows: int | None = None
    needs: tuple[Need, ...] = ()
    windows: bool = False
    resumes: bool = False
    gpu: bool = False
    averages: bool = False
    joint: bool = False
    own: bool = False
    shifts: bool = True
    prior: float = 0.3

    def __post_init__(self) -> None:
        for number, params in enumerate((self.defaults, *self.portfolio)):
            if not self.space.contains(params):
                raise ValueError(f"set {number} of {self.build} is not inside its space: {params}")

    @property
    def weighed(self) -> list[tuple[dict[str, Any], float]]:
        """The defaults and the portfolio, each with its cost in units of the defaults."""
        weights = [1.0, *self.weights, *[1.0] * len(self.portfolio)]
        return list(zip((self.defaults, *self.portfolio), weights, strict=False))

    def with_past(self) -> Form:
        """The same where models read the target's past: it may learn changes instead of values."""
        if self.own or not self.shifts:
            return self
        space = Space(
            {**self.space.parameters, TARGET_AS: Choice(("change", "level"))}, self.space.derived
        )
        sets = [{**params, TARGET_AS: "change"} for params in self.portfolio]
        return replace(
            self,
            space=space,
            defaults={**self.defaults, TARGET_AS: "change"},
            portfolio=({**self.defaults, TARGET_AS: "level"}, *sets),
            weights=(1.0, *self.weights),
        )

    def rows_used(self, facts: Facts) -> int:
        """Rows that one fit takes, of all training rows of a fold."""
        return min(facts["train_rows"], self.most_rows or facts["train_rows"])

    def expected_s(self, facts: Facts) -> float:
        """Seconds on one core that a whole trial of the defaults is expected to take.

        By the law of `cost`: all folds, and a fit for each step of a forecast where those are
        learnt one by one. facts: with "folds" beside what `engines.data.facts` says.
        """
        columns = facts["wide_columns"] - (facts["lag_columns"] if self.windows else 0)
        fits = 1 if self.joint else max(1, facts.get("horizon", 0))
        return self.cost.of(self.rows_used(facts), columns) * facts["folds"] * fits

    def refusal(self, facts: Facts) -> str | None:
        """Why this form can't be used on the data that `facts` tells of, or None."""
        reasons = (need(facts) for need in self.needs)
        return next((reason for reason in reasons if reason is not None), None)

    def load_class(self) -> Any:
        """Import the estimator's class: the moment a model's library is loaded."""
        module, _, name = self.build.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class ModelSpec:
    """An entry of the model tree.

    name: snake_case, as typed. family: one of `FAMILIES`. summary: one line for the tree.
    forms: how it does each task that it can do. package and install: what must be importable,
    and the line that installs it. trials: the default budget. sequential: whether its own search
    must know how each trial ended before it says what the next one is, so that its study is
    worked on by one worker at a time.
    """

    name: str
    family: str
    summary: str
    forms: Mapping[Task, Form]
    package: str = "sklearn"
    install: str = "pip install scikit-learn"
    trials: int = 20
    sequential: bool = False

    @property
    def reason_missing(self) -> str | None:
        """Why the model can't run here and how to change that, or None if it can."""
        if is_installed(self.package):
            return None
        return f"needs {self.package}: {self.install}"

    def form(self, task: str, *, past: bool = False) -> Form:
        """How it does a task. Raises KeyError if it does not.

        past: whether models read the target's past, as for forecasts they always do.
        """
        known = {str(task): form for task, form in self.forms.items()}
        form = known["regression" if task == FORECAST else task]
        reads_past = (past and task != "classification") or task == FORECAST
        # What a search of its own tries, nobody else adds to.
        return form.with_past() if reads_past and not self.sequential else form

    def does(self, task: str) -> bool:
        """Whether it has a form for a task."""
        return ("regression" if task == FORECAST else task) in self.forms

    def reason_unfit(self, task: str, facts: Facts) -> str | None:
        """Why the model can't be used for a task on some data, or None if it can."""
        if not self.does(task) and list(self.forms) == ["trading"]:
            return f"trades bars, in an experiment of its own: hyperion-tui run {self.family}"
        if not self.does(task):
            return f"does no {task}"
        return self.form(task).refusal(facts)


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
