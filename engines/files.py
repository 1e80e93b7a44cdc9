"""Folders and files: as people name them, and for the owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from engines.errors import BadInput


def typed_path(name: str) -> Path:
    """The absolute path that a person means, `~` being a home. BadInput for that of nobody."""
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError as error:
        raise BadInput(f"{name}: {error}") from error


def make_private_folder(path: Path) -> Path:
    """Create `path` and its parents for the owner alone (0700) and return it."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    return path


def require_own(*paths: Path) -> None:
    """Raise ValueError for a path that somebody else owns or can write to, OSError without it."""
    for path in paths:
        found = path.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise ValueError(f"{path} can be written by others")
