"""The Python face: the search of `hyperion-tui run`, for people in a notebook or a script."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.datasets import Dataset
from engines.data.frames import encode, from_arrays
from engines.errors import BadInput, HyperionError
from engines.run.context import Context
from engines.run.final import FinalPredictor, final_predictor, seconds_for_final
from engines.run.inline import run_inline
from engines.run.launcher import start_runner
from engines.run.start import Request, create
from engines.study.location import Location, locate
from engines.study.reader import Reader
from engines.study.records import Best, Experiment, Study
from engines.study.states import FINAL
from engines.study.store import open_storage

Floats = npt.NDArray[np.float64]

MARGIN = 0.01
"""The part of a time budget that is left unplanned."""

FOR_THE_END = 0.2
"""The part that workers of their own leave for the last training, which this process does."""

POLL_S = 0.05


class HyperparameterOptimizer:
    """Searches models and their hyperparameters, and keeps the best as a predictor.

    random_seed: of the split, of every suggestion and of every model. n_jobs: worker processes,
    one core each; -1 for every core; 1 works inside this process.
    """

    def __init__(
        self,
        console: Any = None,
        random_seed: int = 42,
        n_jobs: int = 1,
        debug: bool = False,
    ) -> None:
        self.console = console
        self.random_seed = random_seed
        self.n_jobs = n_jobs
        self.debug = debug
        self._experiment: Experiment | None = None
        self._predictor: FinalPredictor | None = None
        self._dataset: Dataset | None = None

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
        store: str | None = None,
    ) -> HyperparameterOptimizer:
        """Search and keep the best; returns self.

        X: (rows, columns), a frame or an array. y: (rows,), numbers or labels. time_budget_s:
        seconds of wall time for all of it, the last training included; without it, `n_trials`
        trials a model. models: names or families. time_column, groups: columns of X.
        store: where the experiment is kept; without one it is forgotten with this object.

        A part of the rows is held out, and `held_out_score_` is measured on it. For rows without
        an order the models that `predict` uses have then also learned from that part, where the
        time allowed. Raises BadInput and its kin, in one line.
        """
        begun = time.monotonic()
        if n_trials is None and time_budget_s is None:
            raise BadInput("How long? Give time_budget_s, in seconds, or n_trials a model.")
        data = from_arrays(X, y, task=task, time_column=time_column, groups=groups)
        location = self._location(store)
        selectors = (models,) if isinstance(models, str) else tuple(models)
        request = Request(
            selectors=selectors,
            trials=n_trials,
            time_s=self._search_s(time_budget_s),
            workers=self._workers(),
            seed=self.random_seed,
            metric=metric,
            sampler=sampler,
            name=name,
        )
        deadline = None
        if time_budget_s is not None:
            deadline = begun + time_budget_s * (1 - MARGIN)
        experiment_id = create(location, request, data)
        context = self._run(location, experiment_id, deadline)
        with contextlib.closing(Reader(location)) as reader:
            self._experiment = reader.experiment(experiment_id)
            self._params = {
                study.model: reader.best_params(study.study_id, study.best.number)
                for study in self._experiment.studies
                if study.best is not None
            }
        seconds_left = None if deadline is None else deadline - time.monotonic()
        self._dataset = replace(data, X=data.X[:0], y=data.y[:0])
        self._predictor = final_predictor(context, self._experiment, seconds_left)
        context.storage.close()
        return self

    def _search_s(self, time_budget_s: float | None) -> float | None:
        if time_budget_s is None or self.n_jobs == 1:
            return time_budget_s
        return time_budget_s * (1 - FOR_THE_END)

    def _workers(self) -> int | None:
        return None if self.n_jobs == -1 else self.n_jobs

    def _location(self, store: str | None) -> Location:
        if store is not None:
            return locate(store)
        folder = tempfile.mkdtemp(prefix="hyperion-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / "studies.db"
        path.write_bytes(_empty_store())
        return locate(str(path))

    def _run(self, location: Location, experiment_id: int, deadline: float | None) -> Context:
        if self.n_jobs == 1:
            return run_inline(location, experiment_id, deadline, seconds_for_final)
        start_runner(location, experiment_id)
        with contextlib.closing(Reader(location)) as reader:
            while reader.experiment(experiment_id).state not in FINAL:
                time.sleep(POLL_S)
        return Context(location, experiment_id, 0)

    # -- what was found ------------------------------------------------------------------------

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """(rows,): values in the target's units, or labels for a classification.

        Raises HyperionError before `fit`, BadInput for rows of another kind.
        """
        predicted = self._predict(X)
        assert self._dataset is not None
        if not self._dataset.classes:
            return predicted
        return np.asarray(self._dataset.classes)[predicted.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Floats:
        """(rows, classes) probabilities, in the order of `classes_`. Classification only."""
        if not self.classes_:
            raise BadInput("predict_proba is for classification: use predict.")
        return self._predict(X)

    def _predict(self, X: Any) -> Floats:
        if self._predictor is None or self._dataset is None:
            raise HyperionError("There is nothing to predict with yet: call fit(X, y) first.")
        return self._predictor.predict(encode(X, self._dataset.features))

    @property
    def classes_(self) -> tuple[str, ...]:
        """The labels, as text in sorted order; none for regression."""
        return () if self._dataset is None else self._dataset.classes

    @property
    def _leader(self) -> tuple[Study, Best]:
        if self._experiment is None:
            raise HyperionError("Nothing has been searched yet: call fit(X, y) first.")
        for study in self._experiment.ranked:
            if study.best is not None:
                return study, study.best
        raise HyperionError("No trial has completed: give it more time, or other models.")

    @property
    def best_model_(self) -> str:
        """The model with the best selection score."""
        return self._leader[0].model

    @property
    def best_params_(self) -> dict[str, Any]:
        """Its hyperparameters."""
        return dict(self._params[self.best_model_])

    @property
    def best_score_(self) -> float:
        """The selection score of the best single model, in the metric of the search."""
        return self._leader[1].selection_score

    @property
    def held_out_score_(self) -> float | None:
        """The score of what the search chose on rows that it never saw."""
        found = self._leader[1].held_out_score
        ensemble = None if self._experiment is None else self._experiment.ensemble
        if ensemble is not None and ensemble.held_out_score is not None:
            return ensemble.held_out_score
        return found

    def leaderboard(self) -> list[dict[str, Any]]:
        """One row for each model, the ensemble and the baselines: model and both scores.

        Models are in the order of their selection scores, the best first.
        """
        if self._experiment is None:
            return []
        rows: list[dict[str, Any]] = [
            {
                "model": study.model,
                "selection_score": study.best.selection_score if study.best else None,
                "held_out_score": study.best.held_out_score if study.best else None,
                "trials": study.counts.finished,
                "seconds": study.train_s,
            }
            for study in self._experiment.ranked
        ]
        ensemble = self._experiment.ensemble
        if ensemble is not None and ensemble.selection_score is not None:
            rows.insert(0, _row("ensemble", ensemble.selection_score, ensemble.held_out_score))
        return rows + [
            _row(f"baseline {b.name}", b.selection_score, b.held_out_score)
            for b in self._experiment.baselines
        ]


@functools.cache
def _empty_store() -> bytes:
    """An empty store as a file. To make one takes 0.3 s, to copy it nothing."""
    with tempfile.TemporaryDirectory(prefix="hyperion-") as folder:
        path = Path(folder) / "empty.db"
        open_storage(str(path)).close()
        return path.read_bytes()


def _row(model: str, selection: float | None, held_out: float | None) -> dict[str, Any]:
    return {
        "model": model,
        "selection_score": selection,
        "held_out_score": held_out,
        "trials": None,
        "seconds": None,
    }
