"""The main screen: models, results and log of the open experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.study.location import Location
from hyperion_tui.widgets import status
from tests.tui.driving import sitting
from tests.tui.stores import EVIDENCE, Store, add_typical


async def test_an_empty_store_says_what_to_press(own_home: Path):
    async with sitting(Location(own_home / "studies.db"), (80, 24)) as seat:
        await seat.sees("Nothing has run yet.")

        await seat.sees("space  marks a model, or a whole branch")
        await seat.sees("r      starts what is marked")
        assert not own_home.exists()


async def test_a_store_that_appears_later_is_shown(own_home: Path):
    async with sitting(Location(own_home / "studies.db")) as seat:
        await seat.sees("Nothing has run yet.")
        own_home.mkdir(parents=True)
        store = Store(own_home / "studies.db")
        add_typical(store, "late")

        await seat.sees("late")
        store.close()


async def test_a_file_that_is_no_store_is_named_as_such(own_home: Path):
    own_home.mkdir(parents=True)
    (own_home / "studies.db").write_text("just a letter, and a long one " * 200)

    async with sitting(Location(own_home / "studies.db"), settle=False) as seat:
        await seat.sees("it is damaged")


async def test_studies_and_baselines_are_ranked_by_selection_score(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        rows = [line[38:].split() for line in seat.lines()[4:10]]

        assert [row[1] for row in rows[:4]] == ["lightgbm", "xgboost", "random_forest", "ridge"]
        assert [row[0] for row in rows[:4]] == ["1", "2", "3", "4"]
        assert [row[0] for row in rows[4:]] == ["mean", "median"]
        assert "baseline" in rows[4]


async def test_a_held_out_score_that_is_worse_has_a_gap_below_zero(store: Store):
    _, ids = add_typical(store, models=("ridge",), trials=12, goal=12, paused=False)
    store.end(ids[0], 0.7001, 3)

    async with sitting(store.location) as seat:
        row = seat.line("1 ridge")

        assert "✓ done" in row
        assert row.split()[-5:-2] == ["0.7500", "0.7001", "-0.04990"]


async def test_a_long_number_is_never_cut(store: Store):
    experiment = store.experiment()
    study = store.study(experiment, "ridge", goal=30_000)
    store.trial(study, 0, -4.604e-06)

    async with sitting(store.location, (80, 24)) as seat:
        assert "-4.604e-06" in seat.line("1 ridge").split()
        await seat.press("o")
        await seat.sees("Experiments")
        assert "-4.604e-06" in seat.line("demo")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"frozen_at": 5.0}, "1 worker frozen"),
        ({"flag": "no report for 10 minutes"}, "1 worker without a sign of life"),
    ],
)
async def test_the_head_says_that_a_worker_does_nothing(store: Store, row: dict, words: str):
    experiment = store.experiment()
    store.study(experiment, "ridge", want="pause")
    store.insert("hx_worker", experiment_id=experiment, slot=1, **row)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.sees(words)


async def test_a_smaller_error_is_better_and_the_gap_says_so(store: Store):
    experiment = store.experiment(metric="rmse", direction="minimize")
    for model, value in (("ridge", 5.0), ("lasso", 4.0)):
        study = store.study(experiment, model, goal=1)
        store.trial(study, 0, value)
        store.end(study, value + 1.0, 0)

    async with sitting(store.location) as seat:
        assert seat.line("lasso").split().count("1") >= 1
        await seat.sees("rmse ↓")
        assert "-1.000" in seat.line("1 lasso")


async def test_a_finished_trial_appears_by_itself(store: Store):
    experiment, ids = add_typical(store)

    async with sitting(store.location) as seat:
        await seat.sees("12/20")
        with store.together():
            store.trial(ids[0], 12, 0.99, params={"alpha": 3.0})
            store.event(experiment, "trial_complete", "0.99 (1.0 s)", ids[0], 12)

        await seat.sees("ridge#12")
        await seat.sees("1 ridge")
        assert "0.9900" in seat.line("1 ridge")


async def test_the_cursor_stays_on_its_study_when_ranks_change(store: Store):
    _, ids = add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "down")
        assert "xgboost" in seat.line("›")
        store.trial(ids[0], 12, 0.99)

        await seat.sees("1 ridge")
        assert "xgboost" in seat.line("›")


async def test_results_are_sorted_by_other_columns_and_turned_round(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "s", "s", "s", "s")
        await seat.sees("by model")
        names = [line[38:].split()[1] for line in seat.lines()[4:6]]
        await seat.press("S")
        await seat.sees("by model, reversed")
        turned = [line[38:].split()[1] for line in seat.lines()[4:6]]

        assert names == ["lightgbm", "baseline"]
        assert turned == ["xgboost", "ridge"]


async def test_space_marks_a_model_and_a_branch_shows_that_some_are_marked(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("down", "space")

        await seat.sees("[-] sklearn")
        await seat.sees(" x ridge")
        await seat.sees("1 marked")

        await seat.press("home", "space")
        await seat.sees("[x] sklearn")
        await seat.press("space")
        await seat.sees("[ ] sklearn")


@pytest.mark.parametrize(
    ("model", "package", "family", "left"),
    [
        ("catboost", "catboost", "ensemble", "2/3"),
        ("patchtst", "torch", "advanced", "0/5"),
        ("flaml", "flaml", "automl", "0/1"),
    ],
)
async def test_a_model_without_its_package_is_grey_and_says_how_to_get_it(
    model: str,
    package: str,
    family: str,
    left: str,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", package)
    add_typical(store)

    async with sitting(store.location) as seat:
        models = seat.app.screen.query_one("#tree")
        place = next(i for i, s in enumerate(models._lines) if getattr(s, "name", "") == model)
        await seat.press(*["down"] * place)
        await seat.sees(f"{model} needs {package}: pip install")

        assert "missing" in seat.line(f" {model}  ")
        assert left in seat.line(family)
        await seat.press("space")
        await seat.misses("marked")


async def test_a_branch_folds_and_unfolds(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        assert "▸" in seat.line("sklearn")
        await seat.misses("lasso")
        await seat.press("enter")
        assert "▾" in seat.line("sklearn")
        await seat.sees("lasso")

        await seat.press("left")
        assert "▸" in seat.line("sklearn")
        await seat.misses("lasso")
        await seat.press("right")
        await seat.sees("lasso")


async def test_keys_and_tab_move_between_panes_and_z_zooms(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("2")
        assert seat.app.focused.id == "results"
        await seat.press("tab")
        assert seat.app.focused.id == "log"
        await seat.press("shift+tab", "shift+tab")
        assert seat.app.focused.id == "tree"

        await seat.press("2", "z")
        await seat.misses("1 Models")
        assert "time" in seat.line("held-out")
        await seat.press("3")
        await seat.sees("3 Log")
        await seat.misses("2 Results")
        await seat.press("z")
        await seat.sees("1 Models")


async def test_columns_that_do_not_fit_are_announced_and_can_be_reached(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("2")
        await seat.sees("2 more columns →")
        await seat.press("right", "right", "right")

        assert "time" in seat.line("# model")


async def test_the_header_says_how_far_it_is(store: Store):
    experiment, _ = add_typical(store, paused=False)
    store.worker(experiment, 0)

    async with sitting(store.location) as seat:
        top = seat.lines()[0:2]

        assert "demo  ● running (no runner: u starts one)" in top[0]
        assert "concrete  1 030 × 9  strength_mpa" in top[0]
        assert "60%  48/80 trials" in top[1]
        assert "ETA" not in top[1]  # nobody is at work
        assert "1 worker" in top[1]
        assert "4 failed" in top[1]


async def test_the_newest_experiment_that_runs_is_opened(store: Store):
    add_typical(store, "runs", paused=False)
    add_typical(store, "newer")

    async with sitting(store.location) as seat:
        assert seat.lines()[0].startswith(" runs")


async def test_experiments_without_a_runner_are_adopted_at_the_start(
    store: Store, runners: list[int]
):
    orphan, _ = add_typical(store, "orphan", paused=False)
    add_typical(store, "rests")

    async with sitting(store.location) as seat:
        await seat.sees("1 experiment still running, 1 was without its runner: started again")

        assert runners == [orphan]


async def test_the_list_of_experiments_opens_another_one(store: Store):
    add_typical(store, "first")
    add_typical(store, "second", models=("svr",))

    async with sitting(store.location, (80, 24)) as seat:
        assert seat.lines()[0].startswith(" second")
        await seat.press("o")
        await seat.sees("Experiments  by created")
        await seat.press("down", "enter")

        await seat.until(lambda: seat.lines()[0].startswith(" first"))
        await seat.sees("lightgbm#11")
        await seat.misses("svr#")


async def test_ends_are_shown_with_their_intervals_and_the_ensemble_has_no_rank(store: Store):
    experiment, ids = add_typical(store, models=("ridge",), trials=12, goal=12, paused=False)
    store.end(ids[0], 0.7001, 3, EVIDENCE)
    store.change("hx_study", f"study_id = {ids[0]}", plan='{"rows": [4000, 50000]}')
    store.ensemble(experiment, 0.77, 0.72, {"demo/ridge#3": 1.0})

    async with sitting(store.location, (160, 40)) as seat:
        assert "95 %" in seat.line("held-out")
        assert {"0.7001", "0.652..0.758", "<0.001", "4,000"} <= set(seat.line("1 ridge").split())
        ensemble = seat.line("ensemble  ").split("│")[-2].split()
        assert ensemble[:4] == ["ensemble", "ensemble", "0.7700", "0.7200"]
        await seat.press("2", "down")
        await seat.sees(
            "ridge (4,000 of 50,000 rows): 0.71..0.79, held-out 0.652..0.758 (95 %), "
            "p <0.001 against mean, best is trial 3"
        )


async def test_before_a_held_out_score_there_is_no_column_for_its_interval(store: Store):
    add_typical(store)

    async with sitting(store.location, (140, 40)) as seat:
        assert "95 %" not in seat.text()
        assert "rows" not in seat.line("held-out")


async def test_a_notice_goes_with_the_next_key_once_it_was_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store, models=("ridge",))

    async with sitting(store.location) as seat:
        await seat.press("p")
        await seat.sees("there is nothing to pause")
        await seat.press("2")
        assert "there is nothing to pause" in seat.text()

        monkeypatch.setattr(status, "READ_S", 0.0)
        await seat.press("1")
        await seat.misses("there is nothing to pause")
        await seat.press("down")
        await seat.sees("ridge: linear, squared penalty")
