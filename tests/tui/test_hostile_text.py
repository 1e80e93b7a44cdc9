"""Nothing in a store can steer the terminal or be taken for markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from hyperion_tui import text
from tests.tui.driving import sitting
from tests.tui.stores import Store

HOSTILE = "[red]boom[/] \x1b[31mesc\u202ertl \x07bell\r\n\x9b5m"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[31m", "␛[31m"),
        ("a\tb\nc", "a␉b␊c"),
        ("\x7f", "␡"),
        ("\u202eabc", "<U+202E>abc"),
        ("\u200b", "<U+200B>"),
        ("\x9b", "<U+009B>"),
        ("\ud800", "\ufffd"),
        ("[bold]x[/]", "[bold]x[/]"),
        ("é 漢字 ✓", "é 漢字 ✓"),
    ],
)
def test_what_could_steer_a_terminal_is_made_visible(given: str, shown: str):
    assert text.clean(given) == shown


async def test_hostile_text_is_shown_as_it_is_on_every_screen(store: Store):
    experiment = store.experiment(HOSTILE, data=HOSTILE, target=HOSTILE)
    study = store.study(experiment, "ridge", want="pause")
    store.trial(study, 0, 0.5, params={HOSTILE: HOSTILE})
    store.failed(study, 1, HOSTILE, params={"alpha": 1.0}, error_traceback=HOSTILE * 3)
    store.baseline(experiment, HOSTILE, 0.1)
    store.event(experiment, "trial_failed", f"failed: {HOSTILE}", study, 1)

    async with sitting(store.location) as seat:
        for keys in (["2"], ["enter"], ["escape", "3", "up"], ["enter"], ["escape", "c"]):
            await seat.press(*keys)
            _check(seat.text())
        await seat.press("escape", "o")
        _check(seat.text())
        await seat.press("escape", "2", "x")
        _check(seat.text())
        await seat.press("escape", "e")
        _check(seat.text())


async def test_hostile_files_tags_and_deleted_names_are_shown_as_they_are(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / HOSTILE.replace("/", "")
    folder.mkdir()
    (folder / f"{folder.name}.csv").write_text(f"{HOSTILE.split(chr(13))[0]},b\n1,2\n")
    monkeypatch.chdir(folder)
    study = store.study(store.experiment(HOSTILE), "ridge", want="pause")
    trial = store.trial(study, 0, 0.5)
    tags, note = json.dumps([HOSTILE]), json.dumps(HOSTILE)
    for key, value in (("tags", tags), ("note", note), ("experiment_tags", tags)):
        store.insert("study_user_attributes", study_id=study, key=key, value_json=value)
    for key, value in (("tags", tags), ("note", note)):
        store.insert("trial_user_attributes", trial_id=trial, key=key, value_json=value)
    gone = store.experiment(f"{HOSTILE} again")
    store.study(gone, "ridge", want="pause")
    store.event(gone, "trashed", "put into the trash")

    async with sitting(store.location, (200, 50)) as seat:
        for keys in (
            *(["2"], ["t"], ["escape", "a"], ["escape", "enter"], ["v"], ["escape", "enter"]),
            *(["escape", "escape", "c"], ["t"], ["escape", "o"], ["t"], ["escape", "B"], ["P"]),
            *(["escape", "escape", "escape", "d"], ["end"], ["/"], ["escape", "r"]),
        ):
            await seat.press(*keys)
            await seat.sees("[red]boom")
            _check(seat.text())


def _check(shown: str) -> None:
    assert "[red]boom" in shown
    assert not any(c in shown for c in "\x1b\x07\r\x9b\u202e")


async def test_wide_characters_keep_columns_in_line(store: Store):
    experiment = store.experiment("漢字漢字漢字", data="データ")
    study = store.study(experiment, "ridge", want="pause")
    store.trial(study, 0, 0.5)
    store.baseline(experiment, "平均値の平均値の平均値の平均値", 0.1)

    async with sitting(store.location, (80, 24)) as seat:
        ends = {cell_len(line) for line in seat.lines()[3:10]}
        columns = {
            cell_len(seat.line(name).rsplit(score, 1)[0])
            for name, score in (("平均", "0.1000"), ("1 ridge", "0.5000"))
        }

        assert ends == {80}
        assert len(columns) == 1
