#!/usr/bin/env python3
"""Takes the pictures of docs/tour.md anew: `make pictures`, or python scripts/pictures.py [STORE].

The program itself tunes nine models on the diabetes data (442 people, real measurements) in a store
of its own, some minutes on two cores; the app is then opened on it without a terminal, and what it
shows is written to docs/pictures/. STORE: take the pictures of a store that is there already.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from textual.pilot import Pilot

from engines.study.location import Location
from hyperion_tui.app import HyperionApp
from hyperion_tui.screens.charts import ChartingView

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"

MODELS = (
    *("ridge", "elastic_net", "bayesian_ridge", "svr", "random_forest", "extra_trees"),
    *("lightgbm", "xgboost", "catboost"),
)
TRIALS = 24

PICTURES: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    "main-80x24": ((80, 24), ("2",)),
    "main-120x40": ((120, 40), ("2", "down")),
    "charts-120x40": ((120, 40), ("2", *["down"] * 5, "4")),
    "launch-120x40": ((120, 40), ("down", "space", "space", "r", *"diabetes", "tab")),
    "trials-120x40": ((120, 40), ("2", "down", "enter")),
    "trial-120x40": ((120, 40), ("2", "down", "enter", "enter")),
    "compare-120x40": ((120, 40), ("c",)),
    "data-120x40": ((120, 40), ("d", "enter")),
    "experiments-120x40": ((120, 40), ("o",)),
    "export-120x40": ((120, 40), ("2", "down", "e")),
    "help-120x40": ((120, 40), ("?",)),
}
"""Names of files, sizes of the terminal, and the keys that lead to what is shown."""

STILL_S = 1.0
LONGEST_S = 60.0


def tune(store: Path) -> None:
    """Fill a store."""
    program = [sys.executable, "-m", "hyperion_tui", "run", *MODELS]
    words = ["--data", "diabetes", "--trials", str(TRIALS), "--name", "diabetes"]
    subprocess.run([*program, *words, "--store", str(store)], check=True)


async def take(store: Path, name: str) -> None:
    """Open the app, press keys, and write what it shows."""
    size, keys = PICTURES[name]
    app = HyperionApp(Location(store))
    async with app.run_test(size=size) as pilot:
        await _stands_still(app, pilot)
        for key in keys:
            await pilot.press(key)
            await _stands_still(app, pilot)
        shown = app.export_screenshot(title="hyperion-tui")
    file = FOLDER / f"{name}.svg"
    file.write_text(shown, encoding="utf-8")
    print(f"written: {file}")


async def _stands_still(app: HyperionApp, pilot: Pilot[None]) -> None:
    """Wait until the store was read and the screen has looked the same for a while."""
    seen, since, began = "", time.monotonic(), time.monotonic()
    while time.monotonic() - since < STILL_S:
        if time.monotonic() - began > LONGEST_S:
            raise SystemExit("pictures: the screen never stood still")
        await pilot.pause(0.05)
        screen = app.screen
        reads = isinstance(screen, ChartingView) and screen.reads_charts
        now = app.export_screenshot(simplify=True)
        looks = ">looking" in now or "looking&#160;at" in now
        if now != seen or reads or looks or not app.snapshot.experiments:
            seen, since = now, time.monotonic()


def main() -> int:
    """Tune if nothing is given, then take all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(folder) / "pictures.db"
        if len(sys.argv) == 1:
            tune(store)
        elif not store.exists():
            raise SystemExit(f"pictures: {store} is not there")
        # The app shows where it is, and reads settings of its own at home.
        os.environ["HOME"] = folder
        (place := Path(folder) / "studies").mkdir()
        os.chdir(place)
        for name in PICTURES:
            asyncio.run(take(store, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
