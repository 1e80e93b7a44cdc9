"""The Python face: the calls, what they return, and rows that bring their own validation rows."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from rich.console import Console

from engines import HyperparameterOptimizer, compare_optimization_results
from engines.data.facts import data_facts
from engines.data.given import given_rows
from engines.data.scoring import find_metric
from engines.data.terms import Terms
from engines.errors import BadInput, HyperionError
from engines.face.agents import (
    as_bars,
    create_trading,
    in_spreads,
    names_agents,
    trading_request,
)
from engines.face.calls import reads_windows
from engines.face.progress import Display
from engines.face.results import Results
from engines.models import catalogue
from engines.models.rl_agents.stages import Stages
from engines.run.context import Context
from engines.run.own_metric import load_metric, own_metric_of
from engines.run.start import Request
from engines.study.location import Location, locate
from engines.study.reader import Reader
from engines.study.records import Experiment
from simulator import layout
from simulator.features import BUILT_IN
from simulator.synthetic import ornstein_uhlenbeck

needs_agents = pytest.mark.skipif(
    catalogue.find("td3").reason_missing is not None, reason="agents are not installed"
)
SILENT = Console(quiet=True)
RESULT_KEYS = [
    *("params", "score", "model_type", "metric", "trials", "optimization_time"),
    *("best_trial_number", "held_out_score", "validation_scores", "parameter_importance"),
]


def frame(n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.normal(size=(n, 3)), columns=["a", "b", "c"])
    X["town"] = np.where(random.random(n) < 0.5, "Bath", "Wells")
    y = 2 * X["a"] + (X["town"] == "Bath") + random.normal(scale=0.2, size=n)
    return X, y


TRAIN, VALID, TEST = frame(80, 1), frame(30, 2), frame(25, 3)
ROWS = (*TRAIN, *VALID)


def optimizer(**changes: Any) -> HyperparameterOptimizer:
    return HyperparameterOptimizer(**{"console": SILENT, "storage": None, **changes})


def in_the_store(store: str | None = None) -> list[Experiment]:
    location = locate(store)
    if not location.may_exist:
        return []
    with contextlib.closing(Reader(location)) as reader:
        return reader.experiments()


# -- signatures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "n_trials"),
    [
        *(("optimize_sklearn", 20), ("optimize_xgboost", 30), ("optimize_lightgbm", 30)),
        *(("optimize_catboost", 30), ("optimize_pytorch", 25), ("optimize_tft", 25)),
        *(("optimize_patchtst", 25), ("optimize_rl_agents", 25), ("optimize_automl", 40)),
        ("optimize_all_models", None),
    ],
)
def test_every_search_takes_four_parts_and_a_number_of_trials(
    method: str, n_trials: int | None
) -> None:
    parameters = inspect.signature(getattr(HyperparameterOptimizer, method)).parameters

    assert list(parameters)[:6] == ["self", "X_train", "y_train", "X_val", "y_val", "n_trials"]
    assert parameters["n_trials"].default == n_trials


@pytest.mark.parametrize(
    ("method", "defaults"),
    [
        (
            "__init__",
            {"console": None, "random_seed": 42, "n_jobs": 1, "debug": False},
        ),
        ("optimize_specific_models", {"n_trials": 20}),
        ("optimize_with_early_stopping", {"patience": 10, "min_improvement": 0.001}),
    ],
)
def test_the_defaults_are_the_published_ones(method: str, defaults: dict[str, Any]) -> None:
    parameters = inspect.signature(getattr(HyperparameterOptimizer, method)).parameters
    assert {name: parameters[name].default for name in defaults} == defaults


@pytest.mark.parametrize(
    ("method", "words"),
    [
        *(("optimize_sklearn", ["sklearn"]), ("optimize_xgboost", ["xgboost"])),
        *(("optimize_lightgbm", ["lightgbm"]), ("optimize_catboost", ["catboost"])),
        *(("optimize_pytorch", ["pytorch"]), ("optimize_tft", ["tft"])),
        *(("optimize_patchtst", ["patchtst"]), ("optimize_automl", ["automl"])),
        *(("optimize_rl_agents", ["rl_agents"]), ("optimize_all_models", ["all"])),
    ],
)
def test_a_search_is_named_after_the_models_it_searches(
    method: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(HyperparameterOptimizer, "_optimize", lambda *call: asked.append(call[1:]))

    getattr(optimizer(), method)(*ROWS, n_trials=3, name="mine")

    assert asked == [(words, *ROWS, 3, {"name": "mine"})]


# -- results ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two models, with rows for the held-out score."""
    store = tmp_path_factory.mktemp("face") / "s.db"
    return HyperparameterOptimizer(console=SILENT, storage=store).optimize_specific_models(
        ["ridge", "dummy"], *ROWS, n_trials=12, X_test=TEST[0], y_test=TEST[1]
    )


def test_a_result_has_every_key_that_was_promised(found: Results) -> None:
    assert list(found) == ["ridge", "dummy"]
    for result in found.values():
        assert list(result)[: len(RESULT_KEYS)] == RESULT_KEYS
    ridge = found["ridge"]
    assert (ridge["model_type"], ridge["metric"], ridge["trials"]) == ("sklearn", "r2_score", 12)
    assert set(ridge["params"]) == {"alpha"}
    assert ridge["validation_scores"] == [ridge["score"]]
    assert ridge["parameter_importance"] == {"alpha": 1.0}
    assert ridge["optimization_time"] > 0
    assert 0 <= ridge["best_trial_number"] < 12


def test_all_of_x_train_trains_and_x_val_selects(found: Results) -> None:
    r2 = find_metric("r2").score
    params = found["dummy"]["params"]
    share = {"median": 0.5, "quantile": params.get("quantile")}.get(params["strategy"])
    constant = float(TRAIN[1].mean() if share is None else np.quantile(TRAIN[1], share))

    assert found["dummy"]["score"] == pytest.approx(r2(VALID[1], np.full(30, constant)))
    assert found["dummy"]["held_out_score"] == pytest.approx(r2(TEST[1], np.full(25, constant)))


def test_names_of_results_are_found_as_they_are_typed(found: Results) -> None:
    assert found["Ridge"] is found["ridge"]
    agents = Results({"SAC_Trading": {"score": 1.0}})
    assert agents["sac"] is agents["SAC_Trading"]
    with pytest.raises(KeyError):
        found["svr"]


def test_without_test_rows_there_is_no_held_out_score_and_a_line_says_so() -> None:
    told = io.StringIO()

    found = optimizer(console=Console(file=told)).optimize_specific_models(
        "ridge", *ROWS, n_trials=1
    )

    assert found["ridge"]["held_out_score"] is None
    assert "no rows are held out, so held_out_score is None" in told.getvalue()
    assert told.getvalue().count("\n") == 1


def test_a_part_of_x_train_can_be_held_out() -> None:
    found = optimizer().optimize_specific_models("ridge", *ROWS, n_trials=1, held_out=0.2)
    assert 0.5 < found["ridge"]["held_out_score"] < 1


def test_arrays_and_frames_of_pandas_and_polars_give_the_same_scores() -> None:
    plain = (TRAIN[0].drop(columns="town"), TRAIN[1], VALID[0].drop(columns="town"), VALID[1])
    forms: list[Callable[[Any], Any]] = [
        lambda one: one,
        lambda one: one.to_numpy(),
        lambda one: pl.from_pandas(one),
    ]

    scores = {
        optimizer().optimize_specific_models("ridge", *map(form, plain), n_trials=1)["ridge"][
            "score"
        ]
        for form in forms
    }

    assert len(scores) == 1


def test_text_columns_of_polars_are_categories() -> None:
    data, _ = given_rows(
        (pl.from_pandas(TRAIN[0]), pl.Series(TRAIN[1])),
        (pl.from_pandas(VALID[0]), pl.Series(VALID[1])),
    )
    assert data.features[-1].categories == ("Bath", "Wells")
    with pytest.raises(BadInput, match="collect"):
        given_rows((pl.from_pandas(TRAIN[0]).lazy(), TRAIN[1]), VALID)


@pytest.mark.slow
def test_a_model_that_can_not_do_it_is_told_and_the_others_go_on() -> None:
    found = optimizer().optimize_sklearn(*ROWS, n_trials=1)
    assert "negative values" in found.failed["gamma"]
    assert "gamma" not in found
    assert len(found) > 25


# -- rules --------------------------------------------------------------------------------------


def test_early_stopping_returns_the_optimizer_and_ends_studies_early() -> None:
    searching = optimizer()

    assert searching.optimize_with_early_stopping(patience=3, min_improvement=0.5) is searching
    found = searching.optimize_specific_models("ridge", *ROWS, n_trials=30)

    assert found["ridge"]["trials"] < 10


def worst(y_true: Any, y_pred: Any) -> float:
    return float(np.abs(np.asarray(y_true) - y_pred).max())


def test_a_metric_of_ones_own_scores_and_has_its_own_direction() -> None:
    searching = optimizer()
    assert searching.set_custom_metric(worst, maximize=False) is searching

    found = searching.optimize_specific_models(["ridge", "dummy"], *ROWS, n_trials=2)

    assert list(found) == ["ridge", "dummy"]
    assert (found["ridge"]["metric"], found["ridge"]["direction"]) == ("worst", "minimize")
    assert 0 < found["ridge"]["score"] < found["dummy"]["score"]


def test_a_metric_of_classes_is_given_labels_as_they_were() -> None:
    def hits(y_true: Any, y_pred: Any) -> float:
        assert {*y_true, *y_pred} == {"high", "low"}
        return float((y_true == y_pred).mean())

    labels = [np.where(y > 0.5, "high", "low") for y in (TRAIN[1], VALID[1])]
    found = (
        optimizer()
        .set_custom_metric(hits)
        .optimize_specific_models("ridge", TRAIN[0], labels[0], VALID[0], labels[1], n_trials=1)
    )

    assert found["ridge"]["score"] > 0.7


@pytest.mark.parametrize("value", [float("nan"), None, "good"])
def test_a_metric_that_gives_no_number_fails_the_trial_with_its_reason(value: Any) -> None:
    searching = optimizer().set_custom_metric(lambda y_true, y_pred: value)

    found = searching.optimize_specific_models("ridge", *ROWS, n_trials=1)

    assert found == {}
    assert "number" in found.failed["ridge"]


def test_two_metrics_of_the_same_code_have_one_name_and_others_another() -> None:
    def make(power: int) -> Any:
        return lambda y_true, y_pred: float((abs(y_true - y_pred) ** power).mean())

    names = [own_metric_of(make(power), maximize=False).name for power in (1, 1, 2)]

    assert names[0] == names[1] != names[2]


def test_a_metric_that_reads_another_number_or_calls_another_function_has_another_name() -> None:
    def made(setting: str) -> str:
        cells: dict[str, Any] = {"__name__": "__main__"}
        exec(setting + "\ndef own(y_true, y_pred):\n    return BETA * part(y_true)", cells)
        return own_metric_of(cells["own"], maximize=False).name

    part = "BETA = {}\ndef part(y):\n    return y.{}()"
    names = [made(part.format(beta, call)) for beta, call in ((1, "min"), (2, "min"), (1, "max"))]

    assert len(set(names)) == 3
    assert made(part.format(1, "min")) == names[0]


def test_a_metric_that_raises_is_the_reason_of_a_failed_trial() -> None:
    def own(y_true: Any, y_pred: Any) -> float:
        raise ZeroDivisionError("no such ratio")

    found = optimizer().set_custom_metric(own).optimize_specific_models("ridge", *ROWS, n_trials=1)

    assert "ZeroDivisionError: no such ratio" in found.failed["ridge"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"n_trials": 0}, "at least 1"),
        ({"n_trials": -3}, "at least 1"),
        ({"n_trials": 2.5}, "a whole number"),
        ({"n_trials": "5"}, "a whole number"),
        ({"n_trials": 1, "time_budget_s": float("nan")}, "not a number of seconds"),
        ({"n_trials": 1, "time_budget_s": -5}, "not a number of seconds"),
        ({"n_trials": 1, "time_budget_s": "soon"}, "not a number of seconds"),
    ],
)
def test_budgets_that_are_none_are_refused_in_one_line(how: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        optimizer().optimize_specific_models("ridge", *ROWS, **how)
    with pytest.raises(BadInput, match=words):
        optimizer().fit(*ROWS[:2], models="ridge", **how)


def test_a_fit_that_finds_nothing_leaves_no_older_predictor_behind() -> None:
    searching = optimizer().fit(*ROWS[:2], models="ridge", n_trials=1)
    searching.set_custom_metric(lambda y_true, y_pred: float("nan"))

    with pytest.raises(HyperionError):
        searching.fit(*ROWS[:2], models="ridge", n_trials=1)
    with pytest.raises(HyperionError, match="fit"):
        searching.predict(ROWS[0])


def test_a_metric_is_read_back_only_as_it_was_written(tmp_path: Path) -> None:
    own = own_metric_of(worst, maximize=False)
    own.write(tmp_path)
    tmp_path.chmod(0o700)
    metric = load_metric(tmp_path, own.described(), "regression", ())
    assert metric.score([1.0, 2.0], [1.0, 4.0]) == 2.0

    (tmp_path / "metric.pickle").write_bytes(own.content + b"x")
    with pytest.raises(HyperionError, match="worst can't be read"):
        load_metric(tmp_path, own.described(), "regression", ())
    own.write(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(HyperionError, match="written by others"):
        load_metric(tmp_path, own.described(), "regression", ())


def test_what_is_left_unsaid_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNA_TRIALS", "2")
    monkeypatch.setenv("RANDOM_SEED", "7")

    searching = optimizer()
    unsaid = searching.optimize_specific_models("dummy", *ROWS)
    said = searching.optimize_specific_models("dummy", *ROWS, n_trials=1)

    assert (unsaid["dummy"]["trials"], said["dummy"]["trials"]) == (2, 1)
    assert (searching.random_seed, optimizer(random_seed=42).random_seed) == (7, 42)
    monkeypatch.setenv("OPTUNA_TRIALS", "many")
    with pytest.raises(BadInput, match="OPTUNA_TRIALS is `many`"):
        searching.optimize_specific_models("dummy", *ROWS)
    monkeypatch.setenv("OPTIMIZATION_TIMEOUT", "-1")
    with pytest.raises(BadInput, match="OPTIMIZATION_TIMEOUT"):
        searching.optimize_specific_models("dummy", *ROWS, n_trials=1)


# -- the store, interruptions, and what is shown ------------------------------------------------


def test_by_default_it_is_in_the_store_of_the_app() -> None:
    optimizer(storage="").optimize_specific_models("dummy", *ROWS, n_trials=1, name="noted")

    (experiment,) = in_the_store()

    assert (experiment.name, experiment.state) == ("noted", "done")
    assert experiment.split is not None
    rows = ("search_rows", "validation_rows", "held_out_rows", "folds")
    assert [experiment.split[name] for name in rows] == [110, 30, 0, 1]


def test_in_memory_the_store_of_the_app_is_not_touched() -> None:
    searching = optimizer()
    searching.optimize_specific_models("dummy", *ROWS, n_trials=1)
    assert in_the_store() == []
    own = str(searching._own_store.path)
    assert [e.name for e in in_the_store(own)] == ["data-1"]


def test_an_interrupted_call_is_paused_and_goes_on_by_its_name(tmp_path: Path) -> None:
    calls = str(tmp_path / "calls")

    def interrupting(y_true: Any, y_pred: Any) -> float:
        with open(calls, "a+") as file:
            file.write("x")
            if file.tell() == 5:
                signal.raise_signal(signal.SIGINT)
        return -float(np.abs(np.asarray(y_true) - y_pred).mean())

    told = io.StringIO()
    searching = optimizer(console=Console(file=told), storage=tmp_path / "s.db")
    searching.set_custom_metric(interrupting)
    with pytest.raises(KeyboardInterrupt):
        searching.optimize_specific_models("ridge", *ROWS, n_trials=6, name="e")
    (paused,) = in_the_store(str(tmp_path / "s.db"))

    counts = paused.studies[0].counts
    assert (paused.state, counts.failed, counts.running, counts.waiting) == ("paused", 0, 0, 1)
    assert "e is paused" in told.getvalue()
    assert "`hyperion-tui resume e`" in " ".join(told.getvalue().split())
    found = searching.optimize_specific_models("ridge", *ROWS, n_trials=6, name="e")

    assert found["ridge"]["trials"] == 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_progress_is_drawn_in_a_terminal_and_nowhere_when_silent() -> None:
    drawn, silent = io.StringIO(), io.StringIO()
    for console in (
        Console(file=drawn, force_terminal=True, width=100),
        Console(file=silent, force_terminal=True, quiet=True),
    ):
        optimizer(console=console).optimize_specific_models("dummy", *ROWS, n_trials=2)

    assert "dummy" in drawn.getvalue()
    assert "0/2" in drawn.getvalue()
    assert silent.getvalue() == ""


def test_what_is_said_steers_no_terminal() -> None:
    told = io.StringIO()
    Display(Console(file=told, force_terminal=True)).say("a\x1b[2Jb [red]c")
    assert "\x1b[2J" not in told.getvalue()
    assert "[red]" in told.getvalue()


def test_debug_logs_every_event_under_one_name(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("hyperion")
    try:
        optimizer(debug=True).optimize_specific_models("dummy", *ROWS, n_trials=1)
    finally:
        logger.setLevel(logging.NOTSET)

    lines = [r.getMessage() for r in caplog.records if r.name == "hyperion"]
    assert any(line.startswith("dummy trial 0: ") for line in lines)


def test_capabilities_are_a_table_of_families(capsys: pytest.CaptureFixture[str]) -> None:
    HyperparameterOptimizer(storage=None).show_model_capabilities()
    printed = capsys.readouterr().out
    assert "36/36" in printed
    assert set(catalogue.families()) <= set(printed.replace("│", " ").split())


# -- rows that can't be used --------------------------------------------------------------------


X8, Y8 = TRAIN[0].drop(columns="town").to_numpy(), TRAIN[1].to_numpy()


@pytest.mark.parametrize(
    ("valid", "options", "message"),
    [
        ((X8[:, :2], Y8), {}, "X_val has 2 columns and X_train 3 .'x2' is in one of them"),
        ((X8[:5], Y8), {}, r"y_val has the shape \(80,\) and X_val 5 rows"),
        ((X8[:1], Y8[:1]), {}, "X_val has 1 rows: too few"),
        ((X8, np.where(Y8 > 0, Y8, np.nan)), {}, "y_val is missing in"),
        ((X8, np.array(["a"] * 80, dtype=object)), {}, "numbers in one part and text"),
        ((X8, Y8), {"held_out": 0.9}, "above 0 and at most 0.5"),
        ((X8, Y8), {"held_out": 0.2, "test": (X8, Y8)}, "one or the other"),
        ((X8, Y8), {"held_out": 0.2, "ordered": True}, "give the rows behind X_val"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_line(
    valid: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        given_rows((X8, Y8), valid, **options)
    assert "\n" not in str(refused.value)


def test_an_option_that_is_misspelled_is_named() -> None:
    with pytest.raises(BadInput, match="no option heldout: did you mean held_out"):
        optimizer().optimize_sklearn(*ROWS, heldout=0.2)  # type: ignore[call-arg]


@pytest.mark.parametrize("jobs", [0, -2])
def test_a_number_of_workers_that_is_none_is_refused(jobs: int) -> None:
    with pytest.raises(BadInput, match="n_jobs"):
        optimizer(n_jobs=jobs)


def test_models_that_read_windows_take_rows_in_their_order() -> None:
    assert [reads_windows([word]) for word in ("tft", "pytorch", "advanced", "ridge", "all")] == [
        *(True, True, True, False, False)
    ]
    data, split = given_rows(TRAIN, VALID, ordered=True)
    assert data_facts(data, split)["ordered"]
    assert split.describe()["kind"] == "given validation set"
    assert (split.folds[0].valid[0], len(split.held_out)) == (80, 0)


def test_predicted_labels_are_of_the_type_that_was_given() -> None:
    X, y = frame(60, 4)
    fitted = optimizer().fit(X, (y > 0.5).astype(int).to_numpy(), n_trials=1, models="ridge")
    assert fitted.predict(X).dtype == np.int64
    assert fitted.classes_ == ("0", "1")


def test_an_optimizer_that_has_fitted_can_be_pickled() -> None:
    X, y = frame(60, 4)
    fitted = HyperparameterOptimizer(storage=None).fit(X, y, n_trials=1, models="ridge")
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


# -- agents -------------------------------------------------------------------------------------


MARKET = ornstein_uhlenbeck(420, seed=3).to_frame()[["open", "high", "low", "close", "volume"]]
"""Little more than the fewest bars that can be split."""


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_EPISODES", "1")


@needs_agents
@pytest.mark.slow
def test_all_agents_are_searched_and_their_results_have_the_published_form(
    few_steps: None,
) -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(420, 5)), random.normal(scale=0.01, size=420)

    found = optimizer().optimize_rl_agents(X[:300], y[:300], X[300:], y[300:], n_trials=1)

    assert {*found} == {"SAC_Trading", "TD3_Trading", "RainbowDQN_Trading"}
    for result in found.values():
        assert [*result][: len(RESULT_KEYS)] == RESULT_KEYS
        assert result["model_type"] == "reinforcement_learning_trading"
        assert result["metric"] == "sharpe_ratio"
        assert len(result["validation_scores"]) == 3
        assert result["score"] == np.median(result["validation_scores"])
        assert np.isfinite([result["score"], result["held_out_score"]]).all()
    assert {"gamma", "tau", "policy_delay"} <= set(found["td3"]["params"])
    assert compare_optimization_results(found).get_summary()["total_models"] == 3


@needs_agents
def test_prices_are_bars_in_the_order_given_and_need_no_y(location: Location) -> None:
    told: list[str] = []
    request = trading_request(Request(("td3",)), ("td3",), alone=True)

    create_trading(location, request, [(MARKET[:300], None), (MARKET[300:], None)], told.append)

    (experiment,) = in_the_store(location.shown)
    assert (experiment.task, experiment.metric) == ("trading", "sharpe_ratio")
    assert experiment.dataset is not None
    assert (experiment.dataset.rows, experiment.dataset.columns) == (420, 5)
    assert told[0].startswith("420 bars in the order given")


@needs_agents
def test_agents_see_the_features_that_were_given_and_the_store_keeps_them(
    location: Location,
) -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(50, 7, size=(420, 2)), random.normal(scale=0.01, size=420)
    request = trading_request(Request(("td3",)), ("td3",), alone=True)

    experiment_id = create_trading(location, request, [(X, y)], lambda line: None)
    context = Context(location, experiment_id, 0)
    stages = Stages(context.data, Terms.of(context.experiment.split))
    context.storage.close()

    market = stages.train
    assert market.feature_names == (*BUILT_IN, "x0", "x1")
    at = market.table[market.first :, layout.FEATURES + len(BUILT_IN)]
    shown = in_spreads(pd.DataFrame(X))[0].to_numpy()[market.first : len(market.bars)]
    np.testing.assert_array_equal(at, shown)


def test_features_are_scaled_by_the_past_alone() -> None:
    frame = pd.DataFrame({"a": np.arange(90.0) ** 2, "rsi": 3.0, "b": np.arange(90) % 2 == 0})
    frame.loc[70, "a"] = np.nan

    scaled = in_spreads(frame)

    assert list(scaled) == ["a", "x_rsi", "b"]
    assert scaled[:59].isna().all(axis=None)
    assert scaled[59:].notna().all(axis=None)
    assert (scaled["x_rsi"][59:] == 0).all()
    pd.testing.assert_frame_equal(in_spreads(frame[:75]), scaled[:75])
    assert scaled["a"][59] == pytest.approx(
        (frame["a"][59] - frame["a"][:60].mean()) / frame["a"][:60].std()
    )


def test_all_models_include_agents_only_where_rows_are_bars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, ...]] = []

    def learn(self: Any, request: Any, *_: Any) -> Results:
        asked.append(request.selectors)
        return Results(failed={"sac": "it can't do regression", "gamma": "y is negative"})

    def trade(self: Any, request: Any, *_: Any) -> Results:
        asked.append(request.selectors)
        return Results({"SAC_Trading": {}})

    monkeypatch.setattr(HyperparameterOptimizer, "_learn", learn)
    monkeypatch.setattr(HyperparameterOptimizer, "_trade", trade)
    y = MARKET["close"].pct_change().shift(-1).fillna(0)
    upper = MARKET.rename(columns=str.upper)

    both = optimizer().optimize_all_models(upper[:300], y[:300], upper[300:], y[300:])
    optimizer().optimize_all_models(*ROWS)

    assert asked == [("rl_agents",), ("all",), ("all",)]
    assert (list(both), list(both.failed)) == (["SAC_Trading"], ["gamma"])


def test_bars_that_agents_can_not_trade_do_not_stop_the_other_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HyperparameterOptimizer, "_learn", lambda *_: Results({"ridge": {}}))
    few = MARKET[:60]

    found = optimizer().optimize_all_models(few, None, few, None, n_trials=1)

    assert list(found) == ["ridge"]
    assert list(found.failed) == ["rl_agents"]
    with pytest.raises(HyperionError):
        optimizer().optimize_rl_agents(few, None, few, None, n_trials=1)


def test_agents_beside_other_models_have_their_own_name_metric_and_half_of_the_time() -> None:
    both = Request(("all",), name="e", metric="mae", time_s=60.0, trials=3)

    beside = trading_request(both, (), alone=False)
    alone = trading_request(both, ("sac",), alone=True)

    assert (beside.selectors, beside.name, beside.metric, beside.time_s, beside.trials) == (
        *(("rl_agents",), "e-agents", None, 30.0, 3),
    )
    assert (alone.selectors, alone.name, alone.metric, alone.time_s) == (
        *(("sac",), "e", "mae", 60.0),
    )


def test_agents_and_families_are_known_by_any_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("SAC", "rl_agents", "RainbowDQN", "ridge", "all")
    assert [names_agents(word) for word in words] == [True, True, True, False, False]
    monkeypatch.setenv("TRADING_EPISODES", "0")
    with pytest.raises(BadInput, match="TRADING_EPISODES is 0"):
        trading_request(Request(("sac",)), ("sac",), alone=True)


def test_frames_with_prices_are_bars_and_other_rows_have_returns() -> None:
    days = pd.date_range("2026-01-05", periods=4, tz="UTC")
    bars = pd.DataFrame(
        {"Open": [1.0, 2, 3, 4], "High": 5.0, "Low": 0.5, "Close": 2.0, "mood": 1}, index=days
    )
    assert list(as_bars(bars, None)) == ["time", "open", "high", "low", "close", "mood"]
    one = as_bars(pd.DataFrame({"price": [10.0, 11, 9]}), None)
    assert one.to_numpy().tolist() == [[10, 10, 10, 10], [10, 11, 10, 11], [11, 11, 9, 9]]
    returns = as_bars(np.zeros((3, 2)), [0.1, -0.5, 0.2])
    assert returns["close"].tolist() == pytest.approx([100, 110, 55])
    assert list(returns)[4:] == ["x0", "x1"]
    with pytest.raises(BadInput, match="return of the next bar"):
        as_bars(np.zeros((3, 2)), [0.1, -1.5, 0.2])


# -- comparing results --------------------------------------------------------------------------


def test_results_are_compared_best_first(found: Results) -> None:
    summary = compare_optimization_results(found).get_summary()

    assert (summary["best_model"], summary["total_models"]) == ("ridge", 2)
    assert summary["best_score"] == found["ridge"]["score"]
    assert summary["best_params"] == found["ridge"]["params"]
    assert [row["rank"] for row in summary["ranking"]] == [1, 2]
    assert str(summary).splitlines()[-1].startswith("best: ridge, 0.9")


def test_bare_results_are_enough_and_what_is_no_number_never_ranks() -> None:
    summary = compare_optimization_results(
        {
            "a": {"score": 0.5, "params": {}},
            "b": {"score": float("nan"), "params": {}},
            "c": {"score": 0.7, "params": {"x": 1}},
            "d": {"score": None, "params": None},
        }
    ).get_summary()

    assert [(row["model"], row["rank"]) for row in summary["ranking"]] == [
        *(("c", 1), ("a", 2), ("b", None), ("d", None))
    ]
    assert summary["best_params"] == {"x": 1}


def test_smaller_is_better_where_the_metric_says_so_and_metrics_do_not_mix() -> None:
    error = {"params": {}, "metric": "mae", "direction": "minimize"}
    two = {"a": {"score": 2.0, **error}, "b": {"score": 1.0, **error}}
    assert compare_optimization_results(two).get_summary()["best_model"] == "b"

    mixed = two | {"SAC_Trading": {"score": 3.0, "params": {}, "metric": "sharpe_ratio"}}
    summary = compare_optimization_results(mixed).get_summary()

    assert summary["best_model"] is None
    assert summary["note"] == "ranked apart: mae and sharpe_ratio can't be compared"


@pytest.mark.parametrize("results", [{"a": {"score": 1.0}}, {"a": 3}, [1]])
def test_what_has_no_score_and_params_is_refused(results: Any) -> None:
    with pytest.raises(BadInput, match=r"score|dictionary"):
        compare_optimization_results(results)


def test_no_results_have_no_best() -> None:
    assert compare_optimization_results({}).get_summary()["note"] == "no model has a score"


# -- every family -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost", "tft", "patchtst", "automl"])
def test_every_search_gives_a_result(name: str) -> None:
    found = getattr(optimizer(), f"optimize_{name}")(*ROWS, n_trials=1)
    (result,) = found.values()
    assert np.isfinite(result["score"])


@pytest.mark.slow
def test_every_network_of_pytorch_has_a_result() -> None:
    found = optimizer().optimize_pytorch(*ROWS, n_trials=1)
    assert set(found) == {"simple_mlp", "deep_mlp", "lstm", "cnn"}
