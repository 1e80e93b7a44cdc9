"""The app's process stays light, and its state comes from the store alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tui.stores import Store, add_typical

ROOT = Path(__file__).resolve().parents[2]
HEAVY = [
    *("numpy", "pandas", "pyarrow", "optuna", "sqlalchemy", "sklearn", "torch"),
    *("xgboost", "lightgbm", "catboost", "flaml", "stable_baselines3", "gymnasium"),
]

DRIVE = """
import asyncio, sys
from pathlib import Path
from engines.study.location import Location
from hyperion_tui.app import HyperionApp

async def drive():
    app = HyperionApp(Location(Path(sys.argv[1])))
    async with app.run_test(size=(120, 40)) as pilot:
        while not app.snapshot.experiments:
            await pilot.pause(0.01)
        for key in ("2", "enter", "enter", "escape", "escape", "c", "escape", "o", "escape",
                    "question_mark", "escape", "d", "escape", "e", "escape", "r", "escape", "p"):
            await pilot.press(key)
            await pilot.pause()

asyncio.run(drive())
heavy = sys.argv[2:]
print(*sorted(name for name in heavy if name in sys.modules))
"""


def test_no_screen_loads_a_heavy_library(store: Store):
    add_typical(store)

    done = subprocess.run(
        [sys.executable, "-c", DRIVE, str(store.location.path), *HEAVY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
