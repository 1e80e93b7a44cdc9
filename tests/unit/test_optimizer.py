"""The Python face, and an experiment that one process runs by itself."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engines import HyperparameterOptimizer
from engines.data.frames import from_arrays
from engines.data.scoring import find_metric
from engines.errors import BadInput, HyperionError
from engines.run import final
from engines.run.context import Context
from engines.run.inline import run_inline
from engines.run.settle import load_or_refit, predictor
from engines.run.start import Request, create
from engines.study.endings import best_trials
from engines.study.location import Location
from engines.study.locks import take_runner_lock
from engines.study.reader import Reader
from engines.study.records import Experiment
from tests.unit.building import new_store


def rows(n: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(n, 3)), columns=["a", "b", "c"])
    frame["town"] = np.where(random.random(n) < 0.5, "Bath", "Wells")
    y = 2 * frame["a"] + (frame["town"] == "Bath") + random.normal(scale=0.2, size=n)
    return frame, y.to_numpy()


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return new_store(tmp_path / "s.db")


def ran(
    location: Location, models: tuple[str, ...] = ("ridge", "decision_tree"), **changes: Any
) -> tuple[Context, Experiment]:
    X, y = rows()
    if changes.pop("ordered", False):
        X["day"] = pd.date_range("2026-01-01", periods=len(X)).astype("str")
        data = from_arrays(X, y, time_column="day")
    else:
        data = from_arrays(X, y)
    trials = changes.pop("trials", 3)
    request = Request(selectors=models, trials=trials, seed=1, **changes)
    experiment_id = create(location, request, data)
    context = run_inline(location, experiment_id)
    with contextlib.closing(Reader(location)) as reader:
        return context, reader.experiment(experiment_id)


def test_an_experiment_ends_with_held_out_scores_evidence_and_an_ensemble(
    location: Location,
) -> None:
    context, experiment = ran(location)

    assert experiment.state == "done"
    assert [study.counts.finished for study in experiment.studies] == [3, 3]
    for study in experiment.studies:
        assert study.best is not None
        assert study.best.held_out_score is not None
        assert study.evidence is not None
        low, high = study.evidence.held_out_interval or (1.0, 0.0)
        assert low <= study.best.held_out_score <= high
        low, high = study.evidence.selection_interval or (1.0, 0.0)
        assert low <= study.best.selection_score <= high
        assert (study.evidence.baseline, study.openings) == ("mean", 1)
    assert (experiment.studies[0].evidence.p or 1.0) < 0.001
    ensemble = experiment.ensemble
    assert ensemble is not None
    assert sum(member["weight"] for member in ensemble.members) == pytest.approx(1.0)
    bests = [study.best.selection_score for study in experiment.studies if study.best]
    assert (ensemble.selection_score or -9) >= max(bests) - 1e-6  # kept in 24 bits
    context.storage.close()


def test_the_held_out_score_is_that_of_the_mean_of_the_fold_models(location: Location) -> None:
    context, experiment = ran(location, ("decision_tree",))
    best = best_trials(context.storage, experiment.studies[0].study_id)[0]
    held_out = context.data.split.held_out

    models = load_or_refit(context, best)
    predicted = np.mean([model.predict(context.data.X[held_out]) for model in models], axis=0)

    assert len(models) == 5
    study = experiment.studies[0].best
    assert study is not None
    score = find_metric("r2").score(context.data.y[held_out], predicted)
    assert study.held_out_score == pytest.approx(score, rel=1e-12)
    context.storage.close()


def test_models_that_were_not_kept_are_fitted_again_and_are_the_same(location: Location) -> None:
    context, experiment = ran(location, ("random_forest",))
    best = best_trials(context.storage, experiment.studies[0].study_id)[0]
    probe = np.arange(20)
    kept = predictor(context, best)(probe)

    context.artefacts.forget(experiment.studies[0].study_id)

    np.testing.assert_allclose(predictor(context, best)(probe), kept, rtol=1e-12)
    context.storage.close()


def test_ordered_rows_are_predicted_by_one_model_of_the_whole_search_part(
    location: Location,
) -> None:
    context, experiment = ran(location, ("ridge",), ordered=True)
    best = best_trials(context.storage, experiment.studies[0].study_id)[0]

    models = load_or_refit(context, best)

    assert len(models) == 1
    y = context.data.y[context.data.split.search]
    assert (models[0].low, models[0].high) == (y.min(), y.max())
    context.storage.close()


def test_models_that_can_not_do_it_are_left_out_with_the_reason(location: Location) -> None:
    X, y = rows()
    create(location, Request(("sklearn",), trials=1), from_arrays(X, y))
    with contextlib.closing(Reader(location)) as reader:
        experiment = reader.experiments()[0]
    assert "negative values" in experiment.left_out["gamma"]
    models = {study.model for study in experiment.studies}
    assert "gamma" not in models
    assert {"ridge", "svr", "random_forest"} < models


def test_a_model_named_by_itself_that_can_not_do_it_is_refused(location: Location) -> None:
    X, y = rows()
    request = Request(selectors=("gamma",), trials=1)
    with pytest.raises(BadInput, match="gamma can't be used here: the target has negative values"):
        create(location, request, from_arrays(X, y))


def test_an_experiment_that_another_process_drives_is_left_to_it(location: Location) -> None:
    X, y = rows()
    experiment_id = create(location, Request(("ridge",), trials=1), from_arrays(X, y))
    pid = os.fork()
    if pid == 0:  # a lock of our own process would be no obstacle
        descriptor = take_runner_lock(location.runner_lock(experiment_id))
        time.sleep(60 if descriptor is not None else 0)
        os._exit(0)
    try:
        with contextlib.closing(Reader(location)) as reader:
            while not reader.runners([experiment_id]):
                time.sleep(0.01)
        with pytest.raises(HyperionError, match="is being run by another process"):
            run_inline(location, experiment_id)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_fit_searches_and_predicts_and_says_how_good_it_is() -> None:
    X, y = rows(200)
    optimizer = HyperparameterOptimizer(random_seed=3, storage=None)

    fitted = optimizer.fit(X, y, n_trials=2, models=["ridge", "decision_tree"])

    assert fitted is optimizer
    new, truth = rows(300, seed=9)
    assert find_metric("r2").score(truth, optimizer.predict(new)) > 0.9
    assert optimizer.best_model_ == "ridge"
    assert set(optimizer.best_params_) >= {"alpha"}
    assert 0.8 < optimizer.best_score_ <= 1.0
    assert 0.8 < (optimizer.held_out_score_ or 0.0) <= 1.0
    names = [row["model"] for row in optimizer.leaderboard()]
    assert names[-2:] == ["baseline mean", "baseline median"]
    assert {"ridge", "decision_tree"} < set(names)


def test_fit_learns_labels_and_their_probabilities() -> None:
    X, y = rows(200)
    labels = np.where(y > np.median(y), "high", "low")
    optimizer = HyperparameterOptimizer(storage=None).fit(
        X, labels, n_trials=2, models=["random_forest"]
    )

    new, truth = rows(300, seed=9)
    predicted = optimizer.predict(new)
    shares = optimizer.predict_proba(new)

    assert optimizer.classes_ == ("high", "low")
    assert set(predicted) <= {"high", "low"}
    assert (predicted == np.where(truth > np.median(y), "high", "low")).mean() > 0.8
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_a_category_that_was_not_there_in_training_is_missing_at_prediction() -> None:
    X, y = rows(100)
    optimizer = HyperparameterOptimizer(storage=None).fit(X, y, n_trials=1, models="ridge")
    new, _ = rows(20)
    new["town"] = "Oslo"
    assert np.isfinite(optimizer.predict(new)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.drop(columns="a"), "X has no column 'a'"),
        (lambda X: X.assign(a="text"), "column 'a' holds text"),
    ],
)
def test_rows_of_another_kind_are_refused_in_one_line(change: Any, message: str) -> None:
    X, y = rows(60)
    optimizer = HyperparameterOptimizer(storage=None).fit(X, y, n_trials=1, models="ridge")
    with pytest.raises(BadInput, match=message):
        optimizer.predict(change(X))


@pytest.mark.parametrize(
    ("y", "message"),
    [(np.zeros((5, 2)), r"y has the shape \(5, 2\)"), (np.zeros(7), r"X 60 rows")],
)
def test_a_target_of_another_shape_is_refused(y: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        HyperparameterOptimizer(storage=None).fit(rows(60)[0], y, n_trials=1)


def test_without_a_budget_fit_asks_for_one() -> None:
    with pytest.raises(BadInput, match="time_budget_s"):
        HyperparameterOptimizer(storage=None).fit(*rows(60))


@pytest.mark.parametrize("seconds", [0.01, 1.0])
def test_however_short_the_time_there_is_a_model(seconds: float) -> None:
    X, y = rows(60)
    optimizer = HyperparameterOptimizer(storage=None).fit(
        X, y, time_budget_s=seconds, models="sklearn"
    )
    assert np.isfinite(optimizer.predict(X)).all()


def test_before_fit_there_is_nothing_to_predict_with() -> None:
    with pytest.raises(HyperionError, match="call fit"):
        HyperparameterOptimizer(storage=None).predict(rows(10)[0])
    with pytest.raises(HyperionError, match="call fit"):
        _ = HyperparameterOptimizer(storage=None).best_score_


def test_what_is_searched_is_kept_where_it_was_asked_for(tmp_path: Path) -> None:
    store = str(tmp_path / "mine.db")
    optimizer = HyperparameterOptimizer(storage=store)
    optimizer.fit(*rows(60), n_trials=1, models="ridge", name="mine")
    with contextlib.closing(Reader(Location(Path(store)))) as reader:
        assert [e.name for e in reader.experiments()] == ["mine"]


def test_of_a_line_taken_home_the_folds_have_learned_from_the_held_out_rows_too() -> None:
    X, y = rows(100)
    optimizer = HyperparameterOptimizer(storage=None).fit(X, y, n_trials=1, models="ridge")
    home = optimizer._predictor
    assert home is not None
    # Five models of four fifths of all 100 rows, the held-out 20 among them, and one of all.
    assert (home.refitted, [len(models) for _, models in home.bags]) == (1, [5, 1])
    assert [weight for weight, _ in home.bags] == pytest.approx([2 / 3, 1 / 3])
    assert home.bags[1][1][0].high == y.max()


def test_a_forest_taken_home_has_learned_from_all_rows_with_several_seeds() -> None:
    X, y = rows(100)
    optimizer = HyperparameterOptimizer(storage=None).fit(X, y, n_trials=1, models="extra_trees")
    home = optimizer._predictor
    assert home is not None
    assert [(weight, len(models)) for weight, models in home.bags] == [(1.0, final.SEEDS)]
    assert all(model.high == y.max() for model in home.bags[0][1])
    encoded = np.random.default_rng(1).normal(size=(50, 4)).round()
    first, *others = (model.predict(encoded) for model in home.bags[0][1])
    assert not any(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("left", "refitted", "shares"),
    [(0.5, 0, [(1.0, 5)]), (1.5, 1, [(0.5, 5), (0.5, 1)]), (20.0, 1, [(2 / 3, 5), (1 / 3, 1)])],
)
def test_what_there_is_no_time_to_train_again_is_taken_home_from_the_search(
    left: float,
    refitted: int,
    shares: list[tuple[float, int]],
    location: Location,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, experiment = ran(location, ("ridge",), trials=1)
    monkeypatch.setattr(final, "seconds_for_one", lambda *_: 1.0)
    monkeypatch.setattr(final, "seconds_for_folds", lambda *_: 10.0)

    found = final.final_predictor(context, experiment, left)

    assert found.refitted == refitted
    assert [(weight, len(models)) for weight, models in found.bags] == shares


def test_for_training_on_all_rows_no_more_than_a_part_of_the_time_is_kept_back(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = ran(location)

    few = final.seconds_for_final(context, 1000.0)
    monkeypatch.setattr(final, "seconds_for_one", lambda *_: 100.0)

    assert 0.0 < few < 5.0
    assert final.seconds_for_final(context, 1000.0) == final.MOST_RESERVED * 1000.0


def test_of_a_forest_one_model_is_reserved_for_and_of_a_line_its_folds_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final, "seconds_for_one", lambda *_: 1.0)
    monkeypatch.setattr(final, "seconds_for_folds", lambda *_: 10.0)
    reserved = []
    for model in ("extra_trees", "ridge"):
        context, _ = ran(new_store(tmp_path / f"{model}.db"), (model,), trials=1)
        reserved.append(final.seconds_for_final(context, 1000.0))

    assert reserved == [1.0, 11.0]
