"""One registry makes bindings, hint lines, help and the palette."""

from __future__ import annotations

import pytest

from hyperion_tui import actions, themes
from hyperion_tui.app import HyperionApp
from hyperion_tui.screens.help import help_lines
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical


def test_every_scope_has_a_heading_and_every_heading_has_actions():
    assert {a.scope for a in actions.ACTIONS} == set(actions.SCOPES)


def test_no_key_means_two_things_in_one_place():
    for scopes in actions.TOGETHER:
        keys = [key for a in actions.of(*scopes) for key in a.key.split(",")]
        assert sorted(keys) == sorted(set(keys)), scopes


def test_help_fits_into_eighty_columns():
    assert [line for line in help_lines() if sum(len(words) for words, _ in line) > 72] == []


async def test_help_lists_every_action(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("question_mark")
        await seat.sees("Everywhere")
        seen = seat.text()
        for _ in range(8):
            await seat.press("pagedown")
            seen += seat.text()

        assert [a.description for a in actions.ACTIONS if a.description not in seen] == []
        await seat.press("escape")
        await seat.sees("1 Models")


async def test_help_begins_with_the_keys_of_the_screen_below(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("2", "enter", "question_mark")
        await seat.sees("Trials of a study")
        shown = seat.text()
        assert shown.index("Trials of a study") < shown.index("Everywhere")
        assert "choose which columns are shown" in shown


async def test_a_command_is_found_by_its_words_and_run(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("colon")
        await seat.type("list exper")
        await seat.sees("list of experiments")
        await seat.press("enter")

        await seat.sees("Experiments  by created")


async def test_a_command_of_the_pane_with_the_focus_is_run_there(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("3", "colon")
        await seat.type("next failed")
        await seat.press("enter")

        await seat.until(lambda: "✗ ridge#5" in seat.line("›"))


async def test_the_four_themes_take_turns(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        shown = []
        for _ in themes.CYCLE:
            shown.append(seat.app.theme)
            seat.text()
            await seat.press("T")

        assert shown == list(themes.CYCLE)
        assert seat.app.theme == themes.CYCLE[0]


async def test_without_colours_none_is_sent(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "down")
        for strip in seat.app.screen._compositor.render_strips():
            for _, style, _ in strip:
                if style is not None:
                    assert style.color is None or style.color.is_default
                    assert style.bgcolor is None or style.bgcolor.is_default


@pytest.mark.parametrize("size", [(59, 24), (80, 19), (40, 8)])
async def test_a_terminal_that_is_too_small_is_told_the_least_size(
    store: Store, size: tuple[int, int]
):
    add_typical(store)

    async with sitting(store.location, size) as seat:
        await seat.sees(f"needs 60x20, this is {size[0]}x{size[1]}")
        assert len([line for line in seat.lines() if line.strip()]) == 1

        await seat.pilot.resize_terminal(60, 20)
        await seat.sees("1 Models")


async def test_an_unexpected_error_is_a_dialog_and_no_crash(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        app = seat.app
        assert isinstance(app, HyperionApp)
        app.in_thread(lambda: 1 / 0, lambda _: None)

        await seat.sees("ZeroDivisionError: division by zero")
        await seat.press("enter")
        await seat.sees("1 Models")
