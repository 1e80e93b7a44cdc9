"""Studies of several metrics in the store: what is written, proposed, ended and refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from engines.analysis.compare import differences, group_comparable
from engines.analysis.report import experiment_document
from engines.data.scoring import FIT_TIME, find_metrics
from engines.errors import BadInput
from engines.run import several, start
from engines.run.trial import StudyHandle, run_model_trial
from engines.study.claims import Job, claim
from engines.study.endings import best_trials
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.records import Experiment
from engines.study.storage import HyperionStorage
from hyperion_tui import cli, fronts
from tests.dashboard import ask_dashboard
from tests.unit.building import (
    add_worker,
    asking,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    rows,
    run_job,
    study_plan,
)

TWO = {"metric": "r2,fit_time", "maximize": True, "maximize_others": (False,)}


class Judged:
    """The evaluation of a trial whose scores by each metric are known beforehand."""

    def __init__(self, found: Sequence[float]) -> None:
        self.objectives = dict(zip(("r2", "fit_time"), found, strict=True))
        self.value = found[0]
        self.metrics: dict[str, Any] = {"folds": [found[0]]}

    def scores(self) -> Iterator[float]:
        yield self.value


def end_with(storage: HyperionStorage, job: Job, found: Sequence[float], sampler: str) -> None:
    handle = StudyHandle(storage, job, 7, sampler, "none")
    run_model_trial(storage, handle, job, lambda *_: Judged(found), lambda *_: None)


def study_of(location: Location, *trials: Sequence[float], sampler: str = "random", **changes: Any):
    """A study whose trials ended so; the store is left open for more."""
    with opened(location) as storage:
        plan = study_plan(goal=changes.pop("goal", len(trials)))
        create_or_extend(storage, experiment_plan(plan, sampler=sampler, **TWO, **changes))
        worker = add_worker(location)
        for found in trials:
            end_with(storage, must_claim(storage, worker), found, sampler)
    with asking(location) as reader:
        return reader.experiment(1)


BENT = ((0.80, 0.1), (0.94, 0.5), (0.95, 9.0), (0.70, 5.0))


def test_optuna_has_every_value_and_its_dashboard_opens_the_study(location: Location) -> None:
    study_of(location, *BENT)

    stock = optuna.storages.RDBStorage(f"sqlite:///{location.path}")
    study = optuna.load_study(study_name="e/shapes", storage=stock)
    told = ask_dashboard(stock, f"/api/studies/{study._study_id}")

    assert [tuple(trial.values) for trial in study.trials] == list(BENT)
    assert [way.name for way in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["r2", "fit_time"]
    assert [trial.number for trial in study.best_trials] == [0, 1, 2]
    assert told["name"] == "e/shapes"
    stock.engine.dispose()


def test_the_best_trial_is_the_knee_for_readers_and_for_whoever_settles(location: Location) -> None:
    experiment = study_of(location, *BENT)

    (study,) = experiment.studies
    assert study.best is not None
    assert (study.best.number, study.best.values) == (1, (0.94, 0.5))
    with opened(location) as storage:
        (settled,) = best_trials(storage, study.study_id)
    assert (settled.number, settled.values) == (1, (0.94, 0.5))
    document = experiment_document(experiment, None)
    shown = document["studies"][0]
    assert document["metrics"] == {"r2": "maximize", "fit_time": "minimize"}
    assert shown["pareto"] == [0, 1, 2]
    assert shown["best"]["values"] == {"r2": 0.94, "fit_time": 0.5}
    assert "the knee of 3 trials" in document["verdict"]


def test_the_same_parameters_again_are_served_with_all_their_values(location: Location) -> None:
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(study_plan(), **TWO))
        worker = add_worker(location)
        end_with(storage, must_claim(storage, worker), (0.5, 3.0), "random")
        job = must_claim(storage, worker)
        handle = StudyHandle(storage, job, 7, "random", "none")
        first = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(1, 0))
        storage.set_trial_system_attr(job.trial_id or 0, "fixed_params", dict(first.params))
        run_model_trial(storage, handle, job, lambda *_: pytest.fail("trained"), lambda *_: None)
        assert storage.get_trial(job.trial_id or 0).values == [0.5, 3.0]
    assert rows(location, "SELECT served_from FROM hx_trial WHERE number = 1") == [(0,)]


@pytest.mark.parametrize(
    ("latest", "ends"),
    [(((0.89, 1.1), (0.8, 2.0)), True), (((0.89, 1.1), (0.1, 0.2)), False)],
)
def test_patience_ends_a_study_when_its_front_stands_still(
    location: Location, latest: tuple, ends: bool
) -> None:
    study_of(location, (0.9, 1.0), *latest, goal=9, patience=2)

    with opened(location) as storage:
        job = claim(storage, 1, add_worker(location))
    assert job is not None
    assert job.kind == ("closing" if ends else "trial")


def test_tpe_suggests_the_same_whichever_process_asks(tmp_path: Path) -> None:
    found = [(0.5 + 0.01 * n % 7, float(n % 5)) for n in range(14)]
    suggested = []
    for name in ("a.db", "b.db"):
        location = new_store(tmp_path / name)
        study_of(location, *found, sampler="tpe", goal=20)
        suggested.append(
            rows(
                location,
                "SELECT trial_id, param_name, param_value FROM trial_params "
                "ORDER BY trial_id, param_name",
            )
        )
    assert suggested[0] == suggested[1]
    assert len({value for _, _, value in suggested[0]}) > 14


def test_studies_of_several_metrics_are_never_ranked_with_those_of_one(location: Location) -> None:
    several = study_of(location, *BENT)
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(study_plan(), name="one"))
        run_job(storage, must_claim(storage, add_worker(location, 2), 2), [0.99])
    with asking(location) as reader:
        single = reader.experiment(2)

    groups = group_comparable([(e, s) for e in (several, single) for s in e.studies])
    assert len(groups) == 2
    assert differences([several, single]) == ["metric"]
    assert "pareto" not in experiment_document(single, None)["studies"][0]
    assert cli.main(["compare", "e", "one", "--store", str(location.path)]) == 5


def test_studies_are_ordered_as_a_knee_is_chosen(location: Location) -> None:
    with opened(location) as storage:
        plans = [study_plan(name) for name in ("hasty", "bent", "slow", "worst", "untried")]
        create_or_extend(storage, experiment_plan(*plans, **TWO))
        worker = add_worker(location)
        for found in BENT:
            end_with(storage, must_claim(storage, worker), found, "random")
    with asking(location) as reader:
        experiment = reader.experiment(1)
    ranked = ["bent", "slow", "hasty", "worst", "untried"]
    assert [study.model for study in experiment.ranked] == ranked
    (group,) = group_comparable([(experiment, study) for study in experiment.studies])
    assert [study.model for _, study in group.rows] == ranked


def test_the_plot_has_the_better_corner_above_and_right(location: Location) -> None:
    lines = list(fronts.plot(study_of(location, *BENT)))

    assert lines[0] == "fit_time 0.1000 above, 9.000 below"
    assert lines[1][1] == "o"  # quick and bad
    assert lines[1].index("#") > 0.8 * fronts.WIDTH  # nearly as quick, nearly the best
    assert lines[fronts.HEIGHT] == "|" + " " * (fronts.WIDTH - 1) + "o"  # the best, and slow
    assert list(fronts.plot(only_first(study_of_nothing(location)))) == []


def study_of_nothing(location: Location) -> Experiment:
    with asking(location) as reader:
        return reader.experiment(1)


def only_first(experiment: Experiment) -> Experiment:
    (study,) = experiment.studies
    assert study.front is not None
    alone = replace(study.front, points=study.front.points[:1])
    return replace(experiment, studies=(replace(study, front=alone),))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": "fit_time"}, "says nothing of predictions"),
        ({"metric": "fit_time,r2"}, "such as r2,fit_time"),
        ({"metric": "r2,r2"}, "twice"),
        ({"metric": "r2,rmse,mae,mape"}, "at most 3"),
        ({"metric": "r2,accuracy"}, "can't score regression"),
        ({"metric": "r2,fit_time", "sampler": "qmc"}, "take tpe or random"),
        ({"metric": "r2,fit_time", "pruner": "racing"}, "leave it out"),
        ({"metric": "r2,fit_time", "selectors": ("flaml",)}, "one metric of its own"),
    ],
)
def test_what_can_not_be_asked_of_several_metrics_is_refused_in_one_line(
    location: Location, asked: dict, said: str
) -> None:
    request = start.Request(("ridge",), data="diabetes")
    with pytest.raises(BadInput, match=said) as refused:
        start.create(location, replace(request, **asked))
    assert "\n" not in str(refused.value)
    assert rows(location, "SELECT count(*) FROM hx_experiment") == [(0,)]


def test_seconds_of_training_are_those_of_a_core() -> None:
    request = start.Request(("ridge",), device="cuda")
    both = find_metrics("r2,fit_time", "regression")
    with pytest.raises(BadInput, match="that of one core"):
        several.device(request, both)
    assert several.device(request, both[:1]) == "cuda"
    assert several.device(start.Request(("ridge",)), both) == "cpu"


def test_an_objective_of_ones_own_has_one_score(location: Location, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def objective(trial):\n    return 1.0\n")
    request = start.Request((f"{path}:objective",), metric="r2,fit_time")
    with pytest.raises(BadInput, match="returns one score"):
        start.create(location, request)


def test_metrics_keep_their_order_and_names_are_as_typed_in_any_case() -> None:
    assert [m.name for m in find_metrics("R2_score, Fit_Time", "regression")] == ["r2", "fit_time"]
    assert find_metrics("sharpe_ratio,max_drawdown", "trading")[1].maximize
    assert not FIT_TIME.maximize
    with pytest.raises(BadInput, match="not for agents"):
        find_metrics("sharpe_ratio,fit_time", "trading")
