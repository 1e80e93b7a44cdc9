"""A real Jupyter kernel: progress, an interrupt from its menu, and going on elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import World, wait_until
from tests.e2e.gated import GATED

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
jupyter_client = pytest.importorskip("jupyter_client", reason="jupyter_client is not installed")

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SEARCH = """
optimizer.set_custom_metric(gated)
found = optimizer.optimize_specific_models(
    ["ridge"], X[:60], y[:60], X[60:], y[60:], n_trials=6, name="e"
)
print("trials", found["ridge"]["trials"])
"""

FIT = """
optimizer.set_custom_metric(None)
optimizer.fit(X, y, n_trials=2, models="ridge", name="f")
print("predicted", optimizer.predict(X).shape)
"""


class Kernel:
    """A kernel and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.manager = jupyter_client.KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def start(self, code: str) -> str:
        return str(self.client.execute(code))

    def outcome(self, request: str, seconds: float = 120.0) -> tuple[str, str, str]:
        """(status, name of the error or "", everything that the cell has printed)."""
        printed: list[str] = []
        status, error = "", ""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=seconds)
            if message["parent_header"].get("msg_id") != request:
                continue
            content: dict[str, Any] = message["content"]
            printed.append(content.get("text", "") + str(content.get("data", "")))
            status = "error" if message["msg_type"] == "error" else status or "ok"
            error = content.get("ename", error)
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return status, error, "".join(printed)
        raise AssertionError(f"no answer: {printed}")

    def run(self, code: str) -> str:
        status, error, printed = self.outcome(self.start(code))
        assert status == "ok", (error, printed)
        return printed

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.close()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_cell_leaves_a_paused_experiment_that_a_terminal_ends(
    kernel: Kernel, world: World, tmp_path: Path, jobs: int
) -> None:
    gate = tmp_path / "gate"
    kernel.run(GATED.format(gate=str(gate), jobs=jobs, store=str(world.store)))

    search = kernel.start(SEARCH)
    calls = tmp_path / "gate.calls"
    wait_until(lambda: calls.exists() and calls.stat().st_size > 2, "a trial at the gate")
    kernel.manager.interrupt_kernel()
    status, error, printed = kernel.outcome(search)

    assert (status, error) == ("error", "KeyboardInterrupt")
    assert "e is paused and keeps its trials" in printed
    wait_until(lambda: world.state("e") == "paused", "the pause")
    gate.touch()
    world.hyperion("resume", "e")
    # The same cell again follows the terminal to the end.
    assert "trials 6" in kernel.run(SEARCH)
    numbers = [trial["number"] for trial in world.hyperion("trials", "e/ridge")]
    assert numbers == list(range(6))


def test_a_kernel_goes_on_after_an_interrupt(kernel: Kernel, world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    kernel.run(GATED.format(gate=str(gate), jobs=1, store=str(world.store)))
    search = kernel.start(SEARCH)
    calls = tmp_path / "gate.calls"
    wait_until(lambda: calls.exists() and calls.stat().st_size > 2, "a trial at the gate")
    kernel.manager.interrupt_kernel()
    kernel.outcome(search)

    assert "predicted (90,)" in kernel.run(FIT)
    gate.touch()
    assert "trials 6" in kernel.run(SEARCH)
