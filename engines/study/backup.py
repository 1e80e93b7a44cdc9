"""A copy of a store while others write to it: what SQLite calls VACUUM INTO.

The copy is one file, of one moment, packed, and a store itself. What lies beside the store (data,
logs, fold models) is not in it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from engines.errors import BadInput
from engines.files import typed_path
from engines.study.location import Location
from engines.study.sqlite import connect_to_read, explain


def backup(location: Location, target: Path, *, replace: bool = False) -> int:
    """Write the store to `target`, for the owner alone, and check it; returns its bytes.

    `target` appears whole or not at all. replace: whether a file there may be replaced.
    Raises BadInput for a target that can't be, or a store on a server; StoreUnavailable if the
    store can't be read or the copy is not sound.
    """
    if not location.is_file:
        raise BadInput(
            f"{location.shown} is a PostgreSQL database: back it up with `pg_dump`; "
            "`backup` copies stores that are files."
        )
    target = typed_path(str(target))
    _check_target(location, target, replace=replace)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # SQLite fills an empty file, and so keeps its mode.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise BadInput(f"{target}: {error.strerror}; name another file.") from error
    try:
        with contextlib.closing(connect_to_read(location.path)) as connection:
            connection.execute("VACUUM INTO ?", (str(draft),))
        _check_copy(draft)
        _put_in_place(draft, target, replace=replace)
    except sqlite3.Error as error:
        raise explain(error, target if "full" in str(error) else location.path) from error
    except OSError as error:
        raise BadInput(f"{target}: {error.strerror}; name another file.") from error
    finally:
        draft.unlink(missing_ok=True)
    return target.stat().st_size


def _check_target(location: Location, target: Path, *, replace: bool) -> None:
    if target.is_dir() or not target.parent.is_dir():
        what = "is a folder" if target.is_dir() else "lies in no folder that exists"
        raise BadInput(f"{target} {what}: name a file to write the backup to.")
    if target.exists() and location.path.exists() and target.samefile(location.path):
        raise BadInput(f"{target} is the store itself: name another file.")
    if target.exists() and not replace:
        raise BadInput(f"{target} exists: name another file, or add --force.")
    if target.with_name(f"{target.name}-wal").exists():
        # SQLite would apply what stands there to the copy.
        raise BadInput(
            f"{target} is a database in use, or its program was killed: name another file."
        )


def _check_copy(draft: Path) -> None:
    with contextlib.closing(sqlite3.connect(draft)) as copy:
        word = copy.execute("PRAGMA quick_check").fetchone()[0]
        if word != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {word}")
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(draft: Path, target: Path, *, replace: bool) -> None:
    if replace:
        os.replace(draft, target)
        return
    try:
        os.link(draft, target)
    except FileExistsError:
        raise BadInput(f"{target} exists: name another file, or add --force.") from None
    except OSError:  # a file system without links
        os.replace(draft, target)
