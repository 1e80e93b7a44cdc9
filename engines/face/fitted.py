"""What `fit` has found: the predictor, its scores, and the table of all models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.datasets import Dataset
from engines.data.frames import as_labels, encode
from engines.errors import BadInput, HyperionError
from engines.export.memory import forecasts
from engines.export.predictor import Predictor
from engines.run.final import FinalPredictor
from engines.study.records import Best, Experiment, Study

Floats = npt.NDArray[np.float64]


class Fitted:
    """The part of an optimizer that answers once `fit` has been called."""

    def __init__(self) -> None:
        self._experiment: Experiment | None = None
        self._predictor: FinalPredictor | None = None
        self._dataset: Dataset | None = None
        self._labels: npt.NDArray[Any] | None = None
        self._params: dict[str, dict[str, Any]] = {}
        self._forecaster: Predictor | None = None

    def predict(self, X: Any, y: Any | None = None) -> npt.NDArray[Any]:
        """(rows,): values in the target's units, or for a classification labels as y had them.

        For a forecast (rows, horizon): the values behind each row of X. y: the target in these
        rows, which `fit` has not seen; without it they are rows of `fit`. Raises HyperionError
        before `fit`, BadInput for rows of another kind.
        """
        if self._forecaster is not None:
            return forecasts(self._forecaster, X, y)
        if y is not None:
            raise BadInput("y goes with X in a forecast alone: leave it out.")
        predicted = self._predict(X)
        assert self._dataset is not None
        if self._labels is None:
            return predicted
        return self._labels[predicted.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Floats:
        """(rows, classes) probabilities, in the order of `classes_`. Classification only."""
        if not self.classes_:
            raise BadInput("predict_proba is for classification: use predict.")
        return self._predict(X)

    def _predict(self, X: Any) -> Floats:
        if self._predictor is None or self._dataset is None:
            raise HyperionError("There is nothing to predict with yet: call fit(X, y) first.")
        return self._predictor.predict(encode(X, self._dataset.features))

    @property
    def classes_(self) -> tuple[str, ...]:
        """The labels, as text in sorted order; none for regression."""
        return () if self._dataset is None else self._dataset.classes

    @property
    def _leader(self) -> tuple[Study, Best]:
        if self._experiment is None:
            raise HyperionError("Nothing has been searched yet: call fit(X, y) first.")
        for study in self._experiment.ranked:
            if study.best is not None:
                return study, study.best
        raise HyperionError("No trial has completed: give it more time, or other models.")

    @property
    def best_model_(self) -> str:
        """The model with the best selection score."""
        return self._leader[0].model

    @property
    def best_params_(self) -> dict[str, Any]:
        """Its hyperparameters."""
        return dict(self._params[self.best_model_])

    @property
    def best_score_(self) -> float:
        """The selection score of the best single model, in the metric of the search."""
        return self._leader[1].selection_score

    @property
    def held_out_score_(self) -> float | None:
        """The score of what the search chose on rows that it never saw."""
        found = self._leader[1].held_out_score
        ensemble = None if self._experiment is None else self._experiment.ensemble
        if ensemble is not None and ensemble.held_out_score is not None:
            return ensemble.held_out_score
        return found

    def leaderboard(self) -> list[dict[str, Any]]:
        """One row for each model, the ensemble and the baselines: model and both scores.

        Models are in the order of their selection scores, the best first.
        """
        if self._experiment is None:
            return []
        rows: list[dict[str, Any]] = [
            {
                "model": study.model,
                "selection_score": study.best.selection_score if study.best else None,
                "held_out_score": study.best.held_out_score if study.best else None,
                "trials": study.counts.finished,
                "seconds": study.train_s,
            }
            for study in self._experiment.ranked
        ]
        ensemble = self._experiment.ensemble
        if ensemble is not None and ensemble.selection_score is not None:
            rows.insert(0, _row("ensemble", ensemble.selection_score, ensemble.held_out_score))
        return rows + [
            _row(f"baseline {b.name}", b.selection_score, b.held_out_score)
            for b in self._experiment.baselines
        ]


def labels_like(y: Any, classes: Sequence[str]) -> npt.NDArray[Any] | None:
    """(classes,) the labels in the type that y has them; None for a regression."""
    if not classes:
        return None
    kind = as_labels(y).dtype
    if kind.kind == "b":
        return np.array([label == "True" for label in classes])
    if kind.kind in "iuf":
        return np.array([float(label) for label in classes]).astype(kind)
    return np.array(classes)


def _row(model: str, selection: float | None, held_out: float | None) -> dict[str, Any]:
    return {
        "model": model,
        "selection_score": selection,
        "held_out_score": held_out,
        "trials": None,
        "seconds": None,
    }
