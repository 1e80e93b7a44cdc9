"""Facts of the data that spaces are bound to, metrics that can't score it, and baselines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.data.datasets import Dataset, load
from engines.data.facts import check_metric, data_facts
from engines.data.scoring import METRICS
from engines.data.snapshot import Snapshot, read_snapshot, write_snapshot
from engines.data.splits import make_split, split_dataset
from engines.errors import BadInput
from engines.models.baselines import baseline_predictions, score_baselines


def dataset(folder: Path, target: str) -> Dataset:
    at = np.arange(80)
    frame = pd.DataFrame(
        {
            "size": at - 3.0,
            "hole": np.where(at % 9 == 0, np.nan, at),
            "town": np.array([f"t{i}" for i in range(10)])[at % 10],
            "kind": np.where(at % 8 == 0, "rare", "common"),
            "price": np.sqrt(at + 1.0) - 2.1,
        }
    )
    frame.to_csv(folder / "data.csv", index=False)
    return load(str(folder / "data.csv"), target=target)


def test_the_facts_of_numbers_are_those_of_the_rows_searched_in(tmp_path: Path) -> None:
    data = dataset(tmp_path, "price")
    split = split_dataset(data, seed=1)
    facts = data_facts(data, split)

    assert json.loads(json.dumps(facts)) == facts
    assert facts == {
        "rows": 80,
        "search_rows": 64,
        "train_rows": 51,
        "columns": 4,
        "category_columns": 2,
        "wide_columns": 2 + 11 + 3,
        "most_codes": 10,
        "missing": True,
        "feature_min": data.X[split.search, 0].min(),
        "context_rows": 51 // 4,
        "ordered": False,
        "grouped": False,
        "task": "regression",
        "target_min": data.y[split.search].min(),
        "target_max": data.y[split.search].max(),
        "classes": 0,
        "rarest_class": 0,
        "commonest_class": 0,
        "horizon": 0,
        "lag_columns": 0,
    }


def test_a_value_that_is_held_out_is_no_fact(tmp_path: Path) -> None:
    data = dataset(tmp_path, "price")
    split = split_dataset(data, seed=1)
    X, y = data.X.copy(), data.y.copy()
    X[split.held_out[0], 0] = y[split.held_out[0]] = -1e6
    y[split.held_out[1]] = 1e6

    assert data_facts(replace(data, X=X, y=y), split) == data_facts(data, split)


def test_the_facts_of_classes_count_the_rarest_where_it_is_rarest(tmp_path: Path) -> None:
    data = dataset(tmp_path, "kind")
    split = split_dataset(data, seed=1)
    facts = data_facts(data, split)

    trained = [(data.y[fold.train] == 1).sum() for fold in split.folds]
    assert data.classes[1] == "rare"
    assert facts["classes"] == 2
    assert facts["rarest_class"] == min(trained)
    assert facts["rarest_class"] + facts["commonest_class"] >= facts["train_rows"]


def test_a_class_that_a_fold_can_not_learn_counts_no_rows(tmp_path: Path) -> None:
    data = dataset(tmp_path, "kind")
    y = np.zeros(80)
    y[79] = 1.0  # in the held-out part of ordered rows
    data = replace(data, y=y)

    assert data_facts(data, make_split(80, ordered=True, seed=0))["rarest_class"] == 0


def test_a_metric_without_a_value_is_refused_before_the_first_trial(tmp_path: Path) -> None:
    data = dataset(tmp_path, "price")
    split = make_split(80, ordered=True, seed=0)
    check_metric(METRICS["r2"], data, split)
    y = data.y.copy()
    y[split.folds[1].valid] = 3.0
    flat = replace(data, y=y)

    with pytest.raises(BadInput, match=r"r2 is not defined on the fold 2, .*'3': use --metric rm"):
        check_metric(METRICS["r2"], flat, split)
    check_metric(METRICS["rmse"], flat, split)
    y[5] = 0.0
    with pytest.raises(BadInput, match="mape is not defined, 1 of 80 rows have the target 0: use"):
        check_metric(METRICS["mape"], replace(data, y=y), split)


def test_a_single_class_to_score_is_no_area_under_a_curve(tmp_path: Path) -> None:
    data = dataset(tmp_path, "kind")
    split = make_split(80, ordered=True, seed=0)
    check_metric(METRICS["roc_auc"], data, split)
    y = data.y.copy()
    y[split.held_out] = 1.0

    with pytest.raises(BadInput, match="on the held-out part, .*'rare': use --metric accuracy or"):
        check_metric(METRICS["roc_auc"], replace(data, y=y), split)


def kept(folder: Path, target: str) -> Snapshot:
    data = dataset(folder, target)
    write_snapshot(folder / "kept", data, split_dataset(data, seed=1))
    return read_snapshot(folder / "kept")


@pytest.mark.parametrize(
    "metric",
    [
        m.name
        for m in METRICS.values()
        if m.name != "mape" and {"regression", "classification"} & set(m.tasks)
    ],
)
def test_every_rule_is_scored_by_every_metric_of_its_task(tmp_path: Path, metric: str) -> None:
    regression = "regression" in METRICS[metric].tasks
    data = kept(tmp_path, "price" if regression else "kind")

    rows = list(score_baselines(data, METRICS[metric]))

    assert [name for name, _, _ in rows] == (["mean", "median"] if regression else ["majority"])
    for _, selection, held_out in rows:
        assert selection is not None
        assert held_out is not None


def test_the_majority_rule_says_the_shares_of_its_training_rows(tmp_path: Path) -> None:
    data = kept(tmp_path, "kind")
    train, scored = data.split.search, data.split.held_out

    predicted = baseline_predictions("majority", data, train, scored)

    rare = float((data.y[train] == 1).mean())
    assert predicted.shape == (len(scored), 2)
    np.testing.assert_allclose(predicted, np.tile([1 - rare, rare], (len(scored), 1)))
    (_, _, held_out) = next(iter(score_baselines(data, METRICS["accuracy"])))
    assert held_out == pytest.approx(float((data.y[scored] == 0).mean()))
    (_, _, area) = next(iter(score_baselines(data, METRICS["roc_auc"])))
    assert area == pytest.approx(0.5)


def test_the_rules_of_numbers_predict_one_number(tmp_path: Path) -> None:
    data = kept(tmp_path, "price")
    train, scored = data.split.search, data.split.held_out

    mean = baseline_predictions("mean", data, train, scored)
    median = baseline_predictions("median", data, train, scored)

    np.testing.assert_allclose(mean, np.full(len(scored), data.y[train].mean()))
    np.testing.assert_allclose(median, np.full(len(scored), np.median(data.y[train])))


def test_a_rule_that_a_metric_can_not_score_has_no_score(tmp_path: Path) -> None:
    data = kept(tmp_path, "price")
    zero = replace(data, y=np.where(np.arange(80) == 0, 0.0, data.y))

    assert next(iter(score_baselines(zero, METRICS["mape"])))[1:].count(None) >= 1
