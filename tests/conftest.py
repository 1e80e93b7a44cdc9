"""What holds for every test: one thread a process, and a home that is thrown away.

No test reads or writes the store, the settings or the caches of the person who runs it.
"""

from __future__ import annotations

import os
import signal

# Before numpy and the boosters are imported: they read these once. Several tests run at
# the same time, and a result must not depend on the number of cores.
for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
):
    os.environ[_variable] = "1"

from pathlib import Path

# Compiled code outlives the tests' homes: making it takes ten seconds, once a machine.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[1] / "build" / "compiled")
)

import pytest
from hypothesis import settings

from tests.postgres import (
    _prepared_database,
    postgres_server,
    postgres_store_url,
    postgres_url,
)

__all__ = ["_prepared_database", "postgres_server", "postgres_store_url", "postgres_url"]

# Machines that run tests are slow in bursts: a property is true or not, however long it took.
settings.register_profile("hyperion", deadline=None)
settings.load_profile("hyperion")

# What a person may have set, and a test must not see.
_OF_THE_PERSON = (
    "OPTUNA_STORAGE",
    "OPTUNA_TRIALS",
    "OPTIMIZATION_TIMEOUT",
    "RANDOM_SEED",
    "TRADING_EPISODES",
    "NO_COLOR",
)


# A shell ignores Ctrl-C for what it starts in the background, and so would every child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, which the processes it starts inherit; the store is in it.

    Returns the folder. It is not created: the program must be able to.
    """
    home = tmp_path / "home"
    monkeypatch.setenv("HYPERION_HOME", str(home))
    monkeypatch.setenv("HYPERION_STORAGE", str(home / "studies.db"))
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in _OF_THE_PERSON:
        monkeypatch.delenv(variable, raising=False)
    return home
