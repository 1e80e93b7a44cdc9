"""How a call is understood: options, defaults that the environment may replace, whether rows are
in order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, TypedDict

from engines.data.past import Asked
from engines.data.scoring import FORECAST
from engines.errors import BadInput
from engines.models import catalogue

TRIALS, SEED, TIMEOUT = "OPTUNA_TRIALS", "RANDOM_SEED", "OPTIMIZATION_TIMEOUT"
EPISODES = "TRADING_EPISODES"


class Unsaid(int):
    """A default: the number that a signature shows, unless the environment has another."""

    def or_environment(self, name: str) -> int:
        """The whole number in the environment variable, or this one. Raises BadInput."""
        found = _whole(name)
        return int(self) if found is None else found


def _whole(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if text and (not text.isdecimal() or len(text) > 10):
        raise BadInput(f"{name} is `{text[:40]}`, not a whole number: mend it or unset it.")
    return int(text) if text else None


def said(number: int, variable: str) -> int:
    """A number as given, or what the environment says where it was left to its default."""
    return number.or_environment(variable) if isinstance(number, Unsaid) else number


def trials_of(n_trials: int | None) -> int | None:
    """The trials of each model, as asked (OPTUNA_TRIALS), or None for as many as there is time for.

    Raises BadInput.
    """
    trials = _whole(TRIALS) if n_trials is None else said(n_trials, TRIALS)
    if trials is not None and (not _counts(trials) or trials < 1):
        raise BadInput(f"n_trials is {trials!r}: a whole number, at least 1.")
    return None if trials is None else int(trials)


def _counts(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def seconds_of(time_budget_s: float | None) -> float | None:
    """The seconds of a call, as asked (OPTIMIZATION_TIMEOUT), or None. Raises BadInput."""
    if time_budget_s is None:
        return time_limit_s()
    try:
        seconds = float(time_budget_s)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadInput(f"time_budget_s is {str(time_budget_s)[:40]!r}, not a number of seconds.")
    return seconds


def episodes() -> int | None:
    """TRADING_EPISODES, how often an agent trades the training bars, or None. Raises BadInput."""
    found = _whole(EPISODES)
    if found == 0:
        raise BadInput(f"{EPISODES} is 0: at least 1, or unset it.")
    return found


def time_limit_s() -> float | None:
    """OPTIMIZATION_TIMEOUT in seconds, or None. Raises BadInput."""
    text = os.environ.get(TIMEOUT, "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadInput(f"{TIMEOUT} is `{text[:40]}`, not a number of seconds: mend it or unset it.")
    return seconds


class Options(TypedDict, total=False):
    """What every `optimize_...` takes by name, beside its rows.

    name: of the experiment; with the name of one that was interrupted, it goes on. task:
    "regression" or "classification", guessed from y without it. metric: a name, see
    `engines.data.scoring`. X_test, y_test: rows for the held-out score; or held_out, a part of
    X_train that is set aside for it, such as 0.2. ordered: whether the rows stand in the order of
    time; without a word they do if a model is named that reads windows of rows. time_budget_s:
    seconds for the whole call. sampler: tpe, random, gp, cmaes, qmc or grid.
    """

    name: str | None
    task: str | None
    metric: str | None
    X_test: Any
    y_test: Any
    held_out: float | None
    ordered: bool | None
    time_budget_s: float | None
    sampler: str


def reads_windows(selectors: Sequence[str]) -> bool:
    """Whether a model or a family is named that reads windows of rows; `all` names none."""
    named = [word for word in selectors if catalogue.normalise(word) != "all"]
    if not named:
        return False
    return any(form.windows for spec in catalogue.select(named) for form in spec.forms.values())


def asked_of(task: str | None, horizon: int | None, time_column: str | None) -> Asked:
    """What `fit` asks of the target's past. Raises BadInput for words that don't fit."""
    if (task == FORECAST) != (horizon is not None):
        raise BadInput(
            'A forecast is task="forecast" with horizon=..., how far ahead in rows: give both.'
        )
    if horizon is not None and (not _counts(horizon) or horizon < 1):
        raise BadInput(f"horizon is {horizon!r}: a whole number of rows, at least 1.")
    if horizon is not None and time_column is None:
        raise BadInput("A forecast needs rows in order of time: name their column as time_column.")
    return Asked(task, None if horizon is None else int(horizon))
