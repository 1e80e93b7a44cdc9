"""Every declared model: its defaults, its whole space, and that it trains without complaint."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from engines.data.scoring import METRICS
from engines.data.snapshot import Snapshot
from engines.errors import BadInput, PackageMissing
from engines.models import catalogue, fit
from engines.models.spec import FAMILIES, ModelSpec
from engines.search.space import Choice, Float, Int
from tests.unit.building import snapshot

NAMES = list(catalogue.models())
FACTS = (
    {"train_rows": 8, "columns": 1},
    {"train_rows": 8, "columns": 10},
    {"train_rows": 300, "columns": 10},
)
SAMPLES = 200
CHEAPER = {"n_estimators": 20, "iterations": 20, "max_iter": 20, "width": 16, "depth": 2}
CHEAP_FIXED = {"mlp_regressor": {"max_iter": 20}}
"""Sizes that only cost time are cut before a sampled model is fitted."""


def installed(name: str) -> ModelSpec:
    spec = catalogue.models()[name]
    if spec.reason_missing is not None:
        pytest.skip(spec.reason_missing)
    return spec


def samples(spec: ModelSpec, facts: dict[str, int], count: int, seed: int = 0) -> list[dict]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    space = spec.space.bind(facts)
    return [space.suggest(study.ask()) for _ in range(count)]


def model_of(spec: ModelSpec, params: dict[str, Any]) -> Any:
    """The estimator inside the pipeline."""
    model = fit.build(spec, params, 3, {}).named_steps["model"]
    return model.regressor if spec.scale else model


@pytest.mark.parametrize("name", NAMES)
def test_defaults_lie_inside_the_space_for_every_shape_of_data(name: str) -> None:
    spec = catalogue.models()[name]

    for facts in FACTS:
        space = spec.space.bind(facts)
        assert space.contains(space.clip(spec.defaults))
    assert spec.space.contains(spec.defaults)


@pytest.mark.parametrize("name", NAMES)
def test_the_estimator_takes_every_argument_by_name(name: str) -> None:
    spec = installed(name)
    model = spec.load_class()()
    known = set(model.get_params())
    known |= set(inspect.signature(spec.load_class().__init__).parameters)
    known |= {"deterministic", "verbosity"} if name == "lightgbm" else set()  # its **kwargs

    arguments = {*spec.fixed, *filter(None, [spec.seed_argument])}
    for params in samples(spec, FACTS[2], 50):
        arguments |= set(spec.space.arguments(params))

    assert arguments <= known


@pytest.mark.parametrize("facts", FACTS, ids=lambda f: f"{f['train_rows']}x{f['columns']}")
@pytest.mark.parametrize("name", [n for n in NAMES if catalogue.models()[n].family == "sklearn"])
def test_scikit_learn_accepts_two_hundred_samples_of_the_space(
    name: str, facts: dict[str, int]
) -> None:
    spec = installed(name)

    for params in samples(spec, facts, SAMPLES):
        model_of(spec, params)._validate_params()


@pytest.mark.parametrize("facts", FACTS, ids=lambda f: f"{f['train_rows']}x{f['columns']}")
@pytest.mark.parametrize("name", [n for n in NAMES if catalogue.models()[n].family != "sklearn"])
def test_boosters_can_be_built_from_two_hundred_samples_of_the_space(
    name: str, facts: dict[str, int]
) -> None:
    spec = installed(name)

    for params in samples(spec, facts, SAMPLES):
        arguments = spec.space.arguments(params)
        built = model_of(spec, params).get_params()
        assert {key: built[key] for key in arguments} == arguments


def hard_data(rows: int, columns: int, *, ordered: bool = False) -> Snapshot:
    """Missing values, a column of codes, one of constants, and two that are equal."""
    data = snapshot(rows, columns, categories=3 if columns > 1 else 0, ordered=ordered)
    if columns > 4:
        data.X[:, 2] = data.X[:, 1]
        data.X[:, 3] = 7.0
    gaps = np.random.default_rng(3).random(data.X.shape) < 0.1
    gaps[0] = False
    data.X[gaps] = np.nan
    return data


@pytest.mark.parametrize(
    ("rows", "columns", "ordered"),
    [(20, 1, False), (100, 2, True), (100, 6, False)],
    ids=["tiny", "ordered", "small"],
)
@pytest.mark.parametrize("name", NAMES)
def test_models_train_without_a_warning_on_hard_data(
    name: str, rows: int, columns: int, ordered: bool
) -> None:
    spec = installed(name)
    data = hard_data(rows, columns, ordered=ordered)
    facts = {"train_rows": data.train_rows, "columns": columns}
    spec = replace(spec, fixed={**spec.fixed, **CHEAP_FIXED.get(name, {})})
    sets = [spec.space.bind(facts).clip(spec.defaults), *samples(spec, facts, 3, seed=1)]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = [
            score
            for params in sets
            for score in fit.fold_scores(
                spec,
                {k: min(v, CHEAPER[k]) if k in CHEAPER else v for k, v in params.items()},
                3,
                data,
                METRICS["mae"],
            )
        ]

    assert np.isfinite(scores).all()
    assert len(scores) == 4 * len(data.split.folds)


@pytest.mark.parametrize("name", NAMES)
def test_every_model_finds_an_easy_pattern_with_its_defaults(name: str) -> None:
    spec = installed(name)
    data = snapshot(100, 3, categories=3)
    params = {k: min(v, 100) if k in CHEAPER else v for k, v in spec.defaults.items()}

    scores = list(fit.fold_scores(spec, params, 3, data, METRICS["r2"]))

    assert np.mean(scores) > 0.4


@pytest.mark.parametrize("name", NAMES)
def test_a_model_uses_one_thread(name: str) -> None:
    spec = installed(name)

    given = model_of(spec, spec.defaults).get_params()

    for argument in ("n_jobs", "thread_count"):
        assert given.get(argument, 1) in (1, None), argument
    if "n_jobs" in given and spec.family == "ensemble":
        assert given["n_jobs"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_declaration_says_what_the_tree_needs(name: str) -> None:
    spec = catalogue.models()[name]

    assert spec.name == name == name.lower()
    assert spec.family in FAMILIES
    assert spec.summary
    assert len(spec.summary) < 80
    assert 1 <= spec.trials <= 100
    for parameter in spec.space.parameters.values():
        assert isinstance(parameter, Choice | Float | Int)


@pytest.mark.parametrize(
    "word", ["random_forest", "RandomForest", "random-forest", "RANDOM FOREST"]
)
def test_a_model_is_found_however_it_is_typed(word: str) -> None:
    assert catalogue.find(word).name == "random_forest"


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(BadInput, match="^No model `lightbgm`: did you mean lightgbm"):
        catalogue.select(["ridge", "lightbgm"])
    with pytest.raises(BadInput, match=r"^No model `qqqqqq`\.$"):
        catalogue.find("qqqqqq")


def test_selectors_name_each_model_once_in_the_order_typed() -> None:
    chosen = [spec.name for spec in catalogue.select(["svr", "sklearn", "SVR", "xgboost"])]

    assert chosen[0] == "svr"
    assert chosen[-1] == "xgboost"
    assert len(chosen) == len(set(chosen)) == 1 + len(catalogue.families()["sklearn"])


def test_a_group_leaves_out_what_is_missing_and_a_name_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "catboost,xgboost")

    names = {spec.name for spec in catalogue.select(["all"])}

    assert names == set(NAMES) - {"catboost", "xgboost"}
    with pytest.raises(PackageMissing, match="^catboost needs catboost: pip install"):
        catalogue.select(["ridge", "catboost"])
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "catboost,xgboost,lightgbm")
    with pytest.raises(PackageMissing, match="^ensemble: needs xgboost: pip install"):
        catalogue.select(["ensemble"])
