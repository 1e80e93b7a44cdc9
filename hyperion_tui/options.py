"""Values that people type: numbers, durations, sizes, and the environment's defaults for them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from engines.errors import BadInput

T = TypeVar("T")

THEMES = ("hyperion-dark", "hyperion-light", "gruvbox", "ansi-dark")
"""The colour themes of the app, the default first."""

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LEAST_MIB = 64
"""Below this every trial would end at its limit: a worker alone needs as much."""

_UNITS_MIB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


def whole(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers in [low, high]."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise BadInput(f"`{text}` is not a whole number from {low:,} to {high:,}") from None
        if not low <= number <= high:
            raise BadInput(f"{text} is not a whole number from {low:,} to {high:,}")
        return number

    return parse


def duration_s(text: str) -> float:
    """Seconds from `600`, `90s`, `10m`, `1h30m`; above 0 and up to 365 days."""
    parts = re.findall(r"([0-9]*\.?[0-9]+)([smhd])", text.strip().lower())
    if re.fullmatch(r"[0-9]*\.?[0-9]+", text.strip()):
        seconds = float(text)
    elif parts and "".join(n + u for n, u in parts) == text.strip().lower():
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    else:
        raise BadInput(f"`{text}` is not a duration such as 90s, 10m or 1h30m")
    if not 0 < seconds <= 365 * 86400:
        raise BadInput(f"`{text}` must be above 0 and at most 365d")
    return seconds


def memory_mib(text: str) -> float:
    """MiB from `500M`, `2G` or a number of bytes."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)([kmgt]?)(i?b)?", text.strip().lower())
    if match is None or not 0 < float(match[1]) < float("inf"):
        raise BadInput(f"`{text}` is not an amount of memory such as 500M or 2G")
    mib = float(match[1]) * (_UNITS_MIB[match[2]] if match[2] else 1 / 1024**2)
    if mib < LEAST_MIB:
        raise BadInput(f"`{text}` is less than a worker needs by itself: give {LEAST_MIB}M or more")
    return mib


def number(text: str) -> float:
    """A finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        raise BadInput(f"`{text}` is not a number") from None
    if not 0 <= value < float("inf"):
        raise BadInput(f"{text} is not a number of at least 0")
    return value


def share(text: str) -> float:
    """A number from 0 to below 0.5, such as a fee of 0.001."""
    value = number(text)
    if value >= 0.5:
        raise BadInput(f"{text} is not a share from 0 to 0.5; 10 basis points are 0.001")
    return value


def rate(text: str) -> float:
    """A finite number, of either sign."""
    return -number(text[1:]) if text.startswith("-") else number(text)


TRIALS = whole(1, 1_000_000)
WORKERS = whole(1, 256)
SEED = whole(0, 2**31 - 1)
PATIENCE = whole(1, 1_000_000)
NUMBER = whole(0, 10**9)
HORIZON = whole(1, 100_000)
EPISODES = whole(1, 1_000_000)


def from_environment(
    name: str, parse: Callable[[str], T], environment: Mapping[str, str] | None = None
) -> T | None:
    """The parsed value of an environment variable, or None if it is unset or empty.

    Raises BadInput that names the variable.
    """
    text = (os.environ if environment is None else environment).get(name, "").strip()
    if not text:
        return None
    try:
        return parse(text)
    except BadInput as error:
        raise BadInput(f"{name}: {error}; set another value or unset it.") from None
