"""Rainbow and plain DQN on the market whose best policy is known (`simulator.oracle`), at 10 bp.

An agent sees the signal, the last return, four columns of noise, its position and its drawdown. It
learns on one path and trades 5,000 bars of another one; its growth and Sharpe ratio there are given
as fractions of those that the best policy has on the same bars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import _common
import numpy as np
import torch
from _agents_exam import Exam
from stable_baselines3.dqn.dqn import DQN

from engines.models.rl_agents.rainbow import RainbowDQN
from simulator import core
from simulator import layout as at
from simulator.bars import Bars
from simulator.costs import Costs
from simulator.market import Market, Reward, build_market
from simulator.metrics import sharpe_ratio
from simulator.oracle import OrnsteinUhlenbeck, solve
from simulator.sb3 import TradingVecEnv
from simulator.simulator import backtest
from simulator.synthetic import ornstein_uhlenbeck
from simulator.vector import Accounts

COST = 0.001
LEVELS = 5
FEATURES = ["signal", "last", *(f"noise{i}" for i in range(4))]
TRAIN_BARS, TEST_BARS = 10_100, 5_000
STEPS = (1_000, 2_000, 3_000, 5_000, 10_000)

PLAIN: dict[str, Any] = {
    **{"learning_rate": 2.5e-4, "buffer_size": 10_000, "learning_starts": 100, "batch_size": 64},
    "target_update_interval": 250,
}
"""For stable-baselines3's DQN; what is not named is its default."""

OFF = {"n_atoms": 1, "double": False, "dueling": False, "noisy": False, "prioritised": False}
HALF_WIDTH = 4 / (1 - 0.95**2) ** 0.5
"""Four standard deviations of the return of rewards of deviation 1, at gamma 0.95."""

EVERY_PART: dict[str, Any] = {
    **PLAIN,
    **{"gamma": 0.95, "n_atoms": 51, "v_min": -HALF_WIDTH, "v_max": HALF_WIDTH},
    **{"double": True, "dueling": True, "noisy": True, "sigma0": 0.1, "n_steps": 3},
    **{"prioritised": True, "policy_kwargs": {"optimizer_kwargs": {"fused": True}}},
}
RAINBOW = {**EVERY_PART, "noisy": False, "n_steps": 1}
"""Without augmentation: what follows a stored action was decided by an older policy that explored,
and returns of several steps charge its costs to that action; little noise explores too little."""

AUGMENTED = {**EVERY_PART, "augmented": True, "batch_size": 32}

Agents = dict[str, tuple[str, dict[str, Any]]]
AGENTS: Agents = {
    "dqn": ("dqn", PLAIN),
    "rainbow": ("rainbow", RAINBOW),
    "dqn-augmented": ("rainbow", PLAIN | OFF | {"n_steps": 1, "augmented": True, "batch_size": 32}),
    "rainbow-augmented": ("rainbow", AUGMENTED),
}
ABLATIONS: Agents = {
    "plain": ("rainbow", RAINBOW),
    "plain-noisy": ("rainbow", {**RAINBOW, "noisy": True}),
    "plain-3-steps": ("rainbow", {**RAINBOW, "n_steps": 3}),
    "plain-uniform": ("rainbow", {**RAINBOW, "prioritised": False}),
    "augmented": ("rainbow", AUGMENTED),
    "augmented-values": ("rainbow", {**AUGMENTED, "n_atoms": 1}),
    "augmented-single": ("rainbow", {**AUGMENTED, "double": False}),
    "augmented-one-stream": ("rainbow", {**AUGMENTED, "dueling": False}),
    "augmented-epsilon": ("rainbow", {**AUGMENTED, "noisy": False}),
    "augmented-sigma-0.5": ("rainbow", {**AUGMENTED, "sigma0": 0.5}),
    "augmented-1-step": ("rainbow", {**AUGMENTED, "n_steps": 1}),
    "augmented-uniform": ("rainbow", {**AUGMENTED, "prioritised": False}),
}
BARS = {
    ("dqn", 10_000): 0.8,
    ("rainbow-augmented", 3_000): 0.85,
    ("rainbow-augmented", 10_000): 0.9,
}
"""Fractions of the best growth, to be reached by two seeds of three."""


def bars_of(count: int, seed: int) -> Bars:
    """A path with the columns that an agent sees."""
    bars = ornstein_uhlenbeck(count, seed=seed)
    noise = np.random.default_rng([seed, 1]).standard_normal((4, count))
    columns = {f"noise{i}": row for i, row in enumerate(noise)}
    columns["last"] = 100.0 * np.diff(np.log(bars.close), prepend=np.log(bars.open[0]))
    return dataclasses.replace(bars, columns={**bars.columns, **columns})


def market_of(bars: Bars) -> Market:
    """The market, rewards in units of its volatility."""
    costs, reward = Costs(transaction_cost=COST), Reward(unit="volatility")
    return build_market(bars, costs=costs, features=FEATURES, reward=reward)


def traded(model: Any, market: Market, parts: int = 1) -> Any:
    """Simple returns of the agent without exploration, over the market in `parts` accounts."""
    targets = tuple(np.linspace(-1.0, 1.0, LEVELS))
    accounts = Accounts(market, parts, targets, None, 10_000.0, None)
    cuts = np.linspace(market.first, market.last, parts + 1).astype(int)
    length = int(np.diff(cuts).min())
    accounts.states[:, at.BAR] = cuts[:-1]
    returns = np.empty((length, parts))
    seen = core.observe(market.table, accounts.states, market.window)
    with torch.no_grad():
        for row in range(length):
            actions = model.q_net(torch.as_tensor(seen)).argmax(dim=1).numpy()
            seen = accounts.step(actions)[0]
            returns[row] = accounts.states[:, at.RETURN]
    return returns.ravel(order="F")


def best_on(bars: Bars, market: Market) -> Any:
    """Simple returns of the best policy."""
    policy = solve(OrnsteinUhlenbeck(), COST)
    return backtest(policy.positions_on(bars), market, first=market.first).returns


def fractions(returns: Any, best: Any) -> dict[str, float | None]:
    """Growth and Sharpe ratio over those of the best policy; who never trades has no ratio."""
    ratio, of_best = sharpe_ratio(returns, 252.0), sharpe_ratio(best, 252.0)
    return {
        "growth": float(np.log1p(returns).mean() / np.log1p(best).mean()),
        "sharpe": None if ratio is None or of_best is None else ratio / of_best,
    }


def measure(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train the agent of a cell and trade the test bars at each of its steps."""
    torch.set_num_threads(1)
    test = bars_of(TEST_BARS, cell["test"])
    test_market = market_of(test)
    best = best_on(test, test_market)
    env = TradingVecEnv(market_of(bars_of(TRAIN_BARS, cell["train"])), 1, actions=LEVELS)
    kind = DQN if cell["agent"] == "dqn" else RainbowDQN
    model = kind("MlpPolicy", env, seed=cell["seed"], device="cpu", **cell["arguments"])
    exam = Exam(cell["steps"], lambda: fractions(traded(model, test_market), best))
    model.learn(max(cell["steps"]), callback=exam)
    return exam.found


def cells_of(part: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The cells of a part, with all that their numbers depend on beside the code."""
    agents, steps = (ABLATIONS, [3_000, 5_000]) if part == "ablation" else (AGENTS, list(STEPS))
    return [
        {
            **{"part": part, "name": name, "agent": agent, "arguments": arguments},
            **{"steps": steps, "seed": seed, "train": 100 + seed, "test": 200 + seed},
        }
        for name, (agent, arguments) in agents.items()
        for seed in seeds
    ]


def show(part: str, taken: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, bool | None]]:
    """Fractions of the best policy by agent and steps; the second best seed against the bar."""
    lines, rows = [], []
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for one in taken:
        by_name.setdefault(one["cell"]["name"], []).append(one)
    for name, ones in by_name.items():
        for number, row in enumerate(ones[0]["result"]):
            found = [one["result"][number] for one in ones]
            growth = [each["growth"] for each in found]
            lines.append([name, row["steps"], _listed(growth)])
            lines[-1] += [_listed(each["sharpe"] for each in found)]
            lines[-1] += [np.mean([each["cpu_s"] for each in found])]
            lines[-1] += ["older code" if any(one["older"] for one in ones) else ""]
            bar = BARS.get((name, row["steps"])) if part == "rainbow" else None
            if bar is not None and len(growth) > 1:
                second = sorted(growth)[-2]
                what = f"{name}, share of the best growth at {row['steps']} steps"
                rows.append((what, f">= {bar:g}", f"{second:.2f}", second >= bar))
    _common.print_table(["", "steps", "growth by seed", "Sharpe by seed", "CPU s", ""], lines)
    return rows


def _listed(values: Iterable[float | None]) -> str:
    return " ".join("-" if value is None else f"{value:.2f}" for value in values)
