"""What a learner of FLAML has trained, without FLAML: the library's own model is all it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import BadInput
from engines.export import trusted

Floats = npt.NDArray[np.float64]

BOOSTER_FILES = {"lightgbm": "model.txt", "xgboost": "model.ubj", "catboost": "model.cbm"}
SKOPS_FILE = "model.skops"


class Learner:
    """A model of FLAML's choice behind `predict` and, where it has classes, `predict_proba`."""

    def __init__(self, model: Any, classes: npt.NDArray[Any] | None, *, normalises: bool) -> None:
        self._model = model
        self._normalises = normalises
        if classes is not None:
            self.classes_ = classes

    def _taken(self, X: Floats) -> Floats:
        if not self._normalises:
            return X
        from sklearn.preprocessing import normalize

        # FLAML's linear models take each row at length 1.
        return np.asarray(normalize(X))

    def predict(self, X: Floats) -> Floats:
        """(rows,) in units of the training target; regression only."""
        return np.asarray(self._model.predict(self._taken(X)), dtype=np.float64)

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes), in the order of `classes_`; classification only."""
        return np.asarray(self._model.predict_proba(self._taken(X)), dtype=np.float64)


class _LightGBM:
    """A LightGBM booster with the words of a classifier."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def predict(self, X: Floats) -> Floats:
        return np.asarray(self._booster.predict(X, num_threads=1))

    def predict_proba(self, X: Floats) -> Floats:
        found = self.predict(X)
        return found if found.ndim == 2 else np.column_stack([1.0 - found, found])


def write(folder: Path, estimator: Any) -> dict[str, Any]:
    """Write what its learner has trained. Raises HyperionError, OSError."""
    model = estimator._model.model
    library = type(model).__module__.partition(".")[0]
    document: dict[str, Any] = {
        "kind": "flaml",
        "learner": estimator.learner,
        "format": library if library in BOOSTER_FILES else "skops",
        "normalises": estimator.learner == "sgd",
        "classes": estimator.classes_.tolist() if hasattr(estimator, "classes_") else None,
    }
    if library == "lightgbm":
        model.booster_.save_model(str(folder / BOOSTER_FILES[library]))
    elif library in BOOSTER_FILES:
        model.save_model(str(folder / BOOSTER_FILES[library]))
    else:
        trusted.write(folder / SKOPS_FILE, model)
    return document


def read(folder: Path, document: dict[str, Any]) -> Learner:
    """Read it back. Raises BadInput, OSError."""
    classes = None if document["classes"] is None else np.array(document["classes"])
    model = _model(folder, document["format"], classes is not None)
    return Learner(model, classes, normalises=bool(document["normalises"]))


def _model(folder: Path, library: str, has_classes: bool) -> Any:
    if library == "skops":
        return trusted.read(folder / SKOPS_FILE)
    if library not in BOOSTER_FILES:
        raise BadInput(f"{folder}: a model of {library!r} is not known.")
    path = str(folder / BOOSTER_FILES[library])
    if library == "lightgbm":
        import lightgbm

        return _LightGBM(lightgbm.Booster(model_file=path))
    if library == "xgboost":
        import xgboost

        found = xgboost.XGBClassifier() if has_classes else xgboost.XGBRegressor()
        found.load_model(path)
        return found
    import catboost

    kind = catboost.CatBoostClassifier if has_classes else catboost.CatBoostRegressor
    return kind().load_model(path)
