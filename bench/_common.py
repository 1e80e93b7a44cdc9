"""What the benchmarks share: facts about the machine, small tables, and one JSON a run.

The name begins with an underscore so that `make bench`, which runs every other file here,
leaves it alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("hyperion-tui", "optuna", "sqlalchemy", "textual", "rich", "numpy")


def versions() -> dict[str, str]:
    """The versions that a number depends on."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def file_system(folder: Path) -> str:
    """The kind of file system that `folder` lies on: on tmpfs an fsync costs nothing."""
    best, kind = -1, "unknown"
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    for line in mounts:
        _, where, what, *_ = line.split()
        if len(where) > best and folder.resolve().is_relative_to(where):
            best, kind = len(where), what
    return kind


def machine() -> dict[str, Any]:
    """The machine, without its name; equal for two runs that can share a table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": platform.system(), "cpu": cpu_model(), "cores": cores}


def load_average() -> list[float]:
    """Processes that wanted to run over the last 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


@contextlib.contextmanager
def folder_of_its_own(where: Path) -> Iterator[Path]:
    """A new folder in `where`, removed at the end."""
    where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-", dir=where) as name:
        yield Path(name)


def save(file: str | None, benchmark: str, body: dict[str, Any], load_before: list[float]) -> None:
    """Write one JSON with where, when and with what the numbers in `body` were taken."""
    if file is None:
        return
    document = {
        "benchmark": benchmark,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine() | {"load_before": load_before, "load_after": load_average()},
        **body,
    }
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"written: {file}", file=sys.stderr)


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as what is in them; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    wide = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for line in [list(head), ["-" * width for width in wide], *cells]:
        first, *rest = (
            text.ljust(width) if number == 0 else text.rjust(width)
            for number, (text, width) in enumerate(zip(line, wide, strict=True))
        )
        print("  ".join([first, *rest]))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def print_bars(rows: Iterable[tuple[str, str, str, bool | None]]) -> None:
    """What was promised and what was measured: (what, bar, measured, whether it holds; None: -)."""
    words = {True: "yes", False: "NO", None: "-"}
    print_table(
        ["what", "bar", "measured", "holds"],
        [[what, bar, text, words[held]] for what, bar, text, held in rows],
    )


def run_apart(file: str, cell: Mapping[str, Any]) -> Any:
    """What `file --cell CELL` prints, as JSON: a measurement in a new process, on one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, file, "--cell", json.dumps(cell)],
        env={**os.environ, **one},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def read_cell(path: Path) -> dict[str, Any] | None:
    """A cell that was kept, or None."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def describe_machine() -> str:
    """One line above a table."""
    here = machine()
    return f"{here['cpu']}, {here['cores']} cores, load {load_average()[0]}"
