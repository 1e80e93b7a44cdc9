"""Windows of rows in time order: what a forecaster reads to say something of the last of them.

The window of row t is rows t - context + 1 to t. It is a view: a series of a million rows and a
context of 500 cost no more memory than the series.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Floats = npt.NDArray[np.float64]


def windows(series: Tensor, context: int) -> Tensor:
    """(rows - context + 1, context, columns): the window of each row that has a whole one."""
    return series.unfold(0, context, 1).transpose(1, 2)


def with_history(X: Floats, before: Floats | None, context: int) -> Floats:
    """(context - 1 + rows, columns): `X` behind the rows it needs, so that each has a whole window.

    before: rows that came right before X in time, in order, or None. What is missing at the very
    beginning of a series is filled with its first row, as if nothing had changed before.
    """
    needed = context - 1
    known = X[:0] if before is None else before[max(0, len(before) - needed) :]
    found = np.concatenate([known, X])
    missing = needed - len(known)
    if not missing or not len(found):
        return found
    return np.concatenate([np.repeat(found[:1], missing, axis=0), found])
