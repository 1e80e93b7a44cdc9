"""From a declaration and parameters to a fitted predictor, and its score on folds.

Everything that learns from rows (imputation, scaling, encoding, the target's scale) sits in
the pipeline, so a fold's validation rows and the held-out part never leak into training.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from engines.data.scoring import Metric, ScoreError
from engines.data.snapshot import Snapshot
from engines.models.spec import ModelSpec

Floats = npt.NDArray[np.float64]


def build(spec: ModelSpec, params: dict[str, Any], seed: int, categories: dict[int, int]) -> Any:
    """An unfitted estimator of a model: preparation of columns, then the model itself.

    params: searched values. seed: for the model's own randomness. categories: column numbers
    that hold codes. Missing numbers become the column's median, missing codes a code of their
    own; codes become one column each. Models that need it see standardised columns and target.
    """
    arguments = {**spec.fixed, **spec.space.arguments(params)}
    if spec.seed_argument is not None:
        arguments[spec.seed_argument] = seed
    model = spec.load_class()(**arguments)
    if spec.scale:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return Pipeline([("prepare", _preparation(spec.scale, categories)), ("model", model)])


def _preparation(scale: bool, categories: dict[int, int]) -> Any:
    numbers = [SimpleImputer(strategy="median", keep_empty_features=True)]
    if scale:
        numbers.append(StandardScaler())
    steps: list[tuple[str, Any, Any]] = [
        ("numbers", make_pipeline(*numbers), _Numbers(frozenset(categories)))
    ]
    if categories:
        codes = make_pipeline(
            SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True),
            OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=50),
        )
        steps.append(("codes", codes, sorted(categories)))
    return ColumnTransformer(steps)


class _Numbers:
    """The columns that are not codes, chosen when X is known."""

    def __init__(self, categories: frozenset[int]) -> None:
        self.categories = categories

    def __call__(self, X: Floats) -> list[int]:
        return [i for i in range(X.shape[1]) if i not in self.categories]


def fit(estimator: Any, X: Floats, y: Floats) -> Any:
    """Fit quietly: a model that has not converged is judged by its score, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # A network that keeps rows for itself has fewer than the number that capped its batch.
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger", UserWarning)
        return estimator.fit(X, y)


def predict(estimator: Any, X: Floats) -> Floats:
    """Predictions of shape (rows,). Raises ScoreError if one is not finite."""
    predicted = np.asarray(estimator.predict(X), dtype=np.float64).reshape(len(X))
    if not np.isfinite(predicted).all():
        raise ScoreError(
            f"{int((~np.isfinite(predicted)).sum())} of {len(predicted)} predictions are not finite"
        )
    return predicted


def fold_scores(
    spec: ModelSpec,
    params: dict[str, Any],
    seed: int,
    data: Snapshot,
    metric: Metric,
) -> Iterator[float]:
    """The score of each fold's validation rows, as soon as it is known."""
    for fold in data.split.folds:
        estimator = build(spec, params, seed, data.categories)
        fit(estimator, data.X[fold.train], data.y[fold.train])
        yield metric.score(data.y[fold.valid], predict(estimator, data.X[fold.valid]))


def fit_predictor(
    spec: ModelSpec, params: dict[str, Any], seed: int, data: Snapshot
) -> Callable[[Floats], Floats]:
    """The predictor that a study stands for: what its held-out score is the score of.

    Unordered rows: the mean of the fold models. Ordered rows: one model, fitted on the whole
    search part, because the latest rows matter most.
    """
    if data.split.ordered:
        trains: Sequence[npt.NDArray[np.int64]] = [data.split.search]
    else:
        trains = [fold.train for fold in data.split.folds]
    fitted = [
        fit(build(spec, params, seed, data.categories), data.X[rows], data.y[rows])
        for rows in trains
    ]
    return lambda X: np.mean([predict(estimator, X) for estimator in fitted], axis=0)
