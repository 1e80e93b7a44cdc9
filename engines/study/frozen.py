"""Trials as Optuna wants them, read by six plain statements instead of its object mapper.

Building one trial through the mapper costs 6 to 11 statements and some 5 ms of processor time,
and a worker reads three for every one that it runs.
"""

from __future__ import annotations

import functools
import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

_distribution = functools.lru_cache(maxsize=1024)(json_to_distribution)


def read_trials(
    connection: sqlite3.Connection, where: str, values: Sequence[Any]
) -> list[FrozenTrial]:
    """The trials for which `where` holds, by id. Inside one read transaction of its own."""
    connection.execute("BEGIN")
    try:
        rows = connection.execute(
            "SELECT trial_id, number, study_id, state, datetime_start, datetime_complete "
            f"FROM trials WHERE {where} ORDER BY trial_id",
            values,
        ).fetchall()
        if not rows:
            return []
        chosen = f"trial_id IN (SELECT trial_id FROM trials WHERE {where})"
        if len(rows) == 1:
            chosen, values = "trial_id = ?", (rows[0][0],)
        params = _grouped(
            connection, "param_name, param_value, distribution_json", "trial_params", chosen, values
        )
        results = _grouped(
            connection, "objective, value, value_type", "trial_values", chosen, values
        )
        user = _grouped(connection, '"key", value_json', "trial_user_attributes", chosen, values)
        system = _grouped(
            connection, '"key", value_json', "trial_system_attributes", chosen, values
        )
        reports = _grouped(
            connection,
            "step, intermediate_value, intermediate_value_type",
            "trial_intermediate_values",
            chosen,
            values,
        )
    finally:
        connection.execute("COMMIT")
    return [
        _frozen(row, params[row[0]], results[row[0]], user[row[0]], system[row[0]], reports[row[0]])
        for row in rows
    ]


def _grouped(
    connection: sqlite3.Connection, what: str, table: str, chosen: str, values: Sequence[Any]
) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(
        f"SELECT trial_id, {what} FROM {table} WHERE {chosen} ORDER BY 1, rowid", values
    ):
        found[row[0]].append(row[1:])
    return found


def _frozen(
    row: Sequence[Any],
    params: list[tuple[str, float, str]],
    results: list[tuple[int, float | None, str]],
    user: list[tuple[str, str]],
    system: list[tuple[str, str]],
    reports: list[tuple[int, float | None, str]],
) -> FrozenTrial:
    distributions: dict[str, BaseDistribution] = {n: _distribution(text) for n, _, text in params}
    values = [number(value, kind) for _, value, kind in sorted(results)] or None
    return FrozenTrial(
        number=row[1],
        state=TrialState[row[3]],
        value=None,
        values=values,
        datetime_start=_local(row[4]),
        datetime_complete=_local(row[5]),
        params={n: distributions[n].to_external_repr(value) for n, value, _ in params},
        distributions=distributions,
        user_attrs={key: json.loads(text) for key, text in user},
        system_attrs={key: json.loads(text) for key, text in system},
        intermediate_values={step: number(value, kind) for step, value, kind in reports},
        trial_id=row[0],
    )


def number(value: float | None, kind: str) -> float:
    """A number as Optuna stores it: SQLite has no infinities."""
    return value if value is not None else _INFINITE[kind]


def _local(text: str | None) -> datetime | None:
    """Optuna 5 stores naive UTC and shows naive local time."""
    if text is None:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
