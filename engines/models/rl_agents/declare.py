"""Agents of the family `rl_agents`: spaces and known-good defaults, as data.

docs/agents.md says what each parameter is; `mapping.py` makes arguments of it. Lists of layer
widths are JSON text, because a choice is text or a number.

The number of steps of a training is no parameter: it belongs to the experiment, like its data, or
a study would find that longer is better. Discounts are searched evenly, so that half of them look
no further than twenty bars: beyond that only costs reach.
"""

from __future__ import annotations

from typing import Any

from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Float, Int, Parameter, Space

STEPS = 5_000
"""Environment steps of a training where nothing else is said."""

_LEARNING: dict[str, Parameter] = {
    "gamma": Float(0.9, 0.999),
    "learning_rate": Float(1e-5, 1e-2, log=True),
    "batch_size": Choice((32, 64, 128, 256)),
    "train_freq": Choice((8, 16, 32, 64)),
    "gradient_steps": Choice((1, 2, 4, 8)),
    "learning_starts": Choice((64, 128, 256, 512, 1024)),
    "buffer_size": Choice((2_000, 10_000, 50_000)),
}
"""What every agent searches: how far it looks, and how much and on what it learns."""


def _learning(rate: float, **other: Any) -> dict[str, Any]:
    known = {"gamma": 0.95, "learning_rate": rate, "batch_size": 128, "train_freq": 8}
    known |= {"gradient_steps": 2, "learning_starts": 128, "buffer_size": 50_000}
    return known | other


def _agent(
    name: str,
    summary: str,
    space: dict[str, Parameter],
    sets: tuple[dict[str, Any], ...],
    seconds: float,
) -> ModelSpec:
    form = Form(
        build="engines.models.rl_agents.training:AgentTraining",
        space=Space(space),
        defaults=sets[0],
        portfolio=sets[1:],
        # Steps cost, not rows.
        cost=Cost(seconds, 0.0, 0.0),
        fixed={"augmented": True},
        seed_argument="seed",
        resumes=True,
        prior=0.5,
    )
    return ModelSpec(
        name=name,
        family="rl_agents",
        summary=summary,
        package="stable_baselines3",
        install="pip install 'hyperion-tui[rl]'",
        trials=25,
        forms={"trading": form},
    )


_SAC_LAYERS = Choice(("[64, 64]", "[128, 128]", "[256, 256]", "[512, 256]", "[256, 256, 128]"))
_TD3_LAYERS = Choice(("[64, 64]", "[256, 256]", "[400, 300]", "[512, 256]"))

_SAC_DEFAULTS = {
    **{"hidden_dims": "[64, 64]", "activation": "relu", "tau": 0.005, "alpha": 0.01},
    **{"alpha_tuned": False, "risk_factor": 0.01, "reward_scaling": 1.0},
    **{"exploration_noise": 0.1, **_learning(1e-3)},
}
_TD3_DEFAULTS = {
    **{"actor_hidden": "[64, 64]", "critic_hidden": "[64, 64]", "tau": 0.005},
    **{"policy_noise": 0.2, "noise_clip": 0.5, "policy_delay": 2, "max_action": 1.0},
    **{"exploration_noise": 0.1, "action_noise": 0.1, **_learning(1e-3)},
}
_RAINBOW_DEFAULTS = {
    **{"hidden_size": 64, "num_layers": 2, "double_dqn": True, "dueling": True, "noisy": False},
    **{"prioritised": False, "n_steps": 1, "num_atoms": 1, "v_min": -4.0, "v_max": 4.0},
    **{"epsilon_decay": 1000, "target_update_interval": 256},
    # Values alone: on a known market they get as far as distributions, in a fraction of the time.
    # A batch is five times as many transitions, and updates are dear: more bars between them. At
    # twice this rate what the agent does swings from one look at it to the next.
    **_learning(5e-4, batch_size=64, train_freq=64, gradient_steps=8),
}
# A look further ahead or a larger network, with a slower rate; returns instead of values alone.
_SAC_SETS = (
    _SAC_DEFAULTS,
    _SAC_DEFAULTS | {"gamma": 0.99, "alpha": 0.05, "alpha_tuned": True, "learning_rate": 3e-4},
    _SAC_DEFAULTS | {"hidden_dims": "[128, 128]", "learning_rate": 3e-4},
)
_TD3_SETS = (
    _TD3_DEFAULTS,
    _TD3_DEFAULTS | {"gamma": 0.99, "learning_rate": 3e-4, "tau": 0.01},
    _TD3_DEFAULTS
    | {"actor_hidden": "[256, 256]", "critic_hidden": "[256, 256]", "learning_rate": 3e-4},
)
_OF_RETURNS = {"num_atoms": 51, "batch_size": 32}
_OF_THE_PAPER = {
    **{**_OF_RETURNS, "noisy": True, "prioritised": True, "n_steps": 3},
    **{"learning_rate": 2.5e-4, "train_freq": 32},
}
_RAINBOW_SETS = (
    _RAINBOW_DEFAULTS,
    _RAINBOW_DEFAULTS | _OF_RETURNS | {"learning_rate": 1e-3},
    {k: v for k, v in (_RAINBOW_DEFAULTS | _OF_THE_PAPER).items() if k != "epsilon_decay"},
)

MODELS = (
    _agent(
        "sac",
        "Soft Actor-Critic: any position, and a bonus for doubt",
        {
            "hidden_dims": _SAC_LAYERS,
            "activation": Choice(("relu", "tanh", "elu")),
            "tau": Float(1e-3, 0.05, log=True),
            "alpha": Float(0.003, 0.3, log=True),
            "alpha_tuned": Choice((False, True)),
            "risk_factor": Float(0.0, 0.1),
            "reward_scaling": Float(0.1, 2.0, log=True),
            "exploration_noise": Float(0.0, 0.3),
            **_LEARNING,
        },
        _SAC_SETS,
        8.0,
    ),
    _agent(
        "td3",
        "Twin Delayed DDPG: any position, by the lower of two critics",
        {
            "actor_hidden": _TD3_LAYERS,
            "critic_hidden": _TD3_LAYERS,
            "tau": Float(1e-3, 0.05, log=True),
            "policy_noise": Float(0.0, 0.3),
            "noise_clip": Float(0.3, 0.7),
            "policy_delay": Int(1, 4),
            "max_action": Float(0.5, 2.0),
            "exploration_noise": Float(0.05, 0.5),
            "action_noise": Float(0.0, 0.3),
            **_LEARNING,
        },
        _TD3_SETS,
        5.0,
    ),
    _agent(
        "rainbow_dqn",
        "Rainbow DQN: one of five positions, by the odds of each",
        {
            "hidden_size": Choice((64, 128, 256, 512, 1024)),
            "num_layers": Int(2, 4),
            "double_dqn": Choice((True, False)),
            "dueling": Choice((True, False)),
            "noisy": Choice((True, False)),
            "prioritised": Choice((True, False)),
            "n_steps": Int(1, 5),
            "num_atoms": Choice((1, 51, 101)),
            "v_min": Float(-10.0, -1.0),
            "v_max": Float(1.0, 10.0),
            "epsilon_decay": Int(500, 2000, when={"noisy": (False,)}),
            "target_update_interval": Choice((64, 128, 256, 512, 1024)),
            **_LEARNING,
        },
        _RAINBOW_SETS,
        8.0,
    ),
)
