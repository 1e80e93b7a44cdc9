"""FLAML's learners with our `fit` and `predict`: what one trial of its search trains."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from flaml.automl.task.factory import task_factory
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning

from engines.models.automl.chooser import to_config
from engines.models.automl.declare import LEARNER
from engines.models.learner import Floats, FoldView, Watch

LEAST_S = 0.001
"""FLAML takes a limit of 0 s for none."""


class _Flaml(BaseEstimator):
    """One learner with one set of parameters, trained by FLAML's own class for it.

    learner: FLAML's name. rows, sample_size: what part of the training rows a trial gets, which
    whoever prepares them sees to. parameters: `<learner>.<name>`. X: (rows, columns), finite.
    """

    def __init__(
        self,
        learner: str = "lgbm",
        rows: str = "all",
        sample_size: int | None = None,
        seed: int = 0,
        **parameters: Any,
    ) -> None:
        self.learner = learner
        self.rows = rows
        self.sample_size = sample_size
        self.seed = seed
        self.parameters = parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments, each under its own name."""
        own = {name: getattr(self, name) for name in ("learner", "rows", "sample_size", "seed")}
        return {**own, **self.parameters}

    def set_params(self, **params: Any) -> Self:
        """Change arguments."""
        for name, value in params.items():
            if name in ("learner", "rows", "sample_size", "seed"):
                setattr(self, name, value)
            else:
                self.parameters[name] = value
        return self

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train without a limit of time."""
        self._train(X, y, None)
        return self

    def fit_watched(self, fold: FoldView, watch: Watch) -> None:
        """Train until time is up: boosters and forests stop there, linear models do not."""
        left, begun = watch.seconds_left, time.monotonic()
        if math.isinf(left):
            self._train(fold.X, fold.y, None)
            return
        self._train(fold.X, fold.y, max(left, LEAST_S))
        # FLAML ends a training before the round that would be too long. LightGBM ends by itself
        # as well, where no leaf can be split any more, but not just then.
        late = time.monotonic() - begun >= left / 2
        if watch.is_over() or (late and self._is_smaller_than_asked()):
            watch.mark_cut()

    def _is_smaller_than_asked(self) -> bool:
        asked, model = self.parameters.get(f"{self.learner}.n_estimators"), self._model.model
        if asked is None:
            return False
        if self.learner == "lgbm":
            return bool(model.booster_.current_iteration() < asked)
        if self.learner.startswith("xgb"):
            return bool(model.get_booster().num_boosted_rounds() < asked)
        return len(model.estimators_) < asked

    def _train(self, X: Floats, y: Any, seconds: float | None) -> None:
        task = task_factory(self._task_name(y))
        config = to_config({LEARNER: self.learner, **self.parameters})
        model = task.estimator_class_from_str(self.learner)(
            task=task, n_jobs=1, **config, **_extras(self.learner, self.seed)
        )
        # Without a limit FLAML grows forests of 1 and of 4 trees first, to see what memory they
        # take, and may then grow fewer trees than it was asked for. This word prevents it.
        hints = {"is_retrain": True} if seconds is None else {}
        with _quiet(), _timed(model, self.learner, seconds):
            model.fit(X, y, budget=seconds, **hints)
        self._model = model

    def _task_name(self, y: Any) -> str:
        raise NotImplementedError


class FlamlRegressor(RegressorMixin, _Flaml):
    """Numbers."""

    def predict(self, X: Floats) -> Floats:
        """(rows,) in units of the training target."""
        with _quiet():
            return np.asarray(self._model.predict(X), dtype=np.float64)

    def _task_name(self, y: Floats) -> str:
        return "regression"


class FlamlClassifier(ClassifierMixin, _Flaml):
    """Two classes or more."""

    classes_: npt.NDArray[Any]

    def _train(self, X: Floats, y: Any, seconds: float | None) -> None:
        # XGBoost takes codes without a gap only, and a fold may lack a class.
        self.classes_, codes = np.unique(y, return_inverse=True)
        super()._train(X, codes, seconds)

    def predict_proba(self, X: Floats) -> Floats:
        """(rows, classes), in the order of `classes_`."""
        with _quiet():
            return np.asarray(self._model.predict_proba(X), dtype=np.float64)

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """(rows,) the likeliest class of each row."""
        found: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def _task_name(self, y: Any) -> str:
        return "binary" if len(self.classes_) == 2 else "multiclass"


def _extras(learner: str, seed: int) -> dict[str, Any]:
    if learner == "catboost":
        # It would make a folder where it stands, for its logs.
        return {"random_seed": seed, "allow_writing_files": False}
    if learner == "lgbm":
        return {"random_state": seed, "deterministic": True, "force_col_wise": True}
    return {"random_seed": seed}


@contextlib.contextmanager
def _timed(model: Any, learner: str, seconds: float | None) -> Iterator[None]:
    """Let CatBoost end in time: FLAML 2.7 gives it a callback that never looks at the clock."""
    if learner != "catboost" or seconds is None:
        yield
        return
    deadline, build = time.monotonic() + seconds, model.estimator_class

    def with_a_clock(**params: Any) -> Any:
        booster = build(**params)
        plain = booster.fit

        def fit(*rows: Any, callbacks: Sequence[Any] = (), **more: Any) -> Any:
            del booster.fit  # what is kept has the library's own
            return plain(*rows, callbacks=[*callbacks, _Clock(deadline)], **more)

        booster.fit = fit
        return booster

    model.estimator_class = with_a_clock
    try:
        yield
    finally:
        model.estimator_class = build


class _Clock:
    """CatBoost's callback: False ends the training."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def after_iteration(self, info: Any) -> bool:
        return time.monotonic() < self._deadline


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what FLAML's calls make libraries say that nobody here can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # pandas 3.1 announces what it will drop; FLAML 2.7 asks for it.
        warnings.filterwarnings("ignore", "The inplace keyword", DeprecationWarning)
        # LightGBM names columns that had no name, and then misses the names.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        yield
