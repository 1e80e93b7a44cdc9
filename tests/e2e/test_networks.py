"""Networks in real workers: pause and kill -9 in the middle of a training, and no trace of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import World, wait_until

pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.e2e

TABLE = "SELECT number, state, value, seed FROM hx_trial ORDER BY study_id, number"
WORDS = ("--data", "bikeshare", "--workers", "1", "--name", "e", "--seed", "7")


def saves(world: World) -> int:
    """The last step of the trial in hand that was saved; 0 before the first."""
    found = world.ask(
        "SELECT value_json FROM trial_system_attributes WHERE \"key\" = 'hyperion:checkpoint'"
    )
    return max((int(value) for (value,) in found), default=0)


def kept(world: World) -> list[Path]:
    return list((world.location.side / "checkpoints").rglob("*.pickle"))


KINDS = {
    "rows": ("deep_mlp", "--sample", "6000"),
    "windows": ("lstm", "--sample", "8000"),
    "a forecast": ("transformer", "--sample", "2500", "--task", "forecast", "--horizon", "3"),
}
"""Each trains for ten seconds and more: five times as long as from one save to the next."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_after_pause_and_kill_as_if_nothing_had_happened(
    kind: str, world: World, tmp_path: Path
) -> None:
    words = ("run", *KINDS[kind], *WORDS, "--trials", "1")
    calm = World(tmp_path / "calm" / "studies.db")
    calm.store.parent.mkdir()
    calm.hyperion(*words, "--detach")
    wait_until(lambda: calm.state("e") == "done", "the run left alone", 400)

    world.hyperion(*words, "--detach")
    first = wait_until(lambda: saves(world), "the first save")
    world.hyperion("pause", "e")
    wait_until(lambda: world.state("e") == "paused", "the pause", 20)
    paused_at = saves(world)
    assert paused_at >= first
    assert world.ask("SELECT state FROM hx_trial") == [("WAITING",)]
    world.hyperion("resume", "e")
    wait_until(lambda: saves(world) > paused_at or world.state("e") == "done", "a later save")
    assert saves(world) > paused_at, "it trained too fast for this test to mean anything"
    world.kill_everything()
    assert kept(world)
    world.hyperion("resume", "e")
    wait_until(lambda: world.state("e") == "done", "the experiment to end", 400)

    assert world.ask(TABLE) == calm.ask(TABLE)
    assert not kept(world)


def test_networks_of_windows_are_left_out_of_rows_without_an_order(world: World) -> None:
    document = world.hyperion("run", "lstm", "--data", "diabetes", "--trials", "1", check=2)

    assert document is None
