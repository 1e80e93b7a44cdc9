"""Forecasts: what a row knows, what it is asked for, and what it is measured by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from engines.data.custom import own_metric
from engines.data.frames import from_arrays
from engines.data.futures import truth
from engines.data.past import Asked, look_back, season_of
from engines.data.scoring import FORECAST, METRICS, ScoreError
from engines.data.snapshot import Snapshot, read_snapshot, write_snapshot
from engines.data.splits import split_dataset
from engines.errors import BadInput
from engines.models import catalogue
from engines.models.baselines import baseline_predictions, rules, score_baselines
from engines.models.evaluation import Evaluation, mean_rounds
from engines.models.fit import Trainer
from engines.models.learner import FoldView, OutOfTime, Watch
from engines.models.spec import TARGET_AS
from engines.models.steps import Steps

HOUR = 3600 * 10**9


def table(rows: int = 240, every: str = "h", seed: int = 0) -> tuple[pd.DataFrame, Any]:
    """Hourly rows whose target has a season of a day, and a column that leads it by an hour."""
    random = np.random.default_rng(seed)
    stamps = pd.date_range("2024-01-01", periods=rows, freq=every)
    noise = random.normal(size=rows + 1)
    y = 10 + 3 * np.sin(2 * np.pi * np.arange(rows) / 24) + noise[:-1]
    return pd.DataFrame({"when": stamps, "lead": noise[1:]}), y


def looked_back(horizon: int | None, **more: Any) -> Any:
    X, y = table(**more)
    return look_back(from_arrays(X, y, task="regression", time_column="when"), horizon)


def snapshot(tmp_path: Any, horizon: int | None, **more: Any) -> Snapshot:
    dataset = looked_back(horizon, **more)
    write_snapshot(tmp_path, dataset, split_dataset(dataset, 1))
    return read_snapshot(tmp_path)


def test_a_row_of_a_forecast_knows_the_target_up_to_itself_and_is_asked_for_the_next_ones() -> None:
    X, y = table()
    data = look_back(from_arrays(X, y, task="regression", time_column="when"), 3)
    first = len(y) - 3 - data.rows
    names = [feature.name for feature in data.features]
    lags = [int(name.split()[-1]) for name in names if "lag" in name]
    for row in (0, 7, data.rows - 1):
        at = first + row
        assert data.X[row, 0] == y[at]
        assert list(data.y[row]) == list(y[at + 1 : at + 4])
        found = [data.X[row, i] for i, name in enumerate(names) if "lag" in name]
        assert found == [y[at - lag] for lag in lags]
    assert data.task == FORECAST
    assert names[1] == "lead"
    # A season before each of the steps, and before the last known value.
    assert {21, 22, 23, 24} <= set(lags)


def test_with_the_past_of_the_target_a_row_knows_it_up_to_the_row_before() -> None:
    X, y = table()
    data = look_back(from_arrays(X, y, task="regression", time_column="when"), None)
    first = len(y) - data.rows
    assert list(data.y) == list(y[first:])
    assert list(data.X[:, 0]) == list(y[first - 1 : -1])
    assert data.X[5, 1] == X["lead"][first + 5]


def test_the_hash_of_the_data_does_not_depend_on_how_far_ahead_is_asked() -> None:
    assert looked_back(1).sha256 == looked_back(12).sha256 == looked_back(None).sha256


@pytest.mark.parametrize(
    ("every", "season"), [("h", 24), ("15min", 96), ("D", 7), ("W", 52), ("MS", 12), ("YS", None)]
)
def test_a_season_is_a_day_of_hours_a_week_of_days_or_a_year_of_months(
    every: str, season: int | None
) -> None:
    times = pd.date_range("1960-01-01", periods=60 if every == "YS" else 600, freq=every)
    assert season_of(times.to_numpy().astype("datetime64[ns]").astype(np.int64)) == season


def test_a_market_that_is_open_for_seven_hours_has_a_season_of_seven() -> None:
    days = np.arange(60)[:, None] * 24 + np.arange(14, 21)
    assert season_of(days.ravel() * HOUR) == 7


def test_no_season_is_seen_in_rows_of_two_days() -> None:
    assert season_of(np.arange(48) * HOUR) is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(FORECAST), "needs --horizon"),
        (Asked("classification", 3), "--horizon is for --task forecast"),
        (Asked(FORECAST, 3, True), "leave out --past-target"),
    ],
)
def test_words_that_do_not_fit_are_refused_in_one_line(asked: Asked, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        _ = asked.table_task


def test_rows_without_time_order_have_no_past() -> None:
    X, y = table()
    dataset = from_arrays(X[["lead"]], y, task="regression")
    with pytest.raises(BadInput, match="--time-column"):
        look_back(dataset, 3)
    with pytest.raises(BadInput, match="--past-target needs rows in order"):
        look_back(dataset, None)


def test_a_horizon_that_leaves_too_few_rows_is_refused_with_the_longest_that_would_do() -> None:
    X, y = table()
    dataset = from_arrays(X, y, task="regression", time_column="when")
    with pytest.raises(BadInput, match="at most (\\d+) will do") as refused:
        look_back(dataset, 230)
    most = int(str(refused.value).split("at most ")[1].split()[0])
    assert look_back(dataset, most).rows >= 20


@pytest.mark.parametrize("horizon", [1, 5, 30])
def test_no_target_that_trains_lies_behind_the_first_row_that_is_scored(horizon: int) -> None:
    data = looked_back(horizon, rows=600)
    split = split_dataset(data, 1)
    for train, scored in [
        *((fold.train, fold.valid) for fold in split.folds),
        (split.search, split.held_out),
    ]:
        assert data.past is not None
        assert data.past.at[train[-1]] + horizon <= data.past.at[scored[0]]


# -- metrics -------------------------------------------------------------------------------


def by_hand() -> tuple[Any, Any]:
    """Two rows, two steps: what came, the last value, the training mean and the naive error."""
    y = np.array([[3.0, 5.0, 4.0, 2.0, 0.5], [6.0, 6.0, 5.0, 2.0, 0.5]])
    return y, np.array([[3.5, 4.5], [4.0, 7.0]])


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("mae", (0.5 + 0.5 + 2 + 1) / 4),
        ("mse", (0.25 + 0.25 + 4 + 1) / 4),
        ("rmse", np.sqrt(5.5 / 4)),
        ("mape", (0.5 / 3 + 0.5 / 5 + 2 / 6 + 1 / 6) / 4),
        ("pinball", 0.5),
        ("mase", 2.0),
        ("r2", 1 - 5.5 / (1 + 9 + 16 + 16)),
        # Down and up were told right; a fall where it rose; the last one right.
        ("directional_accuracy", 0.75),
    ],
)
def test_metrics_of_forecasts_are_what_they_say_by_hand(metric: str, value: float) -> None:
    y, predicted = by_hand()
    assert METRICS[metric].score(y, predicted) == pytest.approx(value)


def test_a_metric_of_ones_own_is_given_what_came_and_what_was_said() -> None:
    y, predicted = by_hand()
    own = own_metric("own", lambda true, said: abs(true - said).mean(), task=FORECAST)
    assert own.score(y, predicted) == pytest.approx((0.5 + 0.5 + 2 + 1) / 4)
    assert own.score(y[:, [0, 2, 3, 4]], predicted[:, :1]) == pytest.approx((0.5 + 2) / 2)


def test_who_says_that_nothing_will_move_is_right_about_the_direction_as_often_as_a_coin() -> None:
    y, _ = by_hand()
    still = np.repeat(y[:, 2:3], 2, axis=1)
    assert METRICS["directional_accuracy"].score(y, still) == 0.5


def test_a_step_without_a_move_has_no_direction() -> None:
    y = np.array([[4.0, 5.0, 4.0, 0.0, 1.0]])
    accuracy = METRICS["directional_accuracy"]
    assert accuracy.score(y, np.array([[9.0, 6.0]])) == 1.0
    with pytest.raises(ScoreError, match="does not change"):
        accuracy.score(np.array([[4.0, 4.0, 4.0, 0.0, 1.0]]), np.array([[9.0, 6.0]]))


def test_what_metrics_measure_by_comes_from_the_rows_that_train(tmp_path: Any) -> None:
    data = snapshot(tmp_path, 3)
    assert data.past is not None
    _, y = table()
    found = truth(data.past, data.split)
    assert (found == data.truth)[~np.isnan(found)].all()
    for train, scored in [
        *((fold.train, fold.valid) for fold in data.split.folds),
        (data.split.search, data.split.held_out),
    ]:
        known = y[: data.past.at[train[-1]] + 1]
        assert found[scored, -2] == pytest.approx(np.full(len(scored), known.mean()))
        naive = np.abs(known[24:] - known[:-24]).mean()
        assert found[scored, -1] == pytest.approx(np.full(len(scored), naive))
    assert (found[:, :3] == data.y).all()


# -- baselines -----------------------------------------------------------------------------


def test_baselines_of_forecasts_are_the_naive_ones(tmp_path: Any) -> None:
    data = snapshot(tmp_path, 30)
    assert data.past is not None
    _, y = table()
    assert list(rules(data)) == ["mean", "last_value", "seasonal_naive", "drift"]
    rows, search = data.split.held_out, data.split.search
    at = int(data.past.at[rows[4]])
    said = {name: baseline_predictions(name, data, search, rows)[4] for name in rules(data)}
    assert said["last_value"] == pytest.approx(np.full(30, y[at]))
    # The season before a step that is more than a season ahead has not come yet.
    expected = [y[at + step - 24 * (1 if step <= 24 else 2)] for step in range(1, 31)]
    assert said["seasonal_naive"] == pytest.approx(np.array(expected))
    slope = (y[at] - y[0]) / at
    assert said["drift"] == pytest.approx(y[at] + slope * np.arange(1, 31))
    known = y[: data.past.at[search[-1]] + 1]
    assert said["mean"] == pytest.approx(np.full(30, known.mean()))
    scores = {name: selection for name, selection, _ in score_baselines(data, METRICS["mase"])}
    assert scores["seasonal_naive"] < scores["last_value"]  # type: ignore[operator]


def test_with_the_past_of_the_target_the_value_before_is_a_baseline(tmp_path: Any) -> None:
    data = snapshot(tmp_path, None)
    _, y = table()
    assert "last_value" in rules(data)
    rows = data.split.held_out
    said = baseline_predictions("last_value", data, data.split.search, rows)
    assert said == pytest.approx(y[-len(rows) - 1 : -1])


# -- training ------------------------------------------------------------------------------


def evaluated(data: Snapshot, model: str, **params: Any) -> Evaluation:
    form = catalogue.find(model).form(data.task, past=True)
    facts = {"train_rows": data.train_rows, "columns": data.X.shape[1], "context_rows": 20}
    chosen = {**form.space.bind(facts).clip(form.defaults), **params}
    found = Evaluation(Trainer(data, METRICS["r2"]), form, chosen, 1)
    list(found.scores())
    return found


@pytest.mark.parametrize("model", ["ridge", "bayesian_ridge", "lightgbm"])
@pytest.mark.parametrize("target_as", ["change", "level"])
def test_models_find_what_leads_the_target(tmp_path: Any, model: str, target_as: str) -> None:
    found = evaluated(snapshot(tmp_path, 2, rows=500), model, target_as=target_as)
    y = found._trainer.data.truth
    first = [
        1 - ((y[f.valid, 0] - p[:, 0]) ** 2).mean() / y[f.valid, 0].var()
        for f, p in zip(found._trainer.data.split.folds, found.predictions, strict=True)
    ]
    # The step after the next one is led by nothing but the season.
    assert first[-1] > 0.9
    assert found.value < first[-1]


def test_a_model_that_stops_early_has_a_number_of_rounds_for_each_step(tmp_path: Any) -> None:
    data = snapshot(tmp_path, 2, rows=500)
    found = evaluated(data, "lightgbm")
    rounds = mean_rounds(found.metrics)
    assert isinstance(rounds, list)
    assert len(rounds) == 2
    form = catalogue.find("lightgbm").form(FORECAST)
    model = found._trainer.refit(form, form.defaults, 1, data.split.search, rounds)
    assert [e.rounds_ for e in model.estimator.estimators] == rounds
    held_out = data.split.held_out
    assert model.predict(data.X[held_out]).shape == (len(held_out), 2)


def test_windows_read_the_past_of_the_target_as_a_column_and_no_lags(tmp_path: Any) -> None:
    data = snapshot(tmp_path, 3)
    model = evaluated(data, "nlinear", context_length=8, max_epochs=1).models[0]
    assert model.estimator.n_features_in_ == 2
    assert model.estimator.own == 1
    rows = data.split.held_out
    assert model.predict(data.X[rows], data.before(rows)).shape == (len(rows), 3)


def test_a_model_of_targets_above_zero_is_never_trained_on_changes() -> None:
    assert TARGET_AS not in catalogue.find("gamma").form(FORECAST).space.parameters
    assert TARGET_AS in catalogue.find("ridge").form(FORECAST).space.parameters
    # What searches by itself is not asked about parameters that are not its own.
    assert TARGET_AS not in catalogue.find("flaml").form(FORECAST).space.parameters


class Slow:
    """Learns nothing, and needs a moment for it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def fit(self, X: Any, y: Any) -> None:
        self.watch.deadline = 0.0


def test_time_that_ends_between_two_steps_ends_the_trial() -> None:
    watch = Watch()
    steps = Steps([Slow(watch), Slow(watch)])
    nothing = np.zeros((4, 2))
    with pytest.raises(OutOfTime, match="after 1 of 2 steps"):
        steps.fit_watched(FoldView(0, nothing, nothing, nothing, nothing, {}, 0), watch)
