"""The faces on the core: the simulator of the spec, gymnasium, vectors, stable-baselines3."""

from __future__ import annotations

import warnings
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from simulator import TradingEnvironmentSimulator, create_synthetic_trading_data
from simulator import layout as at
from simulator.costs import Costs
from simulator.environment import TradingEnv
from simulator.market import Reward, build_market
from simulator.risk import MaxDrawdown, StopLoss
from simulator.simulator import backtest
from simulator.synthetic import garch, ornstein_uhlenbeck
from simulator.vector import TradingVectorEnv
from tests.unit.simulator.markets import bars_of, jumpy, plain

DATA = garch(400, volatility=0.02, seed=1)
MARKET = build_market(DATA, window=2)


class Contrarian:
    """Sells what is high and buys what is low in the Ornstein-Uhlenbeck market."""

    def predict(self, seen):
        return np.array([-np.sign(seen[0])]), None


# -- the simulator's face --------------------------------------------------------------------


def test_the_face_works_as_the_spec_has_it():
    data = create_synthetic_trading_data(n_points=500)
    simulator = TradingEnvironmentSimulator(
        data, initial_balance=10000, transaction_cost=0.001, max_position=1.0
    )

    state = simulator.reset()
    again, reward, done, info = simulator.step(0.5)
    metrics = simulator.simulate_trading(lambda seen: 0.3, num_episodes=1)

    assert state.shape == again.shape == simulator.get_state(3).shape == (14,)
    assert isinstance(reward, float)
    assert done is False
    assert info["balance"] > 0
    wanted = {
        *("total_return", "sharpe_ratio", "sortino_ratio", "calmar_ratio", "max_drawdown"),
        *("volatility", "win_rate", "hit_rate", "profit_factor", "num_trades", "avg_trade_pnl"),
        *("avg_trade_duration", "turnover", "exposure", "final_balance", "trade_log"),
    }
    assert wanted <= set(metrics)
    assert -1 <= metrics["max_drawdown"] <= 0
    assert metrics["bars_per_year"] == 252


def test_any_kind_of_agent_can_be_simulated():
    class Acts:
        def act(self, seen):
            return 0.5

    class Selects:
        def select_action(self, seen):
            return np.array([0.5])

    simulator = TradingEnvironmentSimulator(DATA)
    balances = {
        simulator.simulate_trading(agent)["final_balance"]
        for agent in (Acts(), Selects(), lambda seen: 0.5, lambda seen: np.float32(0.5))
    }

    assert len(balances) == 1
    with pytest.raises(ValueError, match="an agent is a function or has one of predict"):
        simulator.simulate_trading(object())


def test_an_agent_that_can_be_told_not_to_explore_is_told_so():
    class Explores:
        def predict(self, seen, state=None, episode_start=None, deterministic=False):
            return np.array([0.5 if deterministic else np.random.uniform(-1, 1)]), state

    simulator = TradingEnvironmentSimulator(DATA)

    found = simulator.simulate_trading(Explores())["final_balance"]

    assert found == simulator.simulate_trading(lambda seen: 0.5)["final_balance"]


@pytest.mark.parametrize("max_drawdown", [None, 0.05])
def test_the_simulation_of_an_agent_is_the_backtest_of_its_positions(max_drawdown):
    simulator = TradingEnvironmentSimulator(
        DATA, stop_loss=0.05, slippage=0.001, borrow_rate=0.02, max_drawdown=max_drawdown
    )
    rng = np.random.default_rng(0)
    positions = rng.uniform(-1, 1, len(DATA))
    decisions = iter(positions[simulator.market.first :])

    metrics = simulator.simulate_trading(lambda seen: next(decisions))

    expected = backtest(positions, simulator.market).metrics
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["bars"] == simulator.market.last - simulator.market.first
    assert simulator.done
    assert (metrics["ended"] == "maximum drawdown") == (max_drawdown is not None)


def test_a_contrarian_earns_in_a_market_that_reverts_and_its_opposite_loses():
    simulator = TradingEnvironmentSimulator(
        ornstein_uhlenbeck(3_000, seed=2), transaction_cost=0.0005, features=["signal"]
    )

    good = simulator.simulate_trading(Contrarian())
    bad = simulator.simulate_trading(lambda seen: np.sign(seen[0]))

    assert good["sharpe_ratio"] > 1.5
    assert bad["sharpe_ratio"] < -1.5
    assert good["win_rate"] > 0.5


def test_several_episodes_give_means_and_each():
    rng = np.random.default_rng(0)
    simulator = TradingEnvironmentSimulator(DATA)

    found = simulator.simulate_trading(lambda seen: rng.uniform(-1, 1), num_episodes=3)

    balances = [episode["final_balance"] for episode in found["episodes"]]
    assert found["final_balance"] == pytest.approx(np.mean(balances))
    assert len(set(balances)) == 3


def test_a_trade_log_has_the_times_prices_and_reasons():
    simulator = TradingEnvironmentSimulator(DATA, stop_loss=0.02)

    log = simulator.simulate_trading(lambda seen: 1.0)["trade_log"]

    assert {"entry_time", "exit_time", "entry_price", "exit_price", "profit", "reason"} <= set(
        log[0]
    )
    assert {row["reason"] for row in log} >= {"stop"}
    assert sum(row["profit"] for row in log) == pytest.approx(simulator.balance - 10_000)


def test_a_step_after_the_end_and_an_action_that_is_no_number_are_refused():
    simulator = TradingEnvironmentSimulator(DATA)

    simulator.simulate_trading(lambda seen: 0.0)
    with pytest.raises(ValueError, match="the episode is over"):
        simulator.step(0.0)
    simulator.reset()
    with pytest.raises(ValueError, match="no finite number"):
        simulator.step(float("nan"))
    with pytest.raises(ValueError, match="one number is needed"):
        simulator.step([0.1, 0.2])


def test_a_market_shorter_than_its_features_need_is_refused():
    with pytest.raises(
        ValueError, match="feature 'sma_50' is known at none of 40 bars; give more bars"
    ):
        TradingEnvironmentSimulator(garch(40))


# -- observations ----------------------------------------------------------------------------


def test_what_is_seen_is_features_position_and_drawdown_of_now():
    env = TradingEnv(MARKET)
    env.reset(seed=0)

    for _ in range(30):
        seen, *_ = env.step(np.array([0.7], dtype=np.float32))

    t = int(env.state[at.BAR])
    window = MARKET.table[t - 1 : t + 1, at.FEATURES :].astype(np.float32).reshape(-1)
    assert np.array_equal(seen[:-2], window)
    assert seen[-2] == np.float32(env.state[at.POSITION])
    assert seen[-1] == np.float32(env.state[at.EQUITY] / env.state[at.PEAK] - 1)


def test_observations_are_finite_within_bounds_and_their_own_memory():
    env = TradingEnv(build_market(jumpy(300, volatility=0.1), costs=Costs(0.01), max_position=5.0))
    rng = np.random.default_rng(0)
    kept, copies = [], []

    for seed in range(5):
        seen, _ = env.reset(seed=seed)
        over = False
        while not over:
            assert env.observation_space.contains(seen)
            kept.append(seen)
            copies.append(seen.copy())
            seen, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 1))
            assert np.isfinite(reward)
            over = terminated or truncated

    assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert not any(np.shares_memory(a, b) for a, b in pairwise(kept))


def test_bars_still_to_come_change_neither_what_is_seen_nor_what_is_earned():
    from simulator.causality import perturbed

    cut = 250
    runs = []
    for bars in (DATA, perturbed(DATA, cut)):
        env = TradingEnv(bars, rules=[StopLoss(0.03)], window=2)
        rng = np.random.default_rng(0)
        seen, _ = env.reset(seed=0)
        path = [seen]
        for _ in range(env.market.first, cut - 1):
            seen, reward, *_ = env.step(rng.uniform(-1, 1, 1))
            path.append(np.r_[seen, reward])
        runs.append(path)

    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


# -- gymnasium -------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["continuous", 5, (-1.0, 0.0, 1.0)])
@pytest.mark.parametrize("episode_bars", [None, 50])
def test_gymnasiums_checker_has_nothing_to_say(actions, episode_bars):
    env = TradingEnv(MARKET, actions=actions, episode_bars=episode_bars)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)


def test_a_seeded_reset_begins_at_the_same_bar_and_others_elsewhere():
    env = TradingEnv(MARKET, episode_bars=20)

    starts = [env.reset(seed=seed)[1]["bar"] for seed in (1, 1, 2, 3, 4, 5)]

    assert starts[0] == starts[1]
    assert len(set(starts)) > 2


def test_an_episode_can_be_begun_at_a_bar():
    env = TradingEnv(MARKET, episode_bars=20)

    _, info = env.reset(options={"start": 100})

    assert info["bar"] == 100
    with pytest.raises(ValueError, match="an episode begins at bars"):
        env.reset(options={"start": 399})


def test_five_levels_are_minus_one_to_one():
    env = TradingEnv(MARKET, actions=5)

    positions = []
    for action in range(5):
        env.reset(seed=0)
        env.step(action)
        positions.append(round(float(env.state[at.UNITS] * env.state[at.FILL_PRICE] / 1e4), 1))

    assert positions == [-1.0, -0.5, 0.0, 0.5, 1.0]
    for wrong in (5, -1):
        with pytest.raises((IndexError, ValueError)):
            env.step(wrong)


def test_an_episode_ends_by_data_or_by_drawdown():
    env = TradingEnv(MARKET, episode_bars=7)
    env.reset(seed=0)
    flags = [env.step(np.zeros(1))[2:4] for _ in range(7)]
    fall = bars_of(*[(100 * 0.9**t,) * 4 for t in range(20)])
    falling = TradingEnv(plain(fall, rules=[MaxDrawdown(0.15)]))
    falling.reset(seed=0)
    steps = [falling.step(np.ones(1))[2:4] for _ in range(4)]

    assert flags == [(False, False)] * 6 + [(False, True)]
    assert steps == [(False, False)] * 3 + [(True, False)]
    for env_over in (env, falling):
        with pytest.raises(ValueError, match="the episode is over"):
            env_over.step(np.zeros(1))


def test_the_reward_is_scaled_growth_less_its_square():
    bars = bars_of((100,) * 4, (100, 110, 100, 110), (110,) * 4)
    env = TradingEnv(plain(bars, reward=Reward(scale=2.0, risk_factor=0.5, unit=0.01)))
    env.reset(seed=0)

    _, reward, *_ = env.step(np.ones(1))

    growth = np.log(1.1) / 0.01
    assert reward == pytest.approx(2 * growth - 0.5 * growth**2)


def test_ruin_has_a_finite_price():
    bars = bars_of((100,) * 4, (100, 300, 100, 300), (300,) * 4)
    env = TradingEnv(plain(bars))
    env.reset(seed=0)

    _, reward, terminated, *_ = env.step(-np.ones(1))

    assert terminated
    assert reward == pytest.approx(np.log(1e-6))


# -- vectors ---------------------------------------------------------------------------------


def test_a_vector_is_its_single_environments_and_begins_anew_in_the_next_step():
    vector = TradingVectorEnv(MARKET, 4, episode_bars=15)
    seen, infos = vector.reset(seed=3)
    rng = np.random.default_rng(0)
    singles = [TradingEnv(MARKET, episode_bars=15) for _ in range(4)]
    for row in seen:
        assert vector.single_observation_space.contains(row)
    for env, start in zip(singles, infos["bar"], strict=True):
        env.reset(options={"start": int(start)})

    for step in range(14):
        actions = rng.uniform(-1, 1, (4, 1)).astype(np.float32)
        seen, rewards, terminated, truncated, _ = vector.step(actions)
        for i, env in enumerate(singles):
            one, reward, *flags, _ = env.step(actions[i])
            assert np.array_equal(one, seen[i])
            assert reward == rewards[i]
            assert flags == [terminated[i], truncated[i]], step
    _, _, _, truncated, _ = vector.step(np.ones((4, 1)))
    seen, rewards, terminated, after, infos = vector.step(np.ones((4, 1)))

    assert truncated.all()
    assert not after.any()
    assert not rewards.any()
    assert (infos["equity"] == 10_000).all()
    assert (seen[:, -2:] == 0).all()


def test_a_vector_can_begin_anew_in_the_same_step():
    vector = TradingVectorEnv(MARKET, 3, episode_bars=5, autoreset="same_step")
    vector.reset(seed=0)
    for _ in range(4):
        vector.step(np.ones((3, 1)))

    after, _, _, truncated, infos = vector.step(np.ones((3, 1)))

    assert vector.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.SAME_STEP
    assert truncated.all()
    assert all(row[-2] > 0.9 for row in infos["final_obs"])
    assert (after[:, -2] == 0).all()
    assert (infos["final_info"]["equity"] != infos["equity"]).all()


@pytest.mark.parametrize("actions", ["continuous", 5])
def test_a_vector_keeps_to_its_spaces_and_seed(actions):
    paths = []
    for _ in range(2):
        vector = TradingVectorEnv(MARKET, 8, actions=actions, episode_bars=10)
        vector.action_space.seed(1)
        path = [vector.reset(seed=5)[0]]
        for _ in range(25):
            seen, rewards, terminated, truncated, _ = vector.step(vector.action_space.sample())
            assert vector.observation_space.contains(seen)
            assert rewards.dtype == np.float64
            assert terminated.dtype == truncated.dtype == np.bool_
            path.append(seen)
        paths.append(path)

    assert all(np.array_equal(a, b) for a, b in zip(*paths, strict=True))
    assert not any(np.shares_memory(a, b) for a, b in pairwise(paths[0]))


def test_gymnasiums_own_wrapper_of_vectors_works():
    vector = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        TradingVectorEnv(MARKET, 2, episode_bars=6)
    )
    vector.reset(seed=0)

    infos = [vector.step(np.ones((2, 1)))[4] for _ in range(6)][-1]

    assert infos["episode"]["l"].tolist() == [6, 6]


def test_only_some_rows_can_be_reset():
    vector = TradingVectorEnv(MARKET, 3)
    vector.reset(seed=0)
    vector.step(np.ones((3, 1)))

    _, infos = vector.reset(options={"reset_mask": np.array([True, False, True])})

    assert (infos["position"] == 0).tolist() == [True, False, True]


def test_a_row_that_ended_and_was_not_reset_begins_anew_in_the_next_step():
    vector = TradingVectorEnv(MARKET, 2, episode_bars=3)
    vector.reset(seed=np.int64(0))
    for _ in range(3):
        vector.step(np.ones((2, 1)))

    vector.reset(options={"reset_mask": np.array([True, False])})
    _, _, _, truncated, infos = vector.step(np.ones((2, 1)))

    assert not truncated.any()
    assert (infos["position"] == 0).tolist() == [False, True]


def test_actions_that_are_no_numbers_are_refused():
    vector = TradingVectorEnv(MARKET, 2)
    vector.reset(seed=0)

    with pytest.raises(ValueError, match="NaN"):
        vector.step(np.array([[0.0], [np.nan]]))
    with pytest.raises(ValueError, match="3 actions for 2 accounts"):
        vector.step(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="1 actions for 2 accounts"):
        TradingVectorEnv(MARKET, 2, actions=5).step(np.zeros(1, dtype=np.int64))
    with pytest.raises(ValueError, match="parameters of shape"):
        TradingVectorEnv(MARKET, 2, parameters=np.zeros((3, at.PARAMETERS)))


# -- stable-baselines3 -----------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["continuous", 5])
def test_stable_baselines3s_checker_has_nothing_to_say(actions):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(TradingEnv(MARKET, actions=actions), warn=True)


def test_the_vector_of_stable_baselines3_is_its_own_wrapper_of_each_without_the_wrapper():
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    from simulator.sb3 import TradingVecEnv

    ours = TradingVecEnv(MARKET, 3)
    theirs = vec_env.DummyVecEnv([lambda: TradingEnv(MARKET)] * 3)
    rng = np.random.default_rng(0)

    assert np.array_equal(ours.reset(), theirs.reset())
    for _ in range(MARKET.last - MARKET.first + 10):
        actions = rng.uniform(-1, 1, (3, 1)).astype(np.float32)
        mine, other = ours.step(actions), theirs.step(actions)
        for a, b in zip(mine[:3], other[:3], strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        for a, b in zip(mine[3], other[3], strict=True):
            assert ("terminal_observation" in a) == ("terminal_observation" in b)
            if "terminal_observation" in a:
                assert np.array_equal(a["terminal_observation"], b["terminal_observation"])
                assert a["TimeLimit.truncated"] == b["TimeLimit.truncated"]


@pytest.mark.slow
def test_an_agent_of_stable_baselines3_learns_on_the_vector():
    sb3 = pytest.importorskip("stable_baselines3")
    from simulator.sb3 import TradingVecEnv

    market = build_market(
        ornstein_uhlenbeck(4_000, seed=1), features=["signal"], reward=Reward(unit=0.01)
    )
    train = TradingVecEnv(market, 8, episode_bars=200)
    agent = sb3.PPO("MlpPolicy", train, n_steps=64, batch_size=128, gamma=0.5, seed=0, device="cpu")
    agent.learn(16_000)
    test = TradingEnvironmentSimulator(ornstein_uhlenbeck(4_000, seed=2), features=["signal"])

    assert len(agent.ep_info_buffer) > 0
    assert test.simulate_trading(agent)["sharpe_ratio"] > 1.0
