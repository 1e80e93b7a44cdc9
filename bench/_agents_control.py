"""Rainbow on CartPole-v1: a problem that every agent of its kind must solve, 500 at the best.

The mean return of 20 episodes without exploration, each from a start of its own, at several
numbers of steps; the last is held to the bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import _common
import gymnasium
import numpy as np
import torch
from _agents_exam import Exam
from stable_baselines3.common.utils import LinearSchedule

from engines.models.rl_agents.rainbow import RainbowDQN

EPISODES, LEAST = 20, 475.0
STEPS = (10_000, 20_000, 30_000, 40_000, 50_000)
FIRST_START = 10_000
"""Seeds of the starts that agents are judged by; none of them is a seed of a training."""

ARGUMENTS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "buffer_size": 50_000,
    "learning_starts": 1_000,
    "batch_size": 64,
    "train_freq": 4,
    "gradient_steps": 2,
    "target_update_interval": 500,
    "gamma": 0.99,
    "n_atoms": 51,
    "v_min": 0.0,
    "v_max": 100.0,
    "sigma0": 0.5,
    "n_steps": 3,
    "double": True,
    "dueling": True,
    "noisy": True,
    "prioritised": True,
    "policy_kwargs": {"net_arch": [128, 128], "optimizer_kwargs": {"fused": True}},
}
"""A return of 1 a step is worth 100 at gamma 0.99. The learning rate falls to a tenth. Chosen on
seed 10. Seed 1 had been looked at before gamma went from 0.98 back to 0.99."""


def returns_of(model: Any, episodes: int = EPISODES) -> list[float]:
    """The return of each episode, played side by side until all have ended."""
    envs = [gymnasium.make("CartPole-v1") for _ in range(episodes)]
    seen = np.array([env.reset(seed=FIRST_START + i)[0] for i, env in enumerate(envs)])
    total, going = np.zeros(episodes), list(range(episodes))
    while going:
        actions, _ = model.predict(seen[going], deterministic=True)
        for at, action in zip(list(going), actions, strict=True):
            seen[at], reward, terminated, truncated, _ = envs[at].step(int(action))
            total[at] += float(reward)
            if terminated or truncated:
                going.remove(at)
    return [float(one) for one in total]


def measure(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train the agent of a cell and play at each of its steps."""
    torch.set_num_threads(1)
    given = dict(cell["arguments"])
    rate = given.pop("learning_rate")
    falling = LinearSchedule(rate, rate / 10, 1.0)
    model = RainbowDQN(
        "MlpPolicy", "CartPole-v1", learning_rate=falling, seed=cell["seed"], device="cpu", **given
    )
    exam = Exam(cell["steps"], lambda: _score(returns_of(model)))
    model.learn(max(cell["steps"]), callback=exam)
    return exam.found


def _score(returns: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(returns)), "worst": min(returns)}


def cells_of(part: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One cell a seed."""
    what = {"part": part, "name": "cartpole", "arguments": ARGUMENTS, "steps": list(STEPS)}
    return [{**what, "seed": seed} for seed in seeds]


def show(part: str, taken: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, bool | None]]:
    """Mean returns by steps, and the last of each seed against the bar."""
    lines, rows = [], []
    for one in taken:
        seed, found = one["cell"]["seed"], one["result"]
        older = "older code" if one["older"] else ""
        lines.append([f"seed {seed}", *(row["mean"] for row in found), found[-1]["cpu_s"], older])
        mean = found[-1]["mean"]
        what = f"Rainbow, CartPole-v1 at {found[-1]['steps']} steps, seed {seed}"
        rows.append((what, f">= {LEAST:g}", f"{mean:.1f}", mean >= LEAST))
    _common.print_table(["mean return at", *map(str, STEPS), "CPU s", ""], lines)
    return rows
