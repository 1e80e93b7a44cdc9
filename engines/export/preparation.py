"""What stands before an estimator, as plain numbers: medians, scales, and the codes of categories.

A fitted `engines.models.prepare.preparation` becomes JSON and from it the same arithmetic again,
operation by operation, so that the estimator sees the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MISSING_CODE = -1.0


@dataclass(frozen=True)
class Codes:
    """One column of codes and the columns of zeros and ones that it becomes.

    place: its number among the raw columns. known: the codes that training rows had, ascending;
    `MISSING_CODE` stands for a missing one. rare: those of them that share the last column, which
    takes codes that were not there as well.
    """

    place: int
    known: tuple[float, ...]
    rare: tuple[float, ...]

    def spread(self, X: Floats) -> Floats:
        """(rows, width): a one in the column of each row's code, none for a code that is new."""
        codes = np.where(np.isnan(X[:, self.place]), MISSING_CODE, X[:, self.place])
        own = np.array([code for code in self.known if code not in self.rare])
        wide = (codes[:, None] == own[None, :]).astype(np.float64)
        if not self.rare:
            return wide
        return np.column_stack([wide, 1.0 - wide.sum(axis=1)])


@dataclass(frozen=True)
class Preparation:
    """Raw rows to what an estimator takes: numbers filled in and scaled, then codes spread out.

    numbers: the places of number columns. fill: their medians. shift, scale: of a standardised
    column, None where numbers stay as they are.
    """

    numbers: tuple[int, ...]
    fill: tuple[float, ...]
    shift: tuple[float, ...] | None
    scale: tuple[float, ...] | None
    codes: tuple[Codes, ...]

    @classmethod
    def of(cls, fitted: Any) -> Preparation:
        """That of a fitted column transformer of `engines.models.prepare`."""
        by_name = {name: (steps, places) for name, steps, places in fitted.transformers_}
        steps, places = by_name["numbers"]
        parts = [step for _, step in steps.steps] if len(places) else []
        scaler = parts[1] if len(parts) > 1 else None
        codes: tuple[Codes, ...] = ()
        if "codes" in by_name:
            spreading, spread = by_name["codes"]
            codes = tuple(_codes(spreading.steps[1][1], i, int(p)) for i, p in enumerate(spread))
        return cls(
            numbers=tuple(int(place) for place in places),
            fill=tuple(map(float, parts[0].statistics_)) if parts else (),
            shift=None if scaler is None else tuple(map(float, scaler.mean_)),
            scale=None if scaler is None else tuple(map(float, scaler.scale_)),
            codes=codes,
        )

    def transform(self, X: Floats) -> Floats:
        """(rows, columns) raw to (rows, columns of the estimator)."""
        numbers = X[:, list(self.numbers)]
        numbers = np.where(np.isnan(numbers), np.array(self.fill), numbers)
        if self.shift is not None and self.scale is not None:
            numbers = (numbers - np.array(self.shift)) / np.array(self.scale)
        return np.ascontiguousarray(np.hstack([numbers, *(c.spread(X) for c in self.codes)]))

    def to_json(self) -> dict[str, Any]:
        """As plain data; every float comes back as it was."""
        return {
            "numbers": list(self.numbers),
            "fill": list(self.fill),
            "shift": None if self.shift is None else list(self.shift),
            "scale": None if self.scale is None else list(self.scale),
            "codes": [
                {"place": c.place, "known": list(c.known), "rare": list(c.rare)} for c in self.codes
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preparation:
        """The inverse of `to_json`."""
        return cls(
            numbers=tuple(int(place) for place in data["numbers"]),
            fill=_floats(data["fill"]),
            shift=None if data["shift"] is None else _floats(data["shift"]),
            scale=None if data["scale"] is None else _floats(data["scale"]),
            codes=tuple(
                Codes(int(c["place"]), _floats(c["known"]), _floats(c["rare"]))
                for c in data["codes"]
            ),
        )


def _codes(encoder: Any, index: int, place: int) -> Codes:
    rare = encoder.infrequent_categories_[index]
    known = tuple(float(code) for code in encoder.categories_[index])
    return Codes(place, known, () if rare is None else tuple(float(code) for code in rare))


def _floats(values: list[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
