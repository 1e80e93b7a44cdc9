"""Calls from a script or a notebook, interrupted there or paused from a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import World, wait_until
from tests.e2e.gated import GATED

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCRIPT = (
    GATED
    + """
import json, sys
optimizer.set_custom_metric(gated)
try:
    found = optimizer.optimize_specific_models(
        ["ridge"], X[:60], y[:60], X[60:], y[60:], n_trials=6, name="e"
    )
except KeyboardInterrupt:
    sys.exit(130)
print(json.dumps(found["ridge"]["trials"]))
"""
)


def started(world: World, folder: Path, jobs: int) -> tuple[subprocess.Popen[str], Path]:
    """The script, at work on trials that wait at the gate."""
    gate = folder / "gate"
    script = folder / "script.py"
    script.write_text(SCRIPT.format(gate=str(gate), jobs=jobs, store=str(world.store)))
    process = subprocess.Popen(
        [sys.executable, "-P", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    calls = gate.with_name("gate.calls")
    wait_until(lambda: calls.exists() and calls.stat().st_size > 2, "a trial at the gate")
    return process, gate


def state(world: World) -> str:
    return str(world.hyperion("show", "e")["state"])


def test_an_interrupted_script_leaves_a_paused_experiment_that_a_terminal_resumes(
    world: World, tmp_path: Path
) -> None:
    process, gate = started(world, tmp_path, jobs=2)

    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]

    assert process.returncode == 130, told
    assert "e is paused and keeps its trials" in told
    wait_until(lambda: state(world) == "paused", "the pause")
    trials = world.hyperion("show", "e")["studies"][0]["trials"]
    assert (trials["failed"], trials["running"]) == (0, 0)
    gate.touch()
    world.hyperion("resume", "e")
    wait_until(lambda: state(world) == "done", "the end")
    numbers = [trial["number"] for trial in world.hyperion("trials", "e/ridge")]
    assert numbers == list(range(6))


def test_a_call_waits_while_it_is_paused_and_returns_when_it_was_resumed_elsewhere(
    world: World, tmp_path: Path
) -> None:
    process, gate = started(world, tmp_path, jobs=1)

    world.hyperion("pause", "e")
    gate.touch()
    wait_until(lambda: state(world) == "paused", "the pause")
    assert process.poll() is None
    world.hyperion("resume", "e")

    out, told = process.communicate(timeout=100)
    assert process.returncode == 0, told
    assert json.loads(out) == 6
