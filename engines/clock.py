"""Times: what is written down is UTC with an offset, what is measured ignores clock changes."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> str:
    """The present as ISO 8601 in UTC, to the microsecond: `2026-11-22T20:41:07.123456+00:00`."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def optuna_now() -> str:
    """The present as Optuna 5 keeps it in SQLite: naive UTC, `2026-11-22 20:41:07.123456`."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def boot_seconds() -> float:
    """Seconds of a clock that nobody sets and that runs on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
