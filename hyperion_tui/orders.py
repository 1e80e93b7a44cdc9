"""Orders to studies, and runners for those that have none. Called in threads: they may wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engines.errors import HyperionError
from engines.run.launcher import start_runner
from engines.study import control
from engines.study.location import Location
from engines.study.records import Experiment, Study
from engines.study.states import FINAL
from hyperion_tui import text

Target = tuple[Experiment, Study]

_DONE = {"pause": "pausing", "run": "going on", "stop": "stopping", "cancel": "cancelled"}


def give(location: Location, targets: Sequence[Target], want: str, *, now: bool = False) -> str:
    """Order studies to run, pause, stop or cancel; returns what to tell the person."""
    names = control.order(location, targets, want, now=now)
    if want == "run":
        for experiment_id in {e.experiment_id for e, _ in targets}:
            start_runner(location, experiment_id)
    how = "interrupted" if now and want == "pause" else _DONE[want]
    return f"{how}: {names[0] if len(names) == 1 else text.plural(len(names), 'study', 'studies')}"


def retry(location: Location, experiment: Experiment, study: Study, number: int) -> str:
    """Queue a failed trial again and see to it that somebody runs it."""
    created = control.retry(location, experiment, study, [number])
    start_runner(location, experiment.experiment_id)
    return f"{study.name}: trial {number} is queued again as {created[0]}"


def adopt(location: Location, experiments: Iterable[Experiment]) -> str | None:
    """Start a runner for each experiment that should be running and has none.

    Returns a line for the person, or None if nothing was running at all.
    """
    going_on = [e for e in experiments if e.state in ("running", "waiting", "pausing")]
    orphans = [e for e in going_on if e.is_orphaned]
    failures: list[str] = []
    for experiment in orphans:
        try:
            start_runner(location, experiment.experiment_id)
        except HyperionError as error:
            failures.append(str(error))
    if not going_on:
        return None
    line = f"{text.plural(len(going_on), 'experiment')} still running"
    if failures:
        return f"{line}; {failures[0]}"
    if orphans:
        were = "was without its runner" if len(orphans) == 1 else "were without their runners"
        line += f", {len(orphans)} {were}: started again"
    return line


def stop_everything(location: Location, experiments: Iterable[Experiment]) -> str:
    """Order every study that has not ended to stop."""
    targets = open_targets(experiments)
    if targets:
        control.order(location, targets, "stop")
    return f"stopping: {text.plural(len(targets), 'study', 'studies')}"


def open_targets(experiments: Iterable[Experiment]) -> list[Target]:
    """The studies that have not ended."""
    return [(e, s) for e in experiments for s in e.studies if s.state not in FINAL]
