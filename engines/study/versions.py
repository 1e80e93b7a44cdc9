"""Versions of the libraries that may change a score, kept with an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata

LIBRARIES = (
    *("optuna", "scikit-learn", "numpy", "scipy"),
    *("xgboost-cpu", "xgboost", "lightgbm", "catboost"),
    *("torch", "stable-baselines3", "numba"),
)


def library_versions() -> dict[str, str]:
    """What is installed now, by name; what is not is left out."""
    return installed(LIBRARIES)


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of packages, by name; what is not installed is left out."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def differences(before: Mapping[str, str]) -> list[str]:
    """`lightgbm was 4.6.0, is 4.7.0` for each library that has changed since."""
    now = library_versions()
    return [
        f"{name} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
