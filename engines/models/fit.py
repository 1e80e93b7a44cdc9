"""Fitting the models of an experiment on its folds, and what its trials share while they do.

What depends on the rows alone (imputation, scaling, encoding, binned data) is made once for each
fold and kind of estimator, and serves every trial of this process.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning

from engines.data.measures import check_predictions
from engines.data.scoring import Metric, ScoreError
from engines.data.snapshot import MOST_CONTEXT, Snapshot
from engines.data.splits import Rows
from engines.models.learner import FoldView, Saver, Watch
from engines.models.prepare import TargetScale, preparation
from engines.models.spec import Form

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

Listener = Callable[[int, int, float], None]
"""(fold, round, the metric of the validation rows so far); may raise what ends the trial."""


@dataclass
class FittedModel:
    """A fitted estimator with what stands before and behind it. Picklable.

    low, high: the range of the target that it was trained on. tail: for an estimator that reads
    windows, the last rows that it was trained on, raw; else None.
    """

    estimator: Any
    prepare: Any | None
    target: TargetScale
    classes: int
    low: float
    high: float
    tail: Floats | None = None

    def predict(self, X: Floats, before: Floats | None = None) -> Floats:
        """(rows,) in the target's units, or (rows, classes) probabilities, from raw rows.

        before: the rows that came right before X in time, where they are known; a model that reads
        windows takes X to follow its training rows without them. Raises ScoreError for predictions
        that are not finite, or absurdly far from the target.
        """
        if self.tail is None:
            return self.predict_prepared(self._prepared(X))
        history = self.tail if before is None else before[-MOST_CONTEXT:]
        return self.predict_prepared(
            self._prepared(X), self._prepared(history) if len(history) else None
        )

    def _prepared(self, X: Floats) -> Floats:
        return X if self.prepare is None else np.asarray(self.prepare.transform(X))

    def predict_prepared(self, X: Floats, before: Floats | None = None) -> Floats:
        """As `predict`, from rows that went through `prepare`."""
        more = {} if self.tail is None else {"before": before}
        with _quiet():
            if self.classes:
                predicted = _probabilities(self.estimator, X, self.classes, more)
            else:
                said = self.estimator.predict(X, **more)
                flat = np.asarray(said, dtype=np.float64).reshape(len(X))
                predicted = self.target.back(flat)
        check_predictions(predicted, self.low, self.high)
        return predicted


@dataclass
class FoldOutcome:
    """One fold of one trial. rounds: None for what has none. rows: (used, there were).

    score, predicted: at the round that these very validation rows liked best. course: what they
    were predicted to be after other rounds, in units of the metric; empty if that was not kept.
    """

    score: float
    predicted: Floats
    model: FittedModel
    rounds: int | None
    rows: tuple[int, int]
    cut_short: bool
    course: list[tuple[int, npt.NDArray[np.float32]]] = field(default_factory=list)

    def after(self, rounds: float) -> Floats:
        """The predictions after the last noted round up to `rounds`, or after the first one."""
        passed = [predicted for round_, predicted in self.course if round_ <= rounds]
        predicted = passed[-1] if passed else self.course[0][1]
        return self.model.target.back(predicted.astype(np.float64))


@dataclass
class _Prepared:
    view: FoldView
    prepare: Any | None
    target: TargetScale
    rows: tuple[int, int]

    @property
    def nbytes(self) -> int:
        arrays = (self.view.X, self.view.y, self.view.X_valid, self.view.y_valid)
        # What estimators add (binned columns) is at most as large again.
        return 2 * sum(array.nbytes for array in arrays)


class Trainer:
    """Fits the models of one experiment in this process."""

    def __init__(self, data: Snapshot, metric: Metric) -> None:
        self.data = data
        self.metric = metric
        self._prepared: OrderedDict[tuple[int, str, int | None, bool], _Prepared] = OrderedDict()
        self.fit_s = 0.0

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
        prepared = self._prepare(form, index)
        fold = self.data.split.folds[index]
        y_valid = self.data.y[fold.valid]
        estimator = self._fitting(self._build(form, params, seed), prepared.view.y)
        model = self._model(estimator, prepared, fold.train)

        def heard(round_: int, predicted: Floats) -> None:
            assert listen is not None
            raw = predicted if model.classes else prepared.target.back(predicted)
            with contextlib.suppress(ScoreError):
                listen(index, round_, self.metric.score(y_valid, raw))

        width = max(1, len(self.data.classes))
        keeps = self.folds > 1 and len(y_valid) * width <= KEPT_CELLS
        every = getattr(estimator, "report_every", REPORT_EVERY)
        watch = Watch(deadline, heard if listen is not None else None, every, keeps, saver)
        with self._clock():
            if hasattr(estimator, "fit_watched"):
                estimator.fit_watched(prepared.view, watch)
            else:
                estimator.fit(prepared.view.X, prepared.view.y)
            predicted = model.predict_prepared(prepared.view.X_valid, prepared.view.before_valid)
        return FoldOutcome(
            score=self.metric.score(y_valid, predicted),
            predicted=predicted,
            model=model,
            rounds=getattr(estimator, "rounds_", None),
            rows=prepared.rows,
            cut_short=watch.cut_short,
            course=watch.course,
        )

    def refit(
        self,
        form: Form,
        params: dict[str, Any],
        seed: int,
        rows: Rows,
        rounds: int | None,
    ) -> FittedModel:
        """One model of other rows than a fold's, with a number of rounds found before."""
        prepared = self._prepare_rows(form, rows, rows[:0], index=-1)
        estimator = self._fitting(self._build(form, params, seed), prepared.view.y)
        with self._clock():
            if rounds is not None and hasattr(estimator, "fit_rounds"):
                estimator.fit_rounds(prepared.view.X, prepared.view.y, rounds)
            else:
                estimator.fit(prepared.view.X, prepared.view.y)
        return self._model(estimator, prepared, rows)

    @contextlib.contextmanager
    def _clock(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            with _quiet():
                yield
        finally:
            self.fit_s += time.perf_counter() - begun

    def _build(self, form: Form, params: dict[str, Any], seed: int) -> Any:
        arguments = {**form.fixed, **form.space.arguments(params)}
        if form.seed_argument is not None:
            arguments[form.seed_argument] = seed
        if form.columns == "raw":
            arguments["categories"] = self.data.categories
        estimator = form.load_class()(**arguments)
        return estimator

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

    def _model(self, estimator: Any, prepared: _Prepared, rows: Rows) -> FittedModel:
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
        )

    # -- rows ------------------------------------------------------------------------------

    def _prepare(self, form: Form, index: int) -> _Prepared:
        fold = self.data.split.folds[index]
        cap = form.most_rows if (form.most_rows or len(fold.train)) < len(fold.train) else None
        key = (index, form.columns, cap, form.windows)
        known = self._prepared.get(key)
        if known is None:
            known = self._prepare_rows(form, fold.train, fold.valid, index)
            self._prepared[key] = known
            while sum(p.nbytes for p in self._prepared.values()) > CACHE_BYTES:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end(key)
        return known

    def _prepare_rows(self, form: Form, train: Rows, valid: Rows, index: int) -> _Prepared:
        used = self._capped(form, train, index)
        X, y = self.data.X[used], self.data.y[used]
        X_valid, y_valid = self.data.X[valid], self.data.y[valid]
        prepare = preparation(form.columns, self.data.categories)
        if prepare is not None:
            X = np.ascontiguousarray(prepare.fit_transform(X))
            X_valid = prepare.transform(X_valid) if len(valid) else X[:0]
        scaled = form.columns == "scaled" and not self.data.classes
        target = TargetScale.of(y) if scaled else TargetScale()
        view = FoldView(
            index=index,
            X=X,
            y=target.forward(y),
            X_valid=X_valid,
            y_valid=target.forward(y_valid),
            categories=self.data.categories if form.columns == "raw" else {},
            classes=len(self.data.classes),
            ordered=self.data.split.ordered,
            before_valid=self._before(valid, prepare) if form.windows else None,
        )
        return _Prepared(view, prepare, target, (len(used), len(train)))

    def _before(self, valid: Rows, prepare: Any | None) -> Floats | None:
        """The rows right before those, whoever may train on them: they are the past."""
        rows = self.data.before(valid)
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
