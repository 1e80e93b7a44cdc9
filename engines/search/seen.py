"""What a suggestion had seen, as a small record: with it the suggestion can be computed again.

With several workers a suggestion depends on which trials had finished when its sampler looked,
and on what it could see of those still running. Values and parameters are in the store for good,
so the record only names trials, and of running ones it keeps a hash of what was visible:

    {"top": 123, "unfinished": "118,120-122", "running": {"119": ["9f3a2b1c", null]}}

top: the highest number there was. unfinished: numbers up to it whose parameters were not to be
seen. running: numbers with visible parameters, the hash of these, and their names, or null if they
were those that are suggested together. kept: parameters that the trial itself had before.
A history that the record doesn't fit is `{"not_kept": "why"}`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_RUNNING = 100
MOST_TEXT = 2000


class NoRecord(Exception):
    """A suggestion can't be computed again; the message says why."""


def write(
    top: int,
    unfinished: Iterable[int],
    running: Mapping[int, Mapping[str, Any]],
    together: Iterable[str],
    kept: Sequence[str] = (),
) -> dict[str, Any]:
    """The record of one look at a study. together: names that are suggested together."""
    numbers = join_ranges(sorted(unfinished))
    if len(running) > MOST_RUNNING or len(numbers) > MOST_TEXT:
        return not_kept("too many unfinished trials")
    record: dict[str, Any] = {"top": top}
    if numbers:
        record["unfinished"] = numbers
    if running:
        usual = sorted(together)
        record["running"] = {
            str(number): [digest(params), None if sorted(params) == usual else sorted(params)]
            for number, params in running.items()
        }
    if kept:
        record["kept"] = sorted(kept)
    return record


def not_kept(why: str) -> dict[str, Any]:
    """The record of a look that can't be repeated."""
    return {"not_kept": why}


def plans(
    record: Mapping[str, Any],
    together: Iterable[str],
    params_of: Mapping[int, Mapping[str, Any]],
) -> dict[int, dict[str, Any]]:
    """What was visible of running trials, taken from the parameters they have now.

    Raises NoRecord if a trial is gone or had others at that time.
    """
    usual = sorted(together)
    found: dict[int, dict[str, Any]] = {}
    for text, (kept, names) in sorted(record.get("running", {}).items(), key=lambda e: int(e[0])):
        number = int(text)
        now = params_of.get(number, {})
        wanted = usual if names is None else names
        visible = {name: now[name] for name in wanted if name in now}
        if len(visible) < len(wanted) or digest(visible) != kept:
            raise NoRecord(f"trial {number} ran then, and its parameters are not those any more")
        found[number] = visible
    return found


def unfinished(record: Mapping[str, Any]) -> list[int]:
    """Every number up to `top` that had not finished."""
    running = [int(number) for number in record.get("running", {})]
    return sorted([*split_ranges(record.get("unfinished", "")), *running])


def digest(params: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of names and values, whatever their order."""
    text = json.dumps(dict(params), sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


def join_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as text: `3,5-8`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def split_ranges(text: str) -> list[int]:
    """The inverse of `join_ranges`."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found
