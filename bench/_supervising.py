"""What supervision does and costs: deaths noticed and mended, pauses, and the runner itself.

Real processes all the way: the command line starts an experiment whose objective sleeps
(`_objective.py`), and signals are sent to its runner and its workers. Times count from the signal,
or from just before the order, to what another process can see in the store or in /proc.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import _objective
from _cells import Cells, Settings
from _program import HERE, NAME, Program, running, seconds_until, wait_for

from engines.run import orders

SEED = 20260101
STRANDED = "SELECT count(*) FROM hx_trial WHERE state = 'RUNNING' AND worker_id IN "
STRANDED += "(SELECT id FROM hx_worker WHERE ended_at IS NOT NULL)"


def spread(seconds: list[float]) -> dict[str, Any]:
    """The middle and the worst."""
    return {"p50_s": median(seconds), "max_s": max(seconds), "all_s": seconds}


# -- deaths ----------------------------------------------------------------------------------


def deaths(settings: Settings, folder: Path) -> dict[str, Any]:
    """Kill a worker, again and again, then the runner; how long until it is noticed and mended."""
    noticed: list[float] = []
    mended: list[float] = []
    adopted: list[float] = []
    at_work: list[float] = []
    with running(folder, "short") as program:
        for _ in range(settings["kills"]):
            worker, pid = random.Random(SEED).choice(sorted(program.workers().items()))
            at = program.kill(pid)
            gone = "SELECT 1 FROM hx_worker WHERE id = ? AND ended_at IS NOT NULL"
            noticed.append(
                seconds_until(lambda: program.ask(gone, worker), "a death to be noticed", at)  # noqa: B023
            )
            mended.append(seconds_until(program.is_at_full_strength, "a new worker", at))
        for _ in range(settings["kills"]):
            old = program.runner()
            program.kill(old)
            wait_for(lambda: program.runner() is None, "the runner to be gone")
            wait_for(lambda: not program.workers(), "the workers to be gone")
            at = time.monotonic()
            program.command("resume", NAME)
            adopted.append(
                seconds_until(lambda: program.runner() not in (None, old), "a new runner", at)  # noqa: B023
            )
            at_work.append(seconds_until(program.is_at_full_strength, "all workers", at))
    return {
        "noticed": spread(noticed),
        "mended": spread(mended),
        "adopted": spread(adopted),
        "at_work": spread(at_work),
    }


def losses(settings: Settings, folder: Path) -> dict[str, Any]:
    """Random kills; then whether every trial that had ended is as it was, and none is stranded."""
    rng = random.Random(SEED)
    seen: dict[tuple[int, int], Any] = {}
    killed = {"runner": 0, "worker": 0}
    with running(folder, "short") as program:
        while sum(killed.values()) < settings["kills"]:
            # Half of the time workers are hit as they start, half of the time at work.
            if rng.random() < 0.5:
                wait_for(program.is_at_full_strength, "all workers")
            time.sleep(rng.uniform(0.0, 1.0))
            living = sorted(program.workers().values())
            who = "runner" if rng.random() < 0.2 else "worker"
            if who == "worker" and not living:
                continue
            seen |= program.ended()
            killed[who] += 1
            program.kill(program.runner() if who == "runner" else rng.choice(living))
            if who == "runner":
                wait_for(lambda: program.runner() is None, "the runner to be gone")
                program.command("resume", NAME)
        if program.runner() is None:
            program.command("resume", NAME)
        time.sleep(5.0)  # what the promise gives it
        stranded = program.ask(STRANDED)[0][0]
        orders.give(program.location, _targets(program), "pause")
        wait_for(lambda: program.state() == "paused", "the pause")
        wait_for(lambda: program.runner() is None, "the runner to leave")
        now = program.ended()
        (doubles,) = program.ask(
            "SELECT count(*) - count(DISTINCT study_id || '/' || number) FROM trials"
        )
        return {
            "kills": killed,
            "acknowledged": len(seen),
            "lost_or_changed": sum(now.get(key) != value for key, value in seen.items()),
            "stranded_after_5_s": stranded,
            "running_at_the_end": _running(program),
            "doubles": doubles[0],
            "integrity": program.ask("PRAGMA integrity_check")[0][0],
        }


def _running(program: Program) -> int:
    return int(program.ask("SELECT count(*) FROM trials WHERE state = 'RUNNING'")[0][0])


def stock_losses(settings: Settings, folder: Path) -> dict[str, Any]:
    """Two stock workers, killed in turn and started again; how many trials stay RUNNING."""
    import sqlite3

    path = folder / "stock.db"
    rng = random.Random(SEED)

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "_objective.py"), str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    workers = [start(), start()]
    try:
        for kill in range(settings["kills"]):
            time.sleep(rng.uniform(0.2, 0.6))
            workers[kill % 2].kill()
            workers[kill % 2].wait()
            workers[kill % 2] = start()
    finally:
        for process in workers:
            process.kill()
            process.wait()
    # The last two were killed as well; what they had in hand is not counted.
    connection = sqlite3.connect(path)
    (left,) = connection.execute("SELECT count(*) FROM trials WHERE state = 'RUNNING'").fetchone()
    connection.close()
    return {"kills": settings["kills"], "running_for_ever": max(0, left - len(workers))}


# -- pauses ----------------------------------------------------------------------------------


def pauses(settings: Settings, folder: Path) -> dict[str, Any]:
    """From the order to `paused`, where trials are short, and where they report every epoch."""
    times: dict[str, list[float]] = {"short": [], "epochs": []}
    for objective, repeats in (("short", settings["repeats"]), ("epochs", settings["long"])):
        inner = folder / objective
        inner.mkdir()
        with running(inner, objective) as program:
            for _ in range(repeats):
                at = time.monotonic()
                orders.give(program.location, _targets(program), "pause")
                times[objective].append(
                    seconds_until(lambda: program.state() == "paused", "the pause", at)
                )
                wait_for(lambda: program.runner() is None, "the runner to leave")
                orders.resume(program.location, _targets(program))
                wait_for(program.is_at_full_strength, "all workers")
    return {
        "between": spread(times["short"]) | {"trial_s": _objective.SHORT_S},
        "report": spread(times["epochs"])
        | {"epoch_s": _objective.EPOCH_S, "trial_s": _objective.EPOCH_S * _objective.EPOCHS},
    }


def freezes(settings: Settings, folder: Path) -> dict[str, Any]:
    """From the order until every worker's process stands still, and until all go on."""
    frozen: list[float] = []
    thawed: list[float] = []
    with running(folder, "short") as program:
        for _ in range(settings["repeats"]):
            time.sleep(random.Random(SEED).uniform(0.1, 0.3))
            pids = list(program.workers().values())
            at = time.monotonic()
            orders.give(program.location, _targets(program), "pause", freeze=True)
            frozen.append(seconds_until(_all(pids, stopped=True), "all workers to stand still", at))
            at = time.monotonic()
            orders.resume(program.location, _targets(program))
            thawed.append(seconds_until(_all(pids, stopped=False), "all workers to go on", at))
            wait_for(program.is_at_full_strength, "all workers")
    return {"freeze": spread(frozen), "thaw": spread(thawed)}


def _all(pids: list[int], *, stopped: bool) -> Callable[[], bool]:
    # One that had no trial in its hands just then leaves instead of standing still.
    still = ("T", "gone") if stopped else ("T",)

    def look() -> bool:
        return all((_process_state(pid) in still) == stopped for pid in pids)

    return look


def _process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def _targets(program: Program) -> list[orders.Target]:
    experiment = program.experiment()
    return [(experiment, study) for study in experiment.studies]


# -- the runner ------------------------------------------------------------------------------


def runner_cost(settings: Settings, folder: Path) -> dict[str, Any]:
    """Memory and processor time of a runner whose two workers run trials of a second."""
    with running(folder, "long") as program:
        pid = program.runner()
        before, began = _cpu_s(pid), time.monotonic()
        time.sleep(settings["seconds"])
        cpu, took = _cpu_s(pid) - before, time.monotonic() - began
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        kib = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Vm")}
        return {
            "cpu_percent": 100 * cpu / took,
            "rss_mib": int(kib["VmRSS"]) / 1024,
            "peak_mib": int(kib["VmHWM"]) / 1024,
        }


def _cpu_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- rows ------------------------------------------------------------------------------------


def measure(cells: Cells, *, quick: bool) -> dict[str, Any]:
    """Every cell of this file, by name."""
    repeats = 2 if quick else 8
    return {
        "deaths": cells.take("deaths", deaths, {"kills": repeats}),
        "losses": cells.take("losses", losses, {"kills": 5 if quick else 30}),
        "stock losses": cells.take("stock-losses", stock_losses, {"kills": 2 if quick else 12}),
        "pauses": cells.take("pauses", pauses, {"repeats": repeats, "long": 1 if quick else 3}),
        "freezes": cells.take("freezes", freezes, {"repeats": repeats}),
        "runner": cells.take("runner", runner_cost, {"seconds": 3.0 if quick else 30.0}),
    }
