"""The tree of models: what is grey and why, what is found, what is marked."""

from __future__ import annotations

import json

from hyperion_tui.widgets.model_tree import ModelTree
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical

NEGATIVE = "the target has negative values; this model needs > 0"
FACTS = {
    **{"train_rows": 80, "rows": 100, "columns": 5, "wide_columns": 5, "target_min": -2.0},
    "ordered": False,
}


def tree(seat: Seat) -> ModelTree:
    return seat.app.screen.query_one(ModelTree)


async def find(seat: Seat, words: str) -> None:
    await seat.press("slash")
    await seat.type(words)
    await seat.press("enter")


async def test_a_family_says_how_many_of_its_models_can_run(store: Store):
    async with sitting(store.location, settle=False) as seat:
        assert "sklearn                36/36" in seat.line("sklearn")
        await seat.press("left", "down")
        assert "3/3" in seat.line("ensemble")


async def test_a_model_that_is_of_no_use_on_the_data_in_view_is_grey_with_the_reason(store: Store):
    store.study(store.experiment(left_out=json.dumps({"gamma": NEGATIVE})), "svr", want="pause")

    async with sitting(store.location) as seat:
        await find(seat, "gamma")

        assert seat.line("   gamma").split("┃")[1].split() == ["gamma", "–"]
        await seat.sees(f"gamma, not on concrete: {NEGATIVE}")
        await seat.press("up")
        await seat.sees("36 of 36 models can run here, 1 of them not on concrete")


async def test_models_without_a_form_for_the_task_in_view_are_grey(store: Store):
    facts = json.dumps({**FACTS, "classes": 3})
    experiment = store.experiment(task="classification", metric="accuracy", facts=facts)
    store.study(experiment, "svr", want="pause")

    async with sitting(store.location) as seat:
        await find(seat, "huber")
        await seat.sees("huber, not on concrete: does no classification")
        await find(seat, "ridge")
        assert "–" not in seat.line("   ridge").split("┃")[1]


async def test_a_model_that_was_not_asked_for_is_grey_as_well_where_data_are_not_for_it(
    store: Store,
):
    store.study(store.experiment(facts=json.dumps(FACTS)), "svr", want="pause")

    async with sitting(store.location) as seat:
        await find(seat, "tweedie")
        await seat.sees("tweedie, not on concrete: the target has negative values")


async def test_what_is_grey_for_these_data_can_be_marked_for_others(store: Store):
    store.study(store.experiment(left_out=json.dumps({"gamma": NEGATIVE})), "svr", want="pause")

    async with sitting(store.location) as seat:
        await find(seat, "gamma")
        await seat.press("space")

        assert tree(seat).marked == {"gamma"}


async def test_models_are_found_by_name_or_use_and_marked_together(store: Store):
    async with sitting(store.location, settle=False) as seat:
        await find(seat, "outliers")

        assert [line if isinstance(line, str) else line.name for line in tree(seat)._lines] == [
            *("sklearn", "huber", "theil_sen", "ransac"),
        ]
        await seat.press("up", "space")
        assert tree(seat).marked == {"huber", "theil_sen", "ransac"}
        await seat.press("slash", "ctrl+u", "enter", "right")
        await seat.sees("lasso")
        assert tree(seat).selectors() == ["huber", "theil_sen", "ransac"]


async def test_what_is_not_found_leaves_an_empty_tree_and_no_crash(store: Store):
    async with sitting(store.location, settle=False) as seat:
        await find(seat, "zzz")

        await seat.press("down", "space", "enter", "left", "end")
        assert tree(seat).line_count() == 0
        await seat.press("slash", "ctrl+u", "enter")
        await seat.sees("sklearn")


async def test_a_question_for_a_text_can_be_called_off(store: Store):
    async with sitting(store.location, settle=False) as seat:
        await find(seat, "svr")
        await seat.press("slash")
        await seat.type("x")
        await seat.press("escape")

        assert tree(seat).words == "svr"
        assert seat.app.focused is tree(seat)


async def test_the_cursor_stays_on_its_model_when_all_are_shown_again(store: Store):
    add_typical(store, models=("ridge",))

    async with sitting(store.location) as seat:
        await find(seat, "svr")
        await seat.press("down", "slash", "ctrl+u", "enter")

        assert getattr(tree(seat).current, "name", None) == "nu_svr"


async def test_objectives_of_ones_own_are_a_branch_and_are_run_again_by_their_file(store: Store):
    about = {"reference": "mine.py:bowl", "path": "/somewhere/mine.py", "function": "bowl"}
    experiment = store.experiment("own", dataset_id=None, objective=json.dumps(about), split=None)
    study = store.study(experiment, "bowl", want="pause")
    store.trial(study, 0, 0.25)

    async with sitting(store.location) as seat:
        await find(seat, "bowl")
        await seat.sees("bowl: your own objective, /somewhere/mine.py:bowl  (1/20 trials, paused)")
        assert "1/1" in seat.line("custom")
        await seat.press("space", "r")
        assert seat.app.screen.query_one("#selectors").value == "/somewhere/mine.py:bowl"
        await seat.press("escape")
        await find(seat, "")
        await seat.sees("custom")
