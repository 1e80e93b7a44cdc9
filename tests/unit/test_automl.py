"""FLAML as a model: its choices, its trials in the store, and how it is gone on with."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from engines.data.scoring import METRICS
from engines.errors import PackageMissing
from engines.models import catalogue
from engines.models.automl.declare import LEARNERS, MODELS
from engines.models.learner import FoldView, Watch
from engines.models.spec import Task
from engines.run import automl
from engines.run.automl import FlamlSampler, best_of_learners, is_same, loss_of
from engines.run.context import Context
from engines.run.start import Request, create
from engines.run.worker import Worker
from engines.study.claims import claim
from engines.study.location import Location
from tests.unit.building import add_worker, asking, rows, snapshot

pytest.importorskip("flaml", reason="FLAML is not installed")

from flaml import AutoML
from flaml.automl.task.factory import task_factory
from flaml.tune.sample import Domain

from engines.models.automl import chooser as choosing
from engines.models.automl.chooser import SIZE_KEY, Chooser, NothingLeft, Table, to_config
from engines.models.automl.learner import FlamlClassifier, FlamlRegressor
from engines.models.automl.sampled import SampledEvaluation
from engines.models.fit import Trainer

SMALL = Table(rows=300, columns=7, classes=0, folds=5)
LARGE = Table(rows=60_000, columns=7, classes=0, folds=1)
REGRESSORS = LEARNERS["regression"]


def loss(learner: str, config: dict[str, Any], rows: int) -> float:
    """Some number in [0, 1) that depends on nothing else: a stand-in for training."""
    told = {k: str(v) if isinstance(v, str | np.str_) else float(v) for k, v in config.items()}
    text = json.dumps([learner, told, rows], sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def answer(search: Chooser, table: Table) -> tuple[str, dict[str, Any], int]:
    """Ask once, and tell that number."""
    question = search.ask()
    config = dict(question.config)
    size = int(config.pop(SIZE_KEY, table.rows))
    search.tell(loss(question.learner, config, size), 1.0)
    return question.learner, config, size


# -- that FLAML chooses -----------------------------------------------------------------------


def asked_by_automl(table: Table, trials: int, seed: int) -> list[tuple[str, dict[str, Any], int]]:
    """What `AutoML.fit` tries by itself, if training brings the number above."""
    asked: list[tuple[str, dict[str, Any], int]] = []

    def untrained(name: str) -> Any:
        class Untrained(task_factory("regression").estimator_class_from_str(name)):  # type: ignore[misc]
            def __init__(self, task: Any = "regression", **config: Any) -> None:
                self.asked = {k: v for k, v in config.items() if k != "n_jobs"}
                super().__init__(task, **config)

            def fit(self, X: Any, y: Any, budget: float | None = None, **_: Any) -> float:
                asked.append((name, self.asked, len(X)))
                self.params, self._model = {}, object()
                return 0.0

            def predict(self, X: Any) -> Any:
                return np.zeros(len(X))

        return Untrained

    fitted = AutoML()
    for name in REGRESSORS:
        fitted.add_learner(name, untrained(name))
    X = np.random.default_rng(0).normal(size=(table.rows, table.columns))
    fitted.fit(
        *(X, X[:, 0]),
        X_val=X[:20],
        y_val=X[:20, 0],
        task="regression",
        metric=lambda *_, **__: (loss(*asked[-1]), {}),
        estimator_list=list(REGRESSORS),
        max_iter=trials,
        seed=seed,
        verbose=0,
        n_jobs=1,
        eval_method="holdout",
        retrain_full=False,
    )
    return asked


@pytest.mark.parametrize(
    ("table", "trials"), [(SMALL, 60), (LARGE, 40)], ids=["all-rows", "samples"]
)
def test_step_by_step_it_tries_what_flaml_s_own_loop_tries(table: Table, trials: int) -> None:
    whole = replace(table, folds=1)  # a split of one's own is one holdout for FLAML
    search = Chooser(whole, REGRESSORS, seed=42, timed=False)

    steps = [answer(search, whole) for _ in range(trials)]

    assert steps == asked_by_automl(whole, trials, seed=42)
    assert len({learner for learner, _, _ in steps}) > 2
    assert (len({size for *_, size in steps}) > 1) == whole.samples


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_learners_are_those_that_flaml_takes_by_itself(task: Task) -> None:
    pytest.importorskip("catboost")
    name = "regression" if task == "regression" else "binary"

    assert list(LEARNERS[task]) == task_factory(name).default_estimator_list("auto")


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("table_rows", [12, 300, 60_000, 2_000_000])
@pytest.mark.parametrize("columns", [1, 10, 5_000])
def test_what_flaml_may_try_lies_inside_the_declared_space(
    classes: int, table_rows: int, columns: int
) -> None:
    task: Task = "classification" if classes else "regression"
    space = MODELS[0].forms[task].space.bind({"train_rows": table_rows})
    table = Table(table_rows, columns, classes, folds=1)
    about = task_factory(table.task)

    for learner in LEARNERS[task]:
        searched = about.estimator_class_from_str(learner).search_space(
            data_size=(table_rows, columns), task=about
        )
        names = {name for name, entry in searched.items() if isinstance(entry["domain"], Domain)}
        assert {f"{learner}.{name}" for name in names} == {
            name for name in space.parameters if name.startswith(f"{learner}.")
        }
        for name in names:
            domain, declared = searched[name]["domain"], space.parameters[f"{learner}.{name}"]
            if hasattr(domain, "categories"):
                assert set(domain.categories) == set(declared.values)  # type: ignore[union-attr]
            else:
                last = 1 if isinstance(domain.lower, int) and isinstance(domain.upper, int) else 0
                assert declared.low <= domain.lower  # type: ignore[union-attr]
                assert declared.high >= domain.upper - last  # type: ignore[union-attr]


@pytest.mark.parametrize("table", [SMALL, LARGE, replace(SMALL, classes=3)])
def test_a_configuration_becomes_parameters_in_plain_numbers_and_back(table: Table) -> None:
    task: Task = "classification" if table.classes else "regression"
    space = MODELS[0].forms[task].space.bind({"train_rows": table.rows})
    search = Chooser(table, LEARNERS[task], seed=1, timed=False)

    for _ in range(60):
        question = search.ask()
        config, params = dict(question.config), question.params
        answer(search, table)
        assert space.contains(params), params
        assert {type(value) for value in params.values()} <= {int, float, str, bool}
        assert json.loads(json.dumps(params)) == params
        assert params.get("sample_size") == config.pop(SIZE_KEY, None)
        if question.learner == "catboost":
            assert config.pop("n_estimators") == 8192  # searched by nobody
        assert to_config(params) == config


def test_a_failed_trial_ends_neither_the_search_nor_its_learner() -> None:
    search = Chooser(SMALL, REGRESSORS, seed=1, timed=False)
    for _ in range(3):
        answer(search, SMALL)
    failed = search.ask()

    search.tell(None, 1.0)
    later = [answer(search, SMALL) for _ in range(60)]

    assert (failed.learner, failed.config) not in [(learner, c) for learner, c, _ in later]
    assert failed.learner in {learner for learner, *_ in later}


def test_a_learner_that_fails_at_first_is_given_up_and_then_the_next() -> None:
    search = Chooser(SMALL, ("lgbm", "rf", "sgd"), seed=1, timed=False)
    seen = []
    for _ in range(3):
        seen.append(search.ask().learner)
        search.tell(None, 1.0)

    assert sorted(seen) == ["lgbm", "rf", "sgd"]
    with pytest.raises(NothingLeft, match="each failed"):
        search.ask()


def test_under_a_time_limit_costs_are_seconds() -> None:
    def chosen(timed: bool) -> list[str]:
        search = Chooser(SMALL, REGRESSORS, seed=1, timed=timed)
        found = []
        for _ in range(80):
            question = search.ask()
            found.append(question.learner)
            seconds = 100.0 if question.learner == "rf" else 0.01
            search.tell(loss(question.learner, question.config, 0), seconds)
        return found

    assert chosen(timed=True).count("rf") < chosen(timed=False).count("rf") / 2


# -- from the record ---------------------------------------------------------------------------


def recorded(
    number: int, params: dict[str, Any], value: float | None, **changes: Any
) -> FrozenTrial:
    """A trial as the store tells of it."""
    begun = datetime(2026, 1, 1)
    told: dict[str, Any] = {
        "state": TrialState.COMPLETE if value is not None else TrialState.FAIL,
        "value": value,
        "params": params,
        "distributions": {name: CategoricalDistribution([v]) for name, v in params.items()},
        "system_attrs": {},
    } | changes
    return FrozenTrial(
        number=number,
        trial_id=number,
        datetime_start=begun,
        datetime_complete=begun + timedelta(seconds=1 + number % 3),
        user_attrs={},
        intermediate_values={},
        **told,
    )


def searched(sampler: FlamlSampler, trials: list[FrozenTrial], upto: int) -> list[FrozenTrial]:
    """The record with more trials of the search, every seventh failed."""
    while len(trials) < upto:
        params = sampler.next_question(trials, maximize=True).params
        value = None if len(trials) % 7 == 5 else loss("", {}, len(trials))
        trials.append(recorded(len(trials), params, value))
    return trials


@pytest.mark.parametrize("timed", [False, True])
def test_another_worker_goes_on_from_the_record_with_the_very_next_trial(timed: bool) -> None:
    begun = FlamlSampler(SMALL, 3, timed=timed)
    trials = searched(begun, [], 30)
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.FAIL}

    for known in (1, 6, 17, 30):
        fresh = FlamlSampler(SMALL, 3, timed=timed)
        asked = fresh.next_question(trials[:known], maximize=True).params
        expected = (
            trials[known].params
            if known < 30
            else begun.next_question(trials, maximize=True).params
        )
        assert asked == expected


def test_a_trial_in_the_queue_or_at_work_is_not_counted_as_an_answer() -> None:
    trials = searched(FlamlSampler(SMALL, 3, timed=False), [], 5)
    waiting = recorded(5, {}, None, state=TrialState.WAITING)

    asked = FlamlSampler(SMALL, 3, timed=False)
    first = asked.next_question([*trials, waiting], maximize=True)

    assert first == asked.next_question([*trials, waiting], maximize=True)
    assert not [t for t in trials if is_same(first.params, t.params)]


def test_the_declared_defaults_are_what_flaml_begins_with() -> None:
    defaults = MODELS[0].forms["regression"].defaults
    first = recorded(0, defaults, 0.2, system_attrs={"fixed_params": defaults})
    begun = FlamlSampler(SMALL, 3, timed=False)
    assert is_same(begun.next_question([], maximize=True).params, defaults)

    second = FlamlSampler(SMALL, 3, timed=False).next_question([first], maximize=True)

    assert not is_same(second.params, defaults)


def test_a_trial_that_a_person_queued_again_does_not_disturb_it() -> None:
    trials = searched(FlamlSampler(SMALL, 3, timed=False), [], 8)
    undisturbed = FlamlSampler(SMALL, 3, timed=False).next_question(trials, maximize=True)
    again = recorded(8, trials[5].params, 0.1, system_attrs={"fixed_params": trials[5].params})

    asked = FlamlSampler(SMALL, 3, timed=False).next_question([*trials, again], maximize=True)

    assert asked == undisturbed


def test_a_record_that_does_not_fit_is_gone_on_with_from_its_best_points() -> None:
    trials = searched(FlamlSampler(SMALL, 3, timed=False), [], 40)
    best = {t.params["learner"]: t for t in best_of_learners(trials, maximize=True)}
    assert len(best) > 2

    other = FlamlSampler(SMALL, seed=4, timed=False)  # as another version of FLAML would be
    asked = []
    for number in range(40, 70):
        question = other.next_question(trials, maximize=True)
        asked.append(question)
        trials.append(recorded(number, question.params, 0.0))

    done = [t.params for t in trials[:40] if t.state == TrialState.COMPLETE]
    assert not [q for q in asked for params in done if is_same(q.params, params)]
    # They lie around the best points and not around what FLAML begins with.
    for learner in ("lgbm", "xgboost"):
        near = [q.params for q in asked if q.learner == learner]
        assert near, learner
        start = best[learner].params
        rate, cheapest = f"{learner}.learning_rate", 0.1
        middle = float(np.median([np.log(p[rate]) for p in near]))
        assert abs(middle - np.log(start[rate])) < abs(middle - np.log(cheapest))


def test_scores_become_losses_and_what_has_no_score_has_no_loss() -> None:
    params = {"learner": "lgbm", "rows": "all"}

    assert loss_of(recorded(0, params, 0.75), maximize=True) == 0.25
    assert loss_of(recorded(0, params, 0.75), maximize=False) == 0.75
    pruned = recorded(0, params, 0.5, state=TrialState.PRUNED)
    assert loss_of(pruned, maximize=True) == 0.5
    assert loss_of(recorded(0, params, None, state=TrialState.PRUNED), maximize=True) is None
    assert loss_of(recorded(0, params, None), maximize=True) is None
    assert best_of_learners([pruned], maximize=True) == []


# -- in the store -----------------------------------------------------------------------------


@pytest.fixture
def crew(location: Location) -> Iterator[list[Worker]]:
    """Two workers, in this process, of FLAML and ridge on the diabetes data."""
    request = Request(("flaml", "ridge"), data="diabetes", name="e", trials=6, workers=2)
    experiment_id = create(location, request)
    workers = [
        Worker(Context(location, experiment_id, add_worker(location, experiment_id, slot)))
        for slot in (1, 2)
    ]
    yield workers
    for worker in workers:
        worker.storage.close()


def models_claimed(worker: Worker, count: int) -> list[str]:
    """The models of the next jobs; empty where there is none."""
    found = []
    for _ in range(count):
        job = claim(worker.storage, 1, worker.context.worker_id)
        found.append("" if job is None else job.model)
    return found


def test_one_worker_at_a_time_has_a_trial_of_flaml(crew: list[Worker]) -> None:
    first, second = crew

    assert models_claimed(first, 1) == ["flaml"]
    assert models_claimed(second, 7) == ["ridge"] * 6 + [""]


def test_the_next_trial_goes_to_whoever_asks_first_when_one_has_ended(
    crew: list[Worker],
) -> None:
    first, second = crew
    job = claim(first.storage, 1, first.context.worker_id)
    assert job is not None
    first.do(job)

    taken = claim(second.storage, 1, second.context.worker_id, {"automl"})

    assert taken is not None
    assert (taken.model, taken.number) == ("ridge", 0)  # every model its trial 0 first
    assert models_claimed(first, 1) == ["flaml"]
    assert "flaml" not in models_claimed(second, 6)


def test_five_folds_are_one_trial_with_learner_parameters_score_and_models(
    location: Location, crew: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    real = FlamlRegressor._train

    def counted(self: Any, X: Any, y: Any, seconds: float | None) -> None:
        trained.append(len(X))
        real(self, X, y, seconds)

    monkeypatch.setattr(FlamlRegressor, "_train", counted)
    worker = crew[0]
    for number in range(2):
        job = claim(worker.storage, 1, worker.context.worker_id, {"automl"})
        while job is not None and job.model != "flaml":
            worker.do(job)
            job = claim(worker.storage, 1, worker.context.worker_id, {"automl"})
        assert job is not None
        assert job.number == number
        worker.do(job)

    assert len(trained) == 10
    with asking(location) as reader:
        first, second = (t for t in reader.trials(1) if t.state == "complete")
    assert first.params == MODELS[0].forms["regression"].defaults
    assert second.params["learner"] == "lgbm"
    assert second.params != first.params
    kept = worker.context.artefacts.load(1, 1)
    assert kept.models is not None
    assert len(kept.models) == 5
    metrics = rows(location, "SELECT metrics FROM hx_trial WHERE study_id = 1 AND number = 1")
    assert len(json.loads(metrics[0][0])["folds"]) == 5


def test_what_raises_in_training_is_a_failed_trial_and_the_search_goes_on(
    location: Location, crew: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = FlamlRegressor._train, []

    def breaks(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 7:  # the second fold of the second trial
            raise ValueError("no such tree")
        real(self, *arguments)

    monkeypatch.setattr(FlamlRegressor, "_train", breaks)
    while crew[0].work_once():
        pass

    found = rows(
        location, "SELECT number, state, error_message FROM hx_trial WHERE study_id = 1 ORDER BY 1"
    )
    assert [number for number, *_ in found] == list(range(6))
    assert found[1][1:] == ("FAIL", "no such tree")
    assert {state for number, state, _ in found if number != 1} <= {"COMPLETE", "PRUNED"}
    (held_out,) = rows(location, "SELECT held_out_score FROM hx_study WHERE study_id = 1")
    assert held_out[0] is not None


def test_a_trial_on_a_sample_of_the_rows_is_pruned_with_its_size_and_counts(
    location: Location, crew: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "MIN_SAMPLE_TRAIN", 30)
    monkeypatch.setattr(Table, "samples", property(lambda self: True))
    worker = crew[0]
    while worker.work_once():
        pass

    found = rows(
        location,
        "SELECT t.number, t.state, t.value, t.metrics FROM hx_trial t WHERE t.study_id = 1 "
        "ORDER BY t.number",
    )
    assert len(found) == 6
    trials = {t.number: t for t in worker.storage.get_all_trials(1)}
    sampled = [row for row in found if trials[row[0]].params["rows"] == "sample"]
    assert sampled
    for number, state, value, metrics in sampled:
        told, size = json.loads(metrics), trials[number].params["sample_size"]
        assert state == "PRUNED"
        assert value is not None
        assert told["sample_size"] == size
        assert told["rows"][0] == size < told["rows"][1]
        assert trials[number].intermediate_values == {size: value}
        assert loss_of(trials[number], maximize=True) == 1.0 - value
    # What was tried on few rows is no candidate, however well it did.
    best = rows(location, "SELECT held_out_number FROM hx_study WHERE study_id = 1")[0][0]
    assert trials[best].params["rows"] == "all"


def test_a_sampled_evaluation_trains_on_no_more_rows_than_it_says() -> None:
    data = snapshot(200, 3)
    form = MODELS[0].forms["regression"]
    told: list[float] = []
    trainer = Trainer(data, METRICS["r2"])

    evaluation = SampledEvaluation(trainer, form, form.defaults, 3, size=50, report=told.append)
    list(evaluation.scores())

    assert [o.rows[0] for o in evaluation.outcomes] == [50] * trainer.folds
    with pytest.raises(optuna.TrialPruned, match="50 rows"):
        _ = evaluation.value
    assert len(told) == 1
    assert evaluation.metrics["sample_size"] == 50


def test_without_flaml_the_tree_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalogue.find("FLAML").family == "automl"

    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "flaml")

    with pytest.raises(PackageMissing, match=r'pip install "hyperion-tui\[automl\]"'):
        catalogue.select(["automl"])
    assert "flaml" not in {spec.name for spec in catalogue.select(["all"])}


# -- its estimators -----------------------------------------------------------------------------


CHEAP: dict[str, dict[str, Any]] = {
    "lgbm": {"n_estimators": 5, "num_leaves": 4},
    "rf": {"n_estimators": 5, "max_leaves": 8},
    "xgboost": {"n_estimators": 5, "max_leaves": 4},
    "extra_tree": {"n_estimators": 5, "max_leaves": 8},
    "xgb_limitdepth": {"n_estimators": 5, "max_depth": 3},
    "sgd": {"penalty": "None", "learning_rate": "invscaling"},
    "catboost": {"early_stopping_rounds": 10, "learning_rate": 0.2},
    "lrl1": {"C": 1.0},
}


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("learner", LEARNERS["classification"])
def test_every_learner_trains_and_pickles_and_leaves_no_trace(
    learner: str,
    classes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if learner == "catboost":
        pytest.importorskip("catboost")
    if learner == "lrl1" and not classes:
        pytest.skip("classifies only")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 4))
    y = X[:, 0] + X[:, 1]
    if classes:
        # Codes with a gap: a fold may lack the class in the middle.
        y = np.digitize(y, [0.0] if classes == 2 else [-0.5, 0.5]).astype(float) * 2
    params = {f"{learner}.{name}": value for name, value in CHEAP[learner].items()}
    kind: Any = FlamlClassifier if classes else FlamlRegressor

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kind(learner=learner, seed=3, **params).fit(X, y)
        again = kind(learner=learner, seed=3, **params).fit(X, y)
        copy = pickle.loads(pickle.dumps(model))
        say = (lambda m: m.predict_proba(X)) if classes else (lambda m: m.predict(X))
        said = say(model)

    assert np.array_equal(said, say(again))
    assert np.array_equal(said, say(copy))
    if classes:
        assert model.classes_.tolist() == sorted(set(y))
        assert said.shape == (120, classes)
        assert set(model.predict(X)) <= set(y)
    assert list(tmp_path.iterdir()) == []
    if learner == "catboost":  # its folder is removed after the training, if nobody is killed
        assert model._model.model.get_params()["allow_writing_files"] is False
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("learner", ["lgbm", "rf", "xgboost", "catboost"])
def test_a_deadline_ends_the_training_of_what_grows(learner: str) -> None:
    if learner == "catboost":
        pytest.importorskip("catboost")
    X = np.random.default_rng(0).normal(size=(3000, 10))
    y = X[:, 0] * X[:, 1]
    size = {"n_estimators": 2000} if learner == "rf" else {"n_estimators": 20_000}
    more: dict[str, Any] = {"learning_rate": 0.001, "early_stopping_rounds": 1000}
    params = more if learner == "catboost" else size
    view = FoldView(0, X, y, X[:0], y[:0], {}, 0)
    watch = Watch(deadline=time.monotonic() + 0.2)
    begun = time.monotonic()

    model = FlamlRegressor(
        learner=learner, **{f"{learner}.{name}": value for name, value in params.items()}
    )
    model.fit_watched(view, watch)

    assert time.monotonic() - begun < 10.0  # without the deadline: half a minute and more
    assert watch.cut_short
    assert np.isfinite(pickle.loads(pickle.dumps(model)).predict(X)).all()


def test_only_flaml_brings_its_own_search() -> None:
    assert [name for name in catalogue.models() if automl.chooses_itself(name)] == ["flaml"]
