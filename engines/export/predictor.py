"""An exported predictor, read back: nothing that lies in its folder is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.analysis.ensemble import predict
from engines.data.datasets import Feature
from engines.data.reading import Table
from engines.data.scoring import TRADING, ScoreError
from engines.errors import BadInput, HyperionError, PackageMissing, one_line
from engines.export import estimators
from engines.export.document import FILE, check_files, differences, read_document, versions_here
from engines.export.past import PastColumns
from engines.export.preparation import Preparation
from engines.export.rows import NewRows, as_column, read_new, read_rows, table_of
from engines.models.fit import FittedModel
from engines.models.prepare import TargetScale

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MODEL_FILE, CONTEXT_FILE = "model.json", "context.npz"


@dataclass(frozen=True)
class Member:
    """A trial among the members: the mean of its models, times its share of all weights."""

    study: str
    number: int
    weight: float
    models: tuple[FittedModel, ...]


@dataclass(frozen=True)
class Context:
    """What came last, for models that look back. X: raw, (rows, columns). times: int64 epoch
    nanoseconds (rows,), or None. series, series_times: the same of the target, for models that
    read it, or None.
    """

    X: Floats
    times: Ints | None
    series: Floats | None = None
    series_times: Ints | None = None

    def before(self, times: Ints | None) -> Floats:
        """The known rows right before new ones; those without times come after all of them."""
        if times is None or self.times is None:
            return self.X
        return self.X[: int(np.searchsorted(self.times, times[0]))]

    def values_before(self, times: Ints | None) -> Floats:
        """The known values of the target right before new rows, as for `before`."""
        if self.series is None:
            return np.empty(0)
        if times is None or self.series_times is None:
            return self.series
        return self.series[: int(np.searchsorted(self.series_times, times[0]))]


@dataclass(frozen=True)
class Predictor:
    """What `export` has written. Read one with `Predictor.load(folder)`.

    The same rows give the same digits. A network computes with 24 bits, so that a row in other
    company may differ from the eighth digit on.

    features: the columns that it needs, by name. classes: the labels as text, () for regression.
    notices: what differs here from where it was made, one line each. past: for models that read
    the target's past, which new rows then must have up to where it is known.
    """

    task: str
    target: str
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    time_column: str | None
    members: tuple[Member, ...]
    context: Context | None
    notices: tuple[str, ...] = ()
    past: PastColumns | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Predictor:
        """Read a folder that `export` has written.

        Raises BadInput if it is none, was changed, or asks for anything that is not on our lists;
        PackageMissing if a library of its models is not installed.
        """
        folder = Path(folder)
        document = read_document(folder)
        if document.get("task") == TRADING:
            raise BadInput(f"{folder} holds an agent: see engines.export.agent.ExportedAgent.")
        try:
            return _read(folder, document)
        except HyperionError:
            raise
        except ImportError as error:
            raise PackageMissing(
                f"{folder} needs {error.name}: install it in the version that "
                f"{folder / FILE} names."
            ) from error
        except Exception as error:  # the border: libraries raise what they like at damaged files
            what = f"{type(error).__name__}: {one_line(error, 200)}"
            raise BadInput(f"{folder} can't be read ({what}): export it again.") from error

    @property
    def reads_windows(self) -> bool:
        """Whether the rows before a row tell something about it."""
        return any(model.tail is not None for m in self.members for model in m.models)

    def predict(self, rows: Any) -> npt.NDArray[Any]:
        """(rows,): values in the target's units, or labels; (rows, horizon) forecasts.

        Raises BadInput for rows of another kind, HyperionError for what can't be predicted.
        """
        return self.named(self.predict_table(table_of(rows))[0])

    def predict_file(self, path: Path) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
        """(As `predict`, of a CSV or Parquet file; notices about its rows, one line each)."""
        predicted, notices = self.predict_table(read_new(path))
        return self.named(predicted), notices

    def named(self, predicted: Floats) -> npt.NDArray[Any]:
        """(rows,): the labels of the likeliest classes, or values as they are."""
        if not self.classes:
            return predicted
        return as_column(self.classes, predicted.argmax(axis=1)).to_numpy()

    def predict_proba(self, rows: Any) -> Floats:
        """(rows, classes) probabilities, in the order of `classes`. Classification only."""
        if not self.classes:
            raise BadInput("predict_proba is for classification: use predict.")
        return self.predict_table(table_of(rows))[0]

    def predict_table(self, table: Table) -> tuple[Floats, tuple[str, ...]]:
        """((rows,) values or (rows, classes) probabilities in the order of the table, notices)."""
        clock = self.time_column if self.reads_windows or self.past is not None else None
        rows = read_rows(table, self.features, clock)
        y = None
        if self.past is not None:
            y = read_rows(table, [self.past.target], None).X[rows.order, 0]
        X, y, asked = self._among_known(rows, y)
        if self.past is not None:
            assert y is not None
            known = np.empty(0) if self.context is None else self.context.values_before(rows.times)
            X = self.past.joined(X, y, known)
        before = None if self.context is None else self.context.before(rows.times)
        predicted = self.predict_encoded(X, before)[asked]
        found = np.empty_like(predicted)
        found[rows.order] = predicted
        return found, rows.notices

    def _among_known(
        self, rows: NewRows, y: Floats | None
    ) -> tuple[Floats, Floats | None, npt.NDArray[np.intp]]:
        """(X, y, places of the new rows) with the known rows that lie between new ones in time.

        Whatever looks back counts rows, so none may be left out.
        """
        known, times = self.context, rows.times
        every = np.arange(len(rows.X))
        if known is None or known.times is None or times is None:
            return rows.X, y, every
        inside = (known.times > times[0]) & (known.times < times[-1])
        between = np.flatnonzero(inside & ~np.isin(known.times, times))
        if not len(between):
            return rows.X, y, every
        order = np.argsort(np.concatenate([times, known.times[between]]), kind="stable")
        first = 0 if self.past is None else 1  # what stands before the features themselves
        more = known.X[between, first : first + rows.X.shape[1]]
        asked = np.argsort(order, kind="stable")[: len(rows.X)]
        if y is not None:
            assert known.series is not None
            assert known.series_times is not None
            at = np.searchsorted(known.series_times, known.times[between])
            y = np.concatenate([y, known.series[at]])[order]
        return np.concatenate([rows.X, more])[order], y, asked

    def predict_encoded(self, X: Floats, before: Floats | None) -> Floats:
        """As `predict_table`, of rows as the models were trained on them. before: see `Context`."""
        try:
            parts = [
                np.asarray(np.mean([m.predict(X, before) for m in member.models], axis=0))
                for member in self.members
            ]
        except ScoreError as error:
            raise HyperionError(f"These rows can't be predicted: {one_line(error)}.") from error
        return predict(parts, [member.weight for member in self.members])


# -- reading -------------------------------------------------------------------------------


def _read(folder: Path, document: dict[str, Any]) -> Predictor:
    check_files(folder, document)
    models = [read_model(folder / "models" / str(number)) for number in range(document["models"])]
    return Predictor(
        task=document["task"],
        target=document["target"],
        classes=tuple(document["classes"]),
        features=tuple(
            Feature(f["name"], f["kind"], tuple(f["categories"])) for f in document["features"]
        ),
        time_column=document["time_column"],
        members=tuple(
            Member(m["study"], m["trial"], m["weight"], tuple(models[i] for i in m["models"]))
            for m in document["members"]
        ),
        context=_read_context(folder / CONTEXT_FILE) if document["has_context"] else None,
        past=None if document["past"] is None else PastColumns.from_json(document["past"]),
        notices=tuple(differences(document["versions"])),
    )


def _read_context(path: Path) -> Context:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        more = (arrays.get(name) for name in ("times", "series", "series_times"))
        return Context(arrays["X"], *more)


# -- one model -----------------------------------------------------------------------------


def write_model(folder: Path, model: FittedModel) -> dict[str, Any]:
    """Write a fitted model into a new folder; returns its document. Raises HyperionError,
    OSError.
    """
    folder.mkdir(parents=True)
    prepare = None if model.prepare is None else Preparation.of(model.prepare).to_json()
    document = {
        "estimator": estimators.write(folder, model.estimator),
        "prepare": prepare,
        "target": {"shift": model.target.shift, "scale": model.target.scale},
        "classes": model.classes,
        "low": model.low,
        "high": model.high,
        "columns": None if model.tail is None else int(model.tail.shape[1]),
        "steps": model.steps,
        "reads": model.columns,
        "base": model.base,
    }
    text = json.dumps(document, indent=1, allow_nan=False)
    (folder / MODEL_FILE).write_text(text + "\n", encoding="utf-8")
    return document


def read_model(folder: Path) -> FittedModel:
    """The inverse of `write_model`. Raises BadInput, OSError, and what libraries raise."""
    document = json.loads((folder / MODEL_FILE).read_bytes())
    prepare, columns = document["prepare"], document["columns"]
    return FittedModel(
        estimator=estimators.read(folder, document["estimator"]),
        prepare=None if prepare is None else Preparation.from_json(prepare),
        target=TargetScale(float(document["target"]["shift"]), float(document["target"]["scale"])),
        classes=int(document["classes"]),
        low=float(document["low"]),
        high=float(document["high"]),
        # The rows before are told with each prediction: the context of the predictor has them.
        tail=None if columns is None else np.empty((0, columns)),
        steps=document["steps"],
        columns=document["reads"],
        base=document["base"],
    )


# -- versions ------------------------------------------------------------------------------

_PACKAGES = {
    "skops": ("skops",),
    "xgboost": ("xgboost-cpu", "xgboost"),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "safetensors": ("torch", "safetensors"),
}
"""Of the format of a model, what reads it."""


def versions_of(formats: set[str]) -> dict[str, str]:
    """What a predictor with models of these formats depends on, as it is installed here."""
    more = [name for kind in sorted(formats) for name in _PACKAGES[kind]]
    return versions_here("hyperion-tui", "numpy", "scikit-learn", *more)
