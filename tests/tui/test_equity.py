"""The equity curve of an agent beside buying and holding, in the screen of a trial."""

from __future__ import annotations

import json
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.study.records import BUY_AND_HOLD
from hyperion_tui.widgets.equity import FALL_HEIGHT, HEIGHT, drawdown_lines, equity_lines
from simulator.metrics import max_drawdown
from tests.tui.driving import sitting
from tests.tui.stores import Store

RISING, FALLING = [0.01] * 60, [-0.01] * 60


def words(lines) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def test_both_curves_are_drawn_on_one_scale_each_in_its_style():
    lines = equity_lines(RISING, FALLING, 60)

    said = words(lines)
    assert "median seed" in said[0]
    assert said[1] == "── agent +81.7%   ·· buy and hold -45.3%"
    drawing = lines[2:]
    assert len(drawing) == HEIGHT
    assert said[2].startswith(" 1.817 ┤")
    assert said[-1].startswith("0.5472 ┤")
    assert drawing[0][-1][1] == "accent"
    assert drawing[-1][-1][1] == "dim"
    # One goes up to the right, the other down.
    assert said[2].rstrip()[-1] != "┤"
    assert len(said[2].rstrip()) == 59
    assert len(said[-1].rstrip()) >= 58


def test_without_returns_nothing_is_drawn_and_without_room_only_numbers():
    assert equity_lines([], FALLING, 60) == []
    assert words(equity_lines(RISING, [], 60))[1] == "── agent +81.7%"
    assert len(equity_lines(RISING, FALLING, 20)) == 2
    flat = words(equity_lines([0.0] * 5, [], 40))
    assert flat[1] == "── agent +0.0%"


def test_the_deepest_fall_is_told_with_its_bars_and_drawn_even_if_it_is_short():
    returns = [0.1, *[0.0] * 300, -0.5, 1.0, *[0.0] * 300]

    lines = drawdown_lines(returns, [0.01] * 603, 40)

    said = words(lines)
    assert said[0] == "Drawdown, below the highest so far"
    assert said[1] == ("── agent -50.0% from bar 1 to bar 302   ·· buy and hold never below it")
    assert max_drawdown(np.array(returns)) == pytest.approx(-0.5)
    assert len(said[2:]) == FALL_HEIGHT
    assert said[2].startswith("  0.0% ┤")
    assert said[-1].startswith("-50.0% ┤")
    assert any(0x2800 < ord(sign) <= 0x28FF for sign in said[-1])


def test_an_agent_that_never_lost_has_no_drawdown_and_one_without_room_only_words():
    assert drawdown_lines(RISING, FALLING, 60) == []
    assert drawdown_lines([], FALLING, 60) == []
    assert words(drawdown_lines(FALLING, [], 10))[1] == "── agent -45.3% from bar 0 to bar 60"


@given(st.lists(st.floats(-0.9, 2.0), min_size=1, max_size=60), st.integers(0, 100))
def test_the_depth_is_the_one_of_the_simulator(returns: list[float], width: int):
    lines = words(drawdown_lines(returns, [], width))

    depth = max_drawdown(np.array(returns))
    assert depth is not None
    if lines:
        assert f"agent {depth:.1%} from" in lines[1]
    else:
        assert depth == pytest.approx(0.0, abs=1e-9)


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

    async with sitting(store.location, (120, 50)) as seat:
        await seat.press("2", "enter", "enter")

        await seat.sees("agent +81.7%")
        assert "buy and hold -45.3%" in seat.text()
        drawn = [line for line in seat.lines() if "┤" in line]
        assert len(drawn) == HEIGHT
        assert any(0x2800 < ord(sign) <= 0x28FF for line in drawn for sign in line)
