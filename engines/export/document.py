"""What an exported folder says of itself: its format, the seals of its files, versions. Light."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import BadInput, one_line
from engines.study.versions import installed

FILE = "predictor.json"
FORMAT = 1


def read_document(folder: Path) -> dict[str, Any]:
    """What `export` says of a folder. Raises BadInput if that is not to be had."""
    try:
        document = json.loads((folder / FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(
            f"{folder} holds no exported predictor: make one with `hyperion-tui export STUDY --to "
            "DIR`."
        ) from None
    except OSError as error:
        raise BadInput(f"{folder / FILE} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadInput(f"{folder / FILE} is no JSON ({one_line(error)}).") from error
    if not isinstance(document, dict) or "format" not in document:
        raise BadInput(f"{folder / FILE} is not what `export` writes.")
    if document["format"] != FORMAT:
        raise BadInput(
            f"{folder} has format {document['format']}, and this version of Hyperion reads "
            f"{FORMAT}: use the version that made it, {document.get('versions', {})}."
        )
    return document


def check_files(folder: Path, document: Mapping[str, Any]) -> None:
    """Raise BadInput for a file that is missing, or not as it was written."""
    for name, seal in document["files"].items():
        _check_file(folder, name, seal)


def _check_file(folder: Path, name: str, seal: Mapping[str, Any]) -> None:
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
        raise BadInput(f"{path} is missing: export the predictor again.")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != seal["sha256"]:
            raise BadInput(f"{path} is not as it was written: export the predictor again.")


def versions_here(*names: str) -> dict[str, str]:
    """The versions of packages that are installed here, and of Python."""
    return {"python": _python_version(), **installed(names)}


def differences(before: Mapping[str, str]) -> list[str]:
    """One line for each package whose version here is not the one that it was made with."""
    found = []
    for name, version in before.items():
        now = _python_version() if name == "python" else installed([name]).get(name)
        if now != version:
            found.append(
                f"made with {name} {version}, here is {now or 'none'}: predictions may differ"
            )
    return found


def _python_version() -> str:
    return ".".join(platform.python_version_tuple()[:2])
