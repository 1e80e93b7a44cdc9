"""Rainbow DQN (Hessel et al. 2018) on stable-baselines3's DQN, each of its parts a switch."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.save_util import load_from_pkl
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.dqn.dqn import DQN
from torch import Tensor
from torch.nn import functional

from engines.data.scoring import ScoreError
from engines.models.rl_agents.augmented import AugmentedReplay
from engines.models.rl_agents.networks import RainbowPolicy
from engines.models.rl_agents.priorities import Drawn, PrioritisedReplay


def project(
    chances: Tensor, rewards: Tensor, discounts: Tensor, support: Tensor
) -> tuple[Tensor, Tensor]:
    """The distribution of reward + discount * return on the atoms of `support`.

    chances (rows, atoms) of the returns in `support` (atoms,), evenly spaced; rewards and discounts
    (rows, 1), the discount 0 after a terminal state. Each return is shared between the two atoms
    beside it, so that the mean stays where it was (Bellemare et al. 2017, equation 7). What lies
    beyond the ends goes to the end. Returns (rows, atoms) and the share beyond, (rows,).
    """
    low, high, atoms = support[0], support[-1], len(support)
    returns = rewards + discounts * support
    inside = returns.clamp(low, high)
    place = (inside - low) * ((atoms - 1) / (high - low))
    below = place.floor().clamp(max=atoms - 2)
    share = place - below
    under = below.nan_to_num().long()  # what is no number stays so by its share, and is found there
    found = torch.zeros_like(chances)
    found.scatter_add_(1, under, chances * (1.0 - share))
    found.scatter_add_(1, under + 1, chances * share)
    return found, (chances * (inside != returns)).sum(dim=1)


class RainbowDQN(DQN):
    """A DQN of stable-baselines3 with what Rainbow adds; with all switches off, that DQN itself.

    n_atoms: numbers of the distribution of returns between v_min and v_max; 1 learns values alone
    (by the Huber loss, as DQN). double: the action after a transition is chosen by the online
    network (van Hasselt et al. 2016). dueling, noisy, sigma0: see `RainbowNetwork`; a noisy agent
    explores by its noise alone, so the exploration arguments are set to 0. The sigma0 of the
    papers, 0.5, hides what actions differ by in a market for longer than some thousand updates.
    n_steps: of a return; above 1 without augmented replay, an action is charged with what an older,
    exploring policy paid after it.
    prioritised: transitions are drawn by their last error to the power of priority_alpha, made up
    for to the power of priority_beta, which grows to 1 by the end. augmented: `AugmentedReplay`, on
    a `TradingVecEnv` alone. The other arguments, callbacks and environments are those of `DQN`.

    The log has `train/clipped`, the mean share of returns beyond v_min and v_max: choose them so
    that it stays near 0. `train` raises ScoreError for a loss that is not finite.

    What is to go on as if it had never stopped needs: `save`, which has the weights, the optimiser
    and all counters; `save_replay_buffer`, with the priorities; the state of the environment; and
    the global generators of numpy (replay, exploration) and torch (noise) with the action space's
    own (`action_space.np_random`), as for every agent of stable-baselines3. Then
    `load(..., env, force_reset=False)`, `load_replay_buffer`, the generators, and
    `learn(steps left, reset_num_timesteps=False)`.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {"MlpPolicy": RainbowPolicy}
    replay_buffer: Any
    replay_buffer_class: Any

    def __init__(
        self,
        policy: str | type[RainbowPolicy],
        env: Any,
        *,
        n_atoms: int = 51,
        v_min: float = -10.0,
        v_max: float = 10.0,
        double: bool = True,
        dueling: bool = True,
        noisy: bool = True,
        sigma0: float = 0.1,
        n_steps: int = 1,
        prioritised: bool = True,
        priority_alpha: float = 0.5,
        priority_beta: float = 0.4,
        augmented: bool = False,
        policy_kwargs: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        if n_atoms < 1 or (n_atoms > 1 and not v_min < v_max):
            raise ValueError(f"n_atoms={n_atoms}, v_min={v_min}, v_max={v_max}: no such support")
        if (prioritised or augmented) and arguments.get("replay_buffer_class") is not None:
            raise ValueError("a replay buffer of one's own goes with prioritised=augmented=False")
        self.double, self.noisy = double, noisy
        self.prioritised, self.augmented = prioritised, augmented
        self.priority_alpha, self.priority_beta = priority_alpha, priority_beta
        if noisy:
            arguments |= {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
        ours = {"n_atoms": n_atoms, "v_min": v_min, "v_max": v_max, "sigma0": sigma0}
        ours |= {"dueling": dueling, "noisy": noisy}
        super().__init__(
            policy,
            env,
            n_steps=n_steps,
            policy_kwargs={**(policy_kwargs or {}), **ours},
            **arguments,
        )

    def _setup_model(self) -> None:
        if self.prioritised or self.augmented:
            self.replay_buffer = self._replay()
        if self.n_steps > 1 and self.replay_buffer_class is NStepReplayBuffer:
            # The base's own choice, come back from a file; it would warn as of somebody else's.
            self.replay_buffer_class = None
        super()._setup_model()

    def _replay(self) -> Any:
        where = (self.buffer_size, self.observation_space, self.action_space)
        how = {"device": self.device, "n_envs": self.n_envs, "gamma": self.gamma}
        how |= {"n_steps": self.n_steps, "alpha": self.priority_alpha * self.prioritised}
        if self.augmented:
            return AugmentedReplay(*where, env=self.env, **how)
        return PrioritisedReplay(*where, **how)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """As of the base; the states of augmented replay are then of this environment."""
        super().set_env(env, force_reset)
        if self.augmented:
            self.replay_buffer.attach(self.env)

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Replace the buffer by one that `save_replay_buffer` wrote. A pickle: trust its maker."""
        if not self.augmented:
            super().load_replay_buffer(path, truncate_last_traj)
            return
        self.replay_buffer = load_from_pkl(path, self.verbose)
        self.replay_buffer.device = self.device
        self.replay_buffer.attach(self.env)

    def _sample_action(self, *args: Any, **kwargs: Any) -> Any:
        if self.augmented:
            self.replay_buffer.look()
        return super()._sample_action(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take `gradient_steps` steps of the optimiser, each on a batch from the buffer."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses, clipped, weights = [], [], list(self.policy.parameters())
        for _ in range(gradient_steps):
            drawn = self._draw(batch_size)
            with self.q_net.stirred(), self.q_net_target.stirred():
                each, errors, beyond = self._compared(drawn.samples, drawn.of_each)
            loss = self._weighed(drawn, each, errors)
            losses.append(loss.item())
            clipped.append(beyond.mean())
            if not math.isfinite(losses[-1]):
                raise ScoreError(
                    f"the agent's loss is {losses[-1]:g} after {self._n_updates} updates: "
                    "its learning rate is too high here, or a reward is no number"
                )
            self.policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, self.max_grad_norm)
            self.policy.optimizer.step()
            self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))
        if self.q_net.n_atoms > 1:
            self.logger.record("train/clipped", torch.stack(clipped).mean().item())

    def _draw(self, batch_size: int) -> Drawn:
        beta = 1.0 - (1.0 - self.priority_beta) * self._current_progress_remaining
        if self.augmented:
            return self.replay_buffer.draw(batch_size, beta, self._chosen)
        if self.prioritised:
            return self.replay_buffer.draw(batch_size, beta, self._vec_normalize_env)
        return Drawn(self.replay_buffer.sample(batch_size, env=self._vec_normalize_env))

    def _chosen(self, seen: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """What the agent does now at `seen` (rows, size), without noise."""
        with torch.no_grad():
            found = self.q_net(torch.as_tensor(seen, device=self.device)).argmax(dim=1)
        return found.cpu().numpy()

    def _compared(
        self, samples: ReplayBufferSamples, of_each: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, error, share of the return beyond the support) of each sample, (rows,).

        of_each: 1, or the number of actions where every state has a sample of each, in their order.
        """
        discounts = self.gamma if samples.discounts is None else samples.discounts
        left = (1 - samples.dones) * discounts
        with torch.no_grad():
            following = self.q_net_target.scores(samples.next_observations)
            judge = self.q_net if self.double else self.q_net_target
            judged = judge.scores(samples.next_observations) if self.double else following
            best = judge.values(judged).argmax(dim=1, keepdim=True)
        if of_each > 1:
            # A state is looked at once: what its samples have in common is all that is seen there.
            said = self.q_net.scores(samples.observations[::of_each]).flatten(0, 1)
        else:
            said = _of_action(self.q_net.scores(samples.observations), samples.actions.long())
        if self.q_net.n_atoms == 1:
            with torch.no_grad():
                target = samples.rewards + left * following.squeeze(-1).gather(1, best)
            losses = functional.smooth_l1_loss(said, target, reduction="none").squeeze(1)
            errors = (target - said.detach()).abs().squeeze(1)
            return losses, errors, torch.zeros_like(errors)
        with torch.no_grad():
            chances = torch.softmax(_of_action(following, best), dim=-1)
            target, beyond = project(chances, samples.rewards, left, self.q_net.support)
        losses = -(target * torch.log_softmax(said, dim=-1)).sum(dim=1)
        # The priority is the divergence (Rainbow, section 3): the target's own entropy is no error.
        errors = losses.detach() + torch.special.xlogy(target, target).sum(dim=1)
        return losses, errors, beyond

    def _weighed(self, drawn: Drawn, losses: Tensor, errors: Tensor) -> Tensor:
        """The mean loss of a batch; the buffer hears of its errors."""
        if drawn.leaves is None:
            return losses.mean()
        of_leaves = errors.view(-1, drawn.of_each).mean(dim=1)
        self.replay_buffer.priorities.learned(drawn.leaves, of_leaves.cpu().numpy())
        weights = torch.as_tensor(drawn.weights, device=self.device)
        return (weights * losses.view(-1, drawn.of_each).mean(dim=1)).mean()


def _of_action(scores: Tensor, actions: Tensor) -> Tensor:
    """(rows, atoms) of the actions (rows, 1) in `scores` (rows, actions, atoms)."""
    atoms = scores.shape[-1]
    return scores.gather(1, actions.unsqueeze(-1).expand(-1, 1, atoms)).squeeze(1)
