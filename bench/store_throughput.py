"""How many trials a second a store takes from several processes, and what it breaks.

The objective costs nothing (five floats, one categorical), so all that is left is the store and
the sampler. For each sampler (tpe, random) and 1, 2 and 4 worker processes, four ways in turn:

  stock         Optuna's RDBStorage on a SQLite file, `study.optimize` in each process
  stock+wal     the same with WAL, synchronous NORMAL and a busy timeout of 30 s
  ours          `open_storage`, `study.optimize` in each process
  ours, claim   `open_storage` and the way our workers go: claim a trial, with the budget and the
                stopping rules checked, run it, end it with our row and a line of the log

Each cell has a new file with 50 queued trials. Every process imports, opens the store and warms
its sampler up first; a start time that all of them wait for keeps that out of the numbers. Then
they run for a fixed time, and trials that ended within it count. An exception ends its worker, as
it would a user's, and nothing restarts it: `died` says how many and `alive` is the mean share of
the time that the workers lived, so a rate beside `alive` below 1 is that of fewer workers.
`twice` counts trials whose objective was called by more than one process (or more than once),
`left` those still RUNNING after every process had ended, `lost` those whose end the store had
accepted and whose row does not say so. `--queued 0` shows the rates without the
queue, which is what kills the stock workers.

A last part counts what SQLite is asked for one trial, with one worker and no queue: SELECTs,
statements that change rows, transactions that write, and those of them that are fsynced. It needs
no quiet machine.

Differences that favour nobody but should be known: our end of a trial is fsynced and stock+wal's
is not (a power cut can take its last trials); our samplers take a new seed for every draw; logging
is off for all, which spares stock a query for the best trial.

A cell is one JSON in the cells folder. A run that was cut off goes on where it was: a cell is kept
if settings, versions, machine and source are the same; `--fresh` measures all again. With
`--rounds N` every cell is taken N times, in turn, and the table shows medians; a ratio is the
median of the ratios within each round.

`make bench ONLY=store_throughput`, or: python bench/store_throughput.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import _common

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WAYS = ("stock", "stock+wal", "ours", "ours, claim")
SAMPLERS = ("tpe", "random")
HEAD_START_S = 0.3
COUNTED = 30


def source_hash() -> str:
    """What the engine and this benchmark looked like."""
    digest = hashlib.blake2b(digest_size=8)
    files = [*sorted((ROOT / "engines").rglob("*.py")), HERE / "_load.py", Path(__file__)]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


# -- one cell --------------------------------------------------------------------------------


def run_cell(cell: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Measure one cell on a new file in `folder`."""
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-", dir=folder) as name:
        path = Path(name) / "load.db"
        if _run_load({**cell, "path": str(path), "create": True}).wait():
            raise SystemExit(f"store_throughput: no store for {cell['way']}")
        told = _run_workers(cell, path)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            states = dict(connection.execute("SELECT number, state FROM trials"))
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if (mode == "wal") != (cell["way"] != "stock"):
        raise SystemExit(f"store_throughput: {cell['way']} ran in journal mode {mode}")
    return told[0] if cell.get("counted") else _result(cell, told, states)


def _run_load(orders: Mapping[str, Any]) -> subprocess.Popen[str]:
    """A process of `_load.py`."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "_load.py"), json.dumps(orders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _run_workers(cell: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Start them, let them all go at once, and collect what they tell."""
    processes: list[subprocess.Popen[str]] = []
    try:
        for index in range(cell["workers"]):
            processes.append(_run_load({**cell, "path": str(path), "index": index}))
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("store_throughput: a worker did not get ready")
        start = f"{time.monotonic() + HEAD_START_S}\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(start)
            process.stdin.flush()
        limit = cell["seconds"] + 120
        return [json.loads(process.communicate(timeout=limit)[0]) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _result(
    cell: Mapping[str, Any], told: list[dict[str, Any]], states: Mapping[int, str]
) -> dict[str, Any]:
    counts = Counter(states.values())
    told_numbers = {number for worker in told for number in worker["told"]}
    calls = Counter(number for worker in told for number in worker["executed"])
    errors = Counter(w["error"] for w in told if w["error"])
    lived = [min(1.0, (w["died_after_s"] or 1e9) / cell["seconds"]) for w in told]
    in_time = sum(worker["in_time"] for worker in told)
    return {
        "trials_per_s": in_time / cell["seconds"],
        "cpu_ms_per_trial": 1000 * sum(w["cpu_s"] for w in told) / max(1, sum(calls.values())),
        "slowest_trial_s": max((w["slowest_s"] or 0.0 for w in told), default=0.0),
        "in_time": in_time,
        "run_twice": sum(count > 1 for count in calls.values()),
        "died": sum(errors.values()),
        "errors": dict(errors),
        "alive": sum(lived) / len(lived),
        "lost": sum(states.get(number) != "COMPLETE" for number in told_numbers),
        "running_left": counts["RUNNING"],
        "waiting_left": counts["WAITING"],
        "complete": counts["COMPLETE"],
        "load": _common.load_average()[0],
    }


# -- all cells -------------------------------------------------------------------------------


def cells(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every cell, the ways next to each other so that they meet the same weather."""
    for turn, sampler, workers in itertools.product(
        range(options.rounds), options.samplers, options.workers
    ):
        for way in options.ways:
            yield {
                "round": turn,
                "sampler": sampler,
                "workers": workers,
                "way": way,
                "seconds": options.seconds,
                "queued": options.queued,
            }


def counted_cells(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The cells in which statements are counted instead of trials."""
    for sampler, way in itertools.product(options.samplers, options.ways):
        yield {
            "round": 0,
            "sampler": sampler,
            "workers": 1,
            "way": way,
            "seconds": 0.0,
            "queued": 0,
            "counted": COUNTED,
        }


def file_name(cell: Mapping[str, Any]) -> str:
    """Where a cell is kept."""
    way = cell["way"].replace(", ", "-").replace("+", "-")
    queue = f"q{cell['queued']}-r{cell['round']}"
    if cell.get("counted"):
        return f"{cell['sampler']}-{way}-counted.json"
    return f"{cell['sampler']}-{cell['workers']}w-{way}-{cell['seconds']:g}s-{queue}.json"


def measure(
    options: argparse.Namespace, folder: Path, wanted: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Settings and result of every wanted cell, measured now or kept from before."""
    kept = 0
    taken = []
    options.cells.mkdir(parents=True, exist_ok=True)
    same = {"versions": _common.versions(), "machine": _common.machine(), "source": source_hash()}
    for cell in wanted:
        path = options.cells / file_name(cell)
        stamp = {"cell": cell, **same}
        document = _read(path)
        if options.fresh or document is None or {k: document.get(k) for k in stamp} != stamp:
            if sys.stderr.isatty():
                print(f"\r{file_name(cell):<60}", end="", flush=True, file=sys.stderr)
            document = {**stamp, "result": run_cell(cell, folder)}
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        else:
            kept += 1
        taken.append({**cell, **document["result"]})
    clear = f"\r{'':<60}\r" if sys.stderr.isatty() else ""
    print(f"{clear}{len(taken)} cells, {kept} of them from before", file=sys.stderr)
    return taken


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def summarise(taken: list[dict[str, Any]], plain: str) -> list[dict[str, Any]]:
    """One line for each sampler, number of workers and way: medians, sums, ratios to `plain`."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in taken:
        groups.setdefault((one["sampler"], one["workers"], one["way"]), []).append(one)
    lines = []
    for (sampler, workers, way), rounds in groups.items():
        base = groups[sampler, workers, plain]
        pairs = zip(rounds, base, strict=True)
        ratios = [a["trials_per_s"] / b["trials_per_s"] for a, b in pairs if b["trials_per_s"]]
        line: dict[str, Any] = {"sampler": sampler, "workers": workers, "way": way}
        for field in ("trials_per_s", "cpu_ms_per_trial", "alive", "slowest_trial_s"):
            line[field] = median(one[field] for one in rounds)
        line["ratio"] = median(ratios) if ratios else None
        for field in ("run_twice", "died", "running_left", "lost"):
            line[field] = sum(one[field] for one in rounds)
        line["errors"] = dict(sum((Counter(one["errors"]) for one in rounds), Counter()))
        lines.append(line)
    return lines


def print_lines(lines: list[dict[str, Any]], plain: str) -> None:
    """The table, and under it what the workers died of."""
    head = ["store", "sampler", "workers", "trials/s", f"x {plain}", "CPU ms/trial", "slowest s"]
    head += ["twice", "died", "alive", "left", "lost"]
    fields = ["way", "sampler", "workers", "trials_per_s", "ratio", "cpu_ms_per_trial"]
    fields += ["slowest_trial_s", "run_twice", "died", "alive", "running_left", "lost"]
    _common.print_table(head, [[line[field] for field in fields] for line in lines])
    errors: Counter[tuple[str, str]] = Counter()
    for line in lines:
        for text, count in line["errors"].items():
            errors[line["way"], text.partition(":")[0]] += count
    for (way, text), count in errors.most_common():
        print(f"{way}: {count} workers ended by {text}")


def print_counted(counted: list[dict[str, Any]]) -> None:
    """The table of statements."""
    fields = ("way", "sampler", "selects", "changes", "writes", "fsynced")
    head = ["asked for one trial", "sampler", "SELECTs", "changes", "write txns", "fsynced"]
    _common.print_table(head, [[one[field] for field in fields] for one in counted])


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, metavar="S", help="of a cell (5)")
    add("--quick", action="store_true", help="2 seconds a cell")
    add("--rounds", type=int, default=1, metavar="N", help="times that every cell is taken (1)")
    add("--queued", type=int, default=50, metavar="N", help="trials queued at the start (50)")
    add("--workers", type=int, nargs="+", default=[1, 2, 4], metavar="N")
    add("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS, metavar="NAME")
    add("--ways", nargs="+", default=WAYS, choices=WAYS, metavar="WAY")
    add("--fresh", action="store_true", help="measure cells again that are there already")
    add("--cells", type=Path, default=ROOT / "build" / "bench" / "store_throughput", metavar="DIR")
    add("--dir", type=Path, default=None, metavar="DIR", help="where the stores are created")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    if options.quick:
        options.seconds = 2.0
    return options


def main() -> int:
    """Measure, print, save."""
    options = parse()
    folder = options.dir or Path(tempfile.gettempdir())
    load = _common.load_average()
    kind = _common.file_system(folder)
    print(f"store throughput on {kind}: {_common.describe_machine()}")
    taken = measure(options, folder, cells(options))
    plain = options.ways[0]
    lines = summarise(taken, plain)
    print_lines(lines, plain)
    print()
    counted = measure(options, folder, counted_cells(options))
    print_counted(counted)
    settings = {name: getattr(options, name) for name in ("seconds", "rounds", "queued")}
    body = {
        "what": f"trials a second at an objective that costs nothing; ratios are to {plain}",
        "settings": settings | {"file_system": kind, "source": source_hash()},
        "table": lines,
        "asked_for_one_trial": counted,
        "cells": taken,
    }
    _common.save(options.json, "store_throughput", body, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
