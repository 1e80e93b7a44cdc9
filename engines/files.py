"""Folders and files for the owner alone."""

from __future__ import annotations

from pathlib import Path


def make_private_folder(path: Path) -> Path:
    """Create `path` and its parents for the owner alone (0700) and return it."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    return path
