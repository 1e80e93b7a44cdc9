"""Agents on the market whose best policy is known (`simulator.oracle`) at 10 bp, and a pendulum.

  learning  growth and Sharpe ratio on 5,000 bars of another path, as fractions of what the best
            policy has on the same bars, by steps: SAC and TD3 by the program's own training and
            declared defaults; stable-baselines3's DQN on our environment; a new random action at
            every bar, and the toss of a coin that is kept for 10 bars on average (a baseline of
            the program, which trades too little to lose for sure on so few bars).
  race      processor time of training until 0.9 of the optimum's growth: the program's own training
            beside the loop that anybody would write with stable-baselines3 (one account in its
            wrapper, its own replay). Each is examined every so many steps on bars apart from those
            of `learning`, in time that does not count; who does not get there counts with what it
            has spent.
  pendulum  whether SAC and TD3 still are what stable-baselines3 publishes: Pendulum-v1, the
            classes of this program without our replay, 20,000 steps, nets of 64 x 64.

An agent sees the signal, the last return, four columns of noise, its position and its drawdown.
Defaults were chosen on other paths (seeds from 500 on).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

import _common
import numpy as np
import torch

from engines.models.rl_agents.declare import MODELS
from simulator.bars import Bars
from simulator.costs import Costs
from simulator.market import Market, Reward, build_market
from simulator.oracle import BestPolicy, OrnsteinUhlenbeck, solve
from simulator.simulator import backtest
from simulator.synthetic import ornstein_uhlenbeck

Row = tuple[str, str, str, bool | None]
"""What, its bar, what was measured, and whether it holds (None: no bar)."""

Cell = Mapping[str, Any]

COST = 0.001
TRAIN_BARS, TEST_BARS = 5_000, 5_100
GOAL = 0.9
LEARNING = {
    "td3": (1_000, 3_000),
    "sac": (1_000, 3_000, 5_000),
    "rainbow_dqn": (1_000, 3_000),
    "dqn": (3_000, 10_000),
    "random": (0,),
    "coin": (0,),
}
"""Agents, and the steps after which they are examined."""

RACES = {
    "rainbow_dqn": {"ours": 512, "plain": 500, "most": 10_000},
    "td3": {"ours": 512, "plain": 500, "most": 4_000},
}
"""Agents, steps between two examinations, and the steps after which the race is given up."""

PLAIN = {
    "dqn": {
        **{"learning_rate": 2.5e-4, "batch_size": 64, "target_update_interval": 250},
        **{"learning_starts": 100, "gamma": 0.95},
    },
    "td3": {"learning_rate": 1e-3, "batch_size": 128, "gamma": 0.95, "learning_starts": 100},
}
"""What the plain loops are given: the learning rates that were best for them in their own trials,
and for the rest what the program's own agents have."""

EXPLORING = 1_000
"""Steps until a plain DQN takes 5 % of its actions at random."""

PUBLISHED = {"sac": (-157, 89), "td3": (-152, 90)}
"""Pendulum-v1 at 20,000 steps, mean and deviation over episodes (rl-baselines3-zoo)."""


@cache
def best_policy() -> BestPolicy:
    """The best there is at 10 bp."""
    return solve(OrnsteinUhlenbeck(), COST)


def market_of(seed: int, bars: int, reward: Reward | None = None) -> Market:
    """A path, and what an agent sees of it."""
    path: Bars = ornstein_uhlenbeck(bars, seed=seed)
    rng = np.random.default_rng([seed, 1])
    noise = {f"noise_{n}": rng.standard_normal(bars) for n in range(4)}
    path = dataclasses.replace(path, columns={**path.columns, **noise})
    costs = Costs(transaction_cost=COST)
    return build_market(path, costs=costs, features=["signal", "return_1", *noise], reward=reward)


def fractions(positions: Any, market: Market) -> dict[str, float]:
    """Growth and Sharpe ratio of positions, as fractions of those of the best policy."""
    best = backtest(best_policy().positions_on(market.bars), market).returns
    own = backtest(positions, market).returns
    spread = own.std(ddof=1)
    ratio = own.mean() / spread if spread else 0.0
    return {
        "growth": float(np.log1p(own).mean() / np.log1p(best).mean()),
        "sharpe": float(ratio / (best.mean() / best.std(ddof=1))),
    }


# -- agents: each is trained on to a number of steps, and says what positions it takes -------


def declared(agent: str) -> dict[str, Any]:
    """The defaults of an agent of the program."""
    form = {spec.name: spec.forms["trading"] for spec in MODELS}[agent]
    return {**form.defaults, **form.fixed}


class Ours:
    """The program's own training."""

    def __init__(self, cell: Cell, market: Market, steps: int) -> None:
        from engines.models.rl_agents.training import AgentTraining

        agent, seed = cell["agent"], cell["seed"]
        self._training = AgentTraining(agent, cell["params"], market, seed, steps=steps)

    def advance(self, steps: int) -> None:
        self._training.advance(steps)

    def positions(self, market: Market) -> Any:
        return self._training.policy().positions(market)


class Plain:
    """stable-baselines3 alone. wrapped: in its own wrapper of environments, or in ours."""

    def __init__(self, agent: str, market: Market, seed: int, steps: int, wrapped: bool) -> None:
        import stable_baselines3 as sb3
        from stable_baselines3.common.logger import Logger
        from stable_baselines3.common.noise import NormalActionNoise
        from stable_baselines3.common.vec_env import DummyVecEnv

        from simulator.environment import TradingEnv
        from simulator.sb3 import TradingVecEnv

        actions = 5 if agent == "dqn" else "continuous"
        how: dict[str, Any] = {"actions": actions, "episode_bars": 250}
        market = dataclasses.replace(market, parameters=market.parameters.copy())
        Reward(unit="volatility").write(market.parameters, market.bars)
        if wrapped:
            env: Any = DummyVecEnv([lambda: TradingEnv(market, **how)])
        else:
            env = TradingVecEnv(market, 1, **how, seed=seed)
        arguments = {**PLAIN[agent], "policy_kwargs": {"net_arch": [64, 64]}, "seed": seed}
        if agent == "td3":
            arguments["action_noise"] = NormalActionNoise(np.zeros(1), np.full(1, 0.1))
        if agent == "dqn":
            arguments["exploration_fraction"] = EXPLORING / steps
        kind = {"dqn": sb3.DQN, "td3": sb3.TD3}[agent]
        self._model = kind("MlpPolicy", env, device="cpu", **arguments)
        self._agent = agent
        # No folder for a log that nobody reads.
        self._model.set_logger(Logger(folder=None, output_formats=[]))
        # `learn` begins its schedules anew at every call: this is its loop, with a pause.
        _, self._callback = self._model._setup_learn(steps, None)

    def advance(self, steps: int) -> None:
        model = self._model
        while model.num_timesteps < steps:
            model.collect_rollouts(
                model.env,
                self._callback,
                model.train_freq,
                model.replay_buffer,
                model.action_noise,
                model.learning_starts,
                4,
            )
            if model.num_timesteps > model.learning_starts:
                model.train(model.gradient_steps, model.batch_size)

    def positions(self, market: Market) -> Any:
        from torch import nn

        from engines.models.rl_agents.policy import AgentPolicy, Card

        model = self._model
        stack = model.q_net.q_net if self._agent == "dqn" else model.actor.mu
        layers = [
            (one.weight.detach().numpy(), one.bias.detach().numpy())
            for one in stack
            if isinstance(one, nn.Linear)
        ]
        levels = tuple(np.linspace(-1.0, 1.0, 5)) if self._agent == "dqn" else ()
        part = "advantage" if levels else "actor"
        seen = (market.window, market.feature_names)
        card = Card(self._agent, "relu", 1.0, levels, None, *seen)
        return AgentPolicy(card, {part: layers}).positions(market)


# -- cells -----------------------------------------------------------------------------------


def learning(cell: Cell) -> list[dict[str, Any]]:
    """Fractions after each number of steps, and processor seconds of the training until then."""
    seed, stops = cell["seed"], cell["steps"]
    test = market_of(1_000 + seed, TEST_BARS)
    if cell["agent"] == "random":
        asked = np.random.default_rng(seed).uniform(-1.0, 1.0, len(test.bars))
        return [fractions(asked, test)]
    if cell["agent"] == "coin":
        from simulator.baselines import BASELINES

        return [fractions(BASELINES["random"](len(test.bars), seed=seed), test)]
    train = market_of(seed, TRAIN_BARS)
    if cell["agent"] == "dqn":
        agent: Any = Plain("dqn", train, seed, stops[-1], wrapped=False)
    else:
        agent = Ours(cell, train, stops[-1])
    curve, spent = [], 0.0
    for stop in stops:
        spent += processor_s(lambda stop=stop: agent.advance(stop))
        curve.append({"steps": stop, "cpu_s": spent, **fractions(agent.positions(test), test)})
    return curve


def race(cell: Cell) -> dict[str, Any]:
    """Steps and processor seconds until the goal, by the program and by the plain loop."""
    seed, most = cell["seed"], cell["most"]
    exam, train = market_of(2_000 + seed, TEST_BARS), market_of(seed, TRAIN_BARS)
    plain = "dqn" if cell["agent"] == "rainbow_dqn" else cell["agent"]
    runners = {
        "ours": Ours(cell, train, most),
        "plain": Plain(plain, train, seed, most, wrapped=True),
    }
    found = {}
    for who, agent in runners.items():
        spent, stop, growth = 0.0, 0, 0.0
        while growth < GOAL and stop < most:
            stop += cell[who]
            spent += processor_s(lambda stop=stop, agent=agent: agent.advance(stop))
            growth = fractions(agent.positions(exam), exam)["growth"]
        found[who] = {"steps": stop, "cpu_s": spent, "growth": growth, "there": growth >= GOAL}
    return {**found, "ratio": found["ours"]["cpu_s"] / found["plain"]["cpu_s"]}


def pendulum(cell: Cell) -> dict[str, Any]:
    """Mean and deviation of the return of 20 episodes without exploration."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.noise import NormalActionNoise

    from engines.models.rl_agents.continuous import TradingSAC, TradingTD3

    arguments: dict[str, Any] = {"learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}}
    kind = TradingSAC
    if cell["agent"] == "td3":
        kind = TradingTD3
        noise = NormalActionNoise(np.zeros(1), np.full(1, 0.1))
        arguments |= {"gamma": 0.98, "learning_starts": 10_000, "action_noise": noise}
    env = make_vec_env("Pendulum-v1", seed=cell["seed"])
    model = kind("MlpPolicy", env, seed=cell["seed"], device="cpu", augmented=False, **arguments)
    spent = processor_s(lambda: model.learn(cell["steps"]))
    exam = make_vec_env("Pendulum-v1", n_envs=20, seed=100 + cell["seed"])
    seen, total = exam.reset(), np.zeros(20)
    for _step in range(200):
        seen, rewards, _, _ = exam.step(model.predict(seen, deterministic=True)[0])
        total += rewards
    return {"mean": float(total.mean()), "deviation": float(total.std()), "cpu_s": spent}


MEASURES = {"learning": learning, "race": race, "pendulum": pendulum}


def measure(cell: Cell) -> Any:
    """The result of a cell."""
    torch.set_num_threads(1)
    return MEASURES[cell["part"]](cell)


def cells_of(part: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The cells of a part, with all that their numbers depend on beside the code.

    The pendulum has the first seed alone: its 20,000 steps are dear.
    """
    if part == "pendulum":
        return [
            {"part": part, "name": agent, "agent": agent, "seed": seeds[0], "steps": 20_000}
            for agent in PUBLISHED
        ]
    settings: dict[str, dict[str, Any]] = RACES
    if part == "learning":
        settings = {agent: {"steps": list(steps)} for agent, steps in LEARNING.items()}
    return [
        {"part": part, "name": agent, "agent": agent, "seed": seed, **own, **_params(agent)}
        for agent, own in settings.items()
        for seed in seeds
    ]


def _params(agent: str) -> dict[str, Any]:
    ours = agent in {spec.name for spec in MODELS}
    return {"params": declared(agent)} if ours else {}


def processor_s(work: Callable[[], object]) -> float:
    """Processor seconds of this process: the machine may do other things as well."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


# -- tables ----------------------------------------------------------------------------------

BARS = {
    ("td3", 3_000): {"growth": 0.6, "sharpe": 0.75},
    ("sac", 5_000): {"sharpe": 0.75},
    ("dqn", 10_000): {"growth": 0.8},
    ("random", 0): {"growth": 0.0},
}
"""Least fractions, in 2 of 3 seeds; of random actions the growth must be below, in all."""


def show_learning(taken: Sequence[Cell]) -> list[Row]:
    """A line an agent and number of steps; rows for those that are held to a bar."""
    lines, rows = [], []
    for agent, ones in _by_agent(taken).items():
        for place, stop in enumerate(ones[0]["cell"]["steps"]):
            points = [one["result"][place] for one in ones]
            growth, sharpe = ([point[key] for point in points] for key in ("growth", "sharpe"))
            cpu = median(point.get("cpu_s", 0.0) for point in points)
            lines.append([agent, stop, _listed(growth), _listed(sharpe), cpu, _older(ones)])
            for key, least in BARS.get((agent, stop), {}).items():
                values = [point[key] for point in points]
                rows.append(_held(agent, key, stop, least, values))
    head = ["part of the optimum", "steps", "growth", "Sharpe ratio", "CPU s", ""]
    _common.print_table(head, lines)
    return rows


def _held(agent: str, key: str, stop: int, least: float, values: Sequence[float]) -> Row:
    """The values of all seeds beside their bar."""
    if agent == "random":
        return ("random, growth", "< 0", _listed(values), max(values) < least)
    what = f"{agent}, {key} after {stop:,} steps"
    enough = sum(value >= least for value in values) >= 2
    return (what, f">= {least} in 2 of 3", _listed(values), enough)


def show_race(taken: Sequence[Cell]) -> list[Row]:
    """Steps and seconds of both, and the ratio."""
    lines: list[list[object]] = []
    rows: list[Row] = []
    for agent, ones in _by_agent(taken).items():
        for one in ones:
            line: list[object] = [f"{agent}, seed {one['cell']['seed']}"]
            for who in ("ours", "plain"):
                own = one["result"][who]
                line += [own["steps"], own["cpu_s"], own["growth"]]
            lines.append([*line, one["result"]["ratio"], _older([one])])
        results = [one["result"] for one in ones]
        ratio = median(one["ratio"] for one in results)
        there = all(one["ours"]["there"] for one in results)
        bar = "<= 0.4 x" if agent == "rainbow_dqn" else ""
        held = ratio <= 0.4 and there if bar else None
        late = sum(not one["plain"]["there"] for one in results)
        text = f"{ratio:.2f} x" + (f", {late} of {len(ones)} plain loops not there" * (late > 0))
        rows.append((f"{agent}, time to {GOAL} of the growth, median", bar, text, held))
    head = ["race", "ours: steps", "CPU s", "growth", "plain: steps", "CPU s", "growth", "ratio"]
    _common.print_table([*head, ""], lines)
    return rows


def show_pendulum(taken: Sequence[Cell]) -> list[Row]:
    """Returns beside the published ones."""
    rows: list[Row] = []
    for one in taken:
        agent, found = one["cell"]["agent"], one["result"]
        mean, deviation = PUBLISHED[agent]
        text = f"{found['mean']:.0f} +- {found['deviation']:.0f}"
        bar = f">= {mean - deviation} ({mean} +- {deviation})"
        rows.append((f"Pendulum-v1, {agent}", bar, text, found["mean"] >= mean - deviation))
    return rows


def _by_agent(taken: Sequence[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for one in taken:
        found.setdefault(one["cell"]["agent"], []).append(one)
    return found


def _older(ones: Sequence[Cell]) -> str:
    return "older code" if any(one["older"] for one in ones) else ""


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


SHOWN = {"learning": show_learning, "race": show_race, "pendulum": show_pendulum}


def show(part: str, taken: Sequence[Cell]) -> list[Row]:
    """Print the table of a part, and return the rows of its bars."""
    return SHOWN[part](taken)
