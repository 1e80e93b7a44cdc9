"""Whether a file is still what an experiment began with.

An experiment goes on with the copy of its data that was made when it began, and never mixes two.
So a change is worth one line and no more. Nothing heavy is imported: screens ask as well.
The mark of the file is kept among the facts of its experiment, as `file`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 200 * 1024**2
"""Of a larger file the content is not compared, for the sake of one line: 0.2 s for this much."""

GOES_ON = "the experiment goes on with the copy that was made of it when it began"


def mark_of(path: str) -> dict[str, Any] | None:
    """What a file is known by later, ready for JSON: path, machine, bytes, changed_ns, sha256.

    sha256: of its bytes, None for a very large one. None for what can't be looked at, or has a
    name that is no text.
    """
    try:
        path.encode()
        found = os.stat(path)
        content = _hash_of(path, found.st_size)
    except (OSError, ValueError):
        return None
    return {
        "path": path,
        "machine": os.uname().nodename,
        "bytes": found.st_size,
        "changed_ns": found.st_mtime_ns,
        "sha256": content,
    }


def change_since(mark: Mapping[str, Any] | None) -> str | None:
    """One line if a file is not what it was when `mark_of` looked at it, else None.

    Its size and date are asked first, its content only where the date alone has changed. None too
    without a mark and on another machine. Never raises for what has become of the file.
    """
    if mark is None or mark["machine"] != os.uname().nodename:
        return None
    path: str = mark["path"]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)
    try:
        found = os.stat(path)
        if found.st_size != mark["bytes"]:
            change = f"had {mark['bytes']:,} bytes and has {found.st_size:,}"
        elif found.st_mtime_ns == mark["changed_ns"]:
            return None
        elif mark["sha256"] is None:
            change = "was written again since"
        elif _hash_of(path, found.st_size) == mark["sha256"]:
            return None
        else:
            change = "has other content, of the same size"
    except (FileNotFoundError, NotADirectoryError):
        return f"{shown} is no longer there; {GOES_ON}"
    except OSError as error:
        return f"{shown} can't be read ({error.strerror}); {GOES_ON}"
    return (
        f"{shown} has changed: it {change}; {GOES_ON}; to learn from what it holds now, `run` it "
        "under another --name"
    )


def _hash_of(path: str, size: int) -> str | None:
    if size > MOST_BYTES:
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
