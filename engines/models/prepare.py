"""How the rows of a table reach an estimator: raw, as numbers, or standardised.

Everything here is learned from training rows alone, so that nothing of a fold's validation rows
or of the held-out part leaks into training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from engines.data.snapshot import MOST_SPREAD

Floats = npt.NDArray[np.float64]


def preparation(columns: str, categories: dict[int, int]) -> Any | None:
    """An unfitted transformer of raw rows for a `Form.columns`, or None for `raw`.

    Missing numbers become the column's median, missing codes a code of their own; codes become
    one column each.
    """
    if columns == "raw":
        return None
    numbers = [SimpleImputer(strategy="median", keep_empty_features=True)]
    if columns == "scaled":
        numbers.append(StandardScaler())
    steps: list[tuple[str, Any, Any]] = [
        ("numbers", make_pipeline(*numbers), _Numbers(frozenset(categories)))
    ]
    if categories:
        codes = make_pipeline(
            SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True),
            OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                sparse_output=False,
                max_categories=MOST_SPREAD,
            ),
        )
        steps.append(("codes", codes, sorted(categories)))
    return ColumnTransformer(steps)


class _Numbers:
    """The columns that are not codes, chosen when X is known."""

    def __init__(self, categories: frozenset[int]) -> None:
        self.categories = categories

    def __call__(self, X: Floats) -> list[int]:
        return [i for i in range(X.shape[1]) if i not in self.categories]


@dataclass(frozen=True)
class TargetScale:
    """The affine map between a target and what an estimator is trained on."""

    shift: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, y: Floats) -> TargetScale:
        """To mean 0 and standard deviation 1 on `y`; a constant target is only shifted."""
        return cls(float(np.mean(y)), float(np.std(y)) or 1.0)

    def forward(self, y: Floats) -> Floats:
        """From the target's units."""
        return y if self == TargetScale() else (y - self.shift) / self.scale

    def back(self, y: Floats) -> Floats:
        """To the target's units."""
        return y if self == TargetScale() else y * self.scale + self.shift
