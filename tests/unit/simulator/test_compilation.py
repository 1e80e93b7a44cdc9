"""Compiled code: made once, kept in the user's cache, never stale, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SMALL = """
from simulator.compilation import entry

@entry("f8(f8)")
def twice(x):
    return {factor} * x

if __name__ == "__main__":
    print(twice(21.0))
"""


def start(code: str | Path, cache: Path, *, variable: str = "NUMBA_CACHE_DIR") -> tuple[str, str]:
    """(stdout, stderr) of a fresh interpreter that runs a file or some code."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {variable: str(cache), "PYTHONPATH": str(ROOT)}
    words = [str(code)] if isinstance(code, Path) else ["-c", code]
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A file with one small compiled function."""
    path = tmp_path / "small.py"
    path.write_text(SMALL.format(factor=2))
    return path


def test_compiled_code_is_kept_in_the_users_cache_and_made_anew_when_it_changes(module, tmp_path):
    first = start(module, tmp_path / "home", variable="XDG_CACHE_HOME")
    second = start(module, tmp_path / "home", variable="XDG_CACHE_HOME")
    times = module.stat()
    module.write_text(SMALL.format(factor=3))
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))  # the size is the same too
    third = start(module, tmp_path / "home", variable="XDG_CACHE_HOME")

    assert [first[0], second[0], third[0]] == ["42.0", "42.0", "63.0"]
    assert "compiling the trading simulator once" in first[1]
    assert second[1] == ""
    folder = tmp_path / "home" / "hyperion-tui" / "compiled"
    assert len(list(folder.rglob("*.nbc"))) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    assert not list(module.parent.glob("__pycache__/*.nb*"))


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_only_costs_time(module, tmp_path):
    (tmp_path / "file").write_text("")

    output, said = start(module, tmp_path / "file" / "cache")

    assert output == "42.0"
    assert "cache can't be written" in said


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 40])
def test_a_cache_cut_short_by_a_power_cut_is_made_again(module, tmp_path, keep):
    start(module, tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("*.nb*"):
        path.write_bytes(path.read_bytes()[:keep])

    assert start(module, tmp_path / "cache")[0] == "42.0"


@pytest.mark.slow
def test_other_numba_code_keeps_its_own_cache(module, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[0] or '.');"
        "from numba.core import config; before = config.CACHE_DIR;"
        "import simulator.core; assert config.CACHE_DIR == before; print('same')"
    )

    assert start(code, Path(os.environ["NUMBA_CACHE_DIR"]))[0] == "same"


@pytest.mark.slow
def test_the_core_compiles_within_twenty_seconds_and_loads_within_half_a_second(tmp_path):
    code = (
        "import time, numba, pandas; t, cpu = time.perf_counter(), time.process_time();"
        "import simulator.core; print(time.perf_counter() - t, time.process_time() - cpu)"
    )

    cold, said = start(code, tmp_path)
    warm, silent = min(start(code, tmp_path) for _ in range(3))

    # Processor time: other work on the machine is not the compiler's.
    assert float(cold.split()[1]) <= 20
    assert float(warm.split()[1]) <= 0.5
    assert said.count("compiling") == 1
    assert silent == ""


@pytest.mark.slow
def test_buy_and_hold_on_a_file_answers_within_two_seconds(tmp_path):
    from simulator.synthetic import create_synthetic_trading_data

    create_synthetic_trading_data(5_000).to_csv(tmp_path / "bars.csv")
    code = (
        "import sys, time; from hyperion_tui.cli import main;"
        f"main(['backtest', 'buy-and-hold', '--data', {str(tmp_path / 'bars.csv')!r}]);"
        "print(time.process_time())"
    )

    cache = Path(os.environ["NUMBA_CACHE_DIR"])
    start(code, cache)
    took = min(float(start(code, cache)[0].splitlines()[-1]) for _ in range(3))

    assert took < 2
