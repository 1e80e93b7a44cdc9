"""No set of parameters that a declared space can hold is one that its estimator refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engines.models import catalogue
from engines.models.spec import Form
from engines.search.space import Choice, Float, Int, Space
from tests.contract import spaces
from tests.contract.spaces import SHAPES, Case, Shape

BUILT = 1000
FITTED = 15

by_case = pytest.mark.parametrize("case", spaces.cases(), ids=str)
by_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def applicable(case: Case, shape: Shape) -> None:
    """Skip what is not installed, and what the tree greys for such data."""
    if case.reason_missing is not None:
        pytest.skip(case.reason_missing)
    refusal = case.form.refusal(spaces.facts(shape, case))
    if refusal is not None:
        pytest.skip(refusal)


def check_samples(case: Case, shape: Shape) -> None:
    for params in spaces.samples(case, shape, BUILT):
        spaces.check_arguments(case, params)


@by_case
def test_the_estimator_takes_a_thousand_samples_of_its_space_on_every_shape(case: Case) -> None:
    if case.reason_missing is not None:
        pytest.skip(case.reason_missing)

    for shape in SHAPES:
        check_samples(case, shape)


@by_case
def test_defaults_and_portfolio_lie_inside_the_space_of_every_shape(case: Case) -> None:
    for shape in SHAPES:
        space = case.form.space.bind(spaces.facts(shape, case))
        for params in (case.form.defaults, *case.form.portfolio):
            clipped = space.clip(params)
            assert space.contains(clipped), (shape.name, clipped)


@by_shape
@by_case
def test_a_sample_trains_on_every_shape(case: Case, shape: Shape) -> None:
    applicable(case, shape)

    for params in spaces.samples(case, shape, 1):
        spaces.check_fit(case, shape, params)


@pytest.mark.slow
@by_shape
@by_case
def test_known_good_sets_and_fifteen_samples_train_on_every_shape(case: Case, shape: Shape) -> None:
    applicable(case, shape)

    for params in spaces.samples(case, shape, FITTED):
        spaces.check_fit(case, shape, params)
    space = case.form.space.bind(spaces.facts(shape, case))
    for params in (case.form.defaults, *case.form.portfolio):
        spaces.check_fit(case, shape, space.clip(params))


# -- that these checks find what they are for ------------------------------------------------


def declared(space: Space, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Case:
    """Lasso with another space, for the time of a test."""
    spec = catalogue.find("lasso")
    form = replace(spec.forms["regression"], space=space, defaults=defaults)
    wrong = replace(spec, forms={"regression": form})
    monkeypatch.setattr(catalogue, "models", lambda: {"lasso": wrong})
    return Case("lasso", "regression")


@pytest.mark.parametrize(
    "parameter",
    [Float(-1.0, 1.0), Choice(("much",)), Int(-3, 5)],
    ids=["range", "kind", "whole-numbers"],
)
def test_a_range_that_the_estimator_refuses_is_found(
    parameter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = parameter.values[0] if isinstance(parameter, Choice) else 1
    case = declared(Space({"alpha": parameter}), {"alpha": value}, monkeypatch)

    with pytest.raises(ValueError, match="'alpha' parameter of BoundedLasso"):
        check_samples(case, SHAPES[0])


def test_an_argument_that_the_estimator_lacks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = declared(Space({"alfa": Float(0.0, 1.0)}), {"alfa": 0.5}, monkeypatch)

    with pytest.raises(TypeError, match="alfa"):
        spaces.check_arguments(case, {"alfa": 0.5})


def test_a_warning_or_an_endless_prediction_fails_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("ridge", "regression")
    form = case.form

    def patched(build: str) -> None:
        spec = catalogue.find("ridge")
        other: Form = replace(form, build=f"tests.contract.spaces:{build}")
        changed = replace(spec, forms={"regression": other})
        monkeypatch.setattr(catalogue, "models", lambda: {"ridge": changed})

    patched("Warns")
    with pytest.raises(FutureWarning, match="soon gone"):
        spaces.check_fit(case, SHAPES[0], form.defaults)
    patched("Endless")
    with pytest.raises(ValueError, match="not finite"):
        spaces.check_fit(case, SHAPES[0], form.defaults)
