"""Spaces as data: what is refused before trial 0, and what a model is built with."""

from __future__ import annotations

import json

import optuna
import pytest

from engines.search.space import Choice, Derived, Float, Int, Space, SpaceError

REFUSED = {
    "reversed": (Float(2.0, 1.0), "lower bound 2.0 is above upper bound 1.0"),
    "reversed whole numbers": (Int(9, 3), "lower bound 9 is above upper bound 3"),
    "log from zero": (Float(0.0, 1.0, log=True), "must start above 0, not at 0.0"),
    "log of whole numbers from zero": (Int(0, 8, log=True), "must start above 0, not at 0"),
    "no choices": (Choice(()), "has no choices"),
    "a choice that is no plain value": (Choice((1, [2])), r"choice \[2\] is not text"),
    "a choice that is no number": (Choice((1.0, float("nan"))), "choice nan is not"),
    "NaN": (Float(float("nan"), 1.0), "bounds nan and 1.0 must be finite"),
    "infinite": (Float(0.0, float("inf")), "bounds 0.0 and inf must be finite"),
    "step of zero": (Int(1, 9, step=0), "step must be at least 1, got 0"),
    "step of a log": (Int(1, 8, log=True, step=2), "a logarithmic range can't have a step"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_parameter_that_can_not_be_searched_is_refused_by_name(what: str) -> None:
    parameter, reason = REFUSED[what]

    with pytest.raises(SpaceError, match=f"^`depth`.*{reason}"):
        Space({"depth": parameter})


def test_a_parameter_may_depend_on_earlier_ones_only() -> None:
    late = {"b": Int(1, 2, when={"a": (1,)}), "a": Choice((1, 2))}

    with pytest.raises(SpaceError, match="`b` depends on `a`, which is not before it"):
        Space(late)


def test_a_parameter_can_not_depend_on_itself() -> None:
    with pytest.raises(SpaceError, match="`a` depends on `a`"):
        Space({"a": Int(1, 2, when={"a": (1,)})})


def test_an_unknown_rule_and_an_unknown_source_of_a_derived_argument_are_refused() -> None:
    with pytest.raises(SpaceError, match="no rule `pyramid`; one of equal_layers"):
        Space({"width": Int(1, 2)}, {"layers": Derived("pyramid", ("width",))})
    with pytest.raises(SpaceError, match=r"`layers` is derived from unknown \['depth'\]"):
        Space({"width": Int(1, 2)}, {"layers": Derived("equal_layers", ("width", "depth"))})


@pytest.mark.parametrize(
    ("rows", "bounds"), [(300, (5, 100)), (40, (5, 40)), (5, (5, 5)), (3, (3, 3)), (0, (1, 1))]
)
def test_binding_caps_an_upper_bound_at_a_fact_of_the_data(
    rows: int, bounds: tuple[int, int]
) -> None:
    space = Space({"leaf": Int(5, 100, log=True, at_most="train_rows"), "rate": Float(0.1, 0.2)})

    bound = space.bind({"train_rows": rows, "columns": 2})

    leaf = bound.parameters["leaf"]
    assert isinstance(leaf, Int)
    assert (leaf.low, leaf.high) == bounds
    assert leaf.at_most is None
    assert bound.parameters["rate"] == space.parameters["rate"]


def test_a_step_survives_binding_without_a_warning_of_optuna() -> None:
    space = Space({"size": Int(8, 64, step=8, at_most="train_rows")}).bind(
        {"train_rows": 43, "columns": 1}
    )

    value = space.suggest(optuna.create_study().ask())["size"]

    assert value % 8 == 0
    assert value <= 43


def nested() -> Space:
    return Space(
        {
            "kernel": Choice(("rbf", "poly", None)),
            "degree": Int(2, 4, when={"kernel": ("poly",)}),
            "trend": Choice((None, "flat"), when={"degree": (2,)}),
            "slope": Float(0.0, 1.0, when={"trend": (None,)}),
        }
    )


@pytest.mark.parametrize(
    ("params", "inside"),
    [
        ({"kernel": "rbf"}, True),
        ({"kernel": None}, True),
        ({"kernel": "poly", "degree": 4}, True),
        ({"kernel": "poly", "degree": 2, "trend": None, "slope": 0.5}, True),
        ({"kernel": "poly", "degree": 2, "trend": "flat"}, True),
        ({}, False),
        ({"kernel": "linear"}, False),
        ({"kernel": "poly"}, False),
        ({"kernel": "poly", "degree": 5}, False),
        ({"kernel": "poly", "degree": 2.5, "trend": None, "slope": 0.5}, False),
        ({"kernel": "poly", "degree": "2"}, False),
        ({"kernel": "rbf", "degree": 2, "trend": "flat"}, False),
        ({"kernel": "rbf", "slope": 0.5}, False),
        ({"kernel": "poly", "degree": 2, "trend": None, "slope": float("nan")}, False),
        ({"kernel": "rbf", "gamma": 1.0}, False),
    ],
)
def test_a_space_contains_exactly_its_active_parameters_within_bounds(
    params: dict, inside: bool
) -> None:
    assert nested().contains(params) is inside


def test_a_truth_value_is_no_number() -> None:
    space = Space({"depth": Int(0, 3), "rate": Float(0.0, 1.0)})

    assert space.contains({"depth": 1, "rate": 1})
    assert not space.contains({"depth": True, "rate": 1})
    assert not space.contains({"depth": 1, "rate": True})


def test_a_parameter_whose_parent_is_inactive_is_inactive_too() -> None:
    trial = optuna.trial.FixedTrial({"kernel": "rbf"})

    assert nested().suggest(trial) == {"kernel": "rbf"}


def test_clipping_moves_numbers_into_bounds_and_drops_what_is_inactive() -> None:
    space = nested()

    clipped = space.clip({"kernel": "poly", "degree": 9, "trend": "flat", "gamma": 1.0})

    assert clipped == {"kernel": "poly", "degree": 4}
    assert space.contains(clipped)


def test_derived_arguments_replace_what_they_are_made_of() -> None:
    space = Space(
        {"width": Int(1, 64), "depth": Int(1, 3), "alpha": Float(0.0, 1.0)},
        {"hidden_layer_sizes": Derived("equal_layers", ("width", "depth"))},
    )

    arguments = space.arguments({"width": 16, "depth": 3, "alpha": 0.5})

    assert arguments == {"hidden_layer_sizes": (16, 16, 16), "alpha": 0.5}


def test_the_plain_form_is_json_and_comes_back_equal() -> None:
    space = Space(
        {
            "kind": Choice(("a", 1, 2.5, True, None)),
            "width": Int(1, 64, log=True, at_most="columns", when={"kind": ("a", None)}),
            "depth": Int(1, 9, step=2),
            "alpha": Float(1e-7, 1.0, log=True),
        },
        {"layers": Derived("equal_layers", ("width", "depth"))},
    )

    back = Space.from_json(json.loads(json.dumps(space.to_json(), allow_nan=False)))

    assert back == space
    assert list(back.parameters) == list(space.parameters)
