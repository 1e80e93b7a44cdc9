"""The targets that a Rainbow agent learns from, against loops that do one thing at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

# ruff: noqa: E402 - what follows needs torch and stable-baselines3, which are extras.
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.models.rl_agents.priorities import PrioritisedReplay
from engines.models.rl_agents.rainbow import project


def projected_one_by_one(chances, rewards, discounts, support):
    """Algorithm 1 of Bellemare et al. 2017, atom by atom."""
    rows, atoms = chances.shape
    low, high = support[0], support[-1]
    step = (high - low) / (atoms - 1)
    found, beyond = np.zeros((rows, atoms)), np.zeros(rows)
    for row in range(rows):
        for atom in range(atoms):
            value = rewards[row, 0] + discounts[row, 0] * support[atom]
            if not low <= value <= high:
                beyond[row] += chances[row, atom]
            place = (min(max(value, low), high) - low) / step
            under, over = math.floor(place), math.ceil(place)
            if under == over:
                found[row, under] += chances[row, atom]
            else:
                found[row, under] += chances[row, atom] * (over - place)
                found[row, min(over, atoms - 1)] += chances[row, atom] * (place - under)
    return found, beyond


def random_case(seed: int, atoms: int, width: float):
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(atoms), 8)
    rewards = rng.normal(0.0, width, (8, 1))
    discounts = rng.choice([0.0, 0.9, 0.99, 1.0], (8, 1))
    support = torch.linspace(-width, 1.5 * width, atoms, dtype=torch.float64).numpy()
    return chances, rewards, discounts, support


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([0.5, 3.0, 40.0]))
def test_the_projection_is_that_of_a_loop_over_atoms(seed, atoms, width):
    case = random_case(seed, atoms, width)

    found, beyond = project(*map(torch.as_tensor, case))

    wanted, wanted_beyond = projected_one_by_one(*case)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)
    np.testing.assert_allclose(beyond.numpy(), wanted_beyond, atol=1e-12)


def test_the_projection_moves_the_mean_as_a_return_does_unless_it_is_clipped():
    chances, _, _, support = map(torch.as_tensor, random_case(1, 51, 10.0))
    inner = chances.clone()
    inner[:, :15] = inner[:, -15:] = 0.0
    inner /= inner.sum(dim=1, keepdim=True)
    reward, discount = torch.full((8, 1), 0.7), torch.full((8, 1), 0.9)

    found, beyond = project(inner, reward.double(), discount.double(), support)

    assert beyond.abs().max() == 0.0
    assert torch.allclose(found @ support, 0.7 + 0.9 * (inner @ support), atol=1e-6)


def test_a_return_on_an_atom_stays_whole_and_one_beyond_the_end_goes_to_the_end():
    support = torch.linspace(-2.0, 2.0, 5)
    chances = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]] * 3)
    rewards, ended = torch.tensor([[1.0], [2.0], [-9.0]]), torch.zeros(3, 1)

    found, beyond = project(chances, rewards, ended, support)

    assert found.tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    assert beyond.tolist() == [0.0, 0.0, 1.0]


def filled(size: int, envs: int, steps: int, count: int, seed: int = 0) -> PrioritisedReplay:
    """A buffer after `count` steps with ends and time-outs here and there."""
    rng = np.random.default_rng(seed)
    replay = PrioritisedReplay(
        size * envs, spaces.Box(-9.0, 9.0, (1,)), spaces.Discrete(3), device="cpu",
        n_envs=envs, n_steps=steps, gamma=0.9, alpha=0.5,
    )  # fmt: skip
    for step in range(count):
        ends = rng.random(envs) < 0.25
        cut = ends & (rng.random(envs) < 0.5)
        infos = [{"TimeLimit.truncated": bool(one)} for one in cut]
        seen = np.full((envs, 1), float(step))
        actions, rewards = rng.integers(0, 3, envs), rng.normal(size=envs)
        replay.add(seen, seen + 0.5, actions, rewards, ends, infos)
    return replay


def return_by_hand(replay, row: int, env: int):
    """(return, discount, terminal, row of the last transition) of one transition, step by step."""
    newest = (replay.pos - 1) % replay.buffer_size
    total, weight = 0.0, 1.0
    for step in range(replay.n_steps):
        at = (row + step) % replay.buffer_size
        total += weight * float(replay.rewards[at, env])
        weight *= replay.gamma
        if replay.dones[at, env] or at == newest:
            break
    terminal = bool(replay.dones[at, env]) and not replay.timeouts[at, env]
    return total, weight, terminal, at


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(("envs", "count"), [(1, 9), (1, 30), (3, 7), (3, 27)])
def test_returns_of_n_steps_are_those_of_a_loop(steps, envs, count):
    replay = filled(13, envs, steps, count)
    rows, columns = map(np.ravel, np.indices((replay.size(), envs)))

    found = replay.gather(rows, columns)

    for at, (row, env) in enumerate(zip(rows, columns, strict=True)):
        total, weight, terminal, last = return_by_hand(replay, row, env)
        assert found.rewards[at].item() == pytest.approx(total, abs=1e-6)
        assert found.discounts[at].item() == pytest.approx(weight, rel=1e-6)
        assert bool(found.dones[at]) == terminal
        assert found.observations[at] == replay.observations[row, env]
        assert found.next_observations[at] == replay.next_observations[last, env]
        assert found.actions[at] == replay.actions[row, env]


def test_returns_of_n_steps_are_those_of_stable_baselines3():
    from stable_baselines3.common.buffers import NStepReplayBuffer

    replay = filled(50, 1, 3, 80)
    rows = np.arange(50)

    ours, theirs = (
        replay.gather(rows, np.zeros(50, int)),
        NStepReplayBuffer._get_samples(replay, rows),
    )

    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.double(), other.double(), atol=1e-6)
