"""Whether a file is still what an experiment began with.

A study goes on with the copy that was made when it began, so a change is worth a sentence and no
more. It is found by reading the file again: its date says little and its name nothing.
"""

from __future__ import annotations

from pathlib import Path

from engines.data.datasets import load
from engines.data.reading import shown
from engines.errors import HyperionError

MOST_BYTES = 50 * 1024**2
"""Larger files are not read again for the sake of a sentence."""


def changed_since(
    path: str | None,
    sha256: str,
    *,
    target: str,
    time_column: str | None,
    task: str,
    groups: str | None = None,
    sample_rows: int | None = None,
) -> str | None:
    """One sentence if the file at `path` no longer has the content hash `sha256`, else None.

    The roles are those that the data set had. None too for a bundled set (no path) and for a
    file too large to be read again. Never raises for what has become of the file.
    """
    if path is None:
        return None
    file, goes_on = Path(path), "the experiment goes on with the data as it was"
    try:
        if not file.exists():
            return f"{shown(path, 300)} is no longer there; {goes_on}"
        if file.stat().st_size > MOST_BYTES:
            return None
        now = load(
            path,
            target=target,
            time_column=time_column or "none",
            task=task,
            groups=groups,
            sample_rows=sample_rows,
        )
    except (HyperionError, OSError, ValueError):
        return f"{shown(path, 300)} can no longer be read as it was; {goes_on}"
    if now.sha256 == sha256:
        return None
    remedy = "to learn from the new rows, run it under another --name"
    return f"{shown(path, 300)} has changed since this experiment began; {goes_on}; {remedy}"
