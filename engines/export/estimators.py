"""One fitted estimator as files that load without running code, and back.

What an estimator is, by where its class lies: a booster goes as the file of its library, a
network as safetensors, FLAML's as whatever its learner has trained, all others as skops. Names of
files are fixed; a document only says which class of the catalogue is to be built, and with what.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import BadInput
from engines.export import flaml, trusted
from engines.export.flaml import BOOSTER_FILES, SKOPS_FILE
from engines.models import catalogue
from engines.models.steps import Steps

TENSORS_FILE = "model.safetensors"


def write(folder: Path, estimator: Any) -> dict[str, Any]:
    """Write an estimator's files into an empty folder; returns the document to read them by.

    Raises HyperionError for one that has no safe form, OSError.
    """
    module = type(estimator).__module__
    if module.startswith("engines.models.ensemble."):
        return _write_booster(folder, estimator)
    if module.startswith(("engines.models.pytorch.", "engines.models.advanced.")):
        return _write_network(folder, estimator)
    if module.startswith("engines.models.automl."):
        return flaml.write(folder, estimator)
    if isinstance(estimator, Steps):
        return _write_steps(folder, estimator)
    trusted.write(folder / SKOPS_FILE, estimator)
    return {"kind": "skops", "format": "skops"}


def read(folder: Path, document: dict[str, Any]) -> Any:
    """Read one back. Raises BadInput if it is not as it was written, OSError."""
    kinds = {
        "booster": _read_booster,
        "network": _read_network,
        "flaml": flaml.read,
        "steps": _read_steps,
    }
    if document["kind"] == "skops":
        return trusted.read(folder / SKOPS_FILE)
    reader = kinds.get(document["kind"])
    if reader is None:
        raise BadInput(f"{folder}: a model of kind {document['kind']!r} is not known.")
    return reader(folder, document)


@cache
def _builds() -> dict[str, Any]:
    """The classes that a document may name: those of the catalogue, and no others."""
    return {f.build: f for spec in catalogue.models().values() for f in spec.forms.values()}


def _class_named(build: str) -> Any:
    form = _builds().get(build)
    if form is None:
        raise BadInput(f"{build!r} is no model of this version.")
    return form.load_class()


def _build_of(estimator: Any) -> str:
    return f"{type(estimator).__module__}:{type(estimator).__name__}"


# -- forecasts of one estimator a step ---------------------------------------------------------


def _write_steps(folder: Path, estimator: Steps) -> dict[str, Any]:
    documents = []
    for number, one in enumerate(estimator.estimators):
        place = _step_folder(folder, number)
        place.mkdir()
        documents.append(write(place, one))
    return {"kind": "steps", "format": documents[0]["format"], "steps": documents}


def _read_steps(folder: Path, document: dict[str, Any]) -> Steps:
    return Steps([read(_step_folder(folder, at), one) for at, one in enumerate(document["steps"])])


def _step_folder(folder: Path, number: int) -> Path:
    return folder / f"step-{number}"


# -- boosters --------------------------------------------------------------------------------


def _write_booster(folder: Path, estimator: Any) -> dict[str, Any]:
    params = estimator.get_params(deep=False)
    categories = params.pop("categories") or {}
    library = type(estimator).__module__.rpartition(".")[2]
    target = estimator._target
    document = {
        "kind": "booster",
        "format": library,
        "build": _build_of(estimator),
        "params": params,
        "categories": [[column, count] for column, count in sorted(categories.items())],
        "rounds": int(estimator.rounds_),
        "is_constant": estimator._model is None,
    }
    if hasattr(target, "mean"):
        document["target"] = {"mean": target.mean, "scale": target.scale}
    else:
        document["target"] = {"classes": target.classes.tolist(), "shares": target.shares.tolist()}
    if hasattr(estimator, "_end"):
        document["end"] = int(estimator._end)
    if estimator._model is not None:
        estimator._model.save_model(str(folder / BOOSTER_FILES[library]))
    return document


def _read_booster(folder: Path, document: dict[str, Any]) -> Any:
    from engines.models.ensemble.rounds import Codes, Numbers

    categories = {int(column): int(count) for column, count in document["categories"]}
    build = document["build"]
    estimator = _class_named(build)(**document["params"], categories=categories)
    target = document["target"]
    if "mean" in target:
        estimator._target = Numbers(float(target["mean"]), float(target["scale"]))
    else:
        estimator._target = Codes(np.array(target["classes"]), np.array(target["shares"]))
        estimator.classes_ = estimator._target.classes
    estimator.rounds_ = int(document["rounds"])
    estimator._model = None
    if not document["is_constant"]:
        library = build.partition(":")[0].rpartition(".")[2]
        path = folder / BOOSTER_FILES[library]
        estimator._model = _LIBRARIES[library](str(path))
    if "end" in document:
        estimator._end = int(document["end"])
    return estimator


def _xgboost(path: str) -> Any:
    import xgboost

    return xgboost.Booster(model_file=path)


def _lightgbm(path: str) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=path)


def _catboost(path: str) -> Any:
    import catboost

    return catboost.CatBoost().load_model(path)


_LIBRARIES = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}


# -- networks --------------------------------------------------------------------------------


def _write_network(folder: Path, estimator: Any) -> dict[str, Any]:
    from safetensors.torch import save_file

    state = {name: t.detach().clone().contiguous() for name, t in _state(estimator).items()}
    save_file(state, folder / TENSORS_FILE)
    document = {
        "kind": "network",
        "format": "safetensors",
        "build": _build_of(estimator),
        "params": estimator.get_params(deep=False),
        "columns": int(estimator.n_features_in_),
        "rounds": int(estimator.rounds_),
    }
    if hasattr(estimator, "classes_"):
        return {**document, "classes": estimator.classes_.tolist()}
    numbers = {"mean": float(estimator.mean_), "scale": float(estimator.scale_)}
    return {**document, **numbers, "own": estimator.own, "steps": list(estimator.shape_)}


def _state(estimator: Any) -> dict[str, Any]:
    state: dict[str, Any] = estimator.module_.state_dict()
    return state


def _read_network(folder: Path, document: dict[str, Any]) -> Any:
    import torch
    from safetensors.torch import load_file

    estimator = _class_named(document["build"])(**document["params"])
    estimator.n_features_in_ = int(document["columns"])
    estimator.rounds_ = int(document["rounds"])
    if "classes" in document:
        estimator.classes_ = np.array(document["classes"])
    else:
        estimator.mean_, estimator.scale_ = float(document["mean"]), float(document["scale"])
        estimator.own = int(document["own"])
        estimator.shape_ = tuple(map(int, document["steps"]))
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn, to be replaced
        module = estimator._network(estimator.n_features_in_, estimator._outputs)
    try:
        module.load_state_dict(load_file(folder / TENSORS_FILE))
    except RuntimeError as error:
        raise BadInput(f"{folder / TENSORS_FILE} does not fit its model.json.") from error
    estimator.module_ = module.eval()
    return estimator
