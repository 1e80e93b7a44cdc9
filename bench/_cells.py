"""Measurements that are kept: one JSON a cell, so that a run that was cut off goes on where it was.

A cell is kept if its settings, the versions, the machine and the source are the same; `--fresh`
measures all again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _common

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

Settings = Mapping[str, Any]
Measure = Callable[[Settings, Path], dict[str, Any]]
"""Measures one cell: its settings, and a folder for files, which is removed afterwards."""


def source_hash(*packages: str) -> str:
    """What the program and its benchmarks looked like."""
    digest = hashlib.blake2b(digest_size=8)
    files = [f for package in packages for f in sorted((ROOT / package).rglob("*.py"))]
    for file in [*files, *sorted(HERE.glob("_*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


class Cells:
    """The cells of one benchmark. kept: where they lie. stores: where their files are made.

    lasting: cells that were kept count whatever the source and the machine were.
    """

    def __init__(self, kept: Path, stores: Path, *, fresh: bool, lasting: bool = False) -> None:
        self.kept = kept
        self.stores = stores
        self.taken: list[dict[str, Any]] = []
        self._fresh = fresh
        self._lasting = lasting
        self._same = {
            "versions": _common.versions(),
            "machine": _common.machine(),
            "source": source_hash("engines", "hyperion_tui", "simulator"),
            "file_system": _common.file_system(stores),
        }
        self._old = self._other = 0

    def take(self, name: str, measure: Measure, settings: Settings) -> dict[str, Any]:
        """The result of a cell, measured now or kept from before."""
        path = self.kept / f"{name}.json"
        stamp = {"cell": name, "settings": dict(settings), **self._same}
        document = _common.read_cell(path)
        found = {} if document is None else {key: document.get(key) for key in stamp}
        must_be = {key: stamp[key] for key in (("cell", "settings") if self._lasting else stamp)}
        if self._fresh or document is None or any(found[k] != v for k, v in must_be.items()):
            self._say(name)
            with _common.folder_of_its_own(self.stores) as folder:
                load = _common.load_average()[0]
                document = {**stamp, "load": load, "result": measure(settings, folder)}
            self.kept.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        else:
            self._old += 1
            self._other += found != stamp
        self.taken.append({k: document[k] for k in ("cell", "settings", "load", "result")})
        result: dict[str, Any] = document["result"]
        return result

    def end(self) -> None:
        """Say how much was measured."""
        self._say("")
        other = f" ({self._other} of other code)" if self._other else ""
        told = f"{len(self.taken)} cells, {self._old} of them from before{other}"
        print(told, file=sys.stderr)

    def _say(self, name: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{name:<60}\r", end="", flush=True, file=sys.stderr)
