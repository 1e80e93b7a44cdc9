"""What happened while nobody looked is said once, by the list of experiments."""

from __future__ import annotations

import os

import pytest

from engines.study.reader import Reader
from hyperion_tui import away
from hyperion_tui.away import Seen
from tests.tui.driving import sitting
from tests.tui.stores import EVIDENCE, Store, add_typical


async def test_somebody_comes_back_and_is_told_once_what_happened(store: Store):
    _, ids = add_typical(store, trials=4, goal=8)
    store.location.side.mkdir(exist_ok=True)
    async with sitting(store.location) as seat:
        await seat.press("o")
        assert "since" not in seat.text(), "who comes first has missed nothing"

    # The night.
    for number in range(4, 8):
        store.trial(ids[0], number, 0.95 if number == 6 else 0.5)
    store.failed(ids[1], 4, "max_bin")
    store.end(ids[0], 0.9, 6, EVIDENCE)
    async with sitting(store.location, (80, 24)) as seat:
        await seat.sees("o says what happened since you left")
        await seat.press("o")
        line = seat.line("since 20")
        assert "5 trials (1 failed), 1 study done; best demo/r" in line
        await seat.press("escape", "o")
        assert "since 20" not in seat.text(), "once"

    async with sitting(store.location, (120, 30)) as seat:
        await seat.press("o")
        assert "since 20" not in seat.text(), "nothing happened after that"


def test_news_are_counts_ends_and_the_best_of_experiments(store: Store):
    _, ids = add_typical(store, "up", models=("ridge", "lasso"), trials=3)
    smaller = store.experiment("down", metric="rmse", direction="minimize")
    store.trial(store.study(smaller, "ridge"), 0, 3.0)
    reader = Reader(store.location)
    experiments = reader.experiments()
    reader.close()
    down = experiments[0].studies[0].study_id
    known = {ids[0]: ("paused", 3, 0, 0.7), ids[1]: ("running", 1, 0, 0.9)}

    assert away.news(None, experiments) == ""
    told = away.news(Seen("", {**known, down: ("running", 1, 0, 3.5)}), experiments)
    assert told == "2 trials, 1 study paused; best down/ridge 3.000 (was 3.500)"
    told = away.news(Seen("", {**known, down: ("running", 1, 0, 2.5)}), experiments)
    assert told == "2 trials, 1 study paused"
    told = away.news(Seen("", known), experiments)
    assert told == "3 trials, 1 study paused; best down/ridge 3.000"


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"at": 1, "studies": {"x": [1]}}', '{"studies": []}', "\x00"),
        *('{"at": "", "studies": {"1": ["done", 1e999, 0, null]}}', "[" * 100_000),
    ],
)
def test_a_spoilt_file_has_nothing_to_tell(store: Store, content: str):
    file = store.location.seen(os.getuid())
    file.parent.mkdir(parents=True)
    file.write_text(content)

    assert away.load(store.location) is None


def test_a_folder_that_can_not_be_written_is_no_error(store: Store):
    store.location.side.mkdir(exist_ok=True)
    (store.location.side / "seen").write_text("in the way")
    add_typical(store)
    reader = Reader(store.location)
    away.save(store.location, reader.experiments())
    reader.close()

    assert away.load(store.location) is None
