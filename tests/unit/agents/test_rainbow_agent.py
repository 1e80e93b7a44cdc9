"""The whole agent: a DQN with everything off, nothing lost on disk, errors with a reason."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

# ruff: noqa: E402 - what follows needs torch and stable-baselines3, which are extras.
import gymnasium
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.dqn.dqn import DQN

from engines.data.scoring import ScoreError
from engines.models.rl_agents.augmented import AugmentedReplay
from engines.models.rl_agents.priorities import PrioritisedReplay
from engines.models.rl_agents.rainbow import RainbowDQN
from simulator.market import Reward, build_market
from simulator.sb3 import TradingVecEnv
from simulator.synthetic import ornstein_uhlenbeck

OFF = {"n_atoms": 1, "double": False, "dueling": False, "noisy": False, "prioritised": False}
SMALL = {
    **{"learning_rate": 1e-3, "learning_starts": 40, "train_freq": 2, "batch_size": 24},
    **{"target_update_interval": 30, "buffer_size": 300, "seed": 3, "device": "cpu"},
}


@pytest.fixture(autouse=True)
def one_thread_and_generators_as_they_were():
    threads, numbers = torch.get_num_threads(), np.random.get_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    np.random.set_state(numbers)


def weights(agent) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in agent.policy.state_dict().values()])


def trading(n_envs: int = 1) -> TradingVecEnv:
    bars = ornstein_uhlenbeck(400, seed=1)
    market = build_market(bars, features=["signal"], reward=Reward(unit="volatility"))
    return TradingVecEnv(market, n_envs, actions=3, episode_bars=100)


def cart() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1")


@pytest.mark.parametrize("n_steps", [1, 3])
def test_with_every_switch_off_it_is_the_dqn_of_stable_baselines3_bit_for_bit(n_steps):
    theirs = DQN("MlpPolicy", cart(), n_steps=n_steps, **SMALL).learn(400)
    ours = RainbowDQN("MlpPolicy", cart(), n_steps=n_steps, **OFF, **SMALL).learn(400)

    assert theirs._n_updates == ours._n_updates == 180
    assert torch.equal(weights(theirs), weights(ours))


@pytest.mark.parametrize("switch", ["n_atoms", "double", "dueling", "noisy", "prioritised"])
def test_each_switch_changes_what_is_learned(switch):
    off = {**OFF, "n_steps": 1, "v_max": 100.0}
    plain = RainbowDQN("MlpPolicy", cart(), **off, **SMALL).learn(100)
    on = off | {switch: 11 if switch == "n_atoms" else True}
    other = RainbowDQN("MlpPolicy", cart(), **on, **SMALL).learn(100)
    first, second = weights(plain), weights(other)
    assert first.shape != second.shape or not torch.equal(first, second)


def with_values(double: bool):
    """An agent whose online and target networks say known values, and one transition."""
    agent = RainbowDQN("MlpPolicy", cart(), **OFF | {"double": double}, n_steps=1, **SMALL)
    for net, values in ((agent.q_net, [2.0, 1.0]), (agent.q_net_target, [5.0, 9.0])):
        with torch.no_grad():
            net.q_net[-1].weight.zero_()
            net.q_net[-1].bias.copy_(torch.tensor(values))
    seen = torch.zeros(1, 4)
    return agent, ReplayBufferSamples(
        seen, torch.tensor([[1]]), seen, torch.zeros(1, 1), torch.tensor([[0.5]])
    )


@pytest.mark.parametrize(("double", "next_value"), [(False, 9.0), (True, 5.0)])
def test_double_lets_the_online_network_choose_and_the_target_network_judge(double, next_value):
    agent, samples = with_values(double)
    _, errors, _ = agent._compared(samples)
    assert errors.item() == pytest.approx(0.5 + 0.99 * next_value - 1.0, rel=1e-6)


def test_a_noisy_agent_explores_by_its_noise_alone():
    agent = RainbowDQN("MlpPolicy", cart(), exploration_final_eps=0.5, **SMALL).learn(60)
    assert agent.exploration_rate == 0.0
    seen = np.zeros(4, np.float32)
    assert {int(agent.predict(seen)[0]) for _ in range(300)} == {0, 1}
    assert len({int(agent.predict(seen, deterministic=True)[0]) for _ in range(50)}) == 1


KINDS = {
    "prioritised": {"n_steps": 3},
    "augmented": {"n_steps": 3, "augmented": True},
    "augmented, alike": {"augmented": True, "prioritised": False, "noisy": False, "n_steps": 1},
    "plain": {"n_steps": 3, "prioritised": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_goes_on_as_if_it_had_never_stopped(kind, tmp_path):
    env = trading()
    agent = RainbowDQN("MlpPolicy", env, **{"n_atoms": 11, **KINDS[kind], **SMALL}).learn(120)
    agent.save(tmp_path / "agent")
    agent.save_replay_buffer(tmp_path / "replay")
    env_then = copy.deepcopy(env)
    space = copy.deepcopy(agent.action_space)
    numbers, noise = np.random.get_state(), torch.get_rng_state()
    agent.learn(80, reset_num_timesteps=False)

    again = RainbowDQN.load(tmp_path / "agent", env_then, device="cpu", force_reset=False)
    again.load_replay_buffer(tmp_path / "replay")
    again.action_space = space
    np.random.set_state(numbers)
    torch.set_rng_state(noise)
    again.learn(80, reset_num_timesteps=False)

    assert again._n_updates == agent._n_updates == 80
    assert torch.equal(weights(agent), weights(again))
    assert np.array_equal(env.accounts.states, env_then.accounts.states)
    if kind != "plain":
        first, second = (one.replay_buffer.priorities for one in (agent, again))
        assert np.array_equal(first.tree[:], second.tree[:])
        assert first.highest == second.highest


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_that_was_saved_decides_alike_without_an_environment(kind, tmp_path):
    agent = RainbowDQN("MlpPolicy", trading(2), **{**KINDS[kind], **SMALL}).learn(100)
    agent.save(tmp_path / "agent")
    seen = np.random.default_rng(0).normal(size=(50, 3)).clip(-1, 0).astype(np.float32)

    again = RainbowDQN.load(tmp_path / "agent", device="cpu")

    assert np.array_equal(again.predict(seen, deterministic=True)[0],
                          agent.predict(seen, deterministic=True)[0])  # fmt: skip
    values = [one.q_net(torch.as_tensor(seen)) for one in (agent, again)]
    assert torch.equal(*values)
    again.set_env(trading(2))
    again.learn(20, reset_num_timesteps=False)


def test_the_buffer_is_the_one_that_the_switches_ask_for():
    kinds = {"prioritised": PrioritisedReplay, "augmented": AugmentedReplay}
    for kind, wanted in kinds.items():
        agent = RainbowDQN("MlpPolicy", trading(), **KINDS[kind], **SMALL)
        assert type(agent.replay_buffer) is wanted
        assert agent.replay_buffer.n_steps == 3
        assert agent.replay_buffer.priorities.alpha == 0.5
    alike = RainbowDQN("MlpPolicy", trading(), **KINDS["augmented, alike"], **SMALL)
    assert alike.replay_buffer.priorities.alpha == 0.0


def test_what_is_learned_with_more_error_is_drawn_more_and_weighs_less():
    agent = RainbowDQN("MlpPolicy", cart(), n_atoms=1, noisy=False, n_steps=1, **SMALL).learn(41)
    drawn = agent._draw(24)
    losses, errors = torch.ones(24), torch.arange(24.0)
    loss = agent._weighed(
        drawn._replace(weights=np.linspace(0, 1, 24, dtype=np.float32)), losses, errors
    )
    assert loss.item() == pytest.approx(0.5, rel=1e-6)
    last = dict(zip(drawn.leaves, errors.numpy(), strict=True))
    kept = agent.replay_buffer.priorities.tree[np.array(list(last))]
    assert kept == pytest.approx(np.sqrt(np.array(list(last.values())) + 1e-6), rel=1e-5)


def test_a_reward_that_is_no_number_ends_training_with_a_reason():
    class Broken(gymnasium.Wrapper):
        def step(self, action):
            seen, _, *rest = super().step(action)
            return seen, float("nan"), *rest

    for switches in (OFF, {}):
        with pytest.raises(ScoreError, match="loss is nan after 0 updates"):
            RainbowDQN("MlpPolicy", Broken(cart()), **switches, **SMALL).learn(60)


def test_a_support_that_is_too_narrow_shows_in_the_log():
    wide = RainbowDQN("MlpPolicy", cart(), v_min=0.0, v_max=100.0, **SMALL).learn(60)
    narrow = RainbowDQN("MlpPolicy", cart(), v_min=0.0, v_max=1.0, **SMALL).learn(60)
    assert wide.logger.name_to_value["train/clipped"] < 0.05
    assert narrow.logger.name_to_value["train/clipped"] > 0.5


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"augmented": True}, "TradingVecEnv"),
        ({"v_min": 1.0, "v_max": 1.0}, "support"),
        ({"n_atoms": 0}, "support"),
        ({"replay_buffer_class": PrioritisedReplay}, "buffer of one's own"),
    ],
)
def test_what_cannot_be_right_is_refused(how, said):
    with pytest.raises(ValueError, match=said):
        RainbowDQN("MlpPolicy", cart(), **how, **SMALL)
