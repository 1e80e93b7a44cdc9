"""The target's own past: what of it models may read, and what a forecast asks them for.

A row stands at a point in time and knows the target up to there: a forecast at row t up to y(t),
and is asked for the next `horizon` values; with `--past-target` row t knows up to y(t - 1) and is
asked for y(t). Every model reads the same: those of single rows have the lags as columns, those of
windows the column of the last known value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engines.data.scoring import FORECAST
from engines.errors import BadInput

if TYPE_CHECKING:
    # pandas comes with it, 0.3 s that a worker does not need.
    from engines.data.datasets import Dataset

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

RECENT = 12
"""So many of the latest values are columns."""

MOST_SEASONAL = 24
"""So many of those one season before what is asked for, beside them."""

MOST_LOST = 5
"""The first rows, whose past is not whole, are left out: at most one of so many."""

FEWEST_ROWS = 20

_DAY = 86_400 * 10**9
_CYCLES = ((_DAY, _DAY), (7 * _DAY, 7 * _DAY), (366 * _DAY, round(365.25 * _DAY)))
"""(rows closer together than this, the length of their season), both in nanoseconds."""

SEASONS_SEEN = 4
"""A season is one if the data hold at least so many."""


@dataclass(frozen=True, eq=False)
class Past:
    """The series behind the rows of an experiment.

    series: float64 (steps,), the target in time order, finite. at: (rows,) the position in it of
    the last value that a row knows. horizon: steps behind it that are asked for. season: steps
    after which the series may repeat itself, or None. base: columns of X that are not lags: that
    of the last known value, which is the first, and the features. times: int64 epoch nanoseconds
    (steps,). later: (horizon, columns) the last rows of X, of which not all that is asked for is
    known; none with `--past-target`.
    """

    series: Floats
    at: Rows
    horizon: int
    season: int | None
    base: int
    times: Rows
    later: Floats

    def last(self) -> Floats:
        """(rows,) the last known value."""
        return self.series[self.at]

    def ahead(self) -> Floats:
        """(rows, horizon) what is asked for."""
        return self.series[self.at[:, None] + np.arange(1, self.horizon + 1)]

    def season_before(self) -> Floats:
        """(rows, horizon) the latest known value of the same place in the season.

        Raises ValueError without a season. Where there is no such value yet, the last known one.
        """
        if self.season is None:
            raise ValueError("there is no season")
        steps = np.arange(1, self.horizon + 1)
        where = self.at[:, None] + steps - self.season * -(-steps // self.season)
        return self.series[np.where(where >= 0, where, self.at[:, None])]

    def drifted(self) -> Floats:
        """(rows, horizon) the line through the first and the last known value, drawn on."""
        slope = (self.last() - self.series[0]) / np.maximum(self.at, 1)
        return self.last()[:, None] + slope[:, None] * np.arange(1, self.horizon + 1)

    def known_to(self, row: int) -> Floats:
        """The part of the series that a row knows."""
        return self.series[: int(self.at[row]) + 1]

    def describe(self, task: str) -> dict[str, Any]:
        """What makes scores comparable, as plain data."""
        asked = {"horizon": self.horizon} if task == FORECAST else {"past_target": True}
        return {**asked, "season": self.season}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person said of the past: `--task`, `--horizon` and `--past-target`."""

    task: str | None = None
    horizon: int | None = None
    past_target: bool = False

    @property
    def table_task(self) -> str | None:
        """The task that the table is read for. Raises BadInput for words that don't fit."""
        if self.horizon is not None and self.task not in (None, FORECAST):
            raise BadInput(f"--horizon is for --task forecast, not for {self.task}.")
        if self.task != FORECAST:
            return self.task if self.horizon is None else "regression"
        if self.horizon is None:
            raise BadInput("How far ahead? --task forecast needs --horizon, in rows.")
        if self.past_target:
            raise BadInput(
                "--task forecast always reads the target's past: leave out --past-target."
            )
        return "regression"

    def of(self, dataset: Dataset) -> Dataset:
        """The data set as asked for. Raises BadInput as `look_back` does."""
        if self.horizon is None and not self.past_target:
            return dataset
        return look_back(dataset, self.horizon)


def look_back(dataset: Dataset, horizon: int | None) -> Dataset:
    """The data set with the past of its target: more columns, and as `Past` says.

    horizon: steps of a forecast, or None to predict a row's own target from what came before it.
    The hash stays that of the data. Raises BadInput without time order, for a horizon that leaves
    too few rows, and for groups.
    """
    word = "--past-target" if horizon is None else "--task forecast"
    if dataset.times is None:
        raise BadInput(f"{word} needs rows in order of time: name their column with --time-column.")
    steps = len(dataset.y)
    own = 1 if horizon is None else 0  # how far back the last known value lies
    asked = 1 if horizon is None else horizon
    season = season_of(dataset.times)
    lags = _lags(asked, season, most=steps // MOST_LOST)
    first = lags[-1] + own
    rows = np.arange(first, steps - (0 if horizon is None else horizon))
    if len(rows) < FEWEST_ROWS:
        raise BadInput(
            f"--horizon {asked} leaves {max(0, len(rows))} of {steps:,} rows to learn from and to "
            f"score: at most {max(1, steps - first - FEWEST_ROWS)} will do."
        )
    wide = _with_columns(dataset, np.arange(first, steps), lags, own)
    past = Past(
        series=dataset.y,
        at=rows - own,
        horizon=asked,
        season=season,
        base=1 + len(dataset.features),
        times=dataset.times,
        later=wide[len(rows) :],
    )
    return _with_past(dataset, past, wide[: len(rows)], lags, own, horizon)


def _with_columns(dataset: Dataset, rows: Rows, lags: Sequence[int], own: int) -> Floats:
    """(rows, columns): the last known value, the features, the other lags."""
    values = dataset.y[rows[:, None] - own - np.asarray(lags)]
    return np.column_stack([values[:, :1], dataset.X[rows], values[:, 1:]])


def _with_past(
    dataset: Dataset,
    past: Past,
    X: Floats,
    lags: Sequence[int],
    own: int,
    horizon: int | None,
) -> Dataset:
    from engines.data.datasets import Feature

    rows = past.at + own

    named = [
        Feature(
            f"{dataset.target} lag {lag + own}",
            "category" if dataset.classes else "number",
            dataset.classes,
        )
        for lag in lags
    ]
    shown = f"{len(lags)} past values of the target, up to {lags[-1] + own} rows back"
    season = f", season of {past.season} rows" if past.season else ""
    return replace(
        dataset,
        features=(named[0], *dataset.features, *named[1:]),
        X=X,
        y=dataset.y[rows] if horizon is None else past.ahead(),
        times=past.times[rows],
        rows=len(rows),
        task=dataset.task if horizon is None else FORECAST,
        notices=(*dataset.notices, f"models read {shown}{season}"),
        past=past,
    )


def _lags(horizon: int, season: int | None, most: int) -> list[int]:
    """How far behind the last known value each column lies, ascending from 0."""
    wanted = set(range(RECENT))
    if season is not None:
        steps = np.unique(np.linspace(1, horizon, min(horizon, MOST_SEASONAL)).round().astype(int))
        wanted |= {season * -(-int(step) // season) - int(step) for step in steps} | {season}
    return sorted(lag for lag in wanted if lag <= max(most, 1))


def as_changes(X: Floats, base: int, *, windows: bool) -> Floats:
    """X for a model that is trained on changes: the past as changes too, whatever its level.

    X: (rows, columns) with the last known value first and the other lags from column `base` on.
    Lags become their distance from the last known value. For a model that reads windows, which
    gets no lags, the last known value becomes its change from the one before.
    """
    X = np.array(X)
    if windows:
        X[:, 0] -= X[:, base]
    else:
        X[:, base:] -= X[:, :1]
    return X


def season_of(times: Rows) -> int | None:
    """Rows of a day, a week or a year, whichever is next above the distance of rows, or None.

    times: int64 epoch nanoseconds, ascending. Counted, not computed: a market that is open for
    seven hours has seven hourly rows a day.
    """
    gap = float(np.median(np.diff(times)))
    for below, cycle in _CYCLES:
        if gap < below:
            counts = np.unique(times // cycle, return_counts=True)[1][1:-1]
            if len(counts) < SEASONS_SEEN - 2:
                return None
            season = round(float(np.median(counts)))
            return season if season >= 2 and season * SEASONS_SEEN <= len(times) else None
    return None
