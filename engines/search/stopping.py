"""When a study has nothing more to expect: patience, and failures that repeat."""

from __future__ import annotations

from collections.abc import Sequence

SAME_FAILURES = 5
"""So many failures in a row for the same cause end a study."""


def has_stalled(
    values: Sequence[float | None], *, maximize: bool, patience: int, min_improvement: float
) -> bool:
    """Whether the last `patience` finished trials brought nothing.

    values: scores of finished trials in the order they ended, None for failed and pruned ones.
    An improvement is a score better than the best before it by at least `min_improvement`, in
    units of the metric; the first score is one.
    """
    best: float | None = None
    since = 0
    for value in values:
        gain = None if value is None or best is None else (value - best) * (1 if maximize else -1)
        if value is not None and (best is None or (gain is not None and gain > 0)):
            since = 0 if gain is None or gain >= min_improvement else since + 1
            best = value
        else:
            since += 1
    return best is not None and since >= patience


def repeated_cause(
    endings: Sequence[tuple[str, str | None, str | None]],
) -> tuple[str, str] | None:
    """The cause that the last `SAME_FAILURES` trials share, or None.

    endings: (state, error class, error message) of finished trials, the latest first.
    """
    latest = list(endings[:SAME_FAILURES])
    if len(latest) < SAME_FAILURES or len(set(latest)) != 1:
        return None
    state, error_class, message = latest[0]
    if state != "FAIL":
        return None
    return error_class or "failed", message or ""
