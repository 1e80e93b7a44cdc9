"""What a person should know about a file of Optuna's before Hyperion adds its tables to it."""

from __future__ import annotations

import contextlib
from datetime import datetime

from engines.study.location import Location
from engines.study.plain import FAULTS, Connection, connect_to_read, explain, table_names

UTC_SINCE = 5
"""The first major version of Optuna that keeps times in UTC; older ones keep local times."""


def notices(location: Location) -> list[str]:
    """What to say when a run is about to take up a store; nothing for one that Hyperion knows."""
    if not location.may_exist:
        return []
    with contextlib.closing(connect_to_read(location)) as connection:
        try:
            names = table_names(connection)
            if "hx_migration" in names or not names >= {"studies", "trials"}:
                return []
            studies = connection.execute("SELECT count(*) FROM studies").fetchone()[0]
            times = _times(connection, names)
        except FAULTS as error:
            raise explain(error, location) from error
    taken_up = (
        f"{location.shown} is Optuna's and holds {studies} "
        f"{'study' if studies == 1 else 'studies'}: Hyperion's tables are added beside them, and "
        "they stay as they are"
    )
    return [taken_up, *([times] if times else [])]


def times_notice(location: Location) -> str | None:
    """What is odd about the times of a store's older trials, or None."""
    with contextlib.closing(connect_to_read(location)) as connection:
        try:
            return _times(connection, table_names(connection))
        except FAULTS as error:
            raise explain(error, location) from error


def _times(connection: Connection, names: set[str]) -> str | None:
    if "version_info" not in names:
        return None
    row = connection.execute("SELECT library_version FROM version_info").fetchone()
    version = str(row[0]) if row is not None and row[0] else "0"
    major = version.partition(".")[0]
    # A store's maker stamps its version once: what later versions added is not told apart.
    if not major.isdigit() or int(major) >= UTC_SINCE:
        return None
    offset = datetime.now().astimezone().strftime("%z")
    return (
        f"it was made by Optuna {version}, which notes local times, and Optuna {UTC_SINCE} reads "
        f"them as UTC: times of its older trials are off by their distance to UTC ({offset} here "
        "now), durations are right; nothing was changed"
    )
