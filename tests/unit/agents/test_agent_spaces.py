"""What agents declare, and what each of their parameters becomes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.data.scoring import ScoreError
from engines.models.rl_agents import mapping
from engines.models.rl_agents.declare import MODELS
from engines.search.space import Choice, Int, Parameter
from simulator import layout as at
from simulator.market import build_market
from simulator.simulator import backtest
from simulator.synthetic import geometric_brownian
from tests.unit.agents.markets import AGENTS, FORMS, mean_reverting
from tests.unit.simulator.markets import still

DOCS = Path(__file__).resolve().parents[3] / "docs" / "agents.md"

ASKED: dict[str, dict[str, Any]] = {
    "sac": {
        "hidden_dims": ([128, 128], [256, 256], [512, 256], [256, 256, 128]),
        "activation": ("relu", "tanh", "elu"),
        "gamma": (0.95, 0.999),
        "tau": (0.001, 0.02),
        "alpha": (0.05, 0.3),
        "batch_size": (64, 128, 256),
        "learning_rate": (1e-5, 1e-2),
        "risk_factor": (0.01, 0.1),
        "reward_scaling": (0.1, 2.0),
        "exploration_noise": (0.05, 0.3),
    },
    "td3": {
        "actor_hidden": ([256, 256], [400, 300], [512, 256]),
        "critic_hidden": ([256, 256], [400, 300], [512, 256]),
        "gamma": (0.95, 0.999),
        "tau": (0.001, 0.01),
        "policy_noise": (0.1, 0.3),
        "noise_clip": (0.3, 0.7),
        "policy_delay": (1, 4),
        "max_action": (0.5, 2.0),
        "exploration_noise": (0.05, 0.2),
        "action_noise": (0.1, 0.3),
    },
    "rainbow_dqn": {
        "hidden_size": (256, 512, 1024),
        "num_layers": (2, 4),
        "double_dqn": (True, False),
        "dueling": (True, False),
        "noisy": (True, False),
        "n_steps": (1, 5),
        "num_atoms": (51, 101),
        "v_min": (-10.0, -1.0),
        "v_max": (1.0, 10.0),
        "epsilon_decay": (500, 2000),
    },
}
"""What users were promised to be searched: choices, or both ends of a range."""


@pytest.mark.parametrize("agent", AGENTS)
def test_a_space_contains_all_that_was_promised(agent):
    space = FORMS[agent].space.parameters
    for name, wanted in ASKED[agent].items():
        declared = space[name]
        if isinstance(declared, Choice):
            known = [json.loads(v) if name.endswith(("dims", "hidden")) else v
                     for v in declared.values]  # fmt: skip
            assert all(value in known for value in wanted), name
        else:
            assert declared.low <= wanted[0], name
            assert declared.high >= wanted[1], name


@pytest.mark.parametrize("agent", AGENTS)
def test_every_parameter_changes_what_is_trained(agent):
    form = FORMS[agent]
    base = dict(form.defaults)
    if agent == "td3":
        base["exploration_noise"] = 0.4  # the end of a decay is never above its start
    whole = mapping.plan(agent, base, 10_000)
    for name, parameter in form.space.parameters.items():
        if name not in base:
            continue
        other = base | {name: _another(parameter, base[name])}
        other.setdefault("epsilon_decay", 1000)
        assert mapping.plan(agent, other, 10_000) != whole, name


def test_agents_of_noise_explore_by_it_alone_so_epsilon_is_not_searched():
    space = FORMS["rainbow_dqn"].space
    noisy = FORMS["rainbow_dqn"].defaults | {"noisy": True}

    assert "epsilon_decay" not in space.clip(noisy)
    assert space.contains(space.clip(noisy))


@given(st.sampled_from(AGENTS), st.integers(0, 10**6), st.integers(1, 20_000))
def test_any_point_of_a_space_is_a_plan_that_can_be_trained(agent, seed, steps):
    params = FORMS[agent].space.suggest(_Dice(seed))
    made = mapping.plan(agent, params, steps)

    assert 0 <= made.arguments["learning_starts"] <= steps / 4
    assert mapping.ACCOUNTS <= made.arguments["buffer_size"] <= steps + mapping.ACCOUNTS
    assert made.arguments["train_freq"] >= 1
    if made.noise is not None:
        assert 0 <= made.noise[1] <= made.noise[0]
    else:
        assert made.arguments["v_min"] < 0 < made.arguments["v_max"]
        assert 0 < made.arguments["exploration_fraction"] <= 1


@given(st.floats(0.9, 0.999))
def test_the_support_is_in_deviations_of_what_a_full_position_earns_by_luck(gamma):
    made = mapping.plan("rainbow_dqn", FORMS["rainbow_dqn"].defaults | {"gamma": gamma}, 100)
    weights = gamma ** np.arange(20_000)

    spread = math.sqrt((weights**2).sum())
    assert made.arguments["v_max"] == pytest.approx(
        FORMS["rainbow_dqn"].defaults["v_max"] * spread, rel=1e-6
    )


@pytest.mark.parametrize("volatility", [0.003, 0.03])
def test_a_reward_is_in_units_of_the_training_bars_volatility(volatility):
    market = build_market(geometric_brownian(2_000, volatility=volatility, seed=1), features=[])
    params = FORMS["sac"].defaults | {"reward_scaling": 0.5, "risk_factor": 0.1}

    own = mapping.market_for(market, mapping.plan("sac", params, 100))

    assert own.parameters[at.REWARD_UNIT] == pytest.approx(volatility, rel=0.1)
    assert own.parameters[at.REWARD_SCALE] == 0.5
    assert own.parameters[at.RISK_FACTOR] == 0.1
    # The market that was given is traded by others as well.
    assert market.parameters[at.REWARD_UNIT] == 1.0


@pytest.mark.parametrize(("asked", "given", "limit"), [(0.5, 1.0, 0.5), (2.0, 1.0, 1.0),
                                                       (2.0, 3.0, 2.0)])  # fmt: skip
def test_the_largest_action_is_the_position_limit_within_that_of_the_market(asked, given, limit):
    market = mean_reverting(max_position=given)
    params = FORMS["td3"].defaults | {"max_action": asked}

    own = mapping.market_for(market, mapping.plan("td3", params, 100))

    assert own.max_position == limit
    held = backtest(np.full(len(own.bars), 5.0), own).positions
    assert np.abs(held).max() == pytest.approx(limit, rel=0.1)


def test_a_market_that_never_moves_teaches_nothing():
    market = build_market(still(300), features=[])
    with pytest.raises(ScoreError, match="never moves"):
        mapping.market_for(market, mapping.plan("sac", FORMS["sac"].defaults, 100))


def test_a_plan_is_refused_for_an_unknown_agent_and_for_no_steps():
    with pytest.raises(ValueError, match="sac, td3, rainbow_dqn"):
        mapping.plan("ppo", {}, 100)
    with pytest.raises(ValueError, match="at least 1"):
        mapping.plan("sac", FORMS["sac"].defaults, 0)


def test_declarations_load_no_library():
    code = (
        "import sys; import engines.models.rl_agents.declare;"
        "print([m for m in ('torch', 'stable_baselines3', 'gymnasium', 'pandas', 'numpy', 'numba')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=DOCS.parents[1],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_without_stable_baselines3_an_agent_says_how_to_add_it(monkeypatch):
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "stable_baselines3")
    for spec in MODELS:
        assert spec.reason_missing == ("needs stable_baselines3: pip install 'hyperion-tui[rl]'")


@pytest.mark.parametrize("agent", AGENTS)
def test_the_table_of_the_documentation_is_what_is_declared(agent):
    form = FORMS[agent]
    rows = _documented(agent)

    assert list(rows) == list(form.space.parameters)
    for name, parameter in form.space.parameters.items():
        told_range, told_default = rows[name]
        assert told_range == _told(parameter), name
        assert told_default == _text(form.defaults.get(name, "-")), name


def _documented(agent: str) -> dict[str, tuple[str, str]]:
    """(range, default) of each parameter of an agent in the table of docs/agents.md."""
    rows: dict[str, tuple[str, str]] = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 6 and agent in cells[1].split(", "):
            values = dict(zip(cells[1].split(", "), cells[5].split("; "), strict=False))
            rows[cells[0].strip("`")] = (cells[4], values.get(agent, cells[5]))
    order = list(FORMS[agent].space.parameters)
    return {name: rows[name] for name in sorted(rows, key=order.index)}


def _told(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return ", ".join(_text(value) for value in parameter.values)
    scale = ", log" if parameter.log else ""
    return f"{parameter.low:g} to {parameter.high:g}{scale}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _another(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return next(other for other in parameter.values if other != value)
    if isinstance(parameter, Int):
        return parameter.low if value != parameter.low else parameter.high
    return (parameter.low if value != parameter.low else parameter.high) * 0.75 + value * 0.25


class _Dice:
    """Suggests anything."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        return float(self._random.choice([low, high, self._random.uniform(low, high)]))

    def suggest_int(self, name: str, low: int, high: int, **_: Any) -> int:
        return int(self._random.integers(low, high + 1))

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return choices[self._random.integers(len(choices))]
