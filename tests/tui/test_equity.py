"""The equity curve of an agent beside buying and holding, in the screen of a trial."""

from __future__ import annotations

import json
from array import array

from engines.study.records import BUY_AND_HOLD
from hyperion_tui.widgets.equity import HEIGHT, equity_lines
from tests.tui.driving import sitting
from tests.tui.stores import Store

RISING, FALLING = [0.01] * 60, [-0.01] * 60


def words(lines) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def test_both_curves_are_drawn_on_one_scale_each_in_its_style():
    lines = equity_lines(RISING, FALLING, 60)

    said = words(lines)
    assert "median seed" in said[0]
    assert said[1] == "● agent +81.7%   ● buy and hold -45.3%"
    drawing = lines[2:]
    assert len(drawing) == HEIGHT
    assert said[2].startswith(" 1.817 ┤")
    assert said[-1].startswith("0.5472 ┤")
    assert drawing[0][-1][1] == "accent"
    assert drawing[-1][-1][1] == "dim"
    # One goes up to the right, the other down.
    assert said[2].rstrip()[-1] != "┤"
    assert len(said[2].rstrip()) == len(said[-1].rstrip()) == 59


def test_without_returns_nothing_is_drawn_and_without_room_only_numbers():
    assert equity_lines([], FALLING, 60) == []
    assert words(equity_lines(RISING, [], 60))[1] == "● agent +81.7%"
    assert len(equity_lines(RISING, FALLING, 20)) == 2
    flat = words(equity_lines([0.0] * 5, [], 40))
    assert flat[1] == "● agent +0.0%"


async def test_the_trial_of_an_agent_shows_its_equity_against_buying_and_holding(store: Store):
    experiment = store.experiment(task="trading", metric="sharpe_ratio", split=json.dumps({}))
    study = store.study(experiment, "td3")
    trial = store.trial(study, 0, 1.2, metrics=json.dumps({"seeds": [1.2], "steps": [50, 50]}))
    for trial_id, returns in ((trial, RISING), (BUY_AND_HOLD, FALLING)):
        store.insert(
            "hx_returns",
            experiment_id=experiment,
            trial_id=trial_id,
            seeds=1,
            content=array("f", returns).tobytes(),
        )

    async with sitting(store.location) as seat:
        await seat.press("2", "enter", "enter")

        await seat.sees("agent +81.7%")
        assert "buy and hold -45.3%" in seat.text()
        drawn = [line for line in seat.lines() if "┤" in line]
        assert len(drawn) == HEIGHT
        assert any(0x2800 < ord(sign) <= 0x28FF for line in drawn for sign in line)
