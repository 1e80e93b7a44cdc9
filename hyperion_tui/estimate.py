"""How long an experiment should take, before it starts.

What a trial of each model's defaults costs on these data comes from the look at them
(`children.look_at_data`), by laws that were measured on another machine: so it is said with
`about`, and no finer than that. Trials of other parameters cost more or less, weak ones end early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from engines.errors import HyperionError
from engines.models import catalogue
from engines.models.spec import ModelSpec
from engines.run.capacity import default_workers
from hyperion_tui import config, options, text
from hyperion_tui.children import Look, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Work:
    """One model's part. seconds: of all its trials, one after the other."""

    trials: int
    seconds: float
    sequential: bool = False


def told(request: Request, look: Look) -> str:
    """`36 models x 20 trials, 2 workers: about 14m 20s`; "" where it can't be told."""
    try:
        specs = catalogue.select(request.selectors)
        trials = config.setting("trials", _given(request.trials, options.TRIALS))
        limit_s = _given(request.time, options.duration_s)
        workers = config.setting("workers", _given(request.workers, options.WORKERS))
    except HyperionError:
        return ""
    usable = [s for s in specs if s.name in look.expected_s and s.reason_missing is None]
    if not usable:
        return ""
    workers = workers or default_workers()
    models, team = text.plural(len(usable), "model"), text.plural(workers, "worker")
    if trials is None and limit_s is not None:
        return f"{models}, {team}: ends after {text.duration(limit_s)}"
    work = [part(spec, trials or spec.trials, look.task, look.expected_s) for spec in usable]
    seconds = seconds_for(work, workers)
    if limit_s is not None and limit_s < seconds:
        return f"{models}, {team}: ends after {text.duration(limit_s)}"
    numbers = {one.trials for one in work}
    each = f" × {text.plural(min(numbers), 'trial')}" if len(numbers) == 1 else ""
    total = "" if each else f", {text.plural(sum(one.trials for one in work), 'trial')}"
    return f"{models}{each}{total}, {team}: about {text.eta(seconds)}"


def part(spec: ModelSpec, trials: int, task: str, expected_s: Mapping[str, float]) -> Work:
    """What a model adds: its known first trials as they are weighed, the others as their mean."""
    weights = [weight for _, weight in spec.form(task).weighed]
    first = weights[:trials]
    rest = (trials - len(first)) * sum(weights) / len(weights)
    return Work(trials, (sum(first) + rest) * expected_s[spec.name], spec.sequential)


def seconds_for(work: Sequence[Work], workers: int) -> float:
    """All trials shared by the workers, but a study that works in sequence has one at a time."""
    shared = sum(one.seconds for one in work) / workers
    return max([shared, *(one.seconds for one in work if one.sequential)])


def _given(typed: str, parse: Callable[[str], T]) -> T | None:
    """The value of a field, None if it is blank. Raises BadInput."""
    return parse(typed.strip()) if typed.strip() else None
