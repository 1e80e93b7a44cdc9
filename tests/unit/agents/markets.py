"""Small markets and parameters for tests of agents."""

from __future__ import annotations

from typing import Any

from engines.models.rl_agents.declare import MODELS
from simulator.costs import Costs
from simulator.market import Market, build_market
from simulator.synthetic import ornstein_uhlenbeck

AGENTS = ("sac", "td3", "rainbow_dqn")
FORMS = {spec.name: spec.forms["trading"] for spec in MODELS}


def mean_reverting(bars: int = 400, seed: int = 0, **how: Any) -> Market:
    """A market whose price is pulled home at 10 bp; agents see how far it is from there."""
    how = {"costs": Costs(transaction_cost=0.001), "features": ["signal", "return_1"]} | how
    return build_market(ornstein_uhlenbeck(bars, seed=seed), **how)


def small(agent: str, **other: Any) -> dict[str, Any]:
    """The defaults of an agent, made to learn early and little."""
    return {
        **FORMS[agent].defaults,
        **{"learning_starts": 64, "batch_size": 64, "train_freq": 16, "gradient_steps": 2},
        **other,
    }
