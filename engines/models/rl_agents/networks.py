"""The networks of a Rainbow agent: layers with noise of their own, and heads of values or returns.

A network is still or stirred. Still, every noisy layer works with its mean weights, so that the
same observation gives the same action; stirred, it has drawn noise, from torch's own generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn
from torch.nn import functional

from engines.models.rl_agents.policy import Layer

Layers = list[Layer]
"""(weight (out, in), bias (out,)) of each layer, first to last."""


class NoisyLinear(nn.Module):
    """A linear layer whose weights are mean + sigma * noise, with factorised Gaussian noise.

    Fortunato et al. 2018, Noisy Networks for Exploration, equations 9 to 11: the noise of a weight
    is f(e_out) f(e_in) with f(e) = sign(e) sqrt(abs(e)), that of a bias f(e_out). Means begin
    uniform within +-1/sqrt(inputs), sigmas at sigma0/sqrt(inputs). Still until `stir` is called.
    """

    def __init__(self, inputs: int, outputs: int, sigma0: float) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), sigma0 * bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), sigma0 * bound))
        # No buffers: what was drawn for one batch is no part of the network.
        self._noise: tuple[Tensor, Tensor] | None = None

    def stir(self) -> None:
        """Draw new noise, for every forward pass until the next call of `stir` or `settle`."""
        outputs, inputs = self.weight.shape
        drawn = torch.randn(inputs + outputs, device=self.weight.device)
        drawn = drawn.sign() * drawn.abs().sqrt()
        into, out = drawn[:inputs], drawn[inputs:]
        self._noise = (torch.outer(out, into), out)

    def settle(self) -> None:
        """Go back to the mean weights."""
        self._noise = None

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows, outputs)."""
        if self._noise is None:
            return functional.linear(x, self.weight, self.bias)
        for_weight, for_bias = self._noise
        weight = self.weight + self.weight_sigma * for_weight
        return functional.linear(x, weight, self.bias + self.bias_sigma * for_bias)


class RainbowNetwork(QNetwork):
    """Values of actions, or a distribution of returns for each (Hessel et al. 2018, Rainbow).

    n_atoms: 1 for plain values; else returns are `n_atoms` numbers evenly from v_min to v_max, each
    with a probability, and an action's value is their mean (Bellemare et al. 2017). dueling: one
    stream for the state and one for what actions add, whose mean over actions is taken off, so
    that the two are told apart (Wang et al. 2016, equation 9). noisy, sigma0: the streams are made
    of `NoisyLinear`. The last number of `net_arch` is the width of the streams' hidden layer. With
    one atom, no dueling and no noise the network is that of stable-baselines3.
    """

    def __init__(
        self,
        *args: Any,
        n_atoms: int,
        v_min: float,
        v_max: float,
        dueling: bool,
        noisy: bool,
        sigma0: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.n_atoms, self.actions = n_atoms, int(self.action_space.n)
        self.dueling, self.noisy = dueling, noisy
        self.register_buffer("support", torch.linspace(v_min, v_max, n_atoms), persistent=False)
        self._noisy_layers: list[NoisyLinear] = []
        if n_atoms == 1 and not dueling and not noisy:
            return
        shared = list(self.net_arch)
        last = shared.pop() if shared else None
        trunk = create_mlp(self.features_dim, -1, shared, self.activation_fn)
        width = shared[-1] if shared else self.features_dim
        self.q_net = nn.ModuleDict({"trunk": nn.Sequential(*trunk)})
        streams = {"advantage": self.actions} | ({"value": 1} if dueling else {})
        for name, count in streams.items():
            self.q_net[name] = self._stream(width, last, count * n_atoms, sigma0)
        self._noisy_layers = [m for m in self.q_net.modules() if isinstance(m, NoisyLinear)]

    def _stream(self, inputs: int, hidden: int | None, outputs: int, sigma0: float) -> nn.Module:
        def linear(into: int, out: int) -> nn.Module:
            return NoisyLinear(into, out, sigma0) if self.noisy else nn.Linear(into, out)

        if hidden is None:
            return nn.Sequential(linear(inputs, outputs))
        return nn.Sequential(linear(inputs, hidden), self.activation_fn(), linear(hidden, outputs))

    @contextmanager
    def stirred(self) -> Iterator[None]:
        """With noise drawn for all that is done inside; still again afterwards."""
        for layer in self._noisy_layers:
            layer.stir()
        try:
            yield
        finally:
            for layer in self._noisy_layers:
                layer.settle()

    def scores(self, observations: Any) -> Tensor:
        """(rows, actions, atoms): logarithms of odds; with one atom the values themselves."""
        seen = self.extract_features(observations, self.features_extractor)
        if isinstance(self.q_net, nn.Sequential):
            return self.q_net(seen).unsqueeze(-1)
        seen = self.q_net["trunk"](seen)
        scores = self.q_net["advantage"](seen).view(-1, self.actions, self.n_atoms)
        if self.dueling:
            value = self.q_net["value"](seen).view(-1, 1, self.n_atoms)
            scores = value + scores - scores.mean(dim=1, keepdim=True)
        return scores

    def values(self, scores: Tensor) -> Tensor:
        """(rows, actions) from what `scores` gave."""
        if self.n_atoms == 1:
            return scores.squeeze(-1)
        return torch.softmax(scores, dim=-1) @ self.support

    def forward(self, obs: Any) -> Tensor:
        """(rows, actions): the value of each action."""
        return self.values(self.scores(obs))

    def _predict(self, observation: Any, deterministic: bool = True) -> Tensor:
        if deterministic:
            return self(observation).argmax(dim=1)
        with self.stirred():
            return self(observation).argmax(dim=1)

    def dense(self) -> dict[str, Layers]:
        """The mean weights as arrays: "trunk", "advantage", and "value" if there is a stream of it.

        The activation follows every layer but the last one of a stream; a trunk ends with one. For
        a forward pass without torch; without streams of its own all is "advantage".
        """
        parts = {"trunk": [], "advantage": self.q_net}
        if isinstance(self.q_net, nn.ModuleDict):
            parts = dict(self.q_net.items())
        return {name: arrays(list(part)) for name, part in parts.items()}


class RainbowPolicy(DQNPolicy):
    """stable-baselines3's policy of a DQN with the networks above. See `RainbowNetwork`."""

    def __init__(
        self,
        *args: Any,
        n_atoms: int = 51,
        v_min: float = -10.0,
        v_max: float = 10.0,
        dueling: bool = True,
        noisy: bool = True,
        sigma0: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self._of_rainbow: dict[str, Any] = {"n_atoms": n_atoms, "v_min": v_min, "v_max": v_max}
        self._of_rainbow |= {"dueling": dueling, "noisy": noisy, "sigma0": sigma0}
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> RainbowNetwork:
        """A network of its own, for the values and for the target."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return RainbowNetwork(**arguments, **self._of_rainbow).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self._of_rainbow


def arrays(modules: Iterable[nn.Module]) -> Layers:
    """The weights and biases of the linear layers in a stack, as copies."""
    layers = [module for module in modules if isinstance(module, (nn.Linear, NoisyLinear))]
    return [tuple(p.detach().cpu().numpy().copy() for p in (m.weight, m.bias)) for m in layers]
