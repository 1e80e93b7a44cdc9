"""The one family of errors that a person at the keyboard can act on.

Every message is one line: what happened, where, what to do. The command line prints it
and ends with `exit_code`; the app shows it in a dialog under `title`. Bad arguments of
numeric functions stay `ValueError`: those are for programmers.
"""

from __future__ import annotations


class HyperionError(Exception):
    """Something the person at the keyboard can act on."""

    exit_code = 1
    title = "Hyperion stopped here"


class BadInput(HyperionError):
    """A file, an option, a name or an environment variable that can't be used as given."""

    exit_code = 2
    title = "That can't be used"


class PackageMissing(HyperionError):
    """A model or a data set needs an optional package that is not installed."""

    exit_code = 3
    title = "A package is missing"


class StoreUnavailable(HyperionError):
    """The store is locked, unreadable, from a newer version, or not a store at all."""

    exit_code = 4
    title = "The store can't be used"


class StoreOutdated(StoreUnavailable):
    """The store is from an older version and has not been brought up to date yet."""


class NotComparable(HyperionError):
    """Two things differ in what must be equal: data, split, scorer, space or seed."""

    exit_code = 5
    title = "These can't be compared"


def one_line(text: object, limit: int = 300) -> str:
    """`text` on one line and at most `limit` characters, for the body of a message."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
