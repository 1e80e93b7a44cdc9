"""FLAML's search as ask and tell: which learner next, and which parameters.

`AutoML.fit` trains in its own loop and knows the past only as starting points. Here its parts do
the same work one step at a time: its choice of the learner (`AutoML._select_estimator`: the
estimated cost for improvement, FLAML paper section 4.2), its record of each learner
(`SearchState`) and its local search for each (`CFO`). A contract test holds the steps against
`AutoML.fit`. With the same answers it asks the same questions, so that the record of a study is
all that is needed to go on with it, step sizes and all.

As in `AutoML.fit`, costs are seconds where time is limited and numbers of trials where it is not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from flaml.automl import automl as flaml_automl
from flaml.automl import state as flaml_state
from flaml.automl.task.factory import task_factory
from flaml.config import MEM_THRES, MIN_SAMPLE_TRAIN, RANDOM_SEED, SAMPLE_MULTIPLY_FACTOR
from flaml.tune.sample import Categorical, Float, Integer
from flaml.tune.searcher import blendsearch

from engines.errors import HyperionError
from engines.models.automl.declare import LEARNER, ROWS, SAMPLE_SIZE

# FLAML says that it is typed; these three are in parts, and not rightly.
AutoML: Any = flaml_automl.AutoML
SearchState: Any = flaml_state.SearchState
CFO: Any = blendsearch.CFO

SIZE_KEY = "FLAML_sample_size"
TRIES = 100
"""FLAML gives a learner up that has proposed nothing new so many times in a row."""

# Progress and advice for whoever runs it by hand; what matters here is in the record.
logging.getLogger("flaml").setLevel(logging.ERROR)
logging.getLogger("flaml.automl").setLevel(logging.ERROR)


class NothingLeft(HyperionError):
    """No learner is left that FLAML would try: each has failed at its first trial."""


@dataclass(frozen=True, slots=True)
class Table:
    """What FLAML knows of the data. rows, columns: of a training fold, categories spread out.

    classes: 0 for regression. folds: of the split; with one only it begins with samples of the
    rows where there are more than 40,000, as `AutoML.fit` does.
    """

    rows: int
    columns: int
    classes: int
    folds: int

    @property
    def task(self) -> str:
        """FLAML's word for it."""
        if not self.classes:
            return "regression"
        return "binary" if self.classes == 2 else "multiclass"

    @property
    def samples(self) -> bool:
        """Whether it tries parameters on samples of the rows first."""
        return self.folds == 1 and self.rows > MIN_SAMPLE_TRAIN * SAMPLE_MULTIPLY_FACTOR


@dataclass(frozen=True, slots=True)
class Question:
    """What FLAML wants to know the loss of. params: as a trial of the declared space has them."""

    learner: str
    config: dict[str, Any]
    params: dict[str, Any]


class Chooser:
    """One search of FLAML's.

    learners: FLAML's names, in the order in which it meets them. seed: of the local searches.
    timed: whether costs are seconds. starting: for some learners, the configuration that it is
    begun with instead of FLAML's cheapest, as `AutoML.fit(starting_points=...)` takes it.
    """

    def __init__(
        self,
        table: Table,
        learners: Sequence[str],
        seed: int,
        *,
        timed: bool,
        starting: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self._table = table
        self._seed = seed % 2**31  # FLAML adds to it
        self._timed = timed
        self._learners = list(learners)
        self._task = task_factory(table.task)
        self._searches: dict[str, Any] = {}
        self._asked = 0
        self.pending: Question | None = None
        budget = math.inf if timed else -1
        self._states = {
            learner: SearchState(
                learner_class=self._task.estimator_class_from_str(learner),
                data=SimpleNamespace(shape=(table.rows, table.columns)),
                task=self._task,
                starting_point=(starting or {}).get(learner),
                max_iter=1_000_000,
                budget=budget,
            )
            for learner in self._learners
        }
        self._automl = self._prepared(budget)

    def _prepared(self, budget: float) -> Any:
        """An AutoML object that has not been fitted, with what its choice of a learner reads."""
        automl = AutoML()
        automl._search_states = self._states
        automl._state = SimpleNamespace(
            time_budget=budget,
            time_from_start=0.0,
            best_loss=math.inf,
            data_size=(self._table.rows, self._table.columns),
        )
        automl._learner_selector = "sample"
        automl._ensemble = False
        automl._eci = []
        automl._random = np.random.RandomState(RANDOM_SEED)
        automl._max_iter_per_learner = 10_000
        automl._iter_per_learner_fullsize = dict.fromkeys(self._learners, 0)
        return automl

    # -- asking --------------------------------------------------------------------------------

    def ask(self) -> Question:
        """What to try next: the same until it is told. Raises NothingLeft."""
        while self.pending is None:
            learner = self._next_learner()
            config = self._propose(learner)
            if config is None:
                self._give_up(learner)
                continue
            params = to_params(learner, config, self._states[learner].search_space)
            self.pending = Question(learner, config, params)
        return self.pending

    def _next_learner(self) -> str:
        if not self._learners:
            raise NothingLeft("FLAML has given up every learner: each failed at its first trial.")
        if not self._automl._eci:  # nothing is known of any cost
            return self._learners[0]
        chosen = self._automl._select_estimator(self._learners)
        return self._learners[0] if chosen is None else str(chosen)

    def _propose(self, learner: str) -> dict[str, Any] | None:
        if learner not in self._searches:
            self._searches[learner] = self._search(learner)
        for _ in range(TRIES):
            self._asked += 1
            config: dict[str, Any] | None = self._searches[learner].suggest(str(self._asked))
            if config is not None:
                return config
        return None

    def _search(self, learner: str) -> Any:
        state, sampling = self._states[learner], self._table.samples
        return CFO(
            metric="val_loss",
            mode="min",
            space=state.search_space,
            points_to_evaluate=state.init_config.copy(),
            low_cost_partial_config=state.low_cost_partial_config,
            cat_hp_cost=state.cat_hp_cost,
            resource_attr=SIZE_KEY if sampling else None,
            min_resource=MIN_SAMPLE_TRAIN if sampling else None,
            max_resource=self._table.rows if sampling else None,
            config_constraints=[(state.learner_class.size, "<=", MEM_THRES)],
            seed=self._seed,
            allow_empty_config=True,
            # Any finite number makes it count seconds; nothing reads how many are left.
            time_budget_s=1e9 if self._timed else None,
            num_samples=1_000_000,
        )

    def _give_up(self, learner: str) -> None:
        place = self._learners.index(learner)
        del self._learners[place]
        if self._automl._eci:
            del self._automl._eci[place]  # FLAML looks costs up by their place

    # -- telling -------------------------------------------------------------------------------

    def tell(self, loss: float | None, seconds: float) -> None:
        """Answer what was asked. loss: less is better; None if the trial failed."""
        question, self.pending = self.pending, None
        assert question is not None
        learner, state = question.learner, self._states[question.learner]
        result = {
            "val_loss": math.inf if loss is None else loss,
            "config": question.config,
            "time_total_s": seconds,
            "metric_for_logging": None,
            "trained_estimator": None,
            **{f"config/{name}": value for name, value in question.config.items()},
        }
        self._searches[learner].on_trial_complete(str(self._asked), result)
        state.update(result, time_used=seconds)
        self._account(learner, state)
        if math.isinf(state.best_loss):
            # It would divide infinity by infinity; FLAML itself gives up what has no result.
            self._give_up(learner)

    def _account(self, learner: str, state: Any) -> None:
        automl = self._automl
        if not automl._eci:
            # What the first trial took tells what the first trials of the others will.
            unit = state.estimated_cost4improvement / state.init_eci
            automl._eci = [unit * self._states[other].init_eci for other in self._learners]
        if state.sample_size == self._table.rows:
            automl._iter_per_learner_fullsize[learner] += 1
        automl._state.best_loss = min(automl._state.best_loss, state.best_loss)


def to_params(
    learner: str, config: Mapping[str, Any], domains: Mapping[str, Any]
) -> dict[str, Any]:
    """A configuration of FLAML's as the parameters of a trial, in plain Python numbers.

    domains: what the learner searches. A constant among them is no parameter.
    """
    params: dict[str, Any] = {LEARNER: learner, ROWS: "all"}
    if SIZE_KEY in config:
        params |= {ROWS: "sample", SAMPLE_SIZE: int(config[SIZE_KEY])}
    for name, domain in domains.items():
        value = config.get(name)
        if isinstance(domain, Integer):
            params[f"{learner}.{name}"] = int(value)  # type: ignore[arg-type]
        elif isinstance(domain, Float):
            params[f"{learner}.{name}"] = float(value)  # type: ignore[arg-type]
        elif isinstance(domain, Categorical):
            # FLAML hands out NumPy's text and booleans.
            chosen = next(choice for choice in domain.categories if choice == value)
            params[f"{learner}.{name}"] = chosen
    return params


def to_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a trial as FLAML's configuration of its learner, without a sample size."""
    start = f"{params[LEARNER]}."
    return {
        name.removeprefix(start): value for name, value in params.items() if name.startswith(start)
    }
