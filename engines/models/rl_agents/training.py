"""The training of one trading agent, which can be stopped anywhere and taken up again elsewhere.

stable-baselines3 learns; this drives it in rounds (some bars traded by all accounts, then some
updates), because its own `learn` begins anew at every call. A round is the smallest step, so how
the way to the last one is cut into calls changes nothing. stable-baselines3 draws from the global
generators of Python, numpy and torch: these belong to everybody, so they are borrowed for each
call and given back.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from torch import nn

from engines.data.scoring import ScoreError
from engines.models.rl_agents import mapping
from engines.models.rl_agents.continuous import DecayingNoise, TradingSAC, TradingTD3
from engines.models.rl_agents.networks import Layers, arrays
from engines.models.rl_agents.policy import AgentPolicy, Card
from engines.models.rl_agents.rainbow import RainbowDQN
from simulator.actions import levels_of
from simulator.market import Market
from simulator.sb3 import TradingVecEnv

__all__ = ["AgentPolicy", "AgentTraining"]

_AGENTS = {"sac": TradingSAC, "td3": TradingTD3, "rainbow_dqn": RainbowDQN}
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}
_NUMBERS = (
    *("num_timesteps", "_episode_num", "_n_updates", "_n_calls", "exploration_rate"),
    "_current_progress_remaining",
)
"""What agents count; not every agent counts everything."""


class AgentTraining:
    """One agent, one seed, on the training bars.

    agent: sac, td3 or rainbow_dqn. params: of its declared space; `augmented` may be given and is
    true otherwise. market: the training bars and costs; reward and position limit are set from
    `params`, the limit within that of the market. steps: environment steps of the whole training,
    which schedules need; every bar that an account trades is one. device: cpu or cuda.
    Raises ScoreError if the price never moves.
    """

    def __init__(
        self,
        agent: str,
        params: Mapping[str, Any],
        market: Market,
        seed: int,
        *,
        steps: int,
        device: str = "cpu",
    ) -> None:
        self.agent, self.steps = agent, steps
        self._plan = mapping.plan(agent, params, steps)
        self._market = mapping.market_for(market, self._plan)
        self._identity = _identity(agent, params, market, seed, steps)
        self._levels = levels_of(mapping.LEVELS) if self._plan.discrete else None
        self._env = TradingVecEnv(
            self._market,
            mapping.ACCOUNTS,
            actions=self._levels or "continuous",
            episode_bars=min(mapping.EPISODE_BARS, market.last - market.first),
        )
        self._noise = DecayingNoise(mapping.ACCOUNTS, seed)
        self._generators = _Generators(device)
        with self._generators.borrowed():
            self._model = self._built(seed, device)
            # No folder for a log that nobody reads.
            self._model.set_logger(Logger(folder=None, output_formats=[]))
            _, self._callback = self._model._setup_learn(steps, None)

    @property
    def steps_done(self) -> int:
        """Environment steps so far; the last round may go beyond what was asked for."""
        return int(self._model.num_timesteps)

    def advance(self, to_step: int) -> None:
        """Train on until `to_step` environment steps are done, but not beyond the last one.

        Raises ScoreError as soon as the agent's weights are no finite numbers.
        """
        with self._generators.borrowed():
            while self.steps_done < min(to_step, self.steps):
                try:
                    self._round()
                except ValueError:
                    # torch refuses to draw actions from what is no number.
                    self._check()
                    raise
                self._check()

    def policy(self) -> AgentPolicy:
        """What the agent would do now, without exploring; further training does not change it."""
        model, support = self._model, None
        layers: dict[str, Layers]
        if self.agent == "sac":
            layers = {"actor": arrays([*model.actor.latent_pi, model.actor.mu])}
        elif self.agent == "td3":
            layers = {"actor": arrays(model.actor.mu)}
        else:
            layers = {name: part for name, part in model.q_net.dense().items() if part}
            atoms = model.q_net.support
            support = (float(atoms[0]), float(atoms[-1])) if len(atoms) > 1 else None
        card = Card(
            agent=self.agent,
            activation=self._plan.activation,
            max_position=self._market.max_position,
            levels=self._levels or (),
            support=support,
            window=self._market.window,
            feature_names=self._market.feature_names,
        )
        return AgentPolicy(card, layers)

    def pack(self) -> bytes:
        """All that the next rounds depend on beside the constructor's arguments.

        Networks, optimisers, the filled part of the replay, the accounts, counters, and every
        generator of random numbers. Reading it runs nothing.
        """
        env, model = self._env, self._model
        state = {
            "identity": self._identity,
            "numbers": {n: _number(getattr(model, n)) for n in _NUMBERS if hasattr(model, n)},
            "networks": model.get_parameters(),
            "tensors": {name: getattr(model, name).detach() for name in self._loose},
            "replay": _packed(model.replay_buffer),
            "seen": model._last_obs,
            "accounts": {"states": env.accounts.states, "random": env._rng.bit_generator.state},
            "episodes": {"earned": env._earned, "lasted": env._lasted},
            "noise": self._noise.random.bit_generator.state,
            "any_action": model.action_space.np_random.bit_generator.state,
            "generators": self._generators.own,
        }
        buffer = io.BytesIO()
        torch.save(_as_tensors(state), buffer)
        return zlib.compress(buffer.getvalue(), 1)

    @classmethod
    def unpack(
        cls,
        state: bytes,
        agent: str,
        params: Mapping[str, Any],
        market: Market,
        seed: int,
        *,
        steps: int,
        device: str = "cpu",
    ) -> AgentTraining:
        """The training that `pack` was called on, to go on as if it had never stopped.

        Arguments as of the constructor, and the same. Raises ValueError if the state is damaged
        or of another training.
        """
        try:
            buffer = io.BytesIO(zlib.decompress(state))
            read = torch.load(buffer, weights_only=True, map_location="cpu")
        except (
            zlib.error,
            RuntimeError,
            pickle.UnpicklingError,
            EOFError,
            zipfile.BadZipFile,
        ) as why:
            raise ValueError(f"the state of the {agent} training is damaged ({why})") from why
        training = cls(agent, params, market, seed, steps=steps, device=device)
        if read["identity"] != training._identity:
            raise ValueError(
                f"the state is not of this {agent} training: parameters, bars, seed or steps differ"
            )
        training._restore(read, device)
        return training

    @property
    def _loose(self) -> list[str]:
        """Tensors of the agent that belong to no network."""
        _, names = self._model._get_torch_save_params()
        return [str(name) for name in names]

    def _built(self, seed: int, device: str) -> Any:
        """The agent, its weights drawn from `seed`."""
        made = self._plan
        policy = {"net_arch": made.layers, "activation_fn": _ACTIVATIONS[made.activation]}
        # Networks this small spend more on walking over tensors than on adding to them.
        policy["optimizer_kwargs"] = {"fused": True}
        return _AGENTS[self.agent](
            "MlpPolicy",
            self._env,
            policy_kwargs=policy,
            seed=seed,
            device=device,
            **made.arguments,
        )

    def _round(self) -> None:
        """Some bars, traded by all accounts, then some updates."""
        model, noise = self._model, None
        if self._plan.noise is not None:
            first, last = self._plan.noise
            self._noise.sigma = first + (last - first) * min(self.steps_done / self.steps, 1.0)
            noise = self._noise
        model.collect_rollouts(
            self._env,
            self._callback,
            model.train_freq,
            model.replay_buffer,
            noise,
            model.learning_starts,
            None,
        )
        if self.steps_done > model.learning_starts:
            model.train(model.gradient_steps, model.batch_size)

    def _check(self) -> None:
        network = self._model.q_net if self._plan.discrete else self._model.actor
        if all(bool(torch.isfinite(weights).all()) for weights in network.parameters()):
            return
        raise ScoreError(
            f"the weights of the {self.agent} agent are no finite numbers after "
            f"{self.steps_done} steps: learning_rate {self._plan.arguments['learning_rate']:g} "
            "is too high here"
        )

    def _restore(self, read: dict[str, Any], device: str) -> None:
        env, model = self._env, self._model
        for name, number in read["numbers"].items():
            setattr(model, name, number)
        model.set_parameters(read["networks"], exact_match=True, device=device)
        for name in self._loose:
            getattr(model, name).data.copy_(read["tensors"][name])
        _fill(model.replay_buffer, _as_arrays(read["replay"]))
        model._last_obs = read["seen"].numpy()
        env.accounts.states[:] = read["accounts"]["states"].numpy()
        env._rng.bit_generator.state = read["accounts"]["random"]
        env._earned[:] = read["episodes"]["earned"].numpy()
        env._lasted[:] = read["episodes"]["lasted"].numpy()
        self._noise.random.bit_generator.state = read["noise"]
        model.action_space.np_random.bit_generator.state = read["any_action"]
        self._generators.own = _as_arrays(read["generators"])


class _Generators:
    """The states that one training has of the global generators of Python, numpy and torch."""

    def __init__(self, device: str) -> None:
        self._cuda = torch.device(device).type == "cuda"
        self.own: dict[str, Any] | None = None

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Inside, the global generators go on where this training left them."""
        before = self._now()
        if self.own is not None:
            self._set(self.own)
        try:
            yield
        finally:
            self.own = self._now()
            self._set(before)

    def _now(self) -> dict[str, Any]:
        states = {"python": random.getstate(), "numpy": np.random.get_state()}
        states["torch"] = torch.get_rng_state()
        if self._cuda:
            states["cuda"] = torch.cuda.get_rng_state()
        return states

    def _set(self, states: dict[str, Any]) -> None:
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        torch.set_rng_state(_tensor(states["torch"]))
        if self._cuda:
            torch.cuda.set_rng_state(_tensor(states["cuda"]))


def _tensor(state: Any) -> torch.Tensor:
    return torch.as_tensor(state)


def _identity(agent: str, params: Mapping[str, Any], market: Market, seed: int, steps: int) -> str:
    """What a state must have been made with to be restored."""
    digest = hashlib.sha256(market.bars.sha256.encode())
    digest.update(json.dumps([agent, dict(params), seed, steps], sort_keys=True).encode())
    digest.update(market.table.tobytes())
    digest.update(market.parameters.tobytes())
    return digest.hexdigest()


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _packed(replay: Any) -> dict[str, Any]:
    """Numbers and arrays of a replay buffer, of arrays the rows that are filled."""
    rows, kept = replay.size(), {}
    for name, value in replay.__getstate__().items():
        if isinstance(value, np.ndarray):
            kept[name] = value[:rows] if len(value) == replay.buffer_size else value
        elif isinstance(value, (bool, int, float, dict, np.generic)):
            kept[name] = _number(value)
    return kept


def _fill(replay: Any, kept: dict[str, Any]) -> None:
    """Put what `_packed` gave into a new buffer of the same kind."""
    if hasattr(replay, "__setstate__"):
        env = getattr(replay, "env", None)
        replay.__setstate__(replay.__getstate__() | kept)
        if env is not None:
            replay.attach(env)
        return
    for name, value in kept.items():
        if isinstance(value, np.ndarray):
            getattr(replay, name)[: len(value)] = value
        else:
            setattr(replay, name, value)


def _as_tensors(value: Any) -> Any:
    """Arrays become tensors, which are read back without running anything."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, dict):
        return {key: _as_tensors(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_as_tensors(part) for part in value)
    return value


def _as_arrays(value: Any) -> Any:
    """The inverse of `_as_tensors`."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: _as_arrays(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_as_arrays(part) for part in value)
    return value
