"""Starting an experiment: a dialog, a child process, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.models import catalogue
from engines.search import pruner, sampler
from hyperion_tui import estimate
from hyperion_tui.children import Done
from hyperion_tui.cli import build_parser
from hyperion_tui.estimate import Work
from hyperion_tui.screens import launch
from hyperion_tui.screens.launch import columns_of
from hyperion_tui.widgets.fields import Entry
from tests.tui.conftest import Children
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical

NEGATIVE = "the target has negative values; this model needs > 0"


def started(spawned: Children) -> list[list[str]]:
    """The experiments that were asked for."""
    return [words for words in spawned.commands if words[0] == "run"]


def found(
    *,
    unfit: dict[str, str] | None = None,
    expected_s: dict[str, float] | None = None,
    findings: Sequence[dict[str, str]] = (),
    **data: object,
) -> Done:
    """What `data check --json` answers."""
    known = {"name": "towns", "rows": 6000, "columns": 5, "task": "regression", "classes": []}
    document = {"ok": True, "findings": list(findings), "data": {**known, **data}}
    document |= {"unfit": unfit or {}, "expected_s": expected_s or {}}
    return Done(0, json.dumps(document), "")


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

        await seat.until(lambda: started(spawned))
        assert started(spawned) == [
            [
                *("run", "ridge", "random_forest", "--data", "my data.csv", "--target", "price"),
                *("--trials", "7", "--seed", "42", "--detach", "--json"),
            ]
        ]
        assert spawned.environments[-1] == {"HYPERION_STORAGE": str(store.location.path)}


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
        await seat.until(lambda: len(started(spawned)) == 2)


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
        assert started(spawned) == []


async def test_no_model_is_said_before_anything_is_started(store: Store, spawned: Children):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("r", "shift+tab", "ctrl+u", "enter")

        await seat.sees("Name at least one model")
        assert started(spawned) == []


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


async def test_what_would_spoil_the_result_is_told_before_the_start(
    store: Store, spawned: Children
):
    leaks = [("column 'copy'", "equals the target 'y'"), ("file", "2 exact repeats"), ("x", "y")]
    spawned.answers["data"] = found(
        findings=[{"severity": "warning", "where": where, "text": text} for where, text in leaks]
    )

    async with sitting(store.location, settle=False) as seat:
        await seat.press("r")
        await seat.type("my.csv")
        await seat.press("tab")

        await seat.sees("! column 'copy': equals the target 'y'")
        assert "! file: 2 exact repeats" in seat.text()
        assert "! 1 more warning: hyperion-tui data check" in seat.text()


async def test_data_are_looked_at_before_the_start_and_useless_models_are_named(
    store: Store, spawned: Children
):
    spawned.answers["data"] = found(unfit={"gamma": NEGATIVE, "poisson": NEGATIVE, "huber": "x"})

    async with sitting(store.location, settle=False) as seat:
        await seat.press("r")
        seat.app.screen.query_one("#selectors", Entry).value = "gamma poisson ensemble"
        await seat.type("my.csv")
        await seat.press("tab")
        await seat.type("y")
        await seat.press("tab")

        await seat.sees(f"✗ gamma: {NEGATIVE}")
        await seat.sees(f"✗ poisson: {NEGATIVE}")
        assert "regression: 6,000 rows, 5 columns" in seat.text()
        assert "huber" not in seat.text().split("regression:")[1]
        asked = [words for words in spawned.commands if words[0] == "data"]
        named = ["data", "check", "my.csv", "--target", "y", "--seed", "42", "--json"]
        assert asked[-1] == named
        assert started(spawned) == []


async def test_what_a_whole_family_leaves_out_is_no_error(store: Store, spawned: Children):
    spawned.answers["data"] = found(unfit={"gamma": NEGATIVE}, task="classification", classes=["a"])

    async with sitting(store.location, settle=False) as seat:
        await seat.press("space", "r")
        await seat.type("my.csv")
        await seat.press("tab")

        await seat.sees("left out: gamma: the target has negative values")
        assert "✗" not in seat.text()
        await seat.press("tab", "tab", "down")
        assert entry(seat, "metric") == "accuracy"


async def test_data_that_can_not_be_read_are_told_before_the_start(store: Store, spawned: Children):
    problem = "No column `prize` in my.csv: did you mean price?"
    findings = [
        {"severity": "info", "where": "file", "text": "40 rows"},
        {"severity": "error", "where": "file", "text": problem},
    ]
    answer = {"ok": False, "findings": findings, "data": None, "unfit": {}}
    spawned.answers["data"] = Done(2, json.dumps(answer), "")

    async with sitting(store.location, settle=False) as seat:
        await seat.press("r")
        await seat.type("my.csv")
        await seat.press("tab")

        await seat.sees(problem)


async def test_the_same_question_is_asked_once(store: Store, spawned: Children):
    spawned.answers["data"] = found()

    async with sitting(store.location, settle=False) as seat:
        await seat.press("r")
        await seat.type("my.csv")
        await seat.press("tab", "tab", "tab", "tab", "tab")
        await seat.sees("regression: 6,000 rows")

        assert len(spawned.commands) == 1


async def test_what_was_typed_and_found_stays_when_the_dialog_is_left(
    store: Store, spawned: Children
):
    spawned.answers["data"] = found(unfit={"gamma": NEGATIVE})
    spawned.answers["run"] = Done(0, '{"experiment": "fresh"}', "")

    async with sitting(store.location, settle=False) as seat:
        await seat.press("r")
        await seat.type("my.csv")
        await seat.press("tab")
        await seat.sees("6,000 rows")
        await seat.press("escape", "slash")
        await seat.type("gamma")
        await seat.press("enter")
        await seat.sees(f"gamma, not on towns: {NEGATIVE}")
        await seat.press("r")

        assert entry(seat, "data") == "my.csv"
        assert entry(seat, "selectors") == "gamma"
        await seat.press("enter")
        await seat.misses("Start an experiment")
        await seat.press("up", "down")
        await seat.misses("not on towns")


async def test_every_option_has_a_field_and_the_last_ones_are_reached_on_a_small_screen(
    store: Store, spawned: Children
):
    spawned.answers["run"] = Done(0, '{"experiment": "fresh"}', "")
    values = {
        **{"data": "x.csv", "target": "y", "task": "classification", "metric": "f1"},
        **{"trials": "5", "time": "9s", "workers": "1", "name": "n", "seed": "7"},
        **{"time_column": "none", "groups": "g", "sampler": "qmc", "pruner": "median"},
        **{"patience": "4", "min_improvement": "0.1", "trial_time": "3s", "trial_memory": "1G"},
        **{"space": "narrow.toml", "device": "cuda", "past_target": "yes"},
    }

    async with sitting(store.location, (80, 24), settle=False) as seat:
        await seat.press("r")
        await seat.sees("↓ 12 more fields: tab")
        assert "Trial memory" not in seat.text()
        for name, value in values.items():
            seat.app.screen.query_one(f"#{name}", Entry).value = value
        await seat.press("shift+tab", "shift+tab")
        await seat.sees("Device")
        await seat.press("enter")

        await seat.until(lambda: started(spawned))
        words = started(spawned)[0]
        assert words[0] == "run"
        options = build_parser().parse_args(words)
        assert {name: getattr(options, name) for name in ("groups", "sampler", "pruner")} == {
            **{"groups": "g", "sampler": "qmc", "pruner": "median"},
        }
        assert options.past_target
        del values["past_target"]
        for name, value in values.items():
            assert words[words.index(f"--{name.replace('_', '-')}") + 1] == value


def test_the_dialog_offers_the_samplers_and_pruners_that_there_are():
    assert launch.SAMPLERS == sampler.SAMPLERS
    assert launch.PRUNERS == pruner.PRUNERS


async def test_how_long_it_should_take_is_said_before_the_start_and_follows_the_fields(
    store: Store, spawned: Children
):
    spawned.answers["data"] = found(
        expected_s={"ridge": 1.0, "lasso": 3.0, "xgboost": 5.0}, unfit={"lasso_lars": "x"}
    )

    async with sitting(store.location, settle=False) as seat:
        await seat.press("r")
        seat.app.screen.query_one("#selectors", Entry).value = "ridge lasso"
        seat.app.screen.query_one("#workers", Entry).value = "2"
        await seat.type("my.csv")
        await seat.press("tab")
        await seat.sees("2 models × 20 trials, 2 workers: about 40 s")
        seat.app.screen.query_one("#trials", Entry).value = "1"
        await seat.sees("2 models × 1 trial, 2 workers: about 2 s")
        seat.app.screen.query_one("#time", Entry).value = "1s"
        await seat.sees("2 models, 2 workers: ends after 1.0 s")
        seat.app.screen.query_one("#trials", Entry).value = "many"
        await seat.misses("2 models")

        assert len(spawned.commands) == 1, "the data were looked at again"


def test_an_estimate_adds_up_first_trials_as_weighed_and_keeps_a_sequence_in_sequence():
    spec = catalogue.models()["lightgbm"]
    weights = [weight for _, weight in spec.form("regression").weighed]

    work = estimate.part(spec, 2, "regression", {"lightgbm": 3.0})

    assert work.seconds == pytest.approx(3.0 * sum(weights[:2]))
    assert estimate.seconds_for([Work(4, 40.0), Work(2, 8.0)], 4) == 12.0
    assert estimate.seconds_for([Work(4, 40.0, sequential=True), Work(2, 8.0)], 4) == 40.0


async def test_a_past_target_is_asked_for_by_yes_and_any_other_word_is_the_commands_to_refuse(
    store: Store, spawned: Children
):
    async with sitting(store.location, settle=False) as seat:
        for word, passed in (("yes", "--past-target"), ("maybe", "--past-target=maybe")):
            await seat.press("r")
            seat.app.screen.query_one("#selectors", Entry).value = "ridge"
            seat.app.screen.query_one("#past_target", Entry).value = word
            await seat.press("enter")
            await seat.until(lambda passed=passed: passed in started(spawned)[-1:][0])
            await seat.press("escape")
