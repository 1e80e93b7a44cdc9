"""Identities of every valid space: through JSON, and from suggestion to containment."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.models import catalogue
from engines.search.space import Choice, Float, Int, Parameter, Space

names = st.text("abcdefghij_", min_size=1, max_size=8)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text(max_size=4)
)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to six parameters; each may depend on an earlier choice, by some of its values."""
    parameters: dict[str, Parameter] = {}
    choices: dict[str, tuple[Any, ...]] = {}
    for name in draw(st.lists(names, min_size=1, max_size=6, unique=True)):
        when = {}
        if choices and draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(choices)))
            when[parent] = tuple(
                draw(st.lists(st.sampled_from(choices[parent]), min_size=1, max_size=2))
            )
        kind = draw(st.sampled_from(("float", "int", "choice")))
        log = draw(st.booleans())
        if kind == "choice":
            # repr: True equals 1, and Optuna tells equal choices apart no more than we do.
            values = tuple(draw(st.lists(plain, min_size=1, max_size=4, unique_by=hash)))
            choices[name] = values
            parameters[name] = Choice(values, when=when)
        elif kind == "float":
            low = draw(st.floats(1e-9 if log else -1e6, 1e6))
            high = draw(st.floats(low, 2e6))
            parameters[name] = Float(low, high, log=log, when=when)
        else:
            low = draw(st.integers(1 if log else -1000, 1000))
            step = 1 if log else draw(st.integers(1, 5))
            high = low + step * draw(st.integers(0, 50))
            parameters[name] = Int(low, high, log=log, step=step, when=when)
    return Space(parameters)


@given(spaces())
def test_a_space_comes_back_from_json_equal_and_in_order(space: Space) -> None:
    back = Space.from_json(json.loads(json.dumps(space.to_json(), allow_nan=False)))

    assert back == space
    assert list(back.parameters) == list(space.parameters)


@given(space=spaces(), seed=st.integers(0, 2**16))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_space_suggests_it_contains_and_clips_to_itself(space: Space, seed: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    suggested = [space.suggest(study.ask()) for _ in range(5)]

    assert all(space.contains(params) for params in suggested)
    assert [space.clip(params) for params in suggested] == suggested


@given(rows=st.integers(2, 10**6), columns=st.integers(1, 5000))
@pytest.mark.parametrize("name", list(catalogue.models()))
@settings(max_examples=20)
def test_every_declared_space_can_be_bound_to_any_data(name: str, rows: int, columns: int) -> None:
    facts = {"train_rows": rows, "columns": columns, "wide_columns": columns, "rarest_class": 1}
    facts["context_rows"] = max(1, rows // 4)
    for form in catalogue.models()[name].forms.values():
        bound = form.space.bind(facts)

        assert all(bound.contains(bound.clip(params)) for params, _ in form.weighed)
        for parameter in bound.parameters.values():
            if isinstance(parameter, Int):
                assert parameter.at_most is None
                assert parameter.high >= 1
