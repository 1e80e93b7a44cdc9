"""Copying through the terminal, with a file for terminals that take no copy."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import platformdirs
from textual.app import App

from engines.files import make_private_folder
from engines.study.location import APP_NAME


def copy(app: App[Any], text: str) -> str:
    """Give `text` to the terminal (OSC 52) and write it to a file; returns what to tell.

    Whether a terminal took it can't be known, so the file is always named.
    """
    app.copy_to_clipboard(text)
    file = Path(platformdirs.user_cache_dir(APP_NAME)) / "copied.txt"
    try:
        _write(file, text)
    except OSError as error:
        return f"copied, if the terminal allows it; {file}: {error.strerror}"
    shown = str(file)
    with contextlib.suppress(ValueError, RuntimeError):
        shown = f"~/{file.relative_to(Path.home())}"
    return f"copied, if the terminal allows it; also in {shown}"


def _write(file: Path, text: str) -> None:
    make_private_folder(file.parent)
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="replace") as stream:
        stream.write(text + "\n")
