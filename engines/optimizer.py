"""The Python face: the search of `hyperion-tui run`, for people in a notebook or a script."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from engines.data.frames import from_arrays
from engines.data.given import given_rows
from engines.errors import BadInput, HyperionError
from engines.export.memory import forecaster
from engines.face import agents
from engines.face.calls import (
    SEED,
    Options,
    Unsaid,
    asked_of,
    reads_windows,
    said,
    seconds_of,
    trials_of,
)
from engines.face.fitted import Fitted, labels_like
from engines.face.progress import Display, start_logging
from engines.face.results import Results, results_of
from engines.face.searching import drive
from engines.face.summary import compare_optimization_results
from engines.models import catalogue
from engines.run.final import final_predictor, seconds_for_final
from engines.run.own_metric import OwnMetric, own_metric_of
from engines.run.start import Request, create
from engines.study.location import Location, locate
from engines.study.reader import Reader
from engines.study.store import open_storage

__all__ = ["HyperparameterOptimizer", "compare_optimization_results"]

MARGIN = 0.01
"""The part of a time budget that is left unplanned."""

LEAST_S = 0.01
"""Seconds for what begins when a budget is spent already: it then ends at once."""

FOR_THE_END = 0.2
"""The part that workers of their own leave for the last training, which this process does."""

NOT_HELD_OUT = (
    "no rows are held out, so held_out_score is None: give X_test, y_test, or held_out=0.2"
)
IN_ORDER = (
    "rows are taken in the order of time, X_val behind X_train, because {} reads windows of them; "
    "ordered=False leaves such models out"
)


class HyperparameterOptimizer(Fitted):
    """Searches models and their hyperparameters, and keeps the best as a predictor.

    console: a rich Console for progress and notices; by default standard error, silent with
    `Console(quiet=True)`. random_seed: of the split, of every suggestion and of every model (42, or
    RANDOM_SEED). n_jobs: worker processes, one core each; -1 for every core; 1 works inside this
    process. debug: log everything under the name `hyperion`. storage: a path or URL; without a word
    the app's own store, where it can be watched, paused and resumed; None keeps it for as long as
    this object, in a temporary folder.

    X: (rows, columns), an array or a frame of pandas or Polars; NaN is missing, text is a category.
    y: (rows,), numbers or labels. Every `optimize_...` trains on all of X_train, selects by X_val
    and returns `Results`; OPTUNA_TRIALS and OPTIMIZATION_TIMEOUT replace what is left unsaid.
    Everything raises BadInput and its kin, in one line, and when interrupted leaves an experiment
    that goes on by the same call with its `name`, or in the app.
    """

    def __init__(
        self,
        console: Any = None,
        random_seed: int = Unsaid(42),
        n_jobs: int = 1,
        debug: bool = False,
        *,
        storage: str | Path | None = "",
    ) -> None:
        if n_jobs != -1 and n_jobs < 1:
            raise BadInput(f"n_jobs is {n_jobs}: worker processes, or -1 for every core.")
        super().__init__()
        self.console = console
        self.random_seed = said(random_seed, SEED)
        self.n_jobs = n_jobs
        self.debug = debug
        self.storage = storage
        self._patience: int | None = None
        self._min_improvement: float | None = None
        self._metric: OwnMetric | None = None
        if debug:
            start_logging()

    @property
    def _display(self) -> Display:
        """Made anew each time, so that an optimizer can be pickled."""
        return Display(self.console)

    # -- rules for later calls -----------------------------------------------------------------

    def optimize_with_early_stopping(
        self, patience: int = 10, min_improvement: float = 0.001
    ) -> HyperparameterOptimizer:
        """From now on end a model's study after `patience` trials without improvement.

        min_improvement: what counts as one, in units of the metric. Returns self, so that a call
        can follow.
        """
        if patience < 1 or not 0 <= min_improvement < float("inf"):
            raise BadInput("patience is at least 1 trial, min_improvement at least 0.")
        self._patience, self._min_improvement = patience, min_improvement
        return self

    def set_custom_metric(
        self, metric: Callable[[Any, Any], float] | None, *, maximize: bool = True
    ) -> HyperparameterOptimizer:
        """From now on score by `metric(y_true, y_pred)`, which returns a number; None ends that.

        y_true, y_pred: (rows,), for a classification labels. maximize: whether more is better.
        It runs in workers, also when the study is resumed later. Returns self.
        """
        self._metric = None if metric is None else own_metric_of(metric, maximize=maximize)
        return self

    # -- searches ------------------------------------------------------------------------------

    def optimize_sklearn(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(20),
        **options: Unpack[Options],
    ) -> Results:
        """The scikit-learn models, each with `n_trials` trials. options: see `Options`."""
        return self._optimize(["sklearn"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_xgboost(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(30),
        **options: Unpack[Options],
    ) -> Results:
        """XGBoost. See `optimize_sklearn`."""
        return self._optimize(["xgboost"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_lightgbm(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(30),
        **options: Unpack[Options],
    ) -> Results:
        """LightGBM. See `optimize_sklearn`."""
        return self._optimize(["lightgbm"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_catboost(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(30),
        **options: Unpack[Options],
    ) -> Results:
        """CatBoost. See `optimize_sklearn`."""
        return self._optimize(["catboost"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_pytorch(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(25),
        **options: Unpack[Options],
    ) -> Results:
        """SimpleMLP, DeepMLP, LSTM and CNN, on rows in the order of time.

        With `ordered=False` the two that need no order. See `optimize_sklearn`.
        """
        return self._optimize(["pytorch"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_tft(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(25),
        **options: Unpack[Options],
    ) -> Results:
        """The temporal fusion transformer, on rows in the order of time."""
        return self._optimize(["tft"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_patchtst(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(25),
        **options: Unpack[Options],
    ) -> Results:
        """PatchTST, on rows in the order of time."""
        return self._optimize(["patchtst"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_automl(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(40),
        **options: Unpack[Options],
    ) -> Results:
        """FLAML, which chooses learners and parameters by itself."""
        return self._optimize(["automl"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_rl_agents(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(25),
        **options: Unpack[Options],
    ) -> Results:
        """SAC, TD3 and Rainbow DQN, by their Sharpe ratio on bars that X and y are read as.

        X with open, high, low and close columns, or one of prices, is bars; otherwise y is the
        return of the next bar and X the features. All rows (X_test behind X_val, where given) are
        one market in their order, and the first 60 % train, the next 20 % choose, the last 20 % are
        held out. TRADING_EPISODES is how often an agent trades the training bars; without, it
        trades 5,000.
        """
        return self._optimize(["rl_agents"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_all_models(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int | None = None,
        **options: Unpack[Options],
    ) -> Results:
        """Every model that can do these data; `n_trials` each, or each model's own number.

        Models that read windows of rows need `ordered=True`. Agents are part of it where X has
        open, high, low and close columns: they trade these bars, whatever y is.
        """
        return self._optimize(["all"], X_train, y_train, X_val, y_val, n_trials, options)

    def optimize_specific_models(
        self,
        model_types: str | Sequence[str],
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = Unsaid(20),
        **options: Unpack[Options],
    ) -> Results:
        """The models or families that are named, such as ["ridge", "ensemble", "tft"]."""
        words = [model_types] if isinstance(model_types, str) else list(model_types)
        if not words or not all(isinstance(word, str) for word in words):
            raise BadInput("model_types is a list of models or families, such as ['ridge', 'tft'].")
        return self._optimize(words, X_train, y_train, X_val, y_val, n_trials, options)

    def _optimize(
        self,
        words: Sequence[str],
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int | None,
        options: Options,
    ) -> Results:
        unknown = sorted(set(options) - Options.__optional_keys__)
        if unknown:
            hint = catalogue.nearest(unknown[0], Options.__optional_keys__) or "."
            raise BadInput(f"There is no option {unknown[0]}{hint}")
        begun = time.monotonic()
        limit = seconds_of(options.get("time_budget_s"))
        request = self._request(words, n_trials, limit, options)
        traders = tuple(word for word in words if agents.names_agents(word))
        learners = tuple(word for word in words if word not in traders)
        results = Results()
        rows = ((X_train, y_train), (X_val, y_val))
        if traders or (agents.names_all(words) and agents.has_prices(X_train)):
            asked = agents.trading_request(request, traders, alone=not learners)
            results.add(self._trade(asked, traders, [*rows], options))
        if learners:
            deadline = None if limit is None else begun + limit
            left = None if deadline is None else max(LEAST_S, deadline - time.monotonic())
            learning = replace(request, selectors=learners, time_s=left)
            results.add(self._learn(learning, rows, options, deadline))
        for model, reason in results.failed.items():
            self._display.say(f"{model}: no result, {reason}")
        return results

    def _request(
        self, words: Sequence[str], n_trials: int | None, time_s: float | None, options: Options
    ) -> Request:
        return Request(
            selectors=tuple(words),
            trials=trials_of(n_trials),
            time_s=time_s,
            workers=self._workers(),
            seed=self.random_seed,
            metric=options.get("metric"),
            sampler=options.get("sampler", "tpe"),
            name=options.get("name"),
            patience=self._patience,
            min_improvement=self._min_improvement,
            own_metric=self._metric if options.get("metric") is None else None,
        )

    def _trade(
        self, asked: Request, traders: Sequence[str], parts: list[tuple[Any, Any]], options: Options
    ) -> Results:
        """What agents reach. traders: those that were named; without one, all that can trade."""
        if options.get("X_test") is not None:
            parts = [*parts, (options["X_test"], options.get("y_test"))]
        location = self._location()
        try:
            created = agents.create_trading(location, asked, parts, self._display.say)
        except HyperionError as error:
            if traders:
                raise
            return Results(failed={agents.FAMILY: str(error)})
        return self._finish(location, created, None)

    def _learn(
        self,
        request: Request,
        rows: tuple[tuple[Any, Any], tuple[Any, Any]],
        options: Options,
        deadline: float | None,
    ) -> Results:
        test = None
        if options.get("X_test") is not None:
            test = (options["X_test"], options.get("y_test"))
        ordered = options.get("ordered")
        if ordered is None and reads_windows(request.selectors):
            ordered = True
            self._display.say(IN_ORDER.format(" ".join(request.selectors)))
        dataset, split = given_rows(
            *rows,
            test,
            held_out=options.get("held_out"),
            ordered=bool(ordered),
            task=options.get("task"),
            seed=self.random_seed,
        )
        if not len(split.held_out):
            self._display.say(NOT_HELD_OUT)
        for notice in dataset.notices:
            self._display.say(notice)
        location = self._location()
        return self._finish(location, create(location, request, dataset, split), deadline)

    def _finish(self, location: Location, experiment_id: int, deadline: float | None) -> Results:
        context = drive(
            location,
            experiment_id,
            self._display,
            n_jobs=self.n_jobs,
            deadline=deadline,
            lasting=self.storage is not None,
        )
        with (
            contextlib.closing(context.storage),
            contextlib.closing(Reader(location)) as reader,
        ):
            return results_of(context, reader, reader.experiment(experiment_id))

    def show_model_capabilities(self) -> None:
        """Print the families, how many of their models can run here, and their names."""
        from rich.console import Console
        from rich.table import Table

        console = self.console or Console()
        table = Table("category", "status", "models")
        for family, members in catalogue.families().items():
            here = sum(spec.reason_missing is None for spec in members)
            names = ", ".join(spec.name for spec in members)
            table.add_row(family, f"{here}/{len(members)}", names)
        console.print(table)
        for spec in catalogue.models().values():
            if spec.reason_missing is not None:
                console.print(f"{spec.name} {spec.reason_missing}", markup=False)

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        time_budget_s: float | None = None,
        n_trials: int | None = None,
        models: str | Sequence[str] = "all",
        task: str | None = None,
        metric: str | None = None,
        time_column: str | None = None,
        groups: str | None = None,
        sampler: str = "tpe",
        name: str | None = None,
        horizon: int | None = None,
    ) -> HyperparameterOptimizer:
        """Search and keep the best; returns self.

        X: (rows, columns), a frame or an array. y: (rows,), numbers or labels. time_budget_s:
        seconds of wall time for all of it, the last training included (OPTIMIZATION_TIMEOUT);
        without it, `n_trials` trials a model. models: names or families. time_column, groups:
        columns of X. task: "regression", "classification" or "forecast", guessed from y without
        it; a forecast is of the next `horizon` values of y behind each row, in order of time.

        A part of the rows is held out, and `held_out_score_` is measured on it. For rows without
        an order the models that `predict` uses have then also learned from that part, where the
        time allowed. Raises BadInput and its kin, in one line.
        """
        begun = time.monotonic()
        limit = seconds_of(time_budget_s)
        if trials_of(n_trials) is None and limit is None:
            raise BadInput("How long? Give time_budget_s, in seconds, or n_trials a model.")
        asked = asked_of(task, horizon, time_column)
        data = from_arrays(X, y, task=asked.table_task, time_column=time_column, groups=groups)
        location = self._location()
        selectors = (models,) if isinstance(models, str) else tuple(models)
        options: Options = {"metric": metric, "sampler": sampler, "name": name}
        request = self._request(selectors, n_trials, self._search_s(limit), options)
        request = replace(request, task=asked.task, horizon=asked.horizon)
        deadline = None if limit is None else begun + limit * (1 - MARGIN)
        experiment_id = create(location, request, data)
        context = drive(
            location,
            experiment_id,
            self._display,
            n_jobs=self.n_jobs,
            deadline=deadline,
            reserve=seconds_for_final,
            lasting=self.storage is not None,
        )
        # If none is found, that of another call must not answer.
        self._predictor = self._forecaster = None
        with contextlib.closing(Reader(location)) as reader:
            self._experiment = reader.experiment(experiment_id)
            self._params = {
                study.model: reader.best_params(study.study_id, study.best.number)
                for study in self._experiment.studies
                if study.best is not None
            }
        seconds_left = None if deadline is None else deadline - time.monotonic()
        self._dataset = replace(data, X=data.X[:0], y=data.y[:0])
        self._labels = labels_like(y, data.classes)
        with contextlib.closing(context.storage):
            self._predictor = final_predictor(context, self._experiment, seconds_left)
            if asked.horizon is not None:
                self._forecaster = forecaster(
                    context, self._experiment, self._predictor.bags, data.X
                )
        return self

    def _search_s(self, time_budget_s: float | None) -> float | None:
        if time_budget_s is None or self.n_jobs == 1:
            return time_budget_s
        return time_budget_s * (1 - FOR_THE_END)

    def _workers(self) -> int | None:
        return None if self.n_jobs == -1 else self.n_jobs

    def _location(self) -> Location:
        return self._own_store if self.storage is None else locate(str(self.storage))

    @functools.cached_property
    def _own_store(self) -> Location:
        """A store that goes with this object."""
        folder = tempfile.mkdtemp(prefix="hyperion-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / "studies.db"
        path.write_bytes(_empty_store())
        return locate(str(path))


@functools.cache
def _empty_store() -> bytes:
    """An empty store as a file. To make one takes 0.3 s, to copy it nothing."""
    with tempfile.TemporaryDirectory(prefix="hyperion-") as folder:
        path = Path(folder) / "empty.db"
        open_storage(str(path)).close()
        return path.read_bytes()
