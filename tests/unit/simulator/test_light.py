"""What is loaded by which import: names are looked up late, and the core only when it trades."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded(code: str) -> set[str]:
    """The top-level packages in a fresh interpreter after `code`."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_loads_nothing_until_a_name_is_used():
    assert not loaded("import simulator; dir(simulator)") & {"numpy", "pandas", "numba"}


def test_what_does_not_trade_loads_no_compiler():
    light = "bars synthetic features market metrics statistics risk oracle baselines samples"

    found = loaded("; ".join(f"import simulator.{name}" for name in light.split()))

    assert not found & {"numba", "gymnasium", "torch"}


def test_a_backtest_needs_no_gymnasium():
    found = loaded("from simulator import backtest, TradingEnvironmentSimulator")

    assert "numba" in found
    assert not found & {"gymnasium", "torch", "stable_baselines3", "optuna", "sqlalchemy"}


def test_the_command_loads_no_numbers_until_it_is_used():
    found = loaded("import hyperion_tui.commands.backtest")

    assert not found & {"numpy", "pandas", "numba", "gymnasium", "optuna", "sqlalchemy"}


def test_without_the_compiler_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "try: from simulator import TradingEnvironmentSimulator\n"
        "except ValueError as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == (
        "trading needs numba, which is not installed; add it with: pip install 'hyperion-tui[rl]'"
    )


def test_public_names_are_there_and_others_are_not():
    import simulator

    for name in simulator.__all__:
        assert getattr(simulator, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'profit'"):
        _ = simulator.profit
