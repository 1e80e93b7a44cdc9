"""Networks as estimators: what stands between scikit-learn's words and the training loop.

The last part of the training rows (of rows without an order a random part) is set aside to stop
the training early, so that the rows which score a model have no say in when its training ends.
`rounds_` is the number of epochs kept; `fit_rounds` trains so many on all rows, for the refit.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from engines.models.learner import FoldView, Watch
from engines.models.networks.training import Rows, Schedule, Training, predict
from engines.models.networks.windows import windows, with_history
from engines.models.networks.work import LEAST_ROWS, count

Floats = npt.NDArray[np.float64]

ASIDE = 0.15
"""The part of the training rows that stops the training."""

FEWEST = 40
"""With fewer training rows none are set aside: training takes `PLAIN` epochs."""

PLAIN = 40
MOST_EPOCHS = 200
LEAST_STEPS = 8
"""An epoch of few rows has at least so many steps: the batch is made smaller for it."""


def find_device(wanted: str) -> torch.device:
    """`cpu`, `cuda`, or for `auto` the GPU where there is one."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


class Network(BaseEstimator):
    """A network behind `fit`, `fit_watched`, `fit_rounds` and `predict`.

    Subclasses name their parameters in the constructor, those below among them, and build the
    module. X: (rows, columns), numbers near 1 in size: standardise them.
    """

    report_every = 1
    reads_windows = False

    own = 0
    """Columns of X, the first ones, that are the target's past, in units of y."""

    learning_rate: float
    batch_size: int
    weight_decay: float
    max_epochs: int
    patience: int
    seed: int
    device: str

    @abstractmethod
    def _network(self, columns: int, outputs: int) -> nn.Module:
        """The module, untrained: (batch, columns) or (batch, context, columns) to outputs."""

    # -- training --------------------------------------------------------------------------

    def fit(self, X: Floats, y: Floats) -> Self:
        """Train; the last rows are set aside. Rows of a window model are in time order."""
        X, y = self._checked(X, y)
        return self._fit(X, y, Watch(), ordered=self.reads_windows)

    def fit_watched(self, fold: FoldView, watch: Watch) -> Self:
        """Train on a fold, telling `watch` after each epoch and obeying its deadline."""
        self.n_features_in_ = fold.X.shape[1]
        self._learn_target(fold.y)
        return self._fit(fold.X, fold.y, watch, ordered=fold.ordered, fold=fold)

    def fit_rounds(self, X: Floats, y: Floats, rounds: int) -> Self:
        """Train exactly `rounds` epochs on all rows."""
        X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self.n_features_in_ = X.shape[1]
        self._learn_target(y)
        return self._fit(X, y, Watch(), ordered=self.reads_windows, epochs=max(1, rounds))

    def _fit(
        self,
        X: Floats,
        y: Floats,
        watch: Watch,
        *,
        ordered: bool,
        epochs: int | None = None,
        fold: FoldView | None = None,
    ) -> Self:
        rows = self._rows(X, self._encoded(y))
        train, aside = _set_aside(rows, self.seed, ordered) if epochs is None else (rows, None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self._network(X.shape[1], self._outputs).to(rows.x.device)
        schedule, aside = self._planned(network, train, aside, epochs)
        training = Training(network, self._loss, train, aside, schedule, self.seed)
        saver = watch.saver
        if saver is not None and saver.state is not None:
            training.restore(torch.load(io.BytesIO(saver.state), weights_only=True))
        while not training.over:
            training.advance(watch.deadline)
            if training.was_cut:
                watch.mark_cut()
            if fold is not None and watch.wants(training.epoch):
                self.module_ = training.network
                watch.report(training.epoch, self._told(fold))
            if saver is not None and not training.over:
                saver(training.epoch, lambda: _packed(training))
        self.module_ = training.best().cpu()
        self.rounds_ = training.best_epoch
        return self

    def _planned(
        self, network: nn.Module, train: Rows, aside: Rows | None, epochs: int | None
    ) -> tuple[Schedule, Rows | None]:
        """How to train, and the rows to stop by; on a CPU within what `work.py` allows."""

        def batch(count: int) -> int:
            return max(2, min(self.batch_size, count // LEAST_STEPS))

        plain = PLAIN if aside is None else self.max_epochs
        most, rows = min(plain, self.max_epochs), len(train)
        if rows and train.x.device.type == "cpu":
            work = count(network, train.x[:1])
            rows = work.epoch_rows(rows, batch(rows))
            most = min(most, work.epochs(rows, batch(rows)))
        self.epoch_rows_ = (rows, len(train))
        schedule = Schedule(
            learning_rate=self.learning_rate,
            batch=batch(rows),
            epochs=epochs or most,
            weight_decay=self.weight_decay,
            patience=self.patience,
            rows=rows,
        )
        return schedule, None if aside is None else _thinned(aside, max(LEAST_ROWS, rows // 2))

    def _rows(self, X: Floats, y: Tensor) -> Rows:
        x = torch.as_tensor(X, dtype=torch.float32)
        device = find_device(self.device)
        return Rows(x.to(device), y.to(device))

    # -- predicting ------------------------------------------------------------------------

    def _seen(self, X: Any) -> Floats:
        check_is_fitted(self, "module_")
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))

    def _raw(self, X: Floats, before: Floats | None = None) -> Tensor:
        """(rows, outputs) on the CPU."""
        device = next(self.module_.parameters()).device
        return predict(self.module_, self._inputs(X, before).to(device)).cpu()

    def _inputs(self, X: Floats, before: Floats | None) -> Tensor:
        return torch.as_tensor(X, dtype=torch.float32)

    @abstractmethod
    def _told(self, fold: FoldView) -> Floats:
        """The validation rows as `Watch.report` takes them."""

    # -- the target ------------------------------------------------------------------------

    @abstractmethod
    def _checked(self, X: Any, y: Any) -> tuple[Floats, Floats]: ...

    @abstractmethod
    def _learn_target(self, y: Floats) -> None: ...

    @abstractmethod
    def _encoded(self, y: Floats) -> Tensor: ...

    @property
    @abstractmethod
    def _outputs(self) -> int: ...

    @staticmethod
    @abstractmethod
    def _loss(predicted: Tensor, wanted: Tensor) -> Tensor: ...


class NetworkRegressor(RegressorMixin, Network):
    """Predicts numbers; trained on the squared error."""

    def predict(self, X: Floats, before: Floats | None = None) -> Floats:
        """(rows,) in units of the target, or (rows, steps) if it was trained on several.

        before: for a model that reads windows, the rows that came right before X in time.
        """
        X = self._seen(X)
        raw = self._raw(X, before).reshape(len(X), *self.shape_).double().numpy()
        return np.asarray(raw * self.scale_ + self.mean_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _told(self, fold: FoldView) -> Floats:
        return self.predict(fold.X_valid, fold.before_valid)

    def _checked(self, X: Any, y: Any) -> tuple[Floats, Floats]:
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
        self._learn_target(y)
        return X, y

    def _learn_target(self, y: Floats) -> None:
        self.shape_ = y.shape[1:]
        self.mean_, self.scale_ = (
            (0.0, 1.0) if self.own else (float(np.mean(y)), float(np.std(y)) or 1.0)
        )

    def _encoded(self, y: Floats) -> Tensor:
        scaled = torch.as_tensor((y - self.mean_) / self.scale_, dtype=torch.float32)
        return scaled.reshape(len(y), -1)

    @property
    def _outputs(self) -> int:
        return self.shape_[0] if self.shape_ else 1

    @staticmethod
    def _loss(predicted: Tensor, wanted: Tensor) -> Tensor:
        return nn.functional.mse_loss(predicted.reshape(wanted.shape), wanted)


class NetworkClassifier(ClassifierMixin, Network):
    """Predicts classes and their probabilities; trained on the cross-entropy."""

    classes_: npt.NDArray[Any]

    def predict_proba(self, X: Floats, before: Floats | None = None) -> Floats:
        """(rows, len(classes_)) probabilities; see `NetworkRegressor.predict` for `before`."""
        X = self._seen(X)
        raw = self._raw(X, before).reshape(len(X), len(self.classes_)).double()
        return np.asarray(torch.softmax(raw, dim=1).numpy())

    def predict(self, X: Floats, before: Floats | None = None) -> npt.NDArray[Any]:
        """(rows,) the most probable of `classes_`."""
        places = np.argmax(self.predict_proba(X, before), axis=1)
        return np.asarray(self.classes_[places])

    def _told(self, fold: FoldView) -> Floats:
        wide = np.zeros((len(fold.X_valid), fold.classes))
        codes = self.classes_.astype(np.intp)
        wide[:, codes] = self.predict_proba(fold.X_valid, fold.before_valid)
        return wide

    def _checked(self, X: Any, y: Any) -> tuple[Floats, Floats]:
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self._learn_target(y)
        return X, y

    def _learn_target(self, y: Floats) -> None:
        self.classes_ = np.unique(y)

    def _encoded(self, y: Floats) -> Tensor:
        return torch.as_tensor(np.searchsorted(self.classes_, y), dtype=torch.int64)

    @property
    def _outputs(self) -> int:
        return len(self.classes_)

    @staticmethod
    def _loss(predicted: Tensor, wanted: Tensor) -> Tensor:
        return nn.functional.cross_entropy(predicted.reshape(len(wanted), -1), wanted)


class ReadsWindows(Network):
    """A network that reads the `context_length` rows up to the one it speaks of."""

    reads_windows = True
    context_length: int

    def _rows(self, X: Floats, y: Tensor) -> Rows:
        # Rows without a whole window before them teach nothing that will be asked for.
        rows = super()._rows(X, y[self.context_length - 1 :])
        return Rows(windows(rows.x, self.context_length), rows.y)

    def _inputs(self, X: Floats, before: Floats | None) -> Tensor:
        series = with_history(X, before, self.context_length)
        return windows(torch.as_tensor(series, dtype=torch.float32), self.context_length)


def _set_aside(rows: Rows, seed: int, ordered: bool) -> tuple[Rows, Rows | None]:
    """The rows to train on, and the latest ones, or a random part, to stop by."""
    count = len(rows)
    if count < FEWEST:
        return rows, None
    held = max(10, round(ASIDE * count))
    if ordered:
        return Rows(rows.x[:-held], rows.y[:-held]), Rows(rows.x[-held:], rows.y[-held:])
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    kept, aside = order[held:].sort().values, order[:held].sort().values
    return Rows(rows.x[kept], rows.y[kept]), Rows(rows.x[aside], rows.y[aside])


def _thinned(rows: Rows, most: int) -> Rows:
    """At most so many of the rows, evenly from all of them."""
    if len(rows) <= most:
        return rows
    index = torch.linspace(0, len(rows) - 1, most).long()
    return Rows(rows.x[index], rows.y[index])


def _packed(training: Training) -> bytes:
    buffer = io.BytesIO()
    torch.save(training.state(), buffer)
    return buffer.getvalue()
