"""What some models ask of the data: a sentence for whoever chose the model, or None.

Facts: see `engines.data.facts`. A model whose need is not met is greyed in the tree with this
reason; it is not tried and failed.
"""

from __future__ import annotations

from engines.models.spec import Facts, Need


def target_above(bound: float, *, inclusive: bool = False) -> Need:
    """The target must lie above `bound` everywhere, or on it if `inclusive`."""

    def need(facts: Facts) -> str | None:
        low = facts["target_min"]
        if low > bound or (inclusive and low == bound):
            return None
        word = "negative values" if low < 0 else f"values down to {low:g}"
        return f"the target has {word}; this model needs {'>=' if inclusive else '>'} {bound:g}"

    return need


def at_most_columns(most: int) -> Need:
    """No more columns than `most` reach the estimator, categories spread out."""

    def need(facts: Facts) -> str | None:
        if facts["wide_columns"] <= most:
            return None
        return f"{facts['wide_columns']:,} columns; this model takes at most {most:,}"

    return need


def rows_in_order() -> Need:
    """The rows must be in time order: the model reads windows of them."""

    def need(facts: Facts) -> str | None:
        if facts["ordered"]:
            return None
        return "the rows have no time order (--time-column); this model reads windows of them"

    return need
