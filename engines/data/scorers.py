"""Metrics of other installed packages, by entry points: a function of true and predicted values.

Declared with strings, like models: the function is imported by who scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from engines import plugins
from engines.data.scoring import CLASSIFICATION, FIT_TIME, METRICS, REGRESSION


@dataclass(frozen=True, slots=True)
class Scorer:
    """A metric of one's own that a package declares.

    name: snake_case, as typed behind --metric. function: `"module:name"` of a function of
    (y_true, y_pred), arrays of (rows,), for a classification labels; it returns one finite number.
    maximize: whether more is better. tasks: "regression", "classification" or both.
    """

    name: str
    function: str
    summary: str
    maximize: bool = True
    tasks: tuple[str, ...] = (REGRESSION, CLASSIFICATION)


@cache
def scorers() -> dict[str, tuple[Scorer, str]]:
    """(scorer, package with its version) by name."""
    known: dict[str, tuple[Scorer, str]] = {}

    def refuse(scorer: Scorer) -> str | None:
        what = f"metric {scorer.name}"
        if not scorer.name.isidentifier() or scorer.name != scorer.name.lower():
            return f"{what}: a name is in snake_case"
        if scorer.name in (*METRICS, *known, FIT_TIME.name) or scorer.name.endswith("_score"):
            return f"{what}: the name is taken"
        if ":" not in scorer.function:
            return f'{what}: `{scorer.function}` is not "module:name"'
        if not scorer.tasks or set(scorer.tasks) - {REGRESSION, CLASSIFICATION}:
            return f"{what}: tasks are {REGRESSION} and {CLASSIFICATION}, not {scorer.tasks}"
        known[scorer.name] = (scorer, "")
        return None

    found = plugins.plugged(plugins.METRICS, Scorer, refuse)
    return {scorer.name: (scorer, package) for scorer, package in found}
