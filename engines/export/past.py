"""What predictors that read the target's past need of it, and how new rows get it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.datasets import Feature
from engines.data.snapshot import Snapshot
from engines.errors import BadInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PastColumns:
    """The columns that are made of the target, see `engines.data.past`.

    target: as a column of new rows. back: how many rows before a row its last known value lies, 0
    for forecasts. lags: how far behind that the columns lie, ascending from 0. horizon: values of
    a forecast, None for the value of the row itself.
    """

    target: Feature
    back: int
    lags: tuple[int, ...]
    horizon: int | None

    @classmethod
    def of(cls, data: Snapshot, target: str, horizon: int | None) -> PastColumns | None:
        """That of an experiment's data, or None where models read none of the target."""
        if data.past is None:
            return None
        names = [name for name, _ in (data.features[0], *data.features[data.past.base :])]
        behind = [int(name.rpartition(" ")[2]) for name in names]
        lags = tuple(rows - behind[0] for rows in behind)
        kind: Any = "category" if data.classes else "number"
        return cls(Feature(target, kind, data.classes), behind[0], lags, horizon)

    def joined(self, X: Floats, y: Floats, known: Floats) -> Floats:
        """(rows, 1 + features + lags): rows with their past.

        X: (rows, features) in time order. y: (rows,) their target, NaN where it is not known.
        known: the values right before the first of them, as many as there are. What lies before
        those is missing. Raises BadInput for a row whose last known value is missing.
        """
        series = np.concatenate([known, y])
        last = len(known) + np.arange(len(X)) - self.back
        at = last[:, None] - np.asarray(self.lags)
        values = np.where(at >= 0, series[np.maximum(at, 0)], np.nan)
        lost = np.flatnonzero(np.isnan(values[:, 0]))
        if len(lost):
            where = "the row before it" if self.back else "it"
            raise BadInput(
                f"Row {int(lost[0]) + 1} in the order of time can't be predicted: column "
                f"{self.target.name!r} is empty in {where}, and these models read it."
            )
        return np.column_stack([values[:, :1], X, values[:, 1:]])

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "target": {
                "name": self.target.name,
                "kind": self.target.kind,
                "categories": list(self.target.categories),
            },
            "back": self.back,
            "lags": list(self.lags),
            "horizon": self.horizon,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PastColumns:
        """The inverse of `to_json`."""
        target = data["target"]
        return cls(
            Feature(target["name"], target["kind"], tuple(target["categories"])),
            int(data["back"]),
            tuple(map(int, data["lags"])),
            None if data["horizon"] is None else int(data["horizon"]),
        )


def plain_features(
    features: Sequence[tuple[str, Any]], past: Any | None
) -> tuple[tuple[str, Any], ...]:
    """The columns that new rows must have: without those made of the target."""
    return tuple(features) if past is None else tuple(features[1 : past.base])
