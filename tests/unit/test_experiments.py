"""Creating an experiment and adding to one: all of it or nothing, and never two questions mixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import BadInput, NotComparable
from engines.search.space import Float, Space
from engines.study import experiments
from engines.study.experiments import MAX_NAME, check_name, create_or_extend
from engines.study.location import Location
from engines.study.storage import HyperionStorage
from engines.study.tables import HyperionTable
from tests.unit.building import (
    DEFAULTS,
    asking,
    dataset_plan,
    experiment_plan,
    rows,
    study_plan,
)


def everything(location: Location) -> dict[str, list]:
    """All rows of all tables that a person's work can be in."""
    tables = [table.name for table in HyperionTable.metadata.sorted_tables]
    tables += ["studies", "study_directions", "trials", "trial_params", "trial_system_attributes"]
    return {name: rows(location, f"SELECT * FROM {name}") for name in tables}


def test_an_experiment_is_stored_with_all_that_identifies_it(
    location: Location, storage: HyperionStorage
) -> None:
    experiment_id = create_or_extend(storage, experiment_plan(study_plan("a"), study_plan("b")))

    with asking(location) as reader:
        experiment = reader.experiment(experiment_id)
    assert (experiment.name, experiment.metric, experiment.maximize) == ("e", "r2", True)
    assert (experiment.seed, experiment.workers, experiment.state) == (7, 2, "waiting")
    assert [s.name for s in experiment.studies] == ["e/a", "e/b"]
    assert experiment.dataset is not None
    assert (experiment.dataset.sha256, experiment.dataset.target) == ("a" * 64, "price")
    assert (location.data(experiment_id) / "data.npz").read_bytes() == b"data"
    versions = json.loads(rows(location, "SELECT versions FROM hx_experiment")[0][0])
    assert {"optuna", "scikit-learn", "numpy"} <= set(versions)
    plans = [json.loads(row[0]) for row in rows(location, "SELECT plan FROM hx_study")]
    assert [plan["portfolio"] for plan in plans] == [[DEFAULTS]] * 2
    assert rows(location, "SELECT count(*) FROM hx_trial") == [(0,)]


def test_names_are_given_out_in_order(location: Location, storage: HyperionStorage) -> None:
    plans = [
        experiment_plan(name=None),
        experiment_plan(name=None),
        experiment_plan(name=None, dataset=dataset_plan(name="a/b [x]*\x1b")),
        experiment_plan(name=None, dataset=dataset_plan(name="t" * 300)),
        experiment_plan(name=None, dataset=None, objective={"sha256": "1", "function": "f"}),
    ]

    for plan in plans:
        create_or_extend(storage, plan)

    names = [name for (name,) in rows(location, "SELECT name FROM hx_experiment ORDER BY id")]
    assert names[:3] == ["towns-1", "towns-2", "a-b--x----1"]
    assert names[4] == "shapes-1"
    assert all(check_name(name) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a/b",
        "a ",
        "\ta",
        "a\nb",
        "a\x1b[31m",
        "x" * (MAX_NAME + 1),
        "*",
        "a?",
        "[a]",
        "a\u202eb",
        "\ud800",
    ],
)
def test_a_name_that_can_not_be_typed_or_shown_is_refused(
    location: Location, storage: HyperionStorage, name: str
) -> None:
    with pytest.raises(BadInput, match="can't name an experiment") as caught:
        create_or_extend(storage, experiment_plan(name=name))

    assert str(caught.value).isprintable() or "\ud800" in name
    assert rows(location, "SELECT count(*) FROM hx_experiment") == [(0,)]


@pytest.mark.parametrize(
    "name", ["e", "e.1_2-3", "Größe 漢字", "'; DROP TABLE trials; --", "x" * MAX_NAME]
)
def test_any_printable_name_will_do(
    location: Location, storage: HyperionStorage, name: str
) -> None:
    create_or_extend(storage, experiment_plan(name=name))

    with asking(location) as reader:
        assert [e.name for e in reader.find_experiments(name)] == [name]


def test_the_same_settings_add_models_and_raise_totals(
    location: Location, storage: HyperionStorage
) -> None:
    first = create_or_extend(storage, experiment_plan(study_plan("a", goal=4)))

    again = create_or_extend(
        storage,
        experiment_plan(study_plan("a", goal=9), study_plan("b", goal=2), workers=5, patience=8),
    )

    assert again == first
    with asking(location) as reader:
        experiment = reader.experiment(first)
    assert {s.model: s.counts.goal for s in experiment.studies} == {"a": 9, "b": 2}
    assert experiment.workers == 5
    assert rows(location, "SELECT patience FROM hx_experiment") == [(8,)]
    assert rows(location, "SELECT count(*) FROM hx_dataset") == [(1,)]


def test_a_total_is_never_lowered(location: Location, storage: HyperionStorage) -> None:
    create_or_extend(storage, experiment_plan(study_plan("a", goal=9)))

    create_or_extend(storage, experiment_plan(study_plan("a", goal=3)))

    assert rows(location, "SELECT goal FROM hx_study") == [(9,)]


OTHER = {
    "data": ({"dataset": dataset_plan(sha256="b" * 64)}, "data was aaaaaaaaaaaa, is bbbbbbbbbbbb"),
    "target": ({"dataset": dataset_plan(target="rent")}, "target was price, is rent"),
    "task": ({"task": "forecast"}, "task was regression, is forecast"),
    "split": ({"split": {"folds": 3}}, "split was .*, is .*'folds': 3"),
    "metric": ({"metric": "mae"}, "metric was r2, is mae"),
    "seed": ({"seed": 8}, "seed was 7, is 8"),
    "sampler": ({"sampler": "tpe"}, "sampler was random, is tpe"),
    "pruner": ({"pruner": "median"}, "pruner was none, is median"),
}


@pytest.mark.parametrize("what", OTHER)
def test_another_question_under_one_name_is_refused_with_the_difference(
    location: Location, storage: HyperionStorage, what: str
) -> None:
    changes, difference = OTHER[what]
    create_or_extend(storage, experiment_plan())
    before = everything(location)

    with pytest.raises(NotComparable, match=f"`e` exists and is not comparable: {difference}") as e:
        create_or_extend(storage, experiment_plan(study_plan("b"), **changes))

    assert e.value.exit_code == 5
    assert everything(location) == before


def test_another_function_of_the_same_file_is_another_question(
    location: Location, storage: HyperionStorage
) -> None:
    described = {"sha256": "1" * 64, "function": "small", "reference": "m.py:small"}
    study = study_plan("small", space=None, defaults=None)
    create_or_extend(storage, experiment_plan(study, dataset=None, objective=described))

    with pytest.raises(NotComparable, match="objective was small in 1{12}, is large in 1{12}"):
        create_or_extend(
            storage,
            experiment_plan(
                replace(study, model="large"),
                dataset=None,
                objective={**described, "function": "large"},
            ),
        )


def test_another_space_for_the_same_model_is_refused(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan())
    before = everything(location)
    other = study_plan(space=Space({"size": Float(0.0, 1.0)}), defaults={"size": 0.5})

    with pytest.raises(NotComparable, match="The space of e/shapes differs"):
        create_or_extend(storage, experiment_plan(study_plan("new"), other))

    assert everything(location) == before


@pytest.mark.parametrize("at", ["write", "second study"])
def test_a_creation_that_fails_leaves_nothing_behind(
    location: Location, storage: HyperionStorage, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    before = everything(location)
    plan = experiment_plan(study_plan("a"), study_plan("b"))
    if at == "write":

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            (folder / "half").touch()
            raise OSError(28, "No space left on device")

        plan = replace(plan, dataset=dataset_plan(write=write))
    else:
        add = experiments._add_study

        def broken(session, experiment, study, *rest):  # type: ignore[no-untyped-def]
            if study.model == "b":
                raise OSError(28, "No space left on device")
            add(session, experiment, study, *rest)

        monkeypatch.setattr(experiments, "_add_study", broken)

    with pytest.raises(OSError, match="No space left on device"):
        create_or_extend(storage, plan)

    assert everything(location) == before
    assert not location.data(1).exists()
    monkeypatch.undo()
    assert create_or_extend(storage, experiment_plan()) == 1
