"""Whole screens as text, compared with kept ones. `make snap` takes them again."""

from __future__ import annotations

import json
import math
import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.models import catalogue
from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Float, Int, Space
from engines.study.location import Location
from engines.study.records import BUY_AND_HOLD
from hyperion_tui.children import Done
from tests.tui.conftest import Children
from tests.tui.driving import Seat, sitting
from tests.tui.stores import EVIDENCE, Store, add_typical

KEPT = Path(__file__).with_name("pictures")
SIZES = [
    pytest.param((80, 24), id="80x24"),
    pytest.param((120, 40), id="120x40"),
    pytest.param((200, 60), id="200x60", marks=pytest.mark.slow),
]
AT = "2026-11-22T20:41:07.123456+00:00"


def model(name: str, family: str, package: str = "json") -> ModelSpec:
    if family == "ensemble":
        space, defaults = Space({"rate": Float(0.01, 1.0), "depth": Int(1, 9)}), {"rate": 0.1}
        defaults["depth"] = 3
    else:
        space, defaults = Space({"alpha": Float(0.1, 10.0)}), {"alpha": 1.0}
    about = f"what {name} is"
    form = Form("json:JSONDecoder", space, defaults, Cost(0.01))
    return ModelSpec(name, family, about, {"regression": form}, package=package)


@pytest.fixture(autouse=True)
def fixed_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same models and the same time zone everywhere."""
    families = {
        "sklearn": tuple(model(n, "sklearn") for n in ("ridge", "lasso", "random_forest")),
        "ensemble": (model("xgboost", "ensemble"), model("lightgbm", "ensemble")),
        "pytorch": (model("lstm", "pytorch", "no_such_package"),),
    }
    models = {spec.name: spec for specs in families.values() for spec in specs}
    monkeypatch.setattr(catalogue, "families", lambda: families)
    monkeypatch.setattr(catalogue, "models", lambda: models)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


SCENES: dict[str, list[str]] = {
    "main": ["2", "down"],
    "models": ["down", "space", "down", "space"],
    "trials": ["2", "enter", "down"],
    "trial": ["2", "enter", "down", "enter"],
    "failure": ["2", "down", "enter", "f", "f", "enter"],
    "compare": ["c"],
    "sides": ["o", "down", "enter", "c", "t"],
    "finished": ["o", "down", "enter", "2", "down", "down"],
    "scores": ["o", "down", "enter", "c"],
    "experiments": ["o"],
    "launch": ["r"],
    "stop": ["x"],
    "export": ["o", "down", "enter", "e"],
    "palette": ["colon"],
    "help": ["question_mark"],
    "workers": ["w"],
    "data": ["d", "enter"],
    "tags": ["2", "down", "t"],
    "columns": ["2", "enter", "v"],
    "trash": ["o", "B"],
    "purge": ["o", "B", "P"],
    "charts": ["o", "down", "enter", "2", "4"],
}


CHECKED = {
    "ok": True,
    "findings": [
        {"severity": "info", "where": "file", "text": "1,030 rows and 9 columns, about 0.1 MB"},
        {"severity": "warning", "where": "column 'ash'", "text": "the same value in every row"},
    ],
    "data": {
        **{"name": "concrete", "sha256": "ab" * 32, "rows": 1030, "columns": 8},
        **{"target": "strength_mpa", "time_column": None, "span": None},
        **{"task": "regression", "classes": []},
    },
    "unfit": {"lstm": "the rows have no time order (--time-column)"},
    "expected_s": {},
}
"""What `data check` answers on the data screen."""


def start_in_a_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in `~/sets`, with two files and a folder in it."""
    folder = home / "sets"
    (folder / "2025").mkdir(parents=True)
    for name, size in (("prices.csv", 61_000), ("towns.parquet", 4_300_000)):
        (folder / name).write_bytes(b"0" * size)
        os.utime(folder / name, (1_795_000_000, 1_795_000_000))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)


def reading(seat: Seat) -> bool:
    """Whether a screen still waits for charts."""
    return any(getattr(screen, "reads_charts", False) for screen in seat.app.screen_stack)


def compare(seat: Seat, scene: str, size: tuple[int, int]) -> None:
    """Hold what is on the screen against the kept picture, or keep it."""
    shown = seat.text().rstrip() + "\n"
    file = KEPT / f"{scene}-{size[0]}x{size[1]}.txt"
    if os.environ.get("HYPERION_SNAPSHOTS") == "update":
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scene", SCENES)
async def test_a_screen_looks_as_it_did(
    store: Store,
    spawned: Children,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: str,
    size: tuple[int, int],
):
    start_in_a_folder(tmp_path, monkeypatch)
    spawned.answers["data"] = Done(0, json.dumps(CHECKED), "")
    earlier, ids = add_typical(store, "earlier", at=AT, trials=12, goal=12, paused=False)
    for study in ids:
        store.end(study, 0.71, 3, EVIDENCE)
    store.change("hx_study", f"study_id = {ids[0]}", plan='{"rows": [4000, 50000]}')
    store.ensemble(earlier, 0.91, 0.72, {"earlier/lightgbm#3": 0.75, "earlier/ridge#0": 0.25})
    if scene == "charts":
        for number in range(12, 40):
            params = {"rate": 0.1 * (1 + number % 7), "depth": 3 + number % 5}
            store.trial(ids[3], number, 0.84 + 0.002 * number - 0.01 * (number % 7), params=params)
    add_typical(store, at=AT)
    store.change("hx_trial", "finished_at IS NOT NULL", started_at=AT)
    if scene in ("trash", "purge"):
        store.event(earlier, "trashed", "put into the trash", at=AT)

    async with sitting(store.location, size) as seat:
        await seat.sees("0.9000")
        await seat.stands_still()
        await seat.press(*SCENES[scene])
        await seat.until(lambda: not reading(seat), "the end of reading")
        await seat.stands_still()
        compare(seat, scene, size)


@pytest.mark.parametrize("size", SIZES)
async def test_who_comes_first_is_told_what_to_do(size: tuple[int, int]):
    async with sitting(Location(Path("/nowhere/studies.db")), size) as seat:
        await seat.sees("Nothing has run yet")
        compare(seat, "first", size)


@pytest.mark.parametrize("size", SIZES)
async def test_charts_of_two_metrics_look_as_they_did(store: Store, size: tuple[int, int]):
    experiment = store.experiment(metric="r2,mae")
    study = store.study(experiment, "xgboost")
    store.insert("study_directions", study_id=study, direction="MINIMIZE", objective=1)
    with store.together():
        for number in range(30):
            turn = number * 0.61803 % 1.0
            scores = (0.3 + 0.6 * turn - 0.004 * (number % 9), 2.0 + 6.0 * turn * turn)
            params = {"rate": 0.01 * (1 + number % 11), "depth": 1 + number % 8}
            trial = store.trial(study, number, scores[0], params=params)
            for place, score in enumerate(scores):
                given = {"trial_id": trial, "objective": place, "value": score}
                store.insert("trial_values", **given, value_type="FINITE")

    await _take(store, "front", ["2", "4"], "Pareto front", size)


@pytest.mark.parametrize("size", SIZES)
async def test_charts_of_an_agent_look_as_they_did(store: Store, size: tuple[int, int]):
    experiment = store.experiment(task="trading", metric="sharpe_ratio", split="{}")
    study = store.study(experiment, "td3")
    trial = store.trial(
        study, 0, 1.2, params={"gamma": 0.99}, metrics="{}", started_at=AT, finished_at=AT
    )
    agent = [0.004 + 0.01 * math.sin(bar / 9) for bar in range(200)]
    hold = [0.001 + 0.02 * math.sin(bar / 23 + 1) for bar in range(200)]
    for trial_id, returns in ((trial, agent), (BUY_AND_HOLD, hold)):
        content = array("f", returns).tobytes()
        given = {"experiment_id": experiment, "trial_id": trial_id, "seeds": 1}
        store.insert("hx_returns", **given, content=content)

    await _take(store, "agent", ["2", "4"], "Drawdown" if size[1] > 30 else "Equity", size)


async def _take(
    store: Store, scene: str, keys: list[str], shown: str, size: tuple[int, int]
) -> None:
    async with sitting(store.location, size) as seat:
        await seat.press(*keys)
        await seat.until(lambda: not reading(seat), "the end of reading")
        await seat.sees(shown)
        await seat.stands_still()
        compare(seat, scene, size)
