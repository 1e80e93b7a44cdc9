"""What was deleted is looked at, brought back, or removed for good."""

from __future__ import annotations

import pytest

from hyperion_tui.screens import trash as trash_screen
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical


def names(store: Store) -> list[str]:
    rows = store.connection.execute("SELECT name FROM hx_experiment ORDER BY id").fetchall()
    return [row[0] for row in rows]


async def test_somebody_deletes_two_brings_one_back_and_removes_the_other(store: Store):
    add_typical(store, "kept")
    gone, _ = add_typical(store, "gone")
    folder = store.location.artefacts(gone)
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(b"0" * 2048)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("o", "space", "space", "D")
        await seat.sees("B shows all")
        await seat.sees("There is no experiment")
        await seat.press("B")
        await seat.sees("Trash  2.0 KiB of files")
        await seat.press("down", "U")
        await seat.sees("brought back: kept")
        await seat.until(lambda: len(seat.app.screen.table.rows) == 1, "one left")

        await seat.press("P")
        await seat.sees("Remove gone for good?")
        assert "48 trials" in seat.text()
        await seat.press("enter")
        assert names(store) == ["kept", "gone"], "the safe answer is chosen at first"
        await seat.press("P", "y")
        await seat.sees("gone: gone; 2.0 KiB of files")
        await seat.sees("The trash is empty")
        assert names(store) == ["kept"]
        assert not folder.exists()
        await seat.press("escape")
        await seat.sees("kept")
        await seat.press("U")
        await seat.sees("nothing was deleted here")


async def test_who_removes_many_trials_types_the_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trash_screen, "MANY_TRIALS", 10)
    experiment, _ = add_typical(store)
    store.event(experiment, "trashed", "put into the trash")

    async with sitting(store.location, settle=False) as seat:
        await seat.press("o", "B")
        await seat.sees("demo")
        await seat.press("P", "y", "enter")
        await seat.sees("type demo to remove it")
        await seat.press("escape")
        assert names(store) == ["demo"]
        await seat.press("P")
        await seat.type("demo")
        await seat.press("enter")
        await seat.sees("The trash is empty")
        assert names(store) == []
