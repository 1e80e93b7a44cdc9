"""Trials as Optuna wants them, read by two plain statements instead of its object mapper.

Building one trial through the mapper costs 6 to 11 statements and some 5 ms of processor time.
"""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, bindparam, text

_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

IDS_AT_ONCE = 500
"""Trials named by id in one statement."""

distribution_of = functools.lru_cache(maxsize=4096)(json_to_distribution)
"""A distribution from Optuna's text. The same text gives the same object: never change one."""


@functools.lru_cache(maxsize=64)
def _statement(sql: str) -> Any:
    found = text(sql)
    return found.bindparams(bindparam("ids", expanding=True)) if ":ids" in sql else found


def trials_by_id(connection: Connection, ids: Sequence[int]) -> list[FrozenTrial]:
    """The trials of these ids, in the order of their ids; those that are gone are left out."""
    found: list[FrozenTrial] = []
    for some in _parts(sorted(ids)):
        found += _read(connection, "t.trial_id IN :ids", {"ids": some})
    return found


def trials_above(connection: Connection, study_id: int, trial_id: int) -> list[FrozenTrial]:
    """The trials of a study whose ids are above `trial_id`, in the order of their ids."""
    where = "t.study_id = :study_id AND t.trial_id > :above"
    return _read(connection, where, {"study_id": study_id, "above": trial_id})


def _parts(ids: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield list(ids[start : start + IDS_AT_ONCE])


# What belongs to a trial: a name, a number, a text, and a place in the order of its kind.
_PARAM, _VALUE, _USER, _SYSTEM, _REPORT = range(5)
_PARTS = " UNION ALL ".join(
    f"SELECT {kind}, x.trial_id, {place}, {name}, {number}, {described} FROM {table} x %s"
    for kind, table, place, name, number, described in (
        (
            _PARAM,
            "trial_params",
            "x.param_id",
            "x.param_name",
            "x.param_value",
            "x.distribution_json",
        ),
        (
            *(_VALUE, "trial_values", "x.objective", "CAST(NULL AS VARCHAR)", "x.value"),
            "CAST(x.value_type AS VARCHAR)",
        ),
        (
            *(_USER, "trial_user_attributes", "x.trial_user_attribute_id", 'x."key"'),
            *("CAST(NULL AS FLOAT)", "x.value_json"),
        ),
        (
            *(_SYSTEM, "trial_system_attributes", "x.trial_system_attribute_id", 'x."key"'),
            *("CAST(NULL AS FLOAT)", "x.value_json"),
        ),
        (
            *(_REPORT, "trial_intermediate_values", "x.trial_intermediate_value_id"),
            *("CAST(x.step AS VARCHAR)", "x.intermediate_value"),
            "CAST(x.intermediate_value_type AS VARCHAR)",
        ),
    )
)

_Parts = dict[int, list[tuple[int, str, Any, str]]]


def _read(connection: Connection, where: str, values: Mapping[str, Any]) -> list[FrozenTrial]:
    # The trial's own row is read first: a trial that is COMPLETE in it has all the others.
    rows = connection.execute(
        _statement(
            "SELECT t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete "
            f"FROM trials t WHERE {where} ORDER BY t.trial_id"
        ),
        values,
    ).all()
    if not rows:
        return []
    if len(rows) <= IDS_AT_ONCE:
        of_these, asked = "WHERE x.trial_id IN :ids", {"ids": [row[0] for row in rows]}
    else:
        of_these, asked = f"JOIN trials t ON t.trial_id = x.trial_id WHERE {where}", dict(values)
    parts: dict[int, _Parts] = defaultdict(lambda: defaultdict(list))
    statement = _statement(_PARTS.replace("%s", of_these))
    for kind, trial_id, *part in connection.execute(statement, asked):
        parts[trial_id][kind].append(tuple(part))
    return [_frozen(row, parts[row[0]]) for row in rows]


def _frozen(row: Sequence[Any], parts: _Parts) -> FrozenTrial:
    for of_one_kind in parts.values():
        of_one_kind.sort()
    distributions: dict[str, BaseDistribution] = {
        name: distribution_of(described) for _, name, _, described in parts[_PARAM]
    }
    return FrozenTrial(
        number=row[1],
        state=TrialState[row[2]],
        value=None,
        values=[number(value, kind) for _, _, value, kind in parts[_VALUE]] or None,
        datetime_start=local_time(row[3]),
        datetime_complete=local_time(row[4]),
        params={n: distributions[n].to_external_repr(x) for _, n, x, _ in parts[_PARAM]},
        distributions=distributions,
        user_attrs={key: json.loads(text) for _, key, _, text in parts[_USER]},
        system_attrs={key: json.loads(text) for _, key, _, text in parts[_SYSTEM]},
        intermediate_values={int(n): number(x, kind) for _, n, x, kind in parts[_REPORT]},
        trial_id=row[0],
    )


def number(value: float | None, kind: str) -> float:
    """A number as Optuna stores it: its columns hold no infinities and no NaN."""
    return value if value is not None else _INFINITE[kind]


def stored(value: float) -> tuple[float | None, str]:
    """The opposite of `number`: (value or None, its kind)."""
    value = float(value)
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return value, "FINITE"


def local_time(stamp: str | datetime | None) -> datetime | None:
    """Naive local time, as Optuna 5 shows it, from naive UTC, as it stores it."""
    if stamp is None:
        return None
    naive = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
    return naive.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def stored_time(local: datetime | None) -> str | None:
    """The opposite: naive UTC as text, from naive local time."""
    if local is None:
        return None
    return local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
