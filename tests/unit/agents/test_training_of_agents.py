"""Training that is cut, packed and taken up again; and that it learns what is there to learn."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from stable_baselines3 import SAC, TD3  # noqa: E402

from engines.data.scoring import ScoreError  # noqa: E402
from engines.models.rl_agents import mapping  # noqa: E402
from engines.models.rl_agents.continuous import ContinuousReplay, TradingSAC, TradingTD3  # noqa: E402
from engines.models.rl_agents.training import AgentTraining  # noqa: E402
from simulator import core  # noqa: E402
from simulator import layout as at  # noqa: E402
from simulator.market import Reward  # noqa: E402
from simulator.oracle import OrnsteinUhlenbeck, solve  # noqa: E402
from simulator.sb3 import TradingVecEnv  # noqa: E402
from simulator.simulator import backtest  # noqa: E402
from tests.unit.agents.markets import AGENTS, mean_reverting, small  # noqa: E402

STEPS = 192
WAYS = [
    *((agent, {}) for agent in AGENTS),
    ("sac", {"alpha_tuned": True}),
    ("td3", {"augmented": False}),
    ("rainbow_dqn", {"noisy": True, "prioritised": True, "n_steps": 3}),
    ("rainbow_dqn", {"prioritised": True, "augmented": False}),
    ("rainbow_dqn", {"prioritised": False, "augmented": False, "buffer_size": 128}),
]
"""Agents, and what is unlike the defaults: each keeps other things that must not be lost."""


@pytest.fixture(scope="module")
def market():
    return mean_reverting()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(training: AgentTraining) -> bytes:
    """All weights of an agent, targets too."""
    state = training._model.policy.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


@pytest.mark.parametrize(("agent", "other"), WAYS)
def test_a_training_goes_on_bit_for_bit_in_another_process_however_it_was_cut(market, agent, other):
    params = small(agent, **other)
    whole = AgentTraining(agent, params, market, 5, steps=STEPS)
    whole.advance(STEPS)
    if agent != "rainbow_dqn":
        augmented = isinstance(whole._model.replay_buffer, ContinuousReplay)
        assert augmented == params.get("augmented", True)
    parts = AgentTraining(agent, params, market, 5, steps=STEPS)
    parts.advance(70)
    parts.advance(120)
    state = parts.pack()
    _stir_global_generators()
    again = AgentTraining.unpack(state, agent, params, market, 5, steps=STEPS)

    assert again.pack() == state
    for training in (parts, again):
        training.advance(STEPS)
        assert weights(training) == weights(whole)
        assert training.steps_done == whole.steps_done
    assert again.pack() == whole.pack()


def test_a_seed_decides_all(market):
    def trained(seed: int) -> bytes:
        training = AgentTraining("td3", small("td3"), market, seed, steps=160)
        training.advance(160)
        return weights(training)

    assert trained(1) == trained(1) != trained(2)


def test_a_training_stops_at_its_last_step(market):
    training = AgentTraining("td3", small("td3"), market, 1, steps=100)
    training.advance(10**9)

    assert 100 <= training.steps_done < 100 + small("td3")["train_freq"]


def test_the_global_generators_are_left_as_they_were(market):
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)

    training = AgentTraining("sac", small("sac"), market, 1, steps=160)
    training.advance(160)
    AgentTraining.unpack(training.pack(), "sac", small("sac"), market, 1, steps=160)

    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_a_state_holds_what_is_filled_of_the_replay_and_no_more(market):
    def packed(buffer: int) -> bytes:
        params = small("sac", buffer_size=buffer)
        training = AgentTraining("sac", params, market, 1, steps=10_000)
        training.advance(64)
        return training.pack()

    assert len(packed(9_000)) == pytest.approx(len(packed(500)), rel=0.02)


def test_a_state_of_another_training_is_refused(market):
    state = AgentTraining("td3", small("td3"), market, 1, steps=100).pack()
    same: dict[str, Any] = {"steps": 100}
    for params, bars, seed, how in (
        (small("td3", gamma=0.97), market, 1, same),
        (small("td3"), mean_reverting(seed=9), 1, same),
        (small("td3"), market, 2, same),
        (small("td3"), market, 1, {"steps": 200}),
    ):
        with pytest.raises(ValueError, match="not of this td3 training"):
            AgentTraining.unpack(state, "td3", params, bars, seed, **how)


def test_a_damaged_state_is_refused_and_never_run(market):
    state = AgentTraining("td3", small("td3"), market, 1, steps=100).pack()
    middle = len(state) // 2
    for broken in (
        b"",
        state[:middle],
        state[:middle] + b"\0\0\0" + state[middle + 3 :],
        zlib.compress(b"cos\nsystem\n(S'false'\ntR."),
    ):
        with pytest.raises(ValueError, match="damaged"):
            AgentTraining.unpack(broken, "td3", small("td3"), market, 1, steps=100)


@pytest.mark.parametrize("agent", AGENTS)
def test_weights_that_are_no_numbers_end_a_training_with_the_reason(market, agent):
    training = AgentTraining(agent, small(agent, learning_rate=1e30), market, 1, steps=STEPS)
    with pytest.raises(ScoreError, match=r"loss is nan|learning_rate 1e\+30 is too high|loss is"):
        training.advance(STEPS)


def test_the_noise_of_actions_decays_from_its_start_to_its_end(market):
    params = small("td3", exploration_noise=0.4, action_noise=0.1)
    training = AgentTraining("td3", params, market, 1, steps=STEPS)
    training.advance(16)
    assert training._noise.sigma == pytest.approx(0.4)
    training.advance(STEPS)
    assert training._noise.sigma == pytest.approx(0.1, abs=0.3 * 16 / STEPS)
    training._noise.sigma = 0.2
    drawn = np.concatenate([training._noise() for _ in range(2_000)])
    assert drawn.std() == pytest.approx(0.2, rel=0.03)


def test_without_our_replay_agents_are_those_of_stable_baselines3_bit_for_bit(market):
    how = {"learning_starts": 32, "batch_size": 32, "buffer_size": 500}
    for ours, theirs in ((TradingSAC, SAC), (TradingTD3, TD3)):
        found = []
        for kind, more in ((ours, {"augmented": False}), (theirs, {})):
            env = TradingVecEnv(market, 1, episode_bars=50)
            policy = {"net_arch": [16]}
            agent = kind(
                "MlpPolicy", env, seed=3, device="cpu", policy_kwargs=policy, **how, **more
            )
            agent.learn(60)
            found.append(agent.policy.state_dict())
        assert all(torch.equal(found[0][name], found[1][name]) for name in found[1])


def test_a_drawn_transition_is_what_the_simulator_makes_of_it():
    market = mean_reverting(
        300, reward=Reward(0.7, 0.05, "volatility"), features=["signal"], max_position=1.5
    )
    env = TradingVecEnv(market, 4, episode_bars=60, seed=1)
    replay = ContinuousReplay(
        80, env.observation_space, env.action_space, "cpu", 4, env=env, gamma=1.0
    )
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(40):
        replay.look()
        env.step(rng.uniform(-1, 1, (4, 1)))
        replay.add()
    np.random.seed(0)
    drawn = replay.sample(500)

    held, actions = drawn.observations[:, -2].numpy(), drawn.actions[:, 0].numpy()
    assert held.min() < -1.3
    assert held.max() > 1.3
    assert actions.min() < -0.95
    assert actions.max() > 0.95
    assert abs(np.corrcoef(held, actions)[0, 1]) < 0.15
    signal = market.table[:, at.FEATURES].astype(np.float32)
    for row in range(0, 500, 10):
        bar = int(np.flatnonzero(signal == drawn.observations[row, 0].item())[0])
        state = market.start(10_000.0, bar)
        close = market.bars.close[bar]
        state[at.UNITS] = held[row] * 10_000.0 / close
        state[at.CASH] = 10_000.0 * (1.0 - held[row])
        state[at.PEAK] = 10_000.0 / (1.0 + drawn.observations[row, 2].item())
        seen = np.empty(3, np.float32)
        target = float(actions[row]) * 1.5
        reward, *_ = core.step_one(market.table, market.parameters, state, target, seen)
        assert drawn.rewards[row, 0].item() == pytest.approx(reward, abs=1e-4)
        assert drawn.next_observations[row].numpy() == pytest.approx(seen, abs=1e-5)
        assert drawn.dones[row, 0] == 0


def test_augmented_agents_need_an_environment_of_their_kind_of_actions(market):
    env = TradingVecEnv(market, 1, actions=5)
    with pytest.raises(ValueError, match="continuous"):
        ContinuousReplay(8, env.observation_space, env.action_space, "cpu", 1, env=env, gamma=1.0)


def test_an_agent_learns_most_of_what_a_known_market_has_to_give():
    market, unseen = mean_reverting(3_000, seed=11), mean_reverting(2_000, seed=12)
    training = AgentTraining("td3", small("td3", train_freq=8), market, 1, steps=1_500)
    before = training.policy().positions(unseen)
    training.advance(1_500)

    best = solve(OrnsteinUhlenbeck(), 0.001, points=61).positions_on(unseen.bars)
    growth = [
        np.log1p(backtest(positions, unseen).returns).mean()
        for positions in (best, training.policy().positions(unseen), before)
    ]
    assert growth[1] > 0.6 * growth[0]
    assert growth[2] < 0.3 * growth[0]


def test_an_episode_is_no_longer_than_the_market():
    training = AgentTraining("td3", small("td3"), mean_reverting(60), 1, steps=160)
    training.advance(160)
    assert training._env.accounts.episode_bars < mapping.EPISODE_BARS


def _stir_global_generators() -> None:
    random.random()
    np.random.rand(7)
    torch.rand(3)
