"""Cells: each in a fresh process on a core of its own, one JSON a cell, skipped if it is there.

A cell's settings name its kind, which says what is measured. A cell
that fails is a result too: its file holds the reason. Only a missing package leaves no file, and
takes the other cells that need it out of the queue.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import _common

from quality import warm
from quality.data import Absent

SCRIPT = Path(__file__).resolve().parents[1] / "quality.py"
ABSENT = 3
"""Exit status of a cell that a package is missing for."""
NEVER_WAIT = ("tpe_stock", "hyperion")
QUIET = 0.9
"""A peer that never waits had less of its core than this: others disturbed it."""

Settings = Mapping[str, Any]
Measure = Callable[[Settings, Path], dict[str, Any]]
"""(settings, folder for files, removed afterwards) -> result."""


@dataclass(frozen=True)
class Cell:
    """name: of its file. needs: what all cells that lack the same package share.

    limit_s: killed after so long. pinned: to one core, as most are.
    """

    kind: str
    name: str
    settings: Settings
    limit_s: float
    needs: str = ""
    pinned: bool = True

    def path(self, kept: Path) -> Path:
        """Where its result lies."""
        return kept / self.kind / f"{self.name}.json"


# -- in the cell's own process ---------------------------------------------------------------


def run_one(measure: Measure, settings: Settings, answer: Path) -> int:
    """Measure a cell and write its result or its error to `answer`; returns the exit status."""
    warm.one_thread()
    # The benchmarks' folder comes last: `simulator` is a package of ours, not simulator.py there.
    here = str(SCRIPT.parent)
    sys.path[:] = [p for p in sys.path if p != here] + [here]
    try:
        with tempfile.TemporaryDirectory(
            prefix="hyperion-bench-", ignore_cleanup_errors=True
        ) as name:
            os.environ["HYPERION_HOME"] = os.path.join(name, "home")
            os.environ["HYPERION_STORAGE"] = os.path.join(name, "studies.db")
            os.chdir(name)
            document: dict[str, Any] = {"result": measure(settings, Path(name))}
    except Absent as absent:
        print(absent, file=sys.stderr)
        return ABSENT
    except Exception as error:
        traceback.print_exc()
        document = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
    answer.write_text(json.dumps(document), encoding="utf-8")
    return 0


# -- all cells -------------------------------------------------------------------------------


class Queue:
    """Runs cells in their order, `jobs` of them side by side.

    kept: where results lie. again: which cells are measured though a result is there: `none`,
    `failed`, `disturbed` or `all`.
    """

    def __init__(self, kept: Path, jobs: int, again: str = "none") -> None:
        self._kept = kept
        self._again = again
        self._cores = _cores(jobs)
        self._absent: set[str] = set()
        self._lock = threading.Lock()
        self._done = 0
        self._running: set[int] = set()
        self._stopped = threading.Event()

    def run(self, cells: Sequence[Cell]) -> None:
        """Measure what is not there yet."""
        todo = [cell for cell in cells if not self._is_kept(cell)]
        print(
            f"{len(cells)} cells, {len(cells) - len(todo)} of them are there, {len(todo)} to "
            f"measure on core {', '.join(map(str, self._cores))}",
            file=sys.stderr,
        )
        waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in todo:
            waiting.put(cell)
        jobs = [
            threading.Thread(target=self._work, args=(waiting, core, len(todo)), daemon=True)
            for core in self._cores
        ]
        try:
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
        finally:  # Ctrl-C: nothing goes on behind, and what was cut off leaves no result
            self._stopped.set()
            for pid in list(self._running):
                _kill(pid)

    def _is_kept(self, cell: Cell) -> bool:
        document = read(cell.path(self._kept))
        if document is None or self._again == "all":
            return False
        if self._again == "disturbed":
            share = share_of_core(document)
            return share is None or share >= QUIET
        return not (self._again == "failed" and "error" in document)

    def _work(self, waiting: queue.SimpleQueue[Cell], core: int, total: int) -> None:
        while not self._stopped.is_set():
            try:
                cell = waiting.get_nowait()
            except queue.Empty:
                return
            if cell.needs and cell.needs in self._absent:
                continue
            start = time.monotonic()
            document, trouble = self._measure(cell, core)
            with self._lock:
                self._done += 1
                said = trouble or _said(document)
                print(
                    f"[{self._done}/{total}] {cell.kind}/{cell.name}: {said} "
                    f"({time.monotonic() - start:.0f} s)",
                    file=sys.stderr,
                )
                if document is None and cell.needs:
                    self._absent.add(cell.needs)

    def _measure(self, cell: Cell, core: int) -> tuple[dict[str, Any] | None, str | None]:
        """(document, or None for a missing package; what there is to say of it)."""
        load = _common.load_average()
        words = [sys.executable, str(SCRIPT), "--cell", json.dumps(cell.settings)]
        pinned = cell.pinned and shutil.which("taskset") is not None
        if pinned:
            words = ["taskset", "-c", str(core), *words]
        with tempfile.TemporaryDirectory(
            prefix="hyperion-bench-", ignore_cleanup_errors=True
        ) as name:
            answer, log = Path(name, "answer.json"), Path(name, "log")
            status = self._start([*words, "--answer", str(answer)], Path(name), cell.limit_s)
            if status == ABSENT:
                return None, f"left out: {_last_line(log)}"
            if self._stopped.is_set():
                return None, "cut off"
            document = read(answer)
            if document is None:
                reason = f"did not end within {cell.limit_s:.0f} s"
                if status is not None:
                    reason = f"ended with status {status}: {_last_line(log)}"
                document = {"error": reason}
        document = {
            "cell": {"kind": cell.kind, "name": cell.name, **cell.settings},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": _common.machine()
            | {
                "pinned": pinned,
                "side_by_side": len(self._cores),
                "load_before": load,
                "load_after": _common.load_average(),
            },
            **document,
        }
        write(cell.path(self._kept), document)
        return document, None

    def _start(self, words: Sequence[str], folder: Path, limit_s: float) -> int | None:
        """Exit status, or None if it had to be killed. All its files lie in `folder`."""
        with (folder / "log").open("wb") as errors:
            process = subprocess.Popen(
                words,
                env=os.environ | warm.THREADS | {"TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        self._running.add(process.pid)
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill(process.pid)  # workers that a peer has left behind
            process.wait()
            self._running.discard(process.pid)


def _cores(jobs: int) -> list[int]:
    """Cores of this process to pin to; fewer than `jobs` if there are fewer."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(jobs))
    return sorted(os.sched_getaffinity(0))[:jobs]


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "without a word"


def _said(document: dict[str, Any] | None) -> str:
    """The numbers of a result in one line."""
    if document is None:
        return "left out"
    if "error" in document:
        return f"FAILED: {document['error'][:200]}"
    shown = document["result"].get("shown", {})
    return ", ".join(f"{key} {value}" for key, value in shown.items()) or "measured"


def share_of_core(document: Mapping[str, Any]) -> float | None:
    """Processor time by time of a peer that never waits: below one, others were at work too.

    None for other peers, and for cells that are no fit.
    """
    result = document.get("result", {})
    if document["cell"].get("peer") not in NEVER_WAIT or "fit_s" not in result:
        return None
    return float(result["cpu_s"] / result["fit_s"])


def read(path: Path) -> dict[str, Any] | None:
    """A JSON document, or None if there is none that can be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def write(path: Path, document: Mapping[str, Any]) -> None:
    """All of it or nothing: a run that is cut off leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def kept_of(kept: Path, kind: str) -> Iterator[dict[str, Any]]:
    """All results of a kind, by name."""
    for path in sorted((kept / kind).glob("*.json")):
        if (document := read(path)) is not None:
            yield document
