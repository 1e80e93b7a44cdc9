"""The long form of the torture: `make torture`, or `python -m tests.torture [--cells N]`.

Cells of random kill -9 (50 kills each), of cheap objectives and of real models in turn, and each
scenario of the short form with its full numbers. Every cell has a new store and leaves one JSON
in build/torture/, with the commit it ran on. A run that was cut off goes on: a cell is kept if
it passed and its settings are the same, with `--same-source` only if the engine is, too. The
summary goes to bench/results/torture.json once every cell has passed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench import _common
from tests.torture import scenarios
from tests.torture.harness import CHEAP, World, end_leftovers

ROOT = Path(__file__).resolve().parents[2]
CELLS_FOLDER = ROOT / "build" / "torture"
RESULT = ROOT / "bench" / "results" / "torture.json"
KILLS = 50

Scenario = Callable[[Path], dict[str, Any]]


def in_world(scenario: Callable[..., dict[str, Any]], *numbers: Any) -> Scenario:
    """A scenario on a world in the cell's folder, which is ended with all of its processes."""

    def play(folder: Path) -> dict[str, Any]:
        with scenarios.ended(World(folder / "world")) as world:
            return scenario(world, *numbers)

    return play


def cells(count: int, seed: int) -> dict[str, tuple[dict[str, Any], Scenario]]:
    """Every cell by name: its settings, and what it does in a folder."""
    found: dict[str, tuple[dict[str, Any], Scenario]] = {}

    def add(name: str, play: Scenario, **settings: Any) -> None:
        found[name] = settings, play

    for number in range(count):
        # Every third with models, whose workers take a second and more to import.
        what = scenarios.MODELS if number % 3 == 2 else (CHEAP,)
        settings = {"seed": seed * 1000 + number, "kills": KILLS}
        kind = "models" if number % 3 == 2 else "cheap"
        play = in_world(scenarios.storm, settings["seed"], KILLS, what)
        add(f"kills-{number:02}", play, objective=kind, **settings)
    add("lock-holder", in_world(scenarios.stopped_lock_holder, 45.0), seconds=45)
    add("stopped-worker", in_world(scenarios.stopped_worker, 60.0, 60, seed), seconds=60, turns=60)
    add("stopped-runner", in_world(scenarios.stopped_runner, 45.0), seconds=45)
    add("clocks", scenarios.clock_jumps)
    add("disk-full", lambda folder: scenarios.disk_full(folder, 45.0, 3), seconds=45, rounds=3)
    add("file-limit", lambda folder: scenarios.file_limit(folder, 45.0, 1), seconds=45, rounds=1)
    add("first-opens", lambda folder: scenarios.first_opens(folder, 250), rounds=250)
    add("first-runs", in_world(scenarios.first_runs, 8), commands=8)
    for trials, workers in ((400, 4), (60, 8)):
        play = in_world(scenarios.queued, trials, workers)
        add(f"queued-{trials}", play, trials=trials, workers=workers)
    add("starters", in_world(scenarios.starters, 6), commands=6)
    add("three-deaths", in_world(scenarios.three_deaths))
    acts = (*scenarios.HARMLESS, *scenarios.HARMFUL)
    add("hostile", partial(scenarios.parade, acts=acts), acts=list(acts))
    for name in ("grandchildren", "gigabyte", "memory", "what_is_left_running"):
        add(name.replace("_", "-"), getattr(scenarios, name))
    return found


def source_hash() -> str:
    """What the engine and this suite looked like."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in ("engines", "hyperion_tui", "tests/torture"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def commit() -> str:
    """The commit of the working tree, with a plus if it has changes; empty without git."""
    try:
        words = ("git", "-C", str(ROOT))
        head = subprocess.run([*words, "rev-parse", "--short=12", "HEAD"], capture_output=True)
        status = subprocess.run(
            [*words, "status", "--porcelain", "--", "engines", "hyperion_tui"], capture_output=True
        )
    except OSError:
        return ""
    return head.stdout.decode().strip() + ("+" if status.stdout.strip() else "")


def play(name: str, settings: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """Run one cell in a folder of its own, which is kept if the cell failed."""
    folder = Path(tempfile.mkdtemp(prefix=f"hyperion-torture-{name}-"))
    begun = time.monotonic()
    result: dict[str, Any] = {
        "cell": name,
        "settings": settings,
        "commit": commit(),
        "source": source_hash(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": _common.load_average()[0],
    }
    try:
        result |= {"outcome": "passed", "facts": scenario(folder)}
    except scenarios.Missing as missing:
        result |= {"outcome": "missing", "why": str(missing)}
    except Exception as error:  # the border of a cell: what broke is its result
        result |= {"outcome": "failed", "why": f"{type(error).__name__}: {error}"[:4000]}
        result["kept"] = str(folder)
    if "kept" not in result:
        shutil.rmtree(folder, ignore_errors=True)
    return result | {"seconds": round(time.monotonic() - begun, 1)}


def is_done(file: Path, settings: dict[str, Any], same_source: bool) -> bool:
    """Whether a cell has passed with these settings before."""
    try:
        before = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    if before["outcome"] != "passed" or before["settings"] != settings:
        return False
    return not same_source or before["source"] == source_hash()


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What all cells together say."""
    storms = [r["facts"] for r in results if r["cell"].startswith("kills-") and "facts" in r]
    kills: Counter[str] = Counter()
    for facts in storms:
        kills.update(facts["kills"])

    def added(name: str) -> int:
        return sum(facts[name] for facts in storms)

    return {
        "what": "random kill -9 and other torture; the counts are of the cells of kills",
        "kills": sum(kills.values()),
        "kills_of": dict(kills),
        "trials": added("trials"),
        "acknowledged": added("acknowledged"),
        "put_back": added("requeued"),
        "lost_or_changed": added("lost"),
        "acknowledged_twice": added("twice"),
        "run_again_after_that": added("again"),
        "left_running": added("left_running"),
        "slowest_restart_s": max((f["slowest_restart_s"] for f in storms), default=None),
        "minutes": round(sum(r["seconds"] for r in results) / 60, 1),
        "commits": sorted({r["commit"] for r in results}),
        "cells": results,
    }


def main() -> int:
    """Run what is not done yet; 0 if every cell has passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--cells", type=int, default=20, help=f"cells of {KILLS} kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cells whose name begins with this")
    parser.add_argument("--fresh", action="store_true", help="run every cell again")
    parser.add_argument("--same-source", action="store_true", help="keep cells of this code only")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    end_leftovers()  # of a run that was killed
    CELLS_FOLDER.mkdir(parents=True, exist_ok=True)
    load_before = _common.load_average()
    results, failed = [], 0
    for name, (settings, scenario) in cells(options.cells, options.seed).items():
        if not name.startswith(options.only):
            continue
        file = CELLS_FOLDER / f"{name}.json"
        if options.fresh or not is_done(file, settings, options.same_source):
            result = play(name, settings, scenario)
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps(result, indent=1) + "\n")
            fresh.replace(file)
        result = json.loads(file.read_text())
        results.append(result)
        failed += result["outcome"] == "failed"
        said = result.get("why") or json.dumps(result["facts"])
        print(
            f"{result['outcome']:7} {name:20} {result['seconds']:7.1f} s  {said[:300]}", flush=True
        )
    if failed or options.only:
        print(f"{failed} of {len(results)} cells failed", file=sys.stderr)
        return 1 if failed else 0
    body = summary(results)
    _common.save(str(RESULT), "torture", body, load_before)
    print(f"{body['kills']} kills in {body['minutes']} minutes, nothing lost", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
