"""Tags, notes and columns, as somebody uses them who comes back to many studies."""

from __future__ import annotations

import pytest

from engines.study import labels
from engines.study.labels import Subject
from hyperion_tui.widgets.status import Prompt
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical


async def write(seat: Seat, key: str, words: str) -> None:
    """Open the dialog of a key, type over what is there, and wait until it is written."""
    await seat.press(key)
    seat.app.screen.query_one("#label").value = ""
    await seat.type(words)
    await seat.press("enter")
    await seat.until(lambda: len(seat.app.screen.query("#label")) == 0, "the end of writing")


async def look_for(seat: Seat, words: str) -> None:
    """Type a filter over the one before."""
    await seat.press("/")
    seat.app.screen.query_one(Prompt).value = words
    await seat.press("enter")


async def test_experiments_are_tagged_noted_and_found_again(store: Store):
    add_typical(store, "first")
    add_typical(store, "second")

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("o", "down")
        await write(seat, "t", "good, paper")
        await seat.sees("first: tags good paper")
        await write(seat, "a", "for [bold]Ann")
        await seat.sees("first: note written")
        await seat.until(lambda: seat.app.snapshot.experiments[1].note == "for [bold]Ann")
        assert "good paper" in seat.line("first"), "the column of tags"

        await look_for(seat, "tag:pap*")
        await seat.misses("second ")
        assert "/tag:pap*" in seat.text()
        await look_for(seat, "xy")
        await seat.sees("No experiment matches")
        await look_for(seat, "")
        await seat.sees("second ")


@pytest.mark.slow
async def test_several_experiments_get_a_tag_and_lose_it_together(store: Store):
    add_typical(store, "first")
    add_typical(store, "second")

    async with sitting(store.location) as seat:
        await seat.press("o", "space", "space")
        await write(seat, "t", "old")
        await seat.until(lambda: all(e.tags == ("old",) for e in seat.app.snapshot.experiments))
        await write(seat, "t", "new -old")
        await seat.until(lambda: all(e.tags == ("new",) for e in seat.app.snapshot.experiments))


@pytest.mark.slow
async def test_a_study_is_tagged_and_found_in_the_tree_and_the_comparison(store: Store):
    add_typical(store)

    async with sitting(store.location, (200, 50)) as seat:
        await seat.press("2", "down")
        await write(seat, "t", "slow")
        await seat.until(lambda: "slow" in seat.line("› "), "the column of tags")
        await seat.press("1")
        await look_for(seat, "tag:slow")
        tree = seat.app.screen.query_one("#tree")
        assert [getattr(line, "name", line) for line in tree._lines] == ["ensemble", "xgboost"]
        subject = Subject(experiment := seat.app.snapshot.current, experiment.studies[0])
        labels.change_tags(store.location, [subject], add=["slow"])
        await seat.until(lambda: len(tree._lines) > 2, "what is tagged elsewhere")
        await seat.press("c")
        await seat.until(lambda: "slow" in seat.line("xgboost"), "tags in the comparison")
        await seat.press("t")
        await seat.until(lambda: "slow" in seat.line("tags"), "tags beside each other")


async def test_a_trial_is_tagged_noted_and_found_among_the_others(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "down", "enter")
        await seat.sees("#10")
        await write(seat, "t", "odd")
        await seat.until(lambda: "odd" in seat.line("tags"), "its tag")
        await write(seat, "a", "why?")
        await seat.sees("note: why?")

        await seat.press("escape")
        await seat.until(lambda: "odd" in seat.line("›"), "its tag in the table")
        await look_for(seat, "tag:o* state:c*")
        await seat.until(lambda: len(seat.app.screen.table.rows) == 1, "one trial")
        assert "/tag:o* state:c*" in seat.text()
        await look_for(seat, "state:nothing")
        await seat.sees("states are complete, failed")
        await look_for(seat, "max_bin")
        await seat.sees("only state: and tag: can be asked for")


@pytest.mark.slow
async def test_columns_are_chosen_and_stay_chosen_for_the_model(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter")
        await seat.sees("duration")
        await seat.press("v", "space", "enter")
        await seat.misses("duration")
        await seat.press("v")
        assert "[ ] duration" in seat.text()
        assert "[x] worker" in seat.text()
        await seat.press("escape", "escape", "enter")
        await seat.sees("Trials  by number")
        assert "duration" not in seat.text(), "they are still hidden"
        await seat.press("v", "A", "A", "enter")
        assert "worker" not in seat.text(), "only what is always there"
        await seat.press("v", "A", "enter")
        await seat.sees("duration")
