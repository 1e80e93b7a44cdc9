"""The statement behind a page of trials: any order, filter and offset, of one study or of many.

Every order has an index that starts with the study and holds all that is filtered and skipped by,
so 50,000 rows are passed over in milliseconds and none is sorted. Several studies are merged: one
SELECT for each, which the database reads side by side. A page beyond the middle is read from the
other end. Only ids come out; the rows in sight are fetched by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TRIAL_ORDERS = {
    "number": "number",
    "value": "value",
    "duration": "duration_s",
    "state": "state",
}
"""What a list of trials can be sorted by: a word and its column. Trials without one come last;
ties go by number and then by study, in the same direction."""

MOST_MERGED = 200
"""Studies (times states) that one statement merges; SQLite takes 500. Beyond it, it sorts."""


@dataclass(frozen=True, slots=True)
class Window:
    """The rows in sight, `limit` of them (None for all) behind the first `offset` of `total`."""

    limit: int | None
    offset: int
    total: int

    @property
    def from_the_end(self) -> bool:
        """Whether the rows are nearer to the end: then they are read from there, reversed."""
        return self.limit is not None and self.total // 2 < self.offset < self.total

    def bounds(self) -> tuple[int, int]:
        """LIMIT and OFFSET, counted from the end if that is nearer."""
        assert self.limit is not None
        if not self.from_the_end:
            return self.limit, self.offset
        first = max(0, self.total - self.offset - self.limit)
        return self.total - self.offset - first, first


def page_of_ids(
    study_ids: Sequence[int],
    states: Sequence[str],
    *,
    order: str,
    descending: bool,
    window: Window,
) -> tuple[str, list[Any]]:
    """The statement for `trial_id` of one page, and its values; see `Window` for the direction.

    study_ids: at least one. states: Optuna's words, none of them for all. order: a key of
    `TRIAL_ORDERS`.
    """
    key, backwards = TRIAL_ORDERS[order], window.from_the_end
    arms, values = _arms(study_ids, states, key)
    way = "ASC" if descending == backwards else "DESC"
    terms = [] if key == "number" else [f"{key} {way} NULLS {'FIRST' if backwards else 'LAST'}"]
    terms += [f"number {way}", f"study_id {way}"]
    sql = f"{' UNION ALL '.join(arms)} ORDER BY {', '.join(terms)}"
    if window.limit is None:
        return sql, values
    return f"{sql} LIMIT ? OFFSET ?", [*values, *window.bounds()]


def _arms(study_ids: Sequence[int], states: Sequence[str], key: str) -> tuple[list[str], list[Any]]:
    columns = ", ".join(dict.fromkeys(("trial_id", key, "number", "study_id")))
    select = f"SELECT {columns} FROM hx_trial WHERE study_id"
    if len(study_ids) * max(1, len(states)) > MOST_MERGED:
        where, values = _filter(states)
        return [f"{select} IN ({_marks(study_ids)}) {where}"], [*study_ids, *values]
    arms: list[str] = []
    values = []
    for study_id in study_ids:
        if key == "number" and states:
            # The index on the state has the numbers of each in order.
            for state in states:
                arms.append(f"{select} = ? AND state = ?")
                values += [study_id, state]
            continue
        # Inside a function the state can't be looked up in the index on states, whose rows would
        # then have to be sorted.
        where, wanted = _filter(states, "coalesce(state, '')")
        arms.append(f"{select} = ? {where}")
        values += [study_id, *wanted]
    return arms, values


def _filter(states: Sequence[str], column: str = "state") -> tuple[str, list[Any]]:
    """The condition that lets only some states through, with its values."""
    return (f"AND {column} IN ({_marks(states)})", list(states)) if states else ("", [])


def _marks(values: Sequence[object]) -> str:
    """A placeholder for each."""
    return ", ".join("?" * len(values))
