"""What looks and what supervises loads no library of numbers, models, databases or screens."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("numpy", "pandas", "optuna", "sqlalchemy", "textual", "alembic", "scipy", "pyarrow"),
    *("sklearn", "torch", "xgboost", "lightgbm", "catboost", "flaml", "stable_baselines3"),
}


@pytest.mark.parametrize(
    "module",
    [
        *("hyperion_tui.cli", "hyperion_tui.commands.show", "hyperion_tui.commands.orders"),
        *("hyperion_tui.commands.export", "hyperion_tui.commands.check", "engines.export.launch"),
        *("hyperion_tui.commands.run", "hyperion_tui.commands.about", "hyperion_tui.options"),
        *("engines.study.reader", "engines.study.control", "engines.study.supervision"),
        *("engines.run.runner", "engines.run.launcher", "engines.models.catalogue"),
        *("engines.search.space", "engines.analysis.export", "engines.analysis.report"),
    ],
)
def test_a_light_module_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) & HEAVY == set()


def test_importing_the_engine_loads_nothing_at_all() -> None:
    code = (
        "import __future__, importlib, sys, typing; before = set(sys.modules);"
        "import engines, simulator;"
        "print(*sorted(set(sys.modules) - before))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["engines", "simulator"]
