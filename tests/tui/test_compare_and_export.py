"""Studies side by side, and CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion_tui.children import Done
from hyperion_tui.screens.export import file_name
from tests.tui.conftest import Children
from tests.tui.driving import sitting
from tests.tui.stores import EVIDENCE, Store, add_typical


async def test_all_scores_stand_in_one_table_with_ensemble_and_baselines_unranked(store: Store):
    experiment, ids = add_typical(store, trials=12, goal=12, paused=False)
    for study in ids:
        store.end(study, 0.71, 3, EVIDENCE)
    store.change("hx_study", f"study_id = {ids[0]}", plan='{"rows": [4000, 50000]}')
    store.ensemble(experiment, 0.91, 0.72, {"demo/lightgbm#3": 0.75, "demo/ridge#0": 0.25})

    async with sitting(store.location, (160, 40)) as seat:
        await seat.press("c")

        await seat.sees("Scores of 4 studies  best r2 first")
        first = seat.lines()[3].strip("┃› ").split()
        assert first[:4] == ["1", "lightgbm", "0.9000", "0.71..0.79"]
        assert {"0.652..0.758", "<0.001"} <= set(first)
        assert "4,000 of 50,000 rows" in seat.line("ridge")
        assert seat.line("ensemble").strip("┃ ").split()[:2] == ["ensemble", "0.9100"]
        assert seat.line("mean").strip("┃ ").split()[:2] == ["mean", "-0.002100"]
        await seat.press("down", "down", "down", "down")
        await seat.sees("p <0.001 against mean: lightgbm#3 75%, ridge#0 25%")


async def test_all_studies_stand_side_by_side_with_the_best_first(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("c", "t")

        await seat.sees("Comparison of 4 studies  best r2 first")
        assert seat.lines()[2].strip("┃ ").split()[:2] == ["lightgbm", "xgboost"]
        assert "★ 0.9000" in seat.line("selection score")
        assert "12/20" in seat.line("trials")
        assert "0.1300" in seat.line("learning_rate")


async def test_marked_studies_only(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "space", "down", "space", "c")
        await seat.sees("Scores of 2 studies")
        await seat.press("t")

        await seat.sees("Comparison of 2 studies")
        assert seat.lines()[2].strip("┃ ").split() == [
            *("lightgbm", "random_forest", "mean", "median"),
        ]


async def test_lines_in_which_all_agree_can_be_hidden(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("c", "d")

        await seat.misses("median trial")
        assert "learning_rate" in seat.text()


async def test_experiments_on_other_data_are_not_ranked_against_each_other(store: Store):
    add_typical(store, "first", models=("ridge",))
    store.experiment("second", sha256="cd" * 32, metric="rmse", direction="minimize")
    study = store.study(2, "lasso", want="pause")
    store.trial(study, 0, 3.0)

    async with sitting(store.location) as seat:
        await seat.press("o", "space", "space", "c")

        await seat.sees("ranked apart: data and metric differ")
        assert [line.strip("┃› ")[:8] for line in seat.lines()[3:9]] == [
            *("concrete", "1 second", "concrete", "1 first/", "mean    ", "median  "),
        ]
        await seat.press("t")
        await seat.sees("not ranked: data and metric differ")
        assert "★" not in seat.text()
        await seat.sees("first/ridge")


async def test_an_export_runs_the_command_and_counts_the_rows(
    store: Store, spawned: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-trials.csv").write_text('number,value\n0,"a\nb"\n1,2\n')

    async with sitting(store.location) as seat:
        await seat.press("e")
        await seat.sees("comparison of demo")
        await seat.press("down", "enter")
        await seat.sees("Write over it?")
        assert spawned.commands == []
        await seat.press("y")

        await seat.sees("wrote")
        path = str(tmp_path / "demo-trials.csv")
        assert "2 rows" in seat.lines()[-2]
        assert spawned.commands == [
            ["trials", "demo", "--csv", path, "--force"],
        ]
        assert spawned.environments == [{"HYPERION_STORAGE": str(store.location.path)}]


async def test_a_refused_overwrite_writes_nothing(
    store: Store, spawned: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-comparison.csv").write_text("mine")

    async with sitting(store.location) as seat:
        await seat.press("e", "enter")
        await seat.sees("Write over it?")
        await seat.press("enter")

        await seat.sees("comparison of demo")
        assert spawned.commands == []


async def test_an_export_that_fails_says_why(
    store: Store, spawned: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store)
    monkeypatch.chdir(tmp_path)
    spawned.answers["compare"] = Done(5, "", "These can't be compared: data differ.\n")

    async with sitting(store.location) as seat:
        await seat.press("c", "e")
        await seat.sees("comparison of demo")
        await seat.press("enter")

        await seat.sees("These can't be compared: data differ.")


async def test_the_trials_of_a_study_are_exported_from_their_screen(
    store: Store, spawned: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store)
    monkeypatch.chdir(tmp_path)

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "e")
        await seat.sees("demo-lightgbm-trials.csv")
        await seat.press("enter")

        await seat.until(lambda: spawned.commands)
        assert spawned.commands[0][:2] == ["trials", "demo/lightgbm"]


async def test_the_model_of_a_study_is_taken_home_by_the_command(
    store: Store, spawned: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-lightgbm-model").mkdir()

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "e")
        await seat.sees("the model of demo/lightgbm")
        await seat.press("down", "enter")
        await seat.sees("Write over it?")
        await seat.press("y")

        await seat.sees("predict.py DATA.csv predicts")
        path = str(tmp_path / "demo-lightgbm-model")
        assert spawned.commands == [["export", "demo/lightgbm", "--to", path, "--force"]]


def test_names_of_files_are_harmless():
    assert file_name("../../etc/pass wd;rm") == "etc-pass-wd-rm"
    assert file_name("///") == "export"
