"""What agents ask for: numbers of levels or shares of the largest position, from any agent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Seen = npt.NDArray[np.float32]

METHODS = ("predict", "act", "select_action", "get_action", "choose_action")


def levels_of(actions: str | int | Sequence[float]) -> tuple[float, ...] | None:
    """The positions that discrete actions stand for, lowest first; None for continuous actions.

    "continuous", a number of evenly spaced levels from -1 to 1 (5: -1, -0.5, 0, 0.5, 1), or the
    levels themselves, each a share of the largest position.
    """
    if isinstance(actions, str):
        if actions != "continuous":
            raise ValueError(f"actions={actions!r}: 'continuous', a number or levels are needed")
        return None
    if isinstance(actions, (int, np.integer)):
        if actions < 2:
            raise ValueError(f"actions={actions}: at least 2 levels are needed")
        return tuple(float(level) for level in np.linspace(-1.0, 1.0, int(actions)))
    levels = tuple(float(level) for level in actions)
    if len(levels) < 2 or not all(-1.0 <= level <= 1.0 for level in levels):
        raise ValueError(f"actions={actions}: at least two levels within -1 and 1 are needed")
    return levels


def target_of(action: Any, levels: tuple[float, ...] | None) -> float:
    """The share of the largest position, in [-1, 1], that an action asks for."""
    value = np.asarray(action).reshape(-1)
    if value.size != 1:
        raise ValueError(f"action {action!r}: one number is needed")
    if levels is not None:
        level = int(value[0])
        if not 0 <= level < len(levels) or level != value[0]:
            raise ValueError(f"action {action!r}: a level from 0 to {len(levels) - 1} is needed")
        return levels[level]
    share = float(value[0])
    if not np.isfinite(share):
        raise ValueError(f"action {action!r}: the policy gives no finite number")
    return min(max(share, -1.0), 1.0)


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # compiled functions may have none
        return False


def decision_of(agent: Any) -> Callable[[Seen], Any]:
    """The function of an agent that turns a state into an action."""
    for name in METHODS:
        method = getattr(agent, name, None)
        if callable(method):
            return _without_state(method) if name == "predict" else method
    if callable(agent):
        return agent
    raise ValueError(f"an agent is a function or has one of {', '.join(METHODS)}; this has none")


def _without_state(predict: Callable[..., Any]) -> Callable[[Seen], Any]:
    """`predict` without what stable-baselines3 returns beside the action.

    Its agents explore unless they are told not to, by numbers that no seed of ours reaches.
    """
    how = {"deterministic": True} if _takes(predict, "deterministic") else {}

    def decide(seen: Seen) -> Any:
        found = predict(seen, **how)
        return found[0] if isinstance(found, tuple) else found

    return decide
