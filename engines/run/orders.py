"""Orders as a person means them: the row is written, and somebody is there to obey it.

The command line and the app both come here, so that pausing, resuming and retrying mean the
same in both. Nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.data.changes import change_since
from engines.errors import BadInput, NotComparable
from engines.run import objective
from engines.run.launcher import start_runner
from engines.study import control, versions
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment, Study
from engines.study.states import FINAL

Target = tuple[Experiment, Study]


@dataclass(frozen=True, slots=True)
class Done:
    """What an order changed: names of studies, and what a person should know about it."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def give(
    location: Location,
    targets: Sequence[Target],
    want: str,
    *,
    now: bool = False,
    freeze: bool = False,
) -> Done:
    """Pause, stop or cancel studies. Raises BadInput if none of them can take the order."""
    names = control.order(location, targets, want, now=now, freeze=freeze)
    # Somebody has to carry it out: put trials back, open the held-out part.
    for experiment in _experiments(targets):
        start_runner(location, experiment.experiment_id)
    return Done(tuple(names))


def resume(
    location: Location,
    targets: Sequence[Target],
    *,
    trials: int | None = None,
    time_s: float | None = None,
    workers: int | None = None,
) -> Done:
    """Let studies go on, with larger totals if given. Runner deaths so far are forgiven.

    Raises BadInput if there is nothing to go on with, also because the time is used up, and
    NotComparable if the code of an objective has changed since.
    """
    for experiment in _experiments(targets):
        _check_time(experiment, time_s)
    notes = [note for experiment in _experiments(targets) for note in _check_unchanged(experiment)]
    names: list[str] = []
    if trials is not None:
        names += control.raise_goals(location, targets, trials)
    for experiment in _experiments(targets):
        control.change_experiment(
            location, experiment.experiment_id, workers=workers, time_limit_s=time_s
        )
        forgive(location, experiment)
    fresh = _read_again(location, targets)
    if any(study.state not in FINAL for _, study in fresh):
        names += control.order(location, fresh, "run")
    elif not names:
        states = ", ".join(f"{study.name} is {study.state}" for _, study in fresh[:3])
        ended = all(study.want in ("stop", "cancel") for _, study in fresh)
        way = "that is final" if ended else "a larger total (--trials N) would go on"
        raise BadInput(f"Nothing to resume: {states}; {way}.")
    notes += _unraised(fresh, trials)
    for experiment in _experiments(targets):
        start_runner(location, experiment.experiment_id)
    return Done(tuple(dict.fromkeys(names)), tuple(notes))


def retry(
    location: Location, experiment: Experiment, study: Study, numbers: Sequence[int] = ()
) -> tuple[list[int], Done]:
    """Queue failed trials again; returns their new numbers. Raises as `resume` does."""
    _check_time(experiment, None)
    notes = _check_unchanged(experiment)
    created = control.retry(location, experiment, study, numbers)
    control.change_experiment(location, experiment.experiment_id)
    forgive(location, experiment)
    start_runner(location, experiment.experiment_id)
    return created, Done((study.name,), tuple(notes))


def _experiments(targets: Iterable[Target]) -> list[Experiment]:
    return list({experiment.experiment_id: experiment for experiment, _ in targets}.values())


def _read_again(location: Location, targets: Sequence[Target]) -> list[Target]:
    wanted = {study.study_id for _, study in targets}
    with contextlib.closing(Reader(location)) as reader:
        experiments = [reader.experiment(e.experiment_id) for e in _experiments(targets)]
    return [(e, s) for e in experiments for s in e.studies if s.study_id in wanted]


def _unraised(targets: Sequence[Target], trials: int | None) -> list[str]:
    """A total that was asked for and is below the one there is: goals are never lowered."""
    if trials is None:
        return []
    return [
        f"{study.name} keeps its total of {study.counts.goal}: {trials} is less"
        for _, study in targets
        if study.counts.goal is not None and study.counts.goal > trials
    ]


def _check_time(experiment: Experiment, time_s: float | None) -> None:
    """Refuse to go on for the second until the used up time ends everything again.

    It is used up when it has ended a study, a little before its last second: see `study.reserve`.
    """
    limit = experiment.time_limit_s if time_s is None else time_s
    if limit is None:
        return
    is_larger = limit > (experiment.time_limit_s or 0.0)
    ended = any((study.message or "").startswith("time limit") for study in experiment.studies)
    if experiment.time_used_s < limit and (is_larger or not ended):
        return
    used = f"{experiment.time_used_s:.0f} s of {limit:g} s"
    raise BadInput(
        f"The time of {experiment.name} is used up ({used}): give it a larger total, "
        f"`hyperion-tui resume {experiment.name} --time T`."
    )


def _check_unchanged(experiment: Experiment) -> list[str]:
    """Refuse to mix trials of two programs; tell what else is not what it was."""
    if experiment.objective is not None:
        changed = objective.difference(experiment.objective)
        if changed is not None:
            raise NotComparable(f"{experiment.name}: {changed}.")
    notes = [
        f"{line}; scores of new trials may differ from those before"
        for line in versions.differences(experiment.versions)
    ]
    change = change_since(experiment.facts.get("file"))
    return notes if change is None else [*notes, change]


def forgive(location: Location, experiment: Experiment) -> None:
    """Somebody has looked: earlier deaths of a runner that is not alive no longer count."""
    if experiment.runner_pid is not None:
        return
    control.forgive(location, experiment.experiment_id)
