"""What is known of an experiment's data before anything is trained, as plain numbers.

Declared spaces are bound to these facts, and models that can't apply are greyed by them. Values
are those of the search part: the held-out rows decide nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.datasets import Dataset
from engines.data.futures import truth
from engines.data.scoring import Metric
from engines.data.snapshot import MOST_CONTEXT, MOST_SPREAD
from engines.data.splits import Split
from engines.errors import BadInput


def data_facts(dataset: Dataset, split: Split) -> dict[str, Any]:
    """Facts by name, ready for JSON.

    rows, search_rows, train_rows: all, those searched in, those of the smallest training fold.
    columns, category_columns: features, and those of them that hold codes. wide_columns: with
    the categories spread out. most_codes: of the category column with most, 0 without one.
    missing: whether a value is. feature_min: the least number in a number column, 0.0 without.
    context_rows: the longest window of rows that a model may read. ordered, grouped: whether
    rows are. task. target_min, target_max: of the target, the codes
    for classes. classes: how many, 0 for regression. rarest_class, commonest_class: rows of the
    rarest class in the training fold that has fewest of it (0 if one has none of it), and of
    the commonest where it has most; 0 for regression. horizon: steps of a forecast, 0 without.
    lag_columns: those of `wide_columns` that a model which reads windows does not get.
    """
    codes = [len(f.categories) for f in dataset.features if f.kind == "category"]
    numbers = [i for i, f in enumerate(dataset.features) if f.kind == "number"]
    y = dataset.y[split.search]
    rarest, commonest = _class_sizes(dataset, split)
    return {
        "rows": dataset.rows,
        "search_rows": len(split.search),
        "train_rows": min(len(fold.train) for fold in split.folds),
        "columns": len(dataset.features),
        "category_columns": len(codes),
        "wide_columns": len(numbers) + sum(min(n + 1, MOST_SPREAD) for n in codes),
        "most_codes": max(codes, default=0),
        "missing": any(bool(np.isnan(column).any()) for column in dataset.X.T),
        "feature_min": _least(dataset.X, numbers, split.search),
        "context_rows": _longest_context(split),
        "ordered": split.ordered,
        "grouped": split.grouped,
        "task": dataset.task,
        "target_min": float(y.min()),
        "target_max": float(y.max()),
        "classes": len(dataset.classes),
        "rarest_class": rarest,
        "commonest_class": commonest,
        "horizon": dataset.y.shape[1] if dataset.y.ndim == 2 else 0,
        "lag_columns": _lag_columns(dataset),
    }


def _lag_columns(dataset: Dataset) -> int:
    if dataset.past is None:
        return 0
    lags = dataset.features[dataset.past.base :]
    return sum(min(len(f.categories) + 1, MOST_SPREAD) if f.categories else 1 for f in lags)


def _forecast_truth(dataset: Dataset, split: Split) -> npt.NDArray[np.float64]:
    """(scored rows, horizon + 3): see `engines.data.futures`."""
    assert dataset.past is not None
    scored = [*(fold.valid for fold in split.folds), split.held_out]
    return truth(dataset.past, split)[np.concatenate(scored)]


def _longest_context(split: Split) -> int:
    """A quarter of the smallest training fold: the rest are windows to learn from."""
    rows = min(len(fold.train) for fold in split.folds)
    return max(1, min(MOST_CONTEXT, rows // 4))


def _least(x: npt.NDArray[np.float64], columns: list[int], rows: npt.NDArray[np.int64]) -> float:
    """The least number in some columns, column by column so that large data is not copied."""
    lowest = 0.0 if not columns else np.inf
    for at in columns:
        values = x[rows, at]
        values = values[~np.isnan(values)]
        if len(values):
            lowest = min(lowest, float(values.min()))
    return lowest if np.isfinite(lowest) else 0.0


def _class_sizes(dataset: Dataset, split: Split) -> tuple[int, int]:
    if not dataset.classes:
        return 0, 0
    codes = dataset.y.astype(np.int64)
    sizes = [np.bincount(codes[fold.train], minlength=len(dataset.classes)) for fold in split.folds]
    return int(np.min(sizes)), int(np.max(sizes))


def check_metric(metric: Metric, dataset: Dataset, split: Split) -> None:
    """Refuse a metric that has no value on rows that will be scored, before the first trial.

    Raises BadInput: mape where a target is 0, r2 where all targets of a part are the same,
    roc_auc where only one class is scored, mase where the target never changes in training.
    """
    if metric.name == "mase" and np.isnan(_forecast_truth(dataset, split)[:, -1]).any():
        raise BadInput(
            "--metric mase is not defined, the target does not change in a training part: use "
            "--metric mae."
        )
    if metric.name == "mape" and (dataset.y == 0).any():
        zeros = int((dataset.y == 0).sum())
        where = f"{zeros:,} of {dataset.rows:,} rows have the target 0"
        raise BadInput(f"--metric mape is not defined, {where}: use --metric mae.")
    if metric.name not in ("r2", "roc_auc") or dataset.y.ndim == 2:
        return
    parts = {"held-out part": split.held_out}
    if metric.pooled:
        parts["validation rows"] = np.concatenate([fold.valid for fold in split.folds])
    else:
        parts |= {f"fold {i + 1}": fold.valid for i, fold in enumerate(split.folds)}
    for name, rows in parts.items():
        y = dataset.y[rows]
        if len(y) and (y == y[0]).all():
            what = dataset.classes[int(y[0])] if dataset.classes else f"{y[0]:g}"
            other = "accuracy or log_loss" if dataset.classes else "rmse or mae"
            raise BadInput(
                f"--metric {metric.name} is not defined on the {name}, whose {len(y):,} rows all "
                f"have the target {what[:40]!r}: use --metric {other}."
            )
