"""Every declared space against what its estimator takes: random samples, four shapes of data.

The tests take some samples of each; `bench/spaces.py` fits all of them.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.utils._param_validation import validate_parameter_constraints

from engines.data.datasets import Dataset, Feature
from engines.data.facts import data_facts
from engines.data.scoring import METRICS
from engines.data.snapshot import Snapshot
from engines.data.splits import split_dataset
from engines.models import catalogue
from engines.models.fit import Trainer
from engines.models.spec import TASKS, Form

SEED = 3
ROWS = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """Data to try a space on. negative: whether a target goes below zero. rare: whether one of
    three classes has 5 rows only."""

    name: str
    columns: int
    negative: bool = False
    rare: bool = False


SHAPES = (
    Shape("one-column", 1),
    Shape("five-columns", 5),
    Shape("wide", 200),
    Shape("negative-or-rare", 5, negative=True, rare=True),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A model at a task."""

    model: str
    task: str

    @property
    def form(self) -> Form:
        """What it declares for the task."""
        return catalogue.models()[self.model].forms[self.task]  # type: ignore[index]

    @property
    def reason_missing(self) -> str | None:
        """Why it can't be tried here, or None."""
        return catalogue.models()[self.model].reason_missing

    def __str__(self) -> str:
        return f"{self.model}-{self.task}"


def cases() -> list[Case]:
    """Every form of the catalogue that learns from a table."""
    return [
        Case(name, task)
        for name, spec in catalogue.models().items()
        for task in TASKS
        if task in spec.forms and task != "trading"
    ]


@cache
def table(shape: Shape, task: str, ordered: bool) -> Dataset:
    """100 rows with what is awkward: gaps, codes, a constant column, and two that are equal."""
    random = np.random.default_rng(11)
    X = random.normal(size=(ROWS, shape.columns))
    signal = X[:, 0] + random.normal(scale=0.3, size=ROWS)
    features = [Feature(f"x{number}", "number") for number in range(shape.columns)]
    if shape.columns > 4:
        X[:, 2] = X[:, 1]
        X[:, 3] = 7.0
        X[:, 4] = random.integers(0, 4, size=ROWS)
        signal += (X[:, 4] == 2) * 2.0
        features[4] = Feature("x4", "category", tuple("abcd"))
    gaps = random.random(X.shape) < 0.05
    gaps[0] = False
    X[gaps] = np.nan
    y = signal * 100.0 if shape.negative else np.exp(signal / 2)
    if task == "classification":
        order = np.argsort(np.argsort(signal))
        y = (order >= ROWS // 2).astype(np.float64)
        if shape.rare:
            y[order >= ROWS - 5] = 2.0
    # As the workers' snapshot is: an estimator that writes into its rows fails here.
    X.flags.writeable = False
    return Dataset(
        name=shape.name,
        path=None,
        sha256="0" * 64,
        rows=ROWS,
        features=tuple(features),
        target="y",
        time_column=None,
        ordered=ordered,
        X=X,
        y=y,
        times=None,
        notices=(),
        task=task,
        classes=tuple("pqr"[: int(y.max()) + 1]) if task == "classification" else (),
    )


@cache
def data(shape: Shape, task: str, ordered: bool) -> Snapshot:
    """The table as workers have it."""
    known = table(shape, task, ordered)
    codes = {i: len(f.categories) for i, f in enumerate(known.features) if f.kind == "category"}
    split = split_dataset(known, SEED)
    return Snapshot(known.X, known.y, codes, split, task=task, classes=known.classes)


@cache
def facts(shape: Shape, case: Case) -> dict[str, Any]:
    """What the space of a case is bound to; its rows are in order if the model reads windows."""
    how = shape, case.task, case.form.windows
    return data_facts(table(*how), data(*how).split)


class Drawing:
    """A `Suggester` that draws evenly; Optuna's own takes a hundred times as long."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number in [low, high]; one in forty is an end of it."""
        assert step is None, name
        edge = self._random.integers(80)
        if edge < 2:
            return (low, high)[edge]
        if log:
            drawn = float(np.exp(self._random.uniform(np.log(low), np.log(high))))
            return min(max(drawn, low), high)
        return float(self._random.uniform(low, high))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number of steps from `low`, at most `high`."""
        if log:
            drawn = np.exp(self._random.uniform(np.log(low - 0.5), np.log(high + 0.5)))
            return int(min(max(round(float(drawn)), low), high))
        return low + step * int(self._random.integers(0, (high - low) // step + 1))

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """One of the choices."""
        return choices[self._random.integers(len(choices))]


def samples(case: Case, shape: Shape, count: int) -> Iterator[dict[str, Any]]:
    """Random parameter sets of the space bound to a shape, the same ones each time."""
    space = case.form.space.bind(facts(shape, case))
    drawing = Drawing(SEED)
    return (space.suggest(drawing) for _ in range(count))


# -- what the estimator says -----------------------------------------------------------------

WRAPPED = {"IsotonicColumn": "sklearn.isotonic:IsotonicRegression"}
"""Estimators of ours that hold one of scikit-learn's and pass arguments of the same name on."""


def constraints(estimator: Any) -> dict[str, Any]:
    """What scikit-learn says of each argument; {} for estimators that it knows nothing of."""
    known = getattr(type(estimator), "_parameter_constraints", None)
    if known is None and type(estimator).__name__ in WRAPPED:
        module, _, name = WRAPPED[type(estimator).__name__].partition(":")
        known = getattr(importlib.import_module(module), name)._parameter_constraints
    return {name: rule for name, rule in (known or {}).items() if rule != "no_validation"}


def build(case: Case, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """An estimator, and the arguments that it was built with."""
    form = case.form
    arguments = {**form.fixed, **form.space.arguments(params)}
    if form.seed_argument is not None:
        arguments[form.seed_argument] = SEED
    if form.columns == "raw":
        arguments["categories"] = {}
    return form.load_class()(**arguments), arguments


def check_arguments(case: Case, params: dict[str, Any]) -> None:
    """Build, and hold every argument against the estimator's own rule for it.

    Raises AssertionError if an argument is not kept as it was given, and scikit-learn's
    InvalidParameterError if it is out of the estimator's range.
    """
    estimator, arguments = build(case, params)
    kept = estimator.get_params(deep=False)
    changed = {name for name, value in arguments.items() if kept.get(name, ...) != value}
    assert not changed, f"{case}: {sorted(changed)} are not kept as given"
    rules = constraints(estimator)
    validate_parameter_constraints(
        {name: rules[name] for name in arguments if name in rules},
        {name: value for name, value in arguments.items() if name in rules},
        caller_name=type(estimator).__name__,
    )


# -- fits ------------------------------------------------------------------------------------


@cache
def trainer(shape: Shape, task: str, ordered: bool) -> Trainer:
    """Shared by all fits of a shape, so that its rows are prepared once."""
    metric = METRICS["rmse" if task == "regression" else "accuracy"]
    return Trainer(data(shape, task, ordered), metric)


def check_fit(case: Case, shape: Shape, params: dict[str, Any]) -> None:
    """Train on the first fold and predict the rows held out, with every warning an error.

    Only that a model has not converged may be said: it is judged by its score. Raises what goes
    wrong, AssertionError for predictions of the wrong shape or that are not finite.
    """
    how = shape, case.task, case.form.windows
    known = data(*how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Whether it trains is asked, not how well: what grows by rounds stops after some.
        deadline = time.monotonic() + 0.3
        outcome = trainer(*how).fit_fold(case.form, params, SEED, 0, deadline=deadline)
        rows = known.split.held_out
        predicted = outcome.model.predict(known.X[rows])
    wide = (len(rows), len(known.classes)) if known.classes else (len(rows),)
    assert predicted.shape == wide
    assert np.isfinite(predicted).all()
    assert np.isfinite(outcome.score)
    if known.classes:
        assert np.allclose(predicted.sum(axis=1), 1.0)


# -- estimators that the tests of these checks train --------------------------------------------


class Warns(Ridge):
    """Says what a library says a version before it breaks."""

    def fit(self, X: Any, y: Any) -> Any:
        warnings.warn("soon gone", FutureWarning, stacklevel=2)
        return super().fit(X, y)


class Endless(Ridge):
    """Predicts infinity."""

    def predict(self, X: Any) -> Any:
        return np.full(len(X), np.inf)
