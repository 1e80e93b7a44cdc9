"""What an agent has learned, taken out of torch: the same decisions, and files without code."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from engines.data.scoring import ScoreError  # noqa: E402
from engines.errors import BadInput  # noqa: E402
from engines.models.rl_agents.policy import CARD_FILE, WEIGHTS_FILE, AgentPolicy  # noqa: E402
from engines.models.rl_agents.training import AgentTraining  # noqa: E402
from simulator.market import build_market  # noqa: E402
from simulator.simulator import TradingEnvironmentSimulator, backtest  # noqa: E402
from tests.unit.agents.markets import AGENTS, mean_reverting, small  # noqa: E402

KINDS = [
    *(("sac", {"activation": name, "hidden_dims": "[64, 64]"}) for name in ("relu", "tanh", "elu")),
    ("td3", {"max_action": 0.5}),
    ("rainbow_dqn", {}),
    ("rainbow_dqn", {"num_atoms": 51, "dueling": False}),
    ("rainbow_dqn", {"num_atoms": 51, "noisy": True, "num_layers": 3}),
]


@pytest.fixture(scope="module")
def market():
    return mean_reverting(200)


def trained(agent: str, market, **other) -> AgentTraining:
    training = AgentTraining(agent, small(agent, **other), market, 2, steps=200)
    training.advance(120)
    return training


@pytest.fixture(scope="module")
def policies(market):
    return {agent: trained(agent, market).policy() for agent in AGENTS}


def seen(market, count: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (count, market.observation_size)).astype("f4")


@pytest.mark.parametrize(("agent", "other"), KINDS)
def test_numpy_decides_as_torch_does(market, agent, other):
    training = trained(agent, market, **other)
    policy, observations = training.policy(), seen(market)

    said = training._model.predict(observations, deterministic=True)[0]

    if agent != "rainbow_dqn":
        assert policy.act(observations) == pytest.approx(said, abs=1e-6)
        return
    with torch.no_grad():
        values = training._model.q_net(torch.as_tensor(observations)).numpy()
    # Values alone, or means over a support of this width.
    within = 1e-6 * (policy.card.support[1] if policy.card.support else 10.0)
    assert policy.values(observations) == pytest.approx(values, abs=within)
    assert (policy.act(observations) == said).mean() > 0.99


@pytest.mark.parametrize("agent", AGENTS)
def test_one_observation_is_decided_as_it_is_among_many(market, policies, agent):
    policy, observations = policies[agent], seen(market)
    alone = np.array([policy.act(row) for row in observations])

    assert alone.shape == policy.act(observations).shape
    assert alone == pytest.approx(policy.act(observations), abs=1e-6)


def test_a_policy_is_not_changed_by_further_training(market):
    training = trained("td3", market)
    policy, observations = training.policy(), seen(market)
    before = policy.act(observations)
    training.advance(200)

    assert np.array_equal(policy.act(observations), before)
    assert not np.array_equal(training.policy().act(observations), before)


@pytest.mark.parametrize("agent", AGENTS)
def test_positions_are_those_of_trading_bar_by_bar(policies, agent):
    unseen = mean_reverting(300, seed=4)
    policy = policies[agent]
    positions = policy.positions(unseen)
    how = {"actions": list(policy.card.levels)} if policy.card.levels else {}

    simulator = TradingEnvironmentSimulator(unseen.bars, features=["signal", "return_1"], **how)
    stepped = simulator.run(policy)

    assert np.array_equal(backtest(positions, unseen).equity, stepped.equity)
    assert not positions[: unseen.first].any()


def test_the_last_position_is_what_is_decided_for_the_bar_to_come(policies):
    unseen, features = mean_reverting(300, seed=4), ["signal", "return_1"]
    shorter = build_market(unseen.bars.head(200), costs=unseen.costs, features=features)

    for policy in policies.values():
        assert np.array_equal(policy.positions(shorter), policy.positions(unseen)[:200])


def test_an_account_can_begin_and_end_within_a_market(policies):
    unseen = mean_reverting(300, seed=4)
    later = replace(unseen, first=150)

    some = policies["td3"].positions(unseen, 150, 200)

    assert np.array_equal(some[150:201], policies["td3"].positions(later)[150:201])
    assert not some[:150].any()
    assert not some[201:].any()


def test_positions_stay_within_the_limit_that_was_learned_with(market):
    policy = trained("td3", market, max_action=0.5).policy()
    positions = policy.positions(mean_reverting(300, seed=4))

    assert policy.max_position == 0.5
    assert 0 < np.abs(positions).max() <= 0.5
    shares = policy.shares(seen(market))
    assert np.abs(shares).max() <= 1.0
    assert shares.dtype == np.float64


def test_a_market_with_other_features_is_refused(policies):
    other = mean_reverting(200, features=["return_1", "signal"])
    with pytest.raises(BadInput, match="trained on 1 bars of signal, return_1; this market shows"):
        policies["sac"].positions(other)


def test_a_saved_policy_is_read_without_torch_and_decides_the_same(tmp_path, market, policies):
    np.save(tmp_path / "seen.npy", seen(market))
    for agent, policy in policies.items():
        (tmp_path / agent).mkdir()
        policy.save(tmp_path / agent)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from engines.models.rl_agents.policy import AgentPolicy\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        f"for agent in {AGENTS!r}:\n"
        "    policy = AgentPolicy.load(folder / agent)\n"
        "    np.save(folder / f'{agent}.npy', policy.act(np.load(folder / 'seen.npy')))\n"
        "print([m for m in ('torch', 'stable_baselines3', 'gymnasium') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
    for agent, policy in policies.items():
        assert np.array_equal(np.load(tmp_path / f"{agent}.npy"), policy.act(seen(market)))
        assert AgentPolicy.load(tmp_path / agent).card == policy.card


def _no_card(folder):
    (folder / CARD_FILE).unlink()


def _no_weights(folder):
    (folder / WEIGHTS_FILE).unlink()


def _not_json(folder):
    (folder / CARD_FILE).write_text("{")


def _cut(folder):
    file = folder / WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-40])


def _code(folder):
    (folder / WEIGHTS_FILE).write_bytes(pickle.dumps({"actor.0.weights": print}))


def _objects(folder):
    with (folder / WEIGHTS_FILE).open("wb") as file:
        np.savez(file, **{"actor.0.weights": np.array([print], dtype=object)})


def _newer(folder):
    _change(folder, format=2)


def _other_window(folder):
    _change(folder, window=2)


def _unknown_activation(folder):
    _change(folder, activation="gelu")


def _unlimited(folder):
    _change(folder, max_position=float("inf"))


def _no_actor(folder):
    _change(folder, layers={})


def _change(folder, **values):
    file = folder / CARD_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    "harm",
    [_no_card, _no_weights, _not_json, _cut, _code, _objects, _newer, _other_window,
     _unknown_activation, _unlimited, _no_actor],
)  # fmt: skip
def test_a_damaged_policy_is_refused_in_one_line(tmp_path, policies, harm):
    policies["sac"].save(tmp_path)
    harm(tmp_path)

    with pytest.raises(BadInput) as caught:
        AgentPolicy.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_policy_that_gives_no_number_is_no_policy(market, policies):
    policy = AgentPolicy(policies["sac"].card, policies["sac"].layers)
    weights, biases = policy.layers["actor"][-1]
    policy.layers["actor"][-1] = (weights * np.float32(np.nan), biases)

    with pytest.raises(ScoreError, match="sac agent's network gives no finite number"):
        policy.act(seen(market))
