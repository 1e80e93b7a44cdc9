"""What writing costs: transactions and processor time a trial, trials a second, and what breaks.

Ways: `stock` is Optuna's RDBStorage on a SQLite file with `study.optimize` in each process,
`stock+wal` the same with WAL, synchronous NORMAL and a busy timeout of 30 s, `ours` is
`open_storage` with `study.optimize`, and `ours, claim` goes as our workers do: claim a trial, with
the budget and the stopping rules checked, run it, end it with our row and a line of the log.

Every cell has a new file. Every process imports, opens the store and warms its sampler up first; a
start time that all of them wait for keeps that out of the numbers. An exception ends its worker, as
it would a user's, and nothing restarts it. `twice` counts trials whose objective was called more
than once, `left` those still RUNNING after every process had ended, `lost` those whose end the
store had accepted and whose row does not say so.

Differences that favour nobody but should be known: our end of a trial is fsynced and stock+wal's
is not (a power cut can take its last trials); logging is off for all, which spares stock a query
for the best trial.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _cells import Cells, Settings

HERE = Path(__file__).resolve().parent
STOCK = "stock"
OURS = ("ours", "ours, claim")
WAYS = (STOCK, "stock+wal", *OURS)
HEAD_START_S = 0.3
COUNTED = 40
TIMED = 200
REPORTS = 20
QUEUES = ((400, 4), (60, 8))
QUEUE_LIMIT_S = 90.0


# -- cells -----------------------------------------------------------------------------------


def count_one(settings: Settings, folder: Path) -> dict[str, Any]:
    """What one process asks of SQLite, or takes of the processor, for a trial."""
    told, _ = _run(settings, folder)
    return told[0]


def run_many(settings: Settings, folder: Path) -> dict[str, Any]:
    """Several processes for a fixed time, or until a queue is empty."""
    told, states = _run(settings, folder)
    counts = Counter(states.values())
    calls = Counter(number for worker in told for number in worker["executed"])
    ended = {number for worker in told for number in worker["told"]}
    errors = Counter(worker["error"] for worker in told if worker["error"])
    lived = [min(1.0, (w["died_after_s"] or 1e9) / settings["seconds"]) for w in told]
    return {
        "trials_per_s": sum(worker["in_time"] for worker in told) / settings["seconds"],
        "slowest_trial_s": max((w["slowest_s"] or 0.0 for w in told), default=0.0),
        "run_twice": sum(count > 1 for count in calls.values()),
        "exit_codes": sorted(worker["exit_code"] for worker in told),
        "errors": dict(errors),
        "alive": sum(lived) / len(lived),
        "lost": sum(states.get(number) != "COMPLETE" for number in ended),
        "running_left": counts["RUNNING"],
        "waiting_left": counts["WAITING"],
        "complete": counts["COMPLETE"],
    }


def _run(settings: Settings, folder: Path) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Start the workers, let them all go at once, and collect what they tell."""
    path = folder / "load.db"
    orders = {"sampler": "random", "queued": 0, "seconds": 0.0, **settings, "path": str(path)}
    if orders["way"] == "memory":
        return _collect(orders), {}
    if _start({**orders, "create": True}).wait():
        raise SystemExit(f"bench: no store for {orders['way']}")
    told = _collect(orders)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        states = dict(connection.execute("SELECT number, state FROM trials"))
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if (mode == "wal") != (orders["way"] != STOCK):
        raise SystemExit(f"bench: {orders['way']} ran in journal mode {mode}")
    return told, states


def _start(orders: Mapping[str, Any]) -> subprocess.Popen[str]:
    """A process of `_load.py`."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "_load.py"), json.dumps(orders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _collect(orders: Mapping[str, Any]) -> list[dict[str, Any]]:
    processes: list[subprocess.Popen[str]] = []
    try:
        for index in range(orders.get("workers", 1)):
            processes.append(_start({**orders, "index": index}))
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("bench: a worker did not get ready")
        start = f"{time.monotonic() + HEAD_START_S}\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(start)
            process.stdin.flush()
        limit = orders["seconds"] + 300
        told = [json.loads(process.communicate(timeout=limit)[0]) for process in processes]
        return [
            {**one, "exit_code": process.returncode}
            for one, process in zip(told, processes, strict=True)
        ]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


# -- rows ------------------------------------------------------------------------------------


def transactions(cells: Cells, ways: Sequence[str]) -> list[dict[str, Any]]:
    """Statements and write transactions a trial, by way, without and with reports."""
    lines = []
    for reports in (0, REPORTS):
        for way in ways:
            settings = {
                **{"way": way, "sampler": "tpe", "wanted": COUNTED},
                **{"statements": True, "reports": reports},
            }
            name = f"counted-{_plain(way)}-{reports}-reports"
            result = cells.take(name, count_one, settings)
            lines.append({"way": way, "reports": reports, **result})
    return lines


def processor_time(cells: Cells, ways: Sequence[str], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time a trial in one process, above the same in memory, by way."""
    found: dict[str, list[float]] = {}
    for turn in range(rounds):
        of: dict[str, float] = {}
        for way in ("memory", *ways):
            settings = {"way": way, "wanted": TIMED, "round": turn}
            of[way] = cells.take(f"cpu-{_plain(way)}-{turn}", count_one, settings)["cpu_ms"]
        for way in ways:
            found.setdefault(way, []).append(of[way] - of["memory"])
    return {way: median(taken) for way, taken in found.items()}


def rates(
    cells: Cells,
    ways: Sequence[str],
    rounds: int,
    seconds: float,
    workers: int,
    sampler: str,
) -> list[dict[str, Any]]:
    """Trials a second by way, the ways in turn so that they meet the same weather."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way in ways:
            settings = {
                **{"way": way, "workers": workers, "sampler": sampler},
                **{"seconds": seconds, "round": turn},
            }
            name = f"rate-{sampler}-{workers}w-{_plain(way)}-{turn}"
            found[way].append(cells.take(name, run_many, settings))
    lines = []
    for way, taken in found.items():
        ratios = [
            a["trials_per_s"] / b["trials_per_s"]
            for a, b in zip(taken, found[STOCK], strict=True)
            if b["trials_per_s"]
        ]
        lines.append(
            {
                "way": way,
                "trials_per_s": median(one["trials_per_s"] for one in taken),
                "ratio": median(ratios) if ratios else None,
                "slowest_trial_s": median(one["slowest_trial_s"] for one in taken),
                "alive": median(one["alive"] for one in taken),
            }
        )
    return lines


def queues(cells: Cells, wanted: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """What becomes of queued trials: run twice, left over, and how many workers died of it."""
    lines = []
    for queued, workers in wanted:
        for way in (STOCK, *OURS):
            settings = {
                **{"way": way, "workers": workers, "queued": queued, "goal": queued},
                "seconds": QUEUE_LIMIT_S,
            }
            result = cells.take(f"queue-{queued}-{workers}w-{_plain(way)}", run_many, settings)
            died = sum(code != 0 for code in result["exit_codes"])
            lines.append({"queued": queued, "workers": workers, "way": way, "died": died, **result})
    return lines


def _plain(way: str) -> str:
    return way.replace(", ", "-").replace("+", "-")
