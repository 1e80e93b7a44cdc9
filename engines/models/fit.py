"""Fitting the models of an experiment on its folds, and what its trials share while they do.

What depends on the rows alone (imputation, scaling, encoding, binned data) is made once for each
fold and kind of estimator, and serves every trial of this process.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning

from engines.data.measures import check_predictions
from engines.data.past import as_changes
from engines.data.scoring import Metric, ScoreError
from engines.data.snapshot import MOST_CONTEXT, Snapshot
from engines.data.splits import Rows
from engines.models.learner import FoldView, Saver, Watch
from engines.models.prepare import TargetScale, preparation
from engines.models.spec import TARGET_AS, Form
from engines.models.steps import Steps

Floats = npt.NDArray[np.float64]

KEPT_CELLS = 2_000
"""Predictions of each round are kept up to so many a round: with more validation rows than this
it makes no difference that they have chosen their own round."""

REPORT_EVERY = 10
"""Rounds between two reports of an estimator that does not say otherwise."""

CACHE_BYTES = 1 << 30
"""Prepared rows beyond this are made again when they are needed."""

PROBABILITY_METRICS = ("roc_auc", "log_loss")
CALIBRATED_IN = 3

Course = list[tuple[int, npt.NDArray[np.float32]]]

Listener = Callable[[int, int, float], None]
"""(fold, round, the metric of the validation rows so far); may raise what ends the trial."""


@dataclass
class FittedModel:
    """A fitted estimator with what stands before and behind it. Picklable.

    low, high: the range of the target that it was trained on. tail: for an estimator that reads
    windows, the last rows that it was trained on, raw; else None. steps: of a forecast, None
    without. columns: so many columns of X reach it, the first ones; None for all. base: where the
    lags begin in X, for one that says the change from the last known value, the first column.
    """

    estimator: Any
    prepare: Any | None
    target: TargetScale
    classes: int
    low: float
    high: float
    tail: Floats | None = None
    steps: int | None = None
    columns: int | None = None
    base: int | None = None

    def predict(self, X: Floats, before: Floats | None = None) -> Floats:
        """From raw rows (rows,) or (rows, steps) in the target's units, or (rows, classes) odds.

        before: the rows that came right before X in time, where they are known; a model that reads
        windows takes X to follow its training rows without them. Raises ScoreError for predictions
        that are not finite, or absurdly far from the target.
        """
        last = None if self.base is None else X[:, 0]
        if self.tail is None:
            return self.predict_prepared(self._prepared(X), last=last)
        history = self.tail if before is None else before[-MOST_CONTEXT:]
        return self.predict_prepared(
            self._prepared(X), self._prepared(history) if len(history) else None, last
        )

    def _prepared(self, X: Floats) -> Floats:
        X = _readable(X, self.columns, self.base)
        return X if self.prepare is None else np.asarray(self.prepare.transform(X))

    def predict_prepared(
        self, X: Floats, before: Floats | None = None, last: Floats | None = None
    ) -> Floats:
        """As `predict`, from rows that went through `prepare`. last: as for `restored`."""
        more = {} if self.tail is None else {"before": before}
        with _quiet():
            if self.classes:
                predicted = _probabilities(self.estimator, X, self.classes, more)
            else:
                predicted = self.restored(self.estimator.predict(X, **more), last)
        check_predictions(predicted, self.low, self.high, shares=bool(self.classes))
        return predicted

    def restored(self, said: npt.ArrayLike, last: Floats | None = None) -> Floats:
        """What the estimator says, in units of the target: (rows,) or (rows, steps).

        last: (rows,) the last known values, for one that says changes from them.
        """
        values = np.asarray(said, dtype=np.float64)
        values = values.reshape(len(values), *(() if self.steps is None else (self.steps,)))
        values = self.target.back(values)
        if last is None:
            return values
        return values + (last if values.ndim == 1 else last[:, None])


@dataclass
class FoldOutcome:
    """One fold of one trial. rounds: None for what has none. rows: (used, there were).

    score, predicted: at the round that these very validation rows liked best. courses: what they
    were predicted to be after other rounds, as the estimator says it; empty if that was not kept.
    epoch_rows: (used, there were) of an epoch, for a network.
    rounds and courses are those of each step for a forecast of one estimator a step. last: the
    last known values of the validation rows, for a model that says changes.
    """

    score: float
    predicted: Floats
    model: FittedModel
    rounds: int | tuple[int, ...] | None
    rows: tuple[int, int]
    cut_short: bool
    courses: list[Course] = field(default_factory=list)
    last: Floats | None = None
    fit_s: float = 0.0
    epoch_rows: tuple[int, int] | None = None

    def after(self, rounds: Sequence[float]) -> Floats:
        """The predictions after the last noted round up to each of `rounds`, or the first one."""
        said = []
        for course, most in zip(self.courses, rounds, strict=True):
            passed = [predicted for round_, predicted in course if round_ <= most]
            said.append(passed[-1] if passed else course[0][1])
        return self.model.restored(said[0] if len(said) == 1 else np.column_stack(said), self.last)


@dataclass
class _Prepared:
    view: FoldView
    prepare: Any | None
    target: TargetScale
    rows: tuple[int, int]
    last_valid: Floats | None

    @property
    def nbytes(self) -> int:
        arrays = (self.view.X, self.view.y, self.view.X_valid, self.view.y_valid)
        # What estimators add (binned columns) is at most as large again, for each step.
        steps = 1 if self.view.y.ndim == 1 else self.view.y.shape[1]
        return (1 + steps) * sum(array.nbytes for array in arrays)


class Trainer:
    """Fits the models of one experiment in this process."""

    def __init__(self, data: Snapshot, metric: Metric, device: str | None = None) -> None:
        """device: where networks are trained, `cpu` or `cuda`; None leaves it to them."""
        self.data = data
        self.metric = metric
        self._device = device
        self._prepared: OrderedDict[tuple[Any, ...], _Prepared] = OrderedDict()

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return len(self.data.split.folds)

    def fit_fold(
        self,
        form: Form,
        params: dict[str, Any],
        seed: int,
        index: int,
        *,
        deadline: float | None = None,
        listen: Listener | None = None,
        saver: Saver | None = None,
    ) -> FoldOutcome:
        """Train on a fold's training rows and score its validation rows.

        deadline: `time.monotonic()` seconds; estimators that can, stop there. saver: see `Watch`.
        Raises ScoreError when there is no finite score, and whatever the library raises.
        """
        prepared = self._prepare(form, self._is_relative(form, params), index)
        fold = self.data.split.folds[index]
        y_valid, last = self.data.truth[fold.valid], prepared.last_valid
        estimator = self._fitting(self._build(form, params, seed), prepared.view.y)
        model = self._model(form, estimator, prepared, fold.train)

        def heard(round_: int, predicted: Floats) -> None:
            assert listen is not None
            raw = predicted if model.classes else model.restored(predicted, last)
            with contextlib.suppress(ScoreError):
                listen(index, round_, self.metric.score(y_valid, raw))

        width = max(1, len(self.data.classes))
        keeps = self.folds > 1 and len(y_valid) * width <= KEPT_CELLS
        every = getattr(estimator, "report_every", REPORT_EVERY)
        watch = Watch(deadline, heard if listen is not None else None, every, keeps, saver)
        with _quiet():
            # Of this process, not of the clock: others on the core, and a freeze, take no part.
            begun = time.process_time()
            if hasattr(estimator, "fit_watched"):
                estimator.fit_watched(prepared.view, watch)
            else:
                estimator.fit(prepared.view.X, prepared.view.y)
            fit_s = time.process_time() - begun
            before = prepared.view.before_valid
            predicted = model.predict_prepared(prepared.view.X_valid, before, last)
        courses = getattr(estimator, "courses_", None) or [watch.course]
        return FoldOutcome(
            score=self.metric.score(y_valid, predicted),
            predicted=predicted,
            model=model,
            rounds=getattr(estimator, "rounds_", None),
            rows=prepared.rows,
            cut_short=watch.cut_short,
            courses=courses if all(courses) else [],
            last=last,
            fit_s=fit_s,
            epoch_rows=getattr(estimator, "epoch_rows_", None),
        )

    def refit(
        self,
        form: Form,
        params: dict[str, Any],
        seed: int,
        rows: Rows,
        rounds: int | list[int] | None,
    ) -> FittedModel:
        """One model of other rows than a fold's, with a number of rounds found before."""
        relative = self._is_relative(form, params)
        prepared = self._prepare_rows(form, relative, rows, rows[:0], index=-1)
        estimator = self._fitting(self._build(form, params, seed), prepared.view.y)
        with _quiet():
            if rounds is not None and hasattr(estimator, "fit_rounds"):
                estimator.fit_rounds(prepared.view.X, prepared.view.y, rounds)
            else:
                estimator.fit(prepared.view.X, prepared.view.y)
        return self._model(form, estimator, prepared, rows)

    @property
    def _steps(self) -> int | None:
        return self.data.y.shape[1] if self.data.y.ndim == 2 else None

    def _build(self, form: Form, params: dict[str, Any], seed: int) -> Any:
        """The estimator, or one for each step of a forecast."""
        arguments = {**form.fixed, **form.space.arguments(params)}
        arguments.pop(TARGET_AS, None)
        if form.seed_argument is not None:
            arguments[form.seed_argument] = seed
        if form.columns == "raw":
            arguments["categories"] = self.data.categories
        build = form.load_class()
        # With one step the target is a column like any other.
        if (self._steps or 1) > 1 and not form.joint:
            return Steps([build(**arguments) for _ in range(self._steps or 1)])
        estimator = build(**arguments)
        if self._has_own(form):
            estimator.own = 1
        if self._device is not None and hasattr(estimator, "device"):
            estimator.device = self._device
        return estimator

    def _has_own(self, form: Form) -> bool:
        """Whether the estimator treats the first column as the target's past."""
        return form.own and self.data.past is not None and not self.data.classes

    def _is_relative(self, form: Form, params: dict[str, Any]) -> bool:
        return params.get(TARGET_AS) == "change" and TARGET_AS in form.space.parameters

    def _fitting(self, estimator: Any, y: Floats) -> Any:
        """The estimator, or what stands for it on these targets.

        A fold may hold one class alone, which many classifiers refuse to learn. A metric of
        probabilities gets calibrated ones where there are none, if every class has rows enough.
        """
        if not self.data.classes:
            return estimator
        _, sizes = np.unique(y, return_counts=True)
        if len(sizes) == 1:
            return DummyClassifier(strategy="prior")
        needs_odds = self.metric.name in PROBABILITY_METRICS
        if needs_odds and not hasattr(estimator, "predict_proba") and sizes.min() >= CALIBRATED_IN:
            # One fit more than the folds of the calibration, and honest odds for the metric.
            return CalibratedClassifierCV(estimator, cv=CALIBRATED_IN, ensemble=False)
        return estimator

    def _model(self, form: Form, estimator: Any, prepared: _Prepared, rows: Rows) -> FittedModel:
        y = self.data.y[rows]
        reads_windows = getattr(estimator, "reads_windows", False)
        return FittedModel(
            estimator,
            prepared.prepare,
            prepared.target,
            len(self.data.classes),
            float(y.min()),
            float(y.max()),
            np.array(self.data.X[rows[-MOST_CONTEXT:]]) if reads_windows else None,
            self._steps,
            self._columns(form),
            self.data.past.base if self.data.past and prepared.last_valid is not None else None,
        )

    # -- rows ------------------------------------------------------------------------------

    def _columns(self, form: Form) -> int | None:
        """How many columns reach the estimator: what reads windows needs no lags."""
        past = self.data.past
        return past.base if past is not None and form.windows else None

    def _prepare(self, form: Form, relative: bool, index: int) -> _Prepared:
        fold = self.data.split.folds[index]
        cap = form.most_rows if (form.most_rows or len(fold.train)) < len(fold.train) else None
        key = (index, form.columns, cap, form.windows, self._has_own(form), relative)
        known = self._prepared.get(key)
        if known is None:
            known = self._prepare_rows(form, relative, fold.train, fold.valid, index)
            self._prepared[key] = known
            while sum(p.nbytes for p in self._prepared.values()) > CACHE_BYTES:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end(key)
        return known

    def _prepare_rows(
        self, form: Form, relative: bool, train: Rows, valid: Rows, index: int
    ) -> _Prepared:
        used, width = self._capped(form, train, index), self._columns(form)
        base = self.data.past.base if self.data.past is not None and relative else None
        X = _readable(self.data.X[used], width, base)
        X_valid = _readable(self.data.X[valid], width, base)
        y, _ = self._target(used, relative)
        y_valid, last_valid = self._target(valid, relative)
        categories = {i: n for i, n in self.data.categories.items() if i < X.shape[1]}
        prepare = preparation(form.columns, categories)
        if prepare is not None:
            X = np.ascontiguousarray(prepare.fit_transform(X))
            X_valid = prepare.transform(X_valid) if len(valid) else X[:0]
        scaled = form.columns == "scaled" and not self.data.classes
        target = TargetScale.of(y) if scaled else TargetScale()
        if scaled and self._has_own(form):
            # In the units of the column of its past, so that one can be taken from the other.
            target = TargetScale.of(self.data.X[used, 0])
        view = FoldView(
            index=index,
            X=X,
            y=target.forward(y),
            X_valid=X_valid,
            y_valid=target.forward(y_valid),
            categories=categories if form.columns == "raw" else {},
            classes=len(self.data.classes),
            ordered=self.data.split.ordered,
            before_valid=self._before(valid, prepare, width, base) if form.windows else None,
        )
        return _Prepared(view, prepare, target, (len(used), len(train)), last_valid)

    def _target(self, rows: Rows, relative: bool) -> tuple[Floats, Floats | None]:
        """(what is learned: (rows,), or (rows, steps) for more than one step; last values)."""
        y = self.data.y[rows]
        last = None
        if relative:
            assert self.data.past is not None
            last = self.data.past.last()[rows]
            y = y - (last if y.ndim == 1 else last[:, None])
        return (y[:, 0] if self._steps == 1 else y), last

    def _before(
        self, valid: Rows, prepare: Any | None, width: int | None, base: int | None
    ) -> Floats | None:
        """The rows right before those, whoever may train on them: they are the past."""
        rows = _readable(self.data.before(valid), width, base)
        if not len(rows):
            return None
        return rows if prepare is None else np.asarray(prepare.transform(rows))

    def _capped(self, form: Form, train: Rows, index: int) -> Rows:
        """At most `most_rows`: the latest of ordered rows, else a sample, the same for all."""
        most = form.most_rows
        if most is None or len(train) <= most:
            return train
        if self.data.split.ordered:
            return train[-most:]
        return np.sort(np.random.default_rng(index + 1).choice(train, most, replace=False))


def _readable(X: Floats, width: int | None, base: int | None) -> Floats:
    """The first `width` columns; with `base`, the target's past as changes."""
    if base is not None:
        X = as_changes(X, base, windows=width is not None)
    return X[:, :width]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A model that has not converged is judged by its score, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # A network that keeps rows for itself has fewer than the number that capped its batch.
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger", UserWarning)
        yield


def _probabilities(
    estimator: Any, X: Floats, classes: int, more: dict[str, Floats | None]
) -> Floats:
    """(rows, classes); votes of an estimator without probabilities. more: what else it takes."""
    known = np.asarray(estimator.classes_).astype(np.intp)
    wide = np.zeros((len(X), classes))
    if hasattr(estimator, "predict_proba"):
        wide[:, known] = np.asarray(estimator.predict_proba(X, **more), dtype=np.float64)
    else:
        votes = np.asarray(estimator.predict(X, **more)).astype(np.intp)
        wide[np.arange(len(X)), votes] = 1.0
    return wide
