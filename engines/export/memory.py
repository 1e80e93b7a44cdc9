"""The predictor of a forecast without a folder: for whoever has just fitted it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.datasets import Feature
from engines.data.frames import as_frame, as_labels
from engines.errors import BadInput
from engines.export.past import PastColumns, plain_features
from engines.export.predictor import Context as Known
from engines.export.predictor import Floats, Member, Predictor
from engines.export.rows import read_rows, table_of
from engines.models.fit import FittedModel
from engines.run.context import Context
from engines.study.records import Experiment


def forecaster(
    context: Context,
    experiment: Experiment,
    bags: Sequence[tuple[float, list[FittedModel]]],
    rows: Floats,
) -> Predictor:
    """The predictor of a forecast that has ended, which knows all rows that it was given.

    bags: weights and models, as `FinalPredictor` has them. rows: (rows, features), all that were
    given, in time order.
    """
    data, about = context.data, experiment.dataset
    assert about is not None
    assert data.past is not None
    past = data.past
    columns = PastColumns.of(data, about.target, (experiment.split or {}).get("horizon"))
    assert columns is not None
    lost = int(past.at[0])  # the first rows, whose past is not whole, are known all the same
    early = columns.joined(rows[:lost], past.series[:lost], np.empty(0))
    return Predictor(
        task=experiment.task,
        target=about.target,
        classes=(),
        features=tuple(
            Feature(name, "number" if texts is None else "category", tuple(texts or ()))
            for name, texts in plain_features(data.features, past)
        ),
        time_column=about.time_column,
        members=tuple(
            Member(experiment.name, number, weight, tuple(models))
            for number, (weight, models) in enumerate(bags)
        ),
        context=Known(
            np.concatenate([early, data.X, past.later]),
            past.times,
            past.series,
            past.times,
        ),
        past=columns,
    )


def forecasts(predictor: Predictor, X: Any, y: Any | None) -> Floats:
    """(rows, horizon): from each row of X, the values behind it.

    y: (rows,) the target in these rows, which they know; None where they are among the rows that
    were learned from, or kept for the score. Raises BadInput for rows whose target is not known.
    """
    frame = as_frame(X)
    known = _known_target(predictor, frame) if y is None else as_labels(y)
    if known.shape != (len(frame),):
        raise BadInput(f"y has the shape {known.shape} and X {len(frame)} rows: one y for each.")
    return predictor.predict_table(table_of(frame.assign(**{predictor.target: known})))[0]


def _known_target(predictor: Predictor, frame: Any) -> npt.NDArray[np.float64]:
    """(rows,) the target at the times of the rows."""
    context = predictor.context
    assert context is not None
    assert context.series is not None
    assert context.series_times is not None
    rows = read_rows(table_of(frame), predictor.features, predictor.time_column)
    if rows.times is None:
        raise BadInput(
            f"X has no column {predictor.time_column!r}: give it, or the target of these rows as y."
        )
    last = len(context.series_times) - 1
    at = np.minimum(np.searchsorted(context.series_times, rows.times), last)
    if (context.series_times[at] != rows.times).any():
        raise BadInput(
            "X has rows that the search never had, and a forecast needs their target: "
            "predict(X, y) with the y of these rows."
        )
    found = np.empty(len(frame))
    found[rows.order] = context.series[at]
    return found
