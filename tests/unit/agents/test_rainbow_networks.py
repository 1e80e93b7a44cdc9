"""The networks of a Rainbow agent: the law of their noise, their streams, their plain weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

# ruff: noqa: E402 - what follows needs torch and stable-baselines3, which are extras.
from gymnasium import spaces
from torch import nn

from engines.models.rl_agents.networks import NoisyLinear, RainbowPolicy

SEEN = 6


@pytest.fixture(autouse=True)
def a_seed():
    torch.manual_seed(11)


def policy(**how) -> RainbowPolicy:
    """A policy with five actions."""
    box = spaces.Box(-9.0, 9.0, (SEEN,), np.float32)
    return RainbowPolicy(box, spaces.Discrete(5), lambda _: 1e-3, **how)


def stirred_often(layer: NoisyLinear, x: torch.Tensor, times: int) -> torch.Tensor:
    found = []
    for _ in range(times):
        layer.stir()
        found.append(layer(x).detach())
    return torch.stack(found)


def test_noisy_layers_begin_as_their_paper_says():
    layer = NoisyLinear(25, 400, sigma0=0.5)

    assert layer.weight.abs().max() <= 1 / 5
    assert layer.weight.std().item() == pytest.approx(0.2 / math.sqrt(3), rel=0.03)
    assert torch.all(layer.weight_sigma == 0.1)
    assert torch.all(layer.bias_sigma == 0.1)


def test_noise_has_mean_zero_and_the_variance_of_its_factors():
    layer, x = NoisyLinear(8, 30, sigma0=0.5), torch.linspace(-1.0, 1.0, 8)

    outputs = stirred_often(layer, x, 8_000)

    # f(e)^2 is abs(e), so a factor has the variance sqrt(2/pi); that of an output follows, as
    # factors of inputs and outputs are independent.
    factor, sigma = math.sqrt(2 / math.pi), 0.5 / math.sqrt(8)
    spread = sigma * torch.sqrt(factor**2 * (x**2).sum() + factor)
    assert torch.allclose(outputs.mean(dim=0), layer.weight @ x + layer.bias, atol=0.03)
    assert outputs.std(dim=0).mean().item() == pytest.approx(spread.item(), rel=0.02)


def test_one_noise_serves_all_rows_until_it_is_drawn_anew():
    layer, x = NoisyLinear(4, 3, sigma0=0.5), torch.ones(2, 4)
    layer.stir()
    first = layer(x)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first, layer(x))
    layer.stir()
    assert not torch.equal(first, layer(x))


def test_a_network_is_still_outside_of_stirred_and_its_sigmas_learn_inside():
    net, seen = policy(noisy=True).q_net, torch.ones(1, SEEN)
    before = net(seen)
    with net.stirred():
        assert not torch.equal(net(seen), before)
        net(seen).sum().backward()
    assert torch.equal(net(seen), before)
    assert any(layer.weight_sigma.grad.abs().max() > 0 for layer in net._noisy_layers)


def test_a_deterministic_action_is_the_same_each_time_and_draws_no_random_number():
    agent, seen = policy(noisy=True), torch.ones(1, SEEN)
    state = torch.get_rng_state()
    actions = {agent._predict(seen, deterministic=True).item() for _ in range(20)}
    assert len(actions) == 1
    assert torch.equal(state, torch.get_rng_state())
    assert len({agent._predict(seen, deterministic=False).item() for _ in range(200)}) > 1


@pytest.mark.parametrize("atoms", [1, 11])
def test_a_constant_in_all_advantages_changes_no_value_so_the_streams_are_told_apart(atoms):
    net = policy(n_atoms=atoms, noisy=False).q_net
    seen = torch.randn(7, SEEN)
    before = net.scores(seen)
    value = net.q_net["value"](net.q_net["trunk"](seen)).view(7, 1, atoms)
    assert torch.allclose(before.mean(dim=1, keepdim=True), value, atol=1e-6)

    with torch.no_grad():
        net.q_net["advantage"][-1].bias += 3.0
    assert torch.allclose(net.scores(seen), before, atol=1e-5)

    with torch.no_grad():
        net.q_net["value"][-1].bias += 3.0
    assert torch.allclose(net.scores(seen), before + 3.0, atol=1e-5)


def test_a_value_is_the_mean_of_its_distribution():
    net = policy(n_atoms=5, v_min=-2.0, v_max=2.0).q_net
    scores = torch.log(torch.tensor([[[0.1, 0.2, 0.3, 0.4, 1e-30]]]))
    assert net.values(scores).item() == pytest.approx(-0.2 - 0.2 + 0.4, abs=1e-6)


@pytest.mark.parametrize("arch", [[], [16], [16, 12], [16, 12, 8]])
@pytest.mark.parametrize(
    "how",
    [
        {"n_atoms": 1, "dueling": False, "noisy": False},
        {"n_atoms": 7, "dueling": True, "noisy": True},
        {"n_atoms": 7, "dueling": False, "noisy": True},
        {"n_atoms": 1, "dueling": True, "noisy": False},
    ],
)
def test_the_plain_weights_give_the_same_values_by_numpy(arch, how):
    net = policy(net_arch=arch, activation_fn=nn.Tanh, **how).q_net
    seen = np.random.default_rng(0).normal(size=(9, SEEN)).astype(np.float32)

    def passed(x, layers, last):
        for at, (weight, bias) in enumerate(layers):
            x = x @ weight.T + bias
            x = np.tanh(x) if last or at < len(layers) - 1 else x
        return x

    parts = net.dense()
    shared = passed(seen, parts["trunk"], True)
    scores = passed(shared, parts["advantage"], False).reshape(9, 5, -1)
    if "value" in parts:
        value = passed(shared, parts["value"], False).reshape(9, 1, -1)
        scores = value + scores - scores.mean(axis=1, keepdims=True)
    if how["n_atoms"] > 1:
        chances = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        scores = chances @ net.support.numpy()[:, None]

    wanted = net(torch.as_tensor(seen)).detach().numpy()
    np.testing.assert_allclose(scores[..., 0], wanted, atol=1e-5)
