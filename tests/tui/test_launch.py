"""Starting an experiment: a dialog, a child process, and what it answers."""

from __future__ import annotations

import json
from pathlib import Path

from hyperion_tui.children import Done
from hyperion_tui.screens.launch import columns_of
from hyperion_tui.widgets.fields import Entry
from tests.tui.conftest import Children
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical

BUNDLED = json.dumps(
    [
        ["bikeshare", "bikers", "time", "Bicycles: 8645 rows, 14 columns"],
        ["concrete", "strength_mpa", "", "Concrete: 1030 rows, 9 columns"],
    ]
)


def entry(seat: Seat, name: str) -> str:
    return seat.app.screen.query_one(f"#{name}", Entry).value


async def test_what_is_typed_becomes_the_command(store: Store, spawned: Children):
    add_typical(store)
    spawned.answers["run"] = Done(0, '{"experiment": "fresh"}', "")

    async with sitting(store.location) as seat:
        await seat.press("down", "space", "space", "r")
        await seat.type("my data.csv")
        await seat.press("tab")
        await seat.type("price")
        await seat.press("tab", "tab", "tab")
        await seat.type("7")
        await seat.press("enter")

        await seat.until(lambda: spawned.commands)
        assert spawned.commands == [
            [
                *("run", "ridge", "lasso", "--data", "my data.csv", "--target", "price"),
                *("--trials", "7", "--seed", "42", "--detach", "--json"),
            ]
        ]
        assert spawned.environments == [{"HYPERION_STORAGE": str(store.location.path)}]


async def test_the_new_experiment_is_opened_as_soon_as_it_exists(store: Store, spawned: Children):
    add_typical(store)
    spawned.answers["run"] = Done(0, '{"experiment": "fresh"}', "")

    async with sitting(store.location) as seat:
        await seat.press("r", "enter")
        await seat.misses("Start an experiment")
        add_typical(store, "fresh", models=("svr",))

        await seat.until(lambda: seat.lines()[0].startswith(" fresh"))
        await seat.sees("started fresh: it goes on when you leave")


async def test_an_error_is_shown_in_the_dialog_which_keeps_what_was_typed(
    store: Store, spawned: Children
):
    add_typical(store)
    problem = "No column `prize` in my.csv: did you mean price?"
    spawned.answers["run"] = Done(2, "", f"some talk\nhyperion-tui: {problem}\n")

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("r")
        await seat.type("my.csv")
        await seat.press("enter")

        await seat.sees(f"✗ {problem}")
        await seat.sees("Start an experiment")
        assert entry(seat, "data") == "my.csv"
        await seat.press("enter")
        await seat.until(lambda: len(spawned.commands) == 2)


async def test_a_bundled_data_set_fills_in_its_columns(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("r")
        await seat.sees("bundled: abalone, airfoil, bikeshare")
        await seat.press("down", "down", "down")

        assert entry(seat, "data") == "bikeshare"
        assert entry(seat, "target") == "bikers"
        assert entry(seat, "time_column") == "time"
        await seat.press("down")
        assert entry(seat, "target") == "strength_mpa"
        assert entry(seat, "time_column") == ""


async def test_the_columns_of_a_file_can_be_chosen(store: Store, tmp_path: Path, spawned: Children):
    add_typical(store)
    file = tmp_path / "x.csv"
    file.write_text("alpha,beta,gamma\n1,2,3\n")

    async with sitting(store.location) as seat:
        await seat.press("r")
        seat.app.screen.query_one("#data", Entry).value = str(file)
        await seat.sees("columns: alpha, beta, gamma")
        await seat.press("tab", "up")

        assert entry(seat, "target") == "gamma"


async def test_a_whole_branch_is_named_by_its_family(store: Store, spawned: Children):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("space", "r")

        assert entry(seat, "selectors") == "sklearn"


async def test_escape_starts_nothing(store: Store, spawned: Children):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("r", "escape")

        await seat.misses("Start an experiment")
        assert spawned.commands == []


async def test_no_model_is_said_before_anything_is_started(store: Store, spawned: Children):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("r", "shift+tab", "ctrl+u", "enter")

        await seat.sees("Name at least one model")
        assert spawned.commands == []


async def test_a_child_that_answers_nonsense_is_an_error(store: Store, spawned: Children):
    add_typical(store)
    spawned.answers["run"] = Done(0, "hello", "")

    async with sitting(store.location) as seat:
        await seat.press("r", "enter")

        await seat.sees("answered something strange: hello")


def test_columns_are_read_whatever_separates_them(tmp_path: Path):
    file = tmp_path / "x.csv"
    file.write_text("\ufeffa;b;c\n1;2;3\n", encoding="utf-8")

    assert columns_of(str(file)) == ("a", "b", "c")
    assert columns_of(str(tmp_path / "none.csv")) == ()
    assert columns_of(str(tmp_path)) == ()
