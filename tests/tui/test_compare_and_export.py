"""Studies side by side, and CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion_tui.children import Done
from hyperion_tui.screens.export import file_name
from tests.tui.conftest import Children
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical


async def test_all_studies_stand_side_by_side_with_the_best_first(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("c")

        await seat.sees("Comparison of 4 studies  best r2 first")
        assert seat.lines()[2].strip("┃ ").split()[:2] == ["lightgbm", "xgboost"]
        assert "★ 0.9000" in seat.line("selection score")
        assert "12/20" in seat.line("trials")
        assert "0.1300" in seat.line("learning_rate")


async def test_marked_studies_only(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("2", "space", "down", "space", "c")

        await seat.sees("Comparison of 2 studies")
        assert seat.lines()[2].strip("┃ ").split() == ["lightgbm", "random_forest"]


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

        await seat.sees("Export to CSV")
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


def test_names_of_files_are_harmless():
    assert file_name("../../etc/pass wd;rm") == "etc-pass-wd-rm"
    assert file_name("///") == "export"
