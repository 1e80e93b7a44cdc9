"""Every declared space has a finite grid whose points are inside it; so do points of the cube."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.search.cube import distribution_of, from_unit
from engines.search.grid import MOST_POINTS, grid_of, grid_size
from engines.search.space import Choice, Float, Int, Parameter, Space


def parameters(draw: st.DrawFn, parents: dict[str, tuple]) -> Parameter:
    when = {}
    if parents and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(parents)))
        when = {name: (draw(st.sampled_from(parents[name])),)}
    kind = draw(st.sampled_from(["float", "int", "choice"]))
    log = draw(st.booleans())
    low = draw(st.integers(1, 50))
    if kind == "float":
        return Float(float(low), low + draw(st.floats(0, 1e6)), log=log, when=when)
    if kind == "int":
        step = 1 if log else draw(st.integers(1, 3))
        return Int(low, low + step * draw(st.integers(0, 300)), log=log, step=step, when=when)
    return Choice(tuple("abcdef"[: draw(st.integers(1, 6))]), when=when)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    found: dict[str, Parameter] = {}
    parents: dict[str, tuple] = {}
    for number in range(draw(st.integers(1, 9))):
        parameter = parameters(draw, parents)
        found[f"p{number}"] = parameter
        if isinstance(parameter, Choice):
            parents[f"p{number}"] = parameter.values
    return Space(found)


@settings(deadline=None, max_examples=60)
@given(spaces())
def test_a_grid_is_finite_without_repeats_and_inside_its_space(space: Space) -> None:
    points = grid_of(space)

    assert 1 <= len(points) <= MOST_POINTS
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    assert all(space.contains(point) for point in points)
    assert grid_size(space.to_json()) == len(points)


@settings(deadline=None)
@given(spaces(), st.floats(-0.5, 1.5))
def test_every_point_of_the_unit_interval_is_a_value_of_the_parameter(
    space: Space, u: float
) -> None:
    for parameter in space.parameters.values():
        distribution = distribution_of(parameter)
        value = from_unit(distribution, u)
        assert distribution._contains(distribution.to_internal_repr(value))
        if isinstance(parameter, Choice):
            assert value in parameter.values


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_every_declared_space_has_a_useful_grid(task: str) -> None:
    from engines.models.catalogue import models

    facts = defaultdict(lambda: 100)
    for spec in models().values():
        form = spec.forms.get(task)
        if form is not None:
            space = form.space.bind(facts)
            assert 1 <= len(grid_of(space)) <= MOST_POINTS, spec.name
            assert bool(space.parameters) == (len(grid_of(space)) > 1), spec.name
