"""Every model as a forecaster: it sees no future, and finds nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engines.data.datasets import Dataset
from engines.data.facts import data_facts
from engines.data.frames import from_arrays
from engines.data.past import look_back
from engines.data.scoring import FORECAST, METRICS
from engines.data.snapshot import Snapshot
from engines.data.splits import Fold, Split
from engines.models import catalogue
from engines.models.fit import FittedModel, Trainer

AHEAD = 3
TOGETHER = 3.29
"""Standard errors beyond which one of fifty fair coins falls in 5 % of cases (Bonferroni)."""

QUICK = ("ridge", "k_neighbors", "random_forest", "lightgbm", "simple_mlp", "lstm", "nlinear")
"""One of each kind; the others are slow tests."""

SMALL = {
    **{"max_epochs": 3, "context_length": 8, "hidden_size": 8, "d_model": 16, "n_heads": 4},
    **{"num_attention_heads": 2, "n_estimators": 20},
}
"""Sizes for parameters that are in a model's defaults or can be fixed, so that all take seconds."""


def models() -> list[Any]:
    """The models that can forecast, those that take long marked."""
    found = []
    for name, spec in catalogue.models().items():
        if spec.does(FORECAST) and spec.reason_missing is None:
            marks = () if name in QUICK else (pytest.mark.slow,)
            found.append(pytest.param(name, marks=marks))
    return found


def walk(rows: int, seed: int) -> tuple[pd.DataFrame, Any]:
    """A random walk well above zero, and a column that has nothing to do with it."""
    random = np.random.default_rng(seed)
    stamps = pd.date_range("2024-01-01", periods=rows, freq="D")
    y = 500 + np.cumsum(random.normal(size=rows))
    return pd.DataFrame({"when": stamps, "noise": random.normal(size=rows)}), y


def looked_back(X: pd.DataFrame, y: Any, horizon: int) -> Dataset:
    return look_back(from_arrays(X, y, task="regression", time_column="when"), horizon)


def snapshot(data: Dataset, train: int) -> Snapshot:
    """The first `train` rows train, the rest score."""
    rows = np.arange(data.rows)
    fold = Fold(rows[:train], rows[train + AHEAD :])
    split = Split(True, rows[:train], fold.valid, (fold,), AHEAD)
    categories = {i: len(f.categories) for i, f in enumerate(data.features) if f.categories}
    return Snapshot(data.X, data.y, categories, split, FORECAST, past=data.past)


def trained(name: str, data: Dataset, train: int) -> tuple[FittedModel, Snapshot]:
    found = snapshot(data, train)
    form = catalogue.find(name).form(FORECAST)
    facts = {**data_facts(data, found.split), "folds": 1}
    reason = form.refusal(facts)
    if reason is not None:
        pytest.skip(reason)
    known = form.load_class()().get_params() if name != "flaml" else {}
    params = form.space.bind(facts).clip({**form.defaults})
    params |= {k: v for k, v in SMALL.items() if k in params}
    fixed = {k: v for k, v in SMALL.items() if k in known and k not in params}
    form = replace(form, fixed={**form.fixed, **fixed})
    trainer = Trainer(found, METRICS["mse"])
    model = trainer.fit_fold(form, params, 1, 0).model
    return model, found


@pytest.mark.parametrize("name", models())
def test_what_comes_after_a_row_changes_nothing_of_its_forecast(name: str) -> None:
    X, y = walk(260, 1)
    data = looked_back(X, y, AHEAD)
    model, found = trained(name, data, 180)
    rows, at = found.split.folds[0].valid, 30
    assert data.past is not None
    last_known = int(data.past.at[rows[at]])
    later = X.copy()
    later.loc[last_known + 1 :, "noise"] = later.loc[last_known + 1 :, "noise"].to_numpy()[::-1]
    changed = y.copy()
    changed[last_known + 1 :] = changed[last_known + 1 :][::-1] + 50
    other = snapshot(looked_back(later, changed, AHEAD), 180)
    before = model.predict(found.X[rows], found.before(rows))
    after = model.predict(other.X[rows], other.before(rows))
    assert (before[: at + 1] == after[: at + 1]).all()
    # A test that could not fail would prove nothing: later rows do see what was changed.
    assert name == "dummy" or (before[at + 1 :] != after[at + 1 :]).any()


@pytest.mark.parametrize("name", models())
def test_nothing_is_found_in_a_random_walk(name: str) -> None:
    X, y = walk(1_100, 2)
    model, found = trained(name, looked_back(X, y, 1), 600)
    assert found.past is not None
    rows = found.split.folds[0].valid
    predicted = model.predict(found.X[rows], found.before(rows))[:, 0]
    came, last = found.y[rows, 0], found.past.last()[rows]
    r2 = 1 - ((came - predicted) ** 2).sum() / ((came - last) ** 2).sum()
    assert r2 <= 0.02
    accuracy = METRICS["directional_accuracy"].score(found.truth[rows], predicted[:, None])
    assert abs(accuracy - 0.5) <= TOGETHER * 0.5 / np.sqrt(len(rows))


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "nlinear"])
def test_what_is_there_is_found(name: str) -> None:
    """The same walk, but each step repeats most of the one before it."""
    X, _ = walk(1_100, 2)
    steps = np.random.default_rng(3).normal(size=1_100)
    for row in range(1, len(steps)):
        steps[row] += 0.7 * steps[row - 1]
    model, found = trained(name, looked_back(X, 500 + np.cumsum(steps), 1), 600)
    rows = found.split.folds[0].valid
    predicted = model.predict(found.X[rows], found.before(rows))
    accuracy = METRICS["directional_accuracy"].score(found.truth[rows], predicted)
    assert accuracy > 0.5 + TOGETHER * 0.5 / np.sqrt(len(rows))
