"""Writing an exported predictor: a folder appears whole, by a rename, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.data.snapshot import Column
from engines.errors import BadInput
from engines.export.card import card_text
from engines.export.document import FILE, FORMAT
from engines.export.past import PastColumns
from engines.export.predictor import CONTEXT_FILE, Context, versions_of, write_model
from engines.models.fit import FittedModel

CARD_FILE, CARD_TEXT, SCRIPT = "card.json", "CARD.md", "predict.py"

_SCRIPT = '''\
"""python predict.py DATA.csv: a {what} for each row (needs hyperion-tui installed)."""
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core adds up in one order: the same digits
from {module} import {name}

predictor = {name}.load(Path(__file__).parent)
rows, notices = predictor.predict_file(Path(sys.argv[1]))
for line in (*predictor.notices, *notices):
    print(line, file=sys.stderr)
for row in rows.tolist():
    print(*row if isinstance(row, list) else [row], sep=",")
'''


@dataclass(frozen=True)
class Contents:
    """What goes into the folder.

    members: study, trial number, weight and models of each. features: in the order of the columns
    that new rows must have. context: for models that read windows or the target's past, else None.
    past: how they read that.
    """

    task: str
    target: str
    classes: tuple[str, ...]
    features: tuple[Column, ...]
    time_column: str | None
    members: Sequence[tuple[str, int, float, Sequence[FittedModel]]]
    context: Context | None
    past: PastColumns | None


def check_target(to: Path, *, force: bool) -> None:
    """Raise BadInput unless a folder can be written to `to`: before anything is trained for it."""
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise BadInput(f"{to} is no folder: name another one with --to.")
    if to.is_dir() and any(to.iterdir()):
        if not (to / FILE).is_file():
            raise BadInput(f"{to} holds other things: name a new folder with --to.")
        if not force:
            raise BadInput(f"{to} exists: name another folder, or add --force to replace it.")
    parent = to.parent
    if not parent.is_dir():
        raise BadInput(f"{parent} is no folder: make it first, or name another place with --to.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise BadInput(f"{parent} can't be written: name another place with --to.")


@contextlib.contextmanager
def new_folder(to: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `to` to fill, which becomes it at the end; on an error nothing is left.

    Raises BadInput as `check_target` does, and if there is no room.
    """
    check_target(to, force=force)
    partial = to.with_name(f".{to.name}.{secrets.token_hex(4)}.part")
    try:
        partial.mkdir(mode=0o700)
        yield partial
        _publish(partial, to)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "free some space" if error.errno == errno.ENOSPC else "name another place"
        raise BadInput(f"{to} can't be written: {reason}; {advice}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, to: Path) -> None:
    if not to.exists() or not any(to.iterdir()):
        partial.rename(to)  # over an empty folder as well
        return
    away = to.with_name(f".{to.name}.{secrets.token_hex(4)}.gone")
    to.rename(away)
    try:
        partial.rename(to)
    except OSError:
        away.rename(to)
        raise
    shutil.rmtree(away, ignore_errors=True)


def write_predictor(folder: Path, contents: Contents) -> list[str]:
    """Fill an empty folder with all but the card; returns the formats of its models.

    Raises HyperionError for a model that has no safe form, OSError.
    """
    members: list[dict[str, Any]] = []
    formats: list[str] = []
    for study, number, weight, models in contents.members:
        numbers = range(len(formats), len(formats) + len(models))
        members.append({"study": study, "trial": number, "weight": weight, "models": list(numbers)})
        for at, model in zip(numbers, models, strict=True):
            document = write_model(folder / "models" / str(at), model)
            formats.append(document["estimator"]["format"])
    if contents.context is not None:
        _write_context(folder / CONTEXT_FILE, contents.context)
    document = {
        "task": contents.task,
        "target": contents.target,
        "classes": list(contents.classes),
        "features": [
            {
                "name": name,
                "kind": "number" if labels is None else "category",
                "categories": list(labels or ()),
            }
            for name, labels in contents.features
        ],
        "time_column": contents.time_column,
        "past": None if contents.past is None else contents.past.to_json(),
        "members": members,
        "models": len(formats),
        "has_context": contents.context is not None,
        "versions": versions_of(set(formats)),
    }
    write_document(folder, document)
    write_script(folder, "prediction", "engines.export.predictor", "Predictor")
    return sorted(set(formats))


def write_document(folder: Path, document: dict[str, Any]) -> None:
    """Write what reads the folder, with seals of all files that are in it by now."""
    write_json(folder / FILE, {"format": FORMAT, **document, "files": _seals(folder)})


def write_script(folder: Path, what: str, module: str, name: str) -> None:
    """Write a script that says `what` of each row, by a class that reads the folder."""
    text = _SCRIPT.format(what=what, module=module, name=name)
    (folder / SCRIPT).write_text(text, encoding="utf-8")


def write_card(folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Write the card into a folder, as JSON and for people; returns it."""
    write_json(folder / CARD_FILE, card)
    (folder / CARD_TEXT).write_text(card_text(card), encoding="utf-8")
    return card


def write_json(path: Path, document: dict[str, Any]) -> None:
    """In ASCII, so that no name in it can steer a terminal, and without NaN."""
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_context(path: Path, context: Context) -> None:
    arrays: dict[str, Any] = {"X": context.X}
    for name in ("times", "series", "series_times"):
        if getattr(context, name) is not None:
            arrays[name] = getattr(context, name)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _seals(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix()
        found[name] = {"bytes": path.stat().st_size, "sha256": digest}
    return found
