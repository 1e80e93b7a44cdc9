"""What hyperparameters of trading agents mean: arguments of stable-baselines3 and of the market.

Nothing heavy is imported: what a set of parameters stands for can be read without training it.
docs/agents.md has the same as a table.

Rewards are in units of the volatility of the training bars, so that `reward_scaling` and
`risk_factor` mean the same on every market: a bar on which a full position moves by one standard
deviation has a reward of about 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engines.data.scoring import ScoreError
from simulator.market import Market, Reward

ACCOUNTS = 8
"""Accounts that an agent trades at once: they see more of the market than one, for less time."""

EPISODE_BARS = 250
"""Bars of an account's episode, which begins at a random bar; fewer if the market has fewer."""

LEVELS = 5
"""Positions of an agent of discrete actions: -1, -0.5, 0, 0.5, 1 of the limit."""

LAST_EPSILON = 0.05
"""Share of random actions that is left after `epsilon_decay` steps."""


@dataclass(frozen=True)
class Plan:
    """What a set of parameters stands for.

    arguments: of the agent's class, without environment, seed and device. layers: its network, as
    `policy_kwargs` have it; activation: relu, tanh or elu. reward, max_position: of the training
    market. noise: standard deviations of the action noise at the first and the last step, in
    shares of the limit; None for an agent of discrete actions. discrete: whether it is one.
    """

    arguments: dict[str, Any]
    layers: Any
    activation: str
    reward: Reward
    max_position: float
    noise: tuple[float, float] | None
    discrete: bool


def plan(agent: str, params: Mapping[str, Any], steps: int) -> Plan:
    """What `params` of an agent mean for a training of `steps` environment steps.

    agent: sac, td3 or rainbow_dqn. Raises KeyError for a parameter that is missing and ValueError
    for another agent or no steps.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}: at least 1 is needed")
    makers = {"sac": _sac, "td3": _td3, "rainbow_dqn": _rainbow}
    if agent not in makers:
        raise ValueError(f"agent={agent!r}: one of {', '.join(makers)} is needed")
    return makers[agent](params, steps)


def market_for(market: Market, made: Plan) -> Market:
    """The training market with the plan's reward and position limit.

    The limit never goes beyond that of `market`. The unit of reward is the standard deviation of
    the log returns of its bars. Raises ScoreError if the price never moves.
    """
    row = market.row(max_position=made.max_position)
    try:
        made.reward.write(row, market.bars)
    except ValueError as reason:
        raise ScoreError(
            f"{market.bars.name}: the close never moves; there is nothing to learn"
        ) from reason
    limit = min(made.max_position, market.max_position)
    return replace(market, parameters=row, max_position=limit)


def _sac(params: Mapping[str, Any], steps: int) -> Plan:
    alpha = params["alpha"]
    return Plan(
        arguments={
            **_common(params, steps),
            "tau": params["tau"],
            "ent_coef": f"auto_{alpha}" if params["alpha_tuned"] else alpha,
        },
        layers=json.loads(params["hidden_dims"]),
        activation=params["activation"],
        reward=Reward(params["reward_scaling"], params["risk_factor"], "volatility"),
        max_position=math.inf,
        noise=(params["exploration_noise"], 0.0),
        discrete=False,
    )


def _td3(params: Mapping[str, Any], steps: int) -> Plan:
    first = params["exploration_noise"]
    return Plan(
        arguments={
            **_common(params, steps),
            "tau": params["tau"],
            "policy_delay": params["policy_delay"],
            "target_policy_noise": params["policy_noise"],
            "target_noise_clip": params["noise_clip"],
        },
        layers={
            "pi": json.loads(params["actor_hidden"]),
            "qf": json.loads(params["critic_hidden"]),
        },
        activation="relu",
        reward=Reward(unit="volatility"),
        max_position=params["max_action"],
        noise=(first, min(first, params["action_noise"])),
        discrete=False,
    )


def _rainbow(params: Mapping[str, Any], steps: int) -> Plan:
    # The standard deviation of the discounted sum of independent rewards of variance 1: what a
    # full position earns by luck alone, whatever the discount.
    spread = 1.0 / math.sqrt(1.0 - params["gamma"] ** 2)
    noisy = params["noisy"]
    decay = 1 if noisy else params["epsilon_decay"]
    return Plan(
        arguments={
            **_common(params, steps),
            "n_atoms": params["num_atoms"],
            "v_min": params["v_min"] * spread,
            "v_max": params["v_max"] * spread,
            "double": params["double_dqn"],
            "dueling": params["dueling"],
            "noisy": noisy,
            "n_steps": params["n_steps"],
            "prioritised": params["prioritised"],
            "target_update_interval": params["target_update_interval"],
            "exploration_fraction": min(1.0, decay / steps),
            "exploration_final_eps": LAST_EPSILON,
        },
        layers=[params["hidden_size"]] * params["num_layers"],
        activation="relu",
        reward=Reward(unit="volatility"),
        max_position=math.inf,
        noise=None,
        discrete=True,
    )


def _common(params: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """What every agent has. An update comes after each `train_freq` steps of all accounts."""
    return {
        "gamma": params["gamma"],
        "augmented": params.get("augmented", True),
        "learning_rate": params["learning_rate"],
        "batch_size": params["batch_size"],
        "train_freq": max(1, params["train_freq"] // ACCOUNTS),
        "gradient_steps": params["gradient_steps"],
        # A short training begins to learn all the same, and no buffer is larger than it.
        "learning_starts": min(params["learning_starts"], steps // 4),
        "buffer_size": max(min(params["buffer_size"], steps + ACCOUNTS), ACCOUNTS),
    }
