"""Augmented replay: what it says an action would have brought is what the simulator does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from engines.models.rl_agents.augmented import KEPT, AugmentedReplay
from simulator import core
from simulator import layout as at
from simulator.costs import Costs
from simulator.environment import TradingEnv
from simulator.market import build_market
from simulator.risk import MaxDrawdown, StopLoss, TakeProfit
from simulator.sb3 import TradingVecEnv
from tests.unit.simulator.markets import jumpy

GAMMA = 0.9
LEVELS = (-1.0, -0.5, 0.0, 0.5, 1.0)
ROWS = np.zeros(1, np.int64)


@pytest.fixture(scope="module")
def market():
    """A market with gaps, stops and a loss that ends an episode."""
    costs = Costs(transaction_cost=0.002, slippage=0.001, borrow_rate=0.05)
    rules = [StopLoss(0.05), TakeProfit(0.08), MaxDrawdown(0.3)]
    how = {"features": ["return_1", "return_5"], "window": 3}
    return build_market(jumpy(400), costs=costs, rules=rules, **how)


def replay_of(env, size: int = 1_000, **how) -> AugmentedReplay:
    how = {"gamma": GAMMA, **how}
    return AugmentedReplay(
        size, env.observation_space, env.action_space, "cpu", env.num_envs, env=env, **how
    )


def wander(market, n_envs: int, steps: int, seed: int = 0, **how):
    """An environment and a buffer of the states it was in under random actions."""
    env = TradingVecEnv(market, n_envs, actions=LEVELS, episode_bars=120)
    replay = replay_of(env, **how)
    rng = np.random.default_rng(seed)
    env.reset()
    for _ in range(steps):
        replay.look()
        env.step(rng.integers(0, 5, n_envs))
        replay.add()
    return env, replay


def states_in(replay) -> np.ndarray:
    states = np.zeros((replay.size() * replay.n_envs, at.STATE))
    states[:, :KEPT] = replay.visited[: replay.size()].reshape(-1, KEPT)
    return states


def greedy(seen) -> np.ndarray:
    """A policy that looks at what it sees: on the last return and the position."""
    return np.where(seen[:, -4] + 0.3 * seen[:, -2] > 0, 1, 4).astype(np.int64)


def played(market, state, actions, steps):
    """(rewards, what is seen last, terminated, truncated) of `TradingEnv` from a state."""
    env = TradingEnv(market, actions=LEVELS)
    env.reset()
    env.state = state.copy()
    rewards, action = [], actions
    for _ in range(steps):
        seen, reward, terminated, truncated, _ = env.step(int(action))
        rewards.append(reward)
        if terminated or truncated:
            break
        action = greedy(seen[None])[0]
    return rewards, seen, terminated, truncated


@pytest.mark.parametrize("steps", [1, 3])
def test_each_transition_is_what_stepping_the_simulator_gives(market, steps):
    _, replay = wander(market, 2, 130, n_steps=steps)
    states = states_in(replay)
    envs = np.tile([0, 1], 130)

    found = replay.every_action(states, envs, greedy)

    early = 0
    for row, state in enumerate(states):
        for action in range(5):
            at_row = 5 * row + action
            rewards, seen, terminated, _ = played(market, state, action, steps)
            early += len(rewards) < steps
            total = sum(GAMMA**i * reward for i, reward in enumerate(rewards))
            assert found.rewards[at_row].item() == np.float32(total)
            assert found.discounts[at_row].item() == pytest.approx(GAMMA ** len(rewards))
            assert bool(found.dones[at_row]) == terminated
            assert found.actions[at_row].item() == action
            assert np.array_equal(found.next_observations[at_row], seen)
    assert early > 0 or steps == 1
    seen = core.observe(market.table, states, market.window)
    assert np.array_equal(found.observations, np.repeat(seen, 5, axis=0))


def test_one_step_is_that_of_the_cores_entry_for_all_actions(market):
    _, replay = wander(market, 1, 100)
    states = states_in(replay)
    rewards, following = np.empty((100, 5)), np.empty((100, 5, at.STATE))
    core.all_actions(market.table, market.parameters, states, np.array(LEVELS), rewards, following)

    found = replay.every_action(states, np.zeros(100, np.int64))

    assert np.array_equal(found.rewards.ravel(), rewards.ravel().astype(np.float32))
    seen = core.observe(market.table, following.reshape(500, -1), market.window)
    assert np.array_equal(found.next_observations, seen)


def test_accounts_keep_their_own_costs(market):
    dear = market.row(costs=Costs(transaction_cost=0.05))

    def rewards(*rows):
        env = TradingVecEnv(market, 2, actions=LEVELS, parameters=np.stack(rows))
        env.reset()
        found = replay_of(env).every_action(env.accounts.states, np.array([0, 1]))
        return found.rewards.ravel().tolist()

    mixed = rewards(market.row(), dear)

    assert mixed[:5] == rewards(market.row(), market.row())[:5]
    assert mixed[5:] == rewards(dear, dear)[5:]
    assert mixed[4] - mixed[9] > 0.04


def test_the_states_kept_are_those_before_the_step_and_over_a_restart(market):
    env = TradingVecEnv(market, 1, actions=LEVELS, episode_bars=5, seed=3)
    replay = replay_of(env, size=6)
    seen = env.reset()
    for step in range(20):
        replay.look()
        before = seen
        seen = env.step(np.array([step % 5]))[0]
        replay.add()
        kept = replay.every_action(states_in(replay)[[step % 6]], ROWS)
        assert np.array_equal(kept.observations[0], before[0])
    assert replay.full


def test_varied_states_are_one_bar_on_with_a_position_that_an_action_leads_to(market):
    _, replay = wander(market, 1, 150)
    states = states_in(replay)

    varied = replay._varied(states, np.zeros(150, np.int64))

    rewards, following = np.empty((150, 5)), np.empty((150, 5, at.STATE))
    core.all_actions(market.table, market.parameters, states, np.array(LEVELS), rewards, following)
    stayed = 0
    for state, new, could in zip(states, varied, following, strict=True):
        if np.array_equal(state, new):
            stayed += 1
            assert any(one[at.STATUS] >= at.HALTED or one[at.BAR] >= one[at.LAST] for one in could)
        else:
            assert any(np.array_equal(new, one) for one in could)
            assert new[at.STATUS] < at.HALTED
            assert new[at.BAR] < new[at.LAST]
    assert 0 < stayed < 20
    assert len(np.unique(np.round(varied[:, at.POSITION]))) == 3


def test_a_batch_has_every_action_of_each_state_in_succession(market):
    _, replay = wander(market, 2, 60, alpha=0.5)
    drawn = replay.draw(8, 0.4)
    assert drawn.of_each == 5
    assert drawn.samples.actions.ravel().tolist() == list(range(5)) * 8
    assert len(drawn.leaves) == len(drawn.weights) == 8
    seen = drawn.samples.observations.reshape(8, 5, -1)
    assert np.array_equal(seen[:, 0], seen[:, 4])


def test_a_pickle_holds_the_visited_states_and_neither_market_nor_empty_rows(market):
    env, replay = wander(market, 1, 50, size=100_000, alpha=0.5)
    whole = pickle.dumps(replay)
    assert len(whole) < 50 * 90 + 3_000

    again = pickle.loads(whole)
    with pytest.raises(ValueError, match="attach"):
        again.draw(4, 0.4)
    again.attach(env)

    state = np.random.get_state()
    first = replay.draw(16, 0.5)
    np.random.set_state(state)
    second = again.draw(16, 0.5)
    assert np.array_equal(first.leaves, second.leaves)
    for one, other in zip(first.samples, second.samples, strict=True):
        assert np.array_equal(one, other)


def test_what_cannot_be_right_is_refused(market):
    with pytest.raises(ValueError, match="discrete"):
        replay_of(TradingVecEnv(market, 1))
    _, replay = wander(market, 1, 3, n_steps=2)
    with pytest.raises(ValueError, match="TradingVecEnv"):
        replay.attach(object())
    with pytest.raises(ValueError, match="look"):
        replay.add()
    with pytest.raises(ValueError, match="present policy"):
        replay.draw(2, 0.4)
