"""Manners: keys in a burst, settings, what is told, and what has no room."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engines.models import catalogue
from engines.study.location import Location
from engines.study.records import Best
from hyperion_tui import clipboard, heralds, query, signs, text
from hyperion_tui.config import Settings
from hyperion_tui.keyboard import LONGEST_S
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.main import MainScreen
from hyperion_tui.widgets import status
from tests.tui.driving import sitting
from tests.tui.stores import Store, add_typical
from tests.unit.building import a_study, an_experiment


async def test_keys_that_come_in_one_burst_reach_the_screen_that_they_are_meant_for(store: Store):
    add_typical(store, "earlier")
    add_typical(store, "later")

    async with sitting(store.location, (80, 24)) as seat:
        await seat.burst("o", "down", "enter", "2", "enter", "down", "enter")
        await seat.sees("earlier/")
        assert "What happened" in seat.text()

        await seat.burst("escape", "escape", *"r", "escape", *":list exper", "enter")
        await seat.sees("Experiments  by created")

        await seat.burst("escape", "1", *"/light", "enter", "question_mark", "escape", "o")
        await seat.sees("Experiments  by created")


async def test_after_the_open_experiment_was_chosen_again_keys_wait_for_nothing(store: Store):
    add_typical(store)

    async with sitting(store.location) as seat:
        await seat.press("o")
        began = time.monotonic()
        await seat.press("enter", "2", "enter")
        await seat.sees("Trials  by number")
        assert time.monotonic() - began < LONGEST_S, "no key waited until patience ended"


async def test_a_key_that_leaves_a_screen_leaves_the_next_to_the_one_below(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.burst("x", "escape", "c", "t", "escape", "2")
        assert isinstance(seat.app.screen, MainScreen)
        assert seat.app.focused is seat.app.screen.query_one("#results")


# -- experiments ----------------------------------------------------------------------------------


async def test_an_experiment_is_deleted_and_brought_back(store: Store):
    add_typical(store, "earlier")
    add_typical(store, "later")

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("o", "D")
        await seat.sees("in the trash: later; U brings it back")
        await seat.misses("› later")
        await seat.press("space", "D")
        await seat.sees("There is no experiment yet")

        await seat.press("U")
        await seat.sees("brought back: earlier")
        await seat.press("U")
        await seat.sees("brought back: later")
        await seat.until(lambda: seat.text().count("‖ paused") == 2, "both experiments")
        await seat.press("U")
        await seat.sees("nothing was deleted here")


async def test_what_runs_is_not_deleted_and_says_that_nobody_drives_it(store: Store):
    add_typical(store, "mine", paused=False)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.press("o")
        assert "● running (no runner: u resumes)" in seat.line("mine")
        await seat.press("D")
        await seat.sees("mine is running: K ends it, then D deletes it")


# -- room -----------------------------------------------------------------------------------------


async def test_all_families_are_in_sight_at_the_start_with_the_models_in_use(store: Store):
    add_typical(store)

    async with sitting(store.location, (80, 24)) as seat:
        await seat.sees("ridge     ‖")
        for family in catalogue.families():
            assert any(f"[ ] {family} " in line for line in seat.lines()), seat.text()
        assert "▸ [ ] sklearn" in seat.text()
        assert "lasso" not in seat.text()

        await seat.press("end", "left")
        await seat.misses("flaml")
        await seat.sees("ridge     ‖")

        await seat.press("home", "enter")
        await seat.sees("lasso")
        assert "▾ [ ] sklearn" in seat.text()
        await seat.press("left")
        assert "ridge     ‖" not in seat.text()

        await seat.press("left")
        await seat.pilot.resize_terminal(80, 90)
        await seat.sees("▸ [ ] sklearn")  # what was folded by hand stays so


async def test_a_small_screen_shows_the_columns_that_count(store: Store):
    experiment, _ = add_typical(store, paused=False)
    store.ensemble(experiment, 0.91, 0.72, {"demo/lightgbm#3": 1.0})

    async with sitting(store.location, (60, 20)) as seat:
        assert "score" in seat.line("# model")
        await seat.press("c")
        assert "held-out" in seat.line("# study")
        await seat.press("t", "right", "right", "right", "right")
        await seat.sees("ensemble")
        assert "0.9100" in seat.line("selection score")
        assert "mean" in seat.line("ensemble")

        await seat.pilot.resize_terminal(120, 40)
        await seat.press("t")
        assert all(word in seat.line("# study") for word in ("trials", "time", "state"))


async def test_a_notice_goes_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch):
    add_typical(store)
    monkeypatch.setattr(status, "GONE_S", 0.3)

    async with sitting(store.location, (80, 24)) as seat:
        seat.app.say("something happened")
        await seat.sees("something happened")
        await seat.misses("something happened")


# -- settings -------------------------------------------------------------------------------------


async def test_keys_and_theme_of_the_settings_hold_and_are_shown(store: Store):
    add_typical(store)
    settings = Settings(
        values={"theme": "hyperion-light"}, keys={"experiments": "O", "leave": "f10"}
    )

    async with sitting(store.location, (80, 24), settings=settings) as seat:
        assert seat.app.theme == "hyperion-light"
        assert " O open" in seat.lines()[-1]
        assert " f10 leave" in seat.lines()[-1]
        await seat.press("o")
        assert isinstance(seat.app.screen, MainScreen)
        await seat.press("O")
        await seat.sees("Experiments  by created")
    async with sitting(store.location, (80, 24)) as seat:
        assert " o open" in seat.lines()[-1]


# -- signs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "environment", "ascii_wanted"),
    [
        ("auto", {"LANG": "C"}, True),
        ("auto", {"LANG": "POSIX", "LC_CTYPE": "C.UTF-8"}, True),
        ("auto", {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, True),
        ("auto", {"LANG": "de_DE.ISO-8859-1"}, True),
        ("auto", {"LANG": "en_US.UTF-8"}, False),
        ("auto", {"LC_ALL": "C.UTF-8", "LANG": ""}, False),
        ("auto", {"LC_CTYPE": "en_US.utf8", "LANG": "C"}, False),
        ("auto", {}, False),
        ("unicode", {"LANG": "C"}, False),
        ("ascii", {"LANG": "en_US.UTF-8"}, True),
    ],
)
def test_the_locale_says_whether_to_draw_in_ascii(
    choice: str, environment: dict[str, str], ascii_wanted: bool
):
    assert signs.wants_ascii(choice, environment) is ascii_wanted


def test_states_stay_apart_in_ascii_and_nothing_changes_its_width():
    glyphs = {glyph for glyph, _ in text.STATES.values()}
    assert len({signs.in_ascii(glyph) for glyph in glyphs}) == len(glyphs)
    assert signs.in_ascii("日本 naïve ‖ ok") == "???? na?ve = ok"


async def test_a_screen_in_ascii_holds_nothing_else(store: Store, monkeypatch: pytest.MonkeyPatch):
    add_typical(store, "日本", paused=False)
    monkeypatch.setenv("LC_ALL", "C")

    async with sitting(store.location, (80, 24)) as seat:
        for keys in ((), ("c",), ("escape", "r"), ("escape", "question_mark")):
            await seat.press(*keys)
            assert seat.text().isascii()
            assert {len(line) for line in seat.lines()} <= set(range(81))


# -- news -----------------------------------------------------------------------------------------


def shown(*scores: float, state: str = "running") -> Snapshot:
    study = a_study("e/ridge", state=state)
    best = Best(3, scores[-1], None) if scores else None
    return Snapshot((an_experiment("e", replace(study, best=best)),), 1)


def test_news_are_ends_and_new_bests_of_what_was_known_before():
    assert heralds.news(Snapshot(), shown(0.5)) == []
    assert heralds.news(shown(0.5), shown(0.5)) == []
    assert heralds.news(shown(0.5), shown(0.4)) == []
    assert heralds.news(shown(0.5), shown(0.6)) == ["e/ridge: new best 0.6000"]
    assert heralds.news(shown(0.5), shown(0.6, state="done")) == ["e/ridge is done, best 0.6000"]
    assert heralds.news(shown(0.6, state="done"), shown(0.6, state="done")) == []


def test_a_sign_is_a_bell_or_a_notice_that_no_name_can_leave():
    assert heralds.sign("off", ["x"], {}) == ""
    assert heralds.sign("bell", [], {}) == ""
    assert heralds.sign("bell", ["x"], {}) == "\a"
    assert heralds.sign("desktop", ["a;b"], {}) == "\x1b]777;notify;hyperion-tui;a,b\x1b\\"
    assert heralds.sign("desktop", ["a"], {"TERM_PROGRAM": "iTerm.app"}) == "\x1b]9;a\x1b\\"
    wrapped = heralds.sign("desktop", ["a"], {"TMUX": "/tmp/x"})
    assert wrapped.startswith("\x1bPtmux;\x1b\x1b]777;")
    nasty = an_experiment("e", a_study("e/\x1b]0;owned\x07", state="done"))
    before = an_experiment("e", a_study("e/\x1b]0;owned\x07", state="running"))
    told = heralds.news(Snapshot((before,)), Snapshot((nasty,)))
    assert told
    assert "\x1b" not in told[0]


async def test_the_bell_rings_when_a_study_has_a_new_best(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    _, ids = add_typical(store)

    async with sitting(
        store.location, (80, 24), settings=Settings(values={"notify": "bell"})
    ) as seat:
        written: list[str] = []
        monkeypatch.setattr(seat.app._driver, "write", written.append)
        store.trial(ids[0], 12, 0.99)
        await seat.until(lambda: "\a" in written, "the bell")


# -- copying and filters --------------------------------------------------------------------------


async def test_what_is_copied_is_in_a_file_as_well(store: Store, own_home: Path):
    add_typical(store)

    async with sitting(store.location, (120, 40)) as seat:
        await seat.press("2", "enter", "enter", "y")
        await seat.sees("copied, if the terminal allows it; also in")
        (file,) = own_home.rglob("copied.txt")
        assert "learning_rate" in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
        assert seat.app.clipboard + "\n" == file.read_text()


def test_a_copy_that_can_not_be_written_is_told(own_home: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = own_home / "xdg_cache_home"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file, where a folder should be")

    class Deaf:
        def copy_to_clipboard(self, _: str) -> None: ...

    assert "Not a directory" in clipboard.copy(Deaf(), "x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "state", "model", "said", "passes"),
    [
        ("", "failed", "ridge", "anything", True),
        ("state:failed", "failed", "ridge", "", True),
        ("state:failed", "complete", "ridge", "failed", False),
        ("state:fail*", "failed", "", "", True),
        ("state:failed state:pruned", "pruned", "", "", True),
        ("model:xgb*", "", "xgboost", "", True),
        ("MODEL:XGB*", "", "xgboost", "", True),
        ("model:xgb", "", "xgboost", "", False),
        ("state:failed model:xgb* max_bin", "failed", "xgboost", "ValueError: MAX_BIN", True),
        ("state:failed model:xgb* max_bin", "failed", "xgboost", "other", False),
        ("lr:0.1", "", "", "lr:0.1 and more", True),
        ("state:", "failed", "", "no such text", False),
        ("model:[", "", "xgboost", "", False),
    ],
)
def test_a_filter_asks_for_states_models_and_words(
    typed: str, state: str, model: str, said: str, passes: bool
):
    assert query.parse(typed).matches(state, model, lambda: said) is passes


async def test_log_and_tree_are_filtered_by_state_and_model(store: Store):
    add_typical(store)

    async with sitting(store.location, (120, 40)) as seat:
        await seat.press("3", "slash")
        await seat.type("state:failed model:light*")
        await seat.press("enter")
        log = seat.app.screen.query_one("#log")
        assert {e.kind for e in log._shown} == {"trial_failed"}
        assert {e.model for e in log._shown} == {"lightgbm"}

        await seat.press("1", "slash")
        await seat.type("state:paused model:*boost")
        await seat.press("enter")
        tree = seat.app.screen.query_one("#tree")
        assert [getattr(line, "name", line) for line in tree._lines] == ["ensemble", "xgboost"]


async def test_garbage_waits_for_the_first_picture_and_no_longer(monkeypatch: pytest.MonkeyPatch):
    usual = gc.get_threshold()
    gc.disable()
    try:
        async with sitting(Location(Path("/nowhere/studies.db")), settle=False) as seat:
            await seat.until(gc.isenabled, "the end of the start")
            assert gc.get_freeze_count() > 10_000

            monkeypatch.setattr("hyperion_tui.app._TIDY_AT", 0)
            collected: list[int] = []
            gc.callbacks.append(lambda phase, info: collected.append(info["generation"]))
            await seat.until(lambda: 2 in collected, "a look through all that is new")
            gc.callbacks.pop()
    finally:
        gc.enable()
        gc.unfreeze()
        gc.set_threshold(*usual)
