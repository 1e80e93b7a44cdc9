"""Choosing data, looking at them, and starting with them. What reads them is pretended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engines.errors import HyperionError
from hyperion_tui import sources
from hyperion_tui.children import Done
from hyperion_tui.widgets.fields import Entry
from hyperion_tui.widgets.window_table import WindowTable
from tests.tui.conftest import Children
from tests.tui.driving import Seat, sitting
from tests.tui.stores import Store, add_typical


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the program is started: two files, one folder, and what is no data."""
    made = tmp_path / "sets"
    (made / "old").mkdir(parents=True)
    (made / "old" / "earlier.csv").write_text("a,b\n1,2\n")
    (made / "towns.csv").write_text("people,area\n1,2\n")
    (made / "prices.parquet").write_bytes(b"PAR1")
    (made / "notes.md").write_text("no data")
    (made / ".hidden.csv").write_text("a\n")
    for file in made.glob("*.*"):
        os.utime(file, (1_795_000_000, 1_795_000_000))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(made)
    return made


def checked(*findings: tuple[str, str, str], **facts: object) -> Done:
    """What `data check --json` answers."""
    known = {
        **{"name": "towns", "sha256": "ab" * 32, "rows": 6000, "columns": 5, "target": "area"},
        **{"time_column": "day", "span": "2024-01-01 to 2024-02-03", "task": "regression"},
        **{"classes": []},
    }
    told = [dict(zip(("severity", "where", "text"), f, strict=True)) for f in findings]
    ok = not any(f[0] == "error" for f in findings)
    document = {"ok": ok, "findings": told, "unfit": {}, "expected_s": {}}
    document["data"] = {**known, **facts} if ok else None
    return Done(0 if ok else 2, json.dumps(document), "")


def field(seat: Seat, name: str) -> str:
    return seat.app.screen.query_one(f"#{name}", Entry).value


async def put_cursor_on(seat: Seat, name: str) -> None:
    await seat.sees(name)
    table = seat.app.screen.query_one("#sources", WindowTable)
    rows = [table.rows.row(i) for i in range(len(table.rows))]
    table.move_to(next(i for i, row in enumerate(rows) if row and name in row.cells[0][0]))
    await seat.until(lambda: name in seat.line("›"), name)


async def test_somebody_walks_to_a_file_looks_at_it_and_starts_with_it(
    folder: Path, store: Store, spawned: Children
):
    spawned.answers["data"] = checked(("warning", "column 'area'", "12 values are odd"))

    async with sitting(store.location, settle=False) as seat:
        await seat.press("d")
        await seat.sees("Files in ~/sets/")
        assert "notes.md" not in seat.text()
        assert ".hidden" not in seat.text()
        await put_cursor_on(seat, "old/")
        await seat.press("enter")
        await seat.sees("earlier.csv")
        await seat.press("backspace")
        await seat.sees("towns.csv")
        assert "old/" in seat.line("›"), "the cursor is where one came from"

        await put_cursor_on(seat, "towns.csv")
        await seat.press("enter")
        await seat.sees("! column 'area': 12 values are odd")
        assert "6 000 rows, 5 columns to learn from" in seat.text()
        assert "2024-01-01" in seat.line("│from ")
        assert "2024-02-03" in seat.line("│to ")
        assert "abababababababab" in seat.line("hash")
        assert [w[:3] for w in spawned.commands] == [["data", "check", str(folder / "towns.csv")]]

        await seat.press("r")
        assert field(seat, "data") == str(folder / "towns.csv")
        await seat.press("enter")
        await seat.until(lambda: any(w[0] == "run" for w in spawned.commands), "the start")


@pytest.mark.slow
async def test_data_that_can_not_be_used_say_why_and_what_fails_does_too(
    folder: Path, store: Store, spawned: Children
):
    spawned.answers["data"] = checked(("error", "line 3", "has 4 fields, not 3: mend it"))

    async with sitting(store.location, settle=False) as seat:
        await seat.press("d")
        await put_cursor_on(seat, "prices.parquet")
        await seat.press("enter")
        await seat.sees("✗ line 3: has 4 fields, not 3: mend it")

        spawned.answers["data"] = Done(1, "", "hyperion-tui: it is broken\n")
        await seat.press("enter")
        await seat.sees("✗ it is broken")


async def test_data_that_changed_since_they_were_used_are_named_as_such(
    folder: Path, store: Store, spawned: Children
):
    path = str(folder / "towns.csv")
    demo = store.experiment("demo", data="towns", target="area", sha256="cd" * 32)
    store.change("hx_dataset", f"id = {demo}", path=path)
    store.study(demo, "ridge")
    spawned.answers["data"] = checked()

    async with sitting(store.location) as seat:
        await seat.press("d", "enter")
        await seat.sees("! changed since demo: its scores")

        spawned.answers["data"] = checked(sha256="cd" * 32)
        await seat.press("enter")
        await seat.sees("✓ the same as in demo: scores can be")


async def test_changing_the_data_asks_for_the_same_models_under_a_new_name(
    folder: Path, store: Store, spawned: Children
):
    add_typical(store)

    async with sitting(store.location) as seat:
        models = {s.model for s in seat.app.snapshot.current.studies}
        await seat.press("d")
        await put_cursor_on(seat, "airfoil")
        await seat.press("c")

        assert set(field(seat, "selectors").split()) == models
        assert field(seat, "data") == "airfoil"
        assert field(seat, "target") == "sound_pressure_level_db"
        assert (field(seat, "metric"), field(seat, "seed")) == ("r2", "42")
        assert field(seat, "name") == "", "never into the experiment that has other data"


async def test_data_of_a_forecast_are_used_again_with_how_far_ahead_was_asked(
    folder: Path, store: Store
):
    experiment = store.experiment(
        "ahead",
        data="bikeshare",
        task="forecast",
        split=json.dumps({"kind": "expanding", "horizon": 12, "past_target": True}),
    )
    store.study(experiment, "ridge")

    async with sitting(store.location) as seat:
        await seat.press("d")
        await seat.sees("Used before")
        await seat.press("r")

        assert (field(seat, "task"), field(seat, "horizon")) == ("forecast", "12")
        assert field(seat, "past_target") == "yes"


@pytest.mark.slow
async def test_a_path_is_typed_and_a_wrong_one_is_refused(folder: Path, store: Store):
    async with sitting(store.location, settle=False) as seat:
        await seat.press("d")
        await seat.sees("towns.csv")
        await seat.press("/")
        await seat.type("old/earlier.csv")
        await seat.press("enter")
        await seat.sees("Files in ~/sets/old/")
        assert "earlier.csv" in seat.line("›")

        await seat.press("/")
        await seat.type("nothing")
        await seat.press("enter")
        await seat.sees("There is no file or folder")


@pytest.mark.slow
async def test_a_folder_is_no_data_to_start_with(folder: Path, store: Store):
    async with sitting(store.location, settle=False) as seat:
        await seat.press("d")
        await put_cursor_on(seat, "old/")
        await seat.press("r")
        await seat.sees("this is no data set")


async def test_the_cursor_steps_over_headings(folder: Path, store: Store):
    async with sitting(store.location, (80, 24), settle=False) as seat:
        await seat.press("d")
        await seat.sees("abalone")
        await seat.burst("up", "home")
        assert "abalone" in seat.line("›")
        assert "Bundled" in seat.text()
        await seat.burst(*["down"] * 5)
        assert "../" in seat.line("›"), "below `Files in`"
        await seat.burst("up")
        assert "diabetes" in seat.line("›")


def test_a_folder_that_can_not_be_read_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(HyperionError, match="can't be read: No such file"):
        sources.list_folder(tmp_path / "nothing")


def test_a_large_folder_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.csv").touch()
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nothing")

    found = sources.list_folder(tmp_path)

    assert [s.label for s in found.entries] == ["../", "0.csv", "1.csv", "2.csv"]
    assert found.left_out == 3
