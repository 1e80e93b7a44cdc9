"""What other installed packages add: models, metrics and data sets, by entry points.

A package declares an object, or a tuple of them, and names it in its metadata. Declarations are
strings and numbers like ours: whoever draws the tree reads them, so an entry point whose import
loads a library of models or of data is refused. One that is broken is left out and told by
`doctor`; nothing fails because of it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Protocol, TypeVar

from engines.errors import one_line

MODELS, METRICS, DATASETS = "hyperion.models", "hyperion.metrics", "hyperion.datasets"
"""The groups of entry points."""

HEAVY = frozenset(
    (
        *("torch", "sklearn", "xgboost", "lightgbm", "catboost", "flaml", "stable_baselines3"),
        *("pandas", "polars", "scipy", "optuna", "tensorflow", "keras", "jax"),
    )
)
"""What a declaration may not import: seconds and hundreds of megabytes, for a tree of names."""


class Named(Protocol):
    """What a package adds: something with a name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry point that can't be used. where: `name of package 1.0`. reason: one line."""

    group: str
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where} ({self.group}) is left out: {self.reason}"


_broken: list[Broken] = []
_added: dict[str, list[str]] = {}


def plugged(group: str, kind: type[T], refuse: Callable[[T], str | None]) -> list[tuple[T, str]]:
    """(object, package) of all that packages declare in a group, in the order of their names.

    kind: what it must be. refuse: why one can't be taken, or None. package: `name 1.0`. Raises
    nothing: what is wrong is kept for `broken`.
    """
    found: list[tuple[T, str]] = []
    entries = (entry for entry in _declared() if entry.group == group)
    for entry in sorted(entries, key=lambda e: (e.name, e.value)):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
        reasons: list[str] = []
        for one in _objects(entry, reasons):
            if not isinstance(one, kind):
                reasons.append(f"{entry.value} is no {kind.__name__} and no tuple of them")
            elif reason := refuse(one):
                reasons.append(reason)
            else:
                found.append((one, package))
                _added.setdefault(package, []).append(one.name)
        where = f"entry point {entry.name} of {package}"
        _broken.extend(Broken(group, where, one_line(reason)) for reason in reasons)
    return found


def broken() -> Sequence[Broken]:
    """What `plugged` has left out so far in this process."""
    return tuple(_broken)


def added() -> Mapping[str, Sequence[str]]:
    """The names of what each package has added so far in this process."""
    return _added


@cache
def _declared() -> tuple[EntryPoint, ...]:
    """All that is installed for us: one walk over the metadata, which takes 25 ms."""
    every: Any = entry_points()  # of another type before Python 3.12, with the same method
    return tuple(e for group in (MODELS, METRICS, DATASETS) for e in every.select(group=group))


def _objects(entry: EntryPoint, reasons: list[str]) -> Sequence[Any]:
    """What an entry point names, as a sequence; nothing, and a reason more, if it can't be had."""
    try:
        with _without_heavy():
            found = entry.load()
    except (Exception, SystemExit) as error:  # the border: other people's code
        reasons.append(f"{type(error).__name__}: {error}")
        return ()
    return found if isinstance(found, tuple | list) else (found,)


class _Refuser(MetaPathFinder):
    """Stands before all other finders and refuses what is heavy."""

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in HEAVY:
            return None
        raise ImportError(
            f"it imports {fullname}, and a declaration imports nothing heavy: name what needs it "
            'as "module:name"'
        )


@contextlib.contextmanager
def _without_heavy() -> Iterator[None]:
    refuser = _Refuser()
    sys.meta_path.insert(0, refuser)
    try:
        yield
    finally:
        sys.meta_path.remove(refuser)
