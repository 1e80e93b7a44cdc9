"""Manners: keys in a burst, settings, what is told, and what has no room."""

from __future__ import annotations

from hyperion_tui.screens.main import MainScreen
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical


async def test_keys_that_come_in_one_burst_reach_the_screen_that_they_are_meant_for(store: Store):
    add_typical(store, "earlier")
    add_typical(store, "later")

    async with sitting(store.location, (80, 24)) as seat:
        await seat.burst("o", "down", "enter", "2", "enter", "down", "enter")
        await seat.sees("earlier/")
        assert "What happened" in seat.text()

        await seat.burst("escape", "escape", *"r", "escape", *":list exper", "enter")
        await seat.sees("Experiments  by created")

        await seat.burst("escape", "1", *"/light", "enter", "question_mark", "escape", "o")
        await seat.sees("Experiments  by created")


async def test_a_key_that_leaves_a_screen_leaves_the_next_to_the_one_below(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.burst("x", "escape", "c", "t", "escape", "2")
        assert isinstance(seat.app.screen, MainScreen)
        assert seat.app.focused is seat.app.screen.query_one("#results")
