"""Orders as the app gives them, and the sentence to show for each. Called in threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engines.errors import HyperionError
from engines.run import orders
from engines.run.launcher import start_runner
from engines.run.orders import Target
from engines.study import trash
from engines.study.location import Location
from engines.study.records import Experiment, Study
from engines.study.states import FINAL
from hyperion_tui import actions, text

_DONE = {"pause": "pausing", "run": "going on", "stop": "stopping", "cancel": "cancelled"}


def give(
    location: Location,
    targets: Sequence[Target],
    want: str,
    *,
    now: bool = False,
    freeze: bool = False,
) -> str:
    """Order studies to run, pause, stop or cancel; returns what to tell the person.

    now, freeze: of a pause, interrupt trials, or stop their processes where they are.
    """
    if want == "run":
        done = orders.resume(location, targets)
    else:
        done = orders.give(location, targets, want, now=now, freeze=freeze)
    names, notes = done.names, done.notes
    how = "interrupted" if now else "frozen" if freeze else _DONE[want]
    what = names[0] if len(names) == 1 else text.plural(len(names), "study", "studies")
    return "; ".join([f"{how}: {what}", *notes])


def retry(location: Location, experiment: Experiment, study: Study, number: int) -> str:
    """Queue a failed trial again and see to it that somebody runs it."""
    created, done = orders.retry(location, experiment, study, [number])
    again = f"{study.name}: trial {number} is queued again as {created[0]}"
    return "; ".join([again, *done.notes])


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
        orders.give(location, targets, "stop")
    return f"stopping: {text.plural(len(targets), 'study', 'studies')}"


def delete(location: Location, experiments: Sequence[Experiment]) -> str:
    """Put experiments into the trash."""
    names = trash.delete(location, experiments)
    what = names[0] if len(names) == 1 else text.plural(len(names), "experiment")
    undo, bin_ = actions.key_of("undo"), actions.key_of("trash")
    return f"in the trash: {what}; {undo} brings it back, {bin_} shows all"


def restore(location: Location, experiments: Sequence[Experiment]) -> str:
    """Bring experiments back from the trash."""
    names = trash.restore(location, experiments)
    return f"brought back: {', '.join(names)}" if names else "it is no longer in the trash"


def purge(location: Location, experiments: Sequence[Experiment]) -> str:
    """Remove experiments of the trash for good; those before one that can't be are gone."""
    freed = [trash.purge(location, experiment) for experiment in experiments]
    what = experiments[0].name if len(freed) == 1 else text.plural(len(freed), "experiment")
    files = text.size(sum(one.files for one in freed))
    inside = sum(one.store or 0 for one in freed)
    room = f", {text.size(inside)} of room in the store" if inside else ""
    return f"gone: {what}; {files} of files{room}"


def open_targets(experiments: Iterable[Experiment]) -> list[Target]:
    """The studies that have not ended."""
    return [(e, s) for e in experiments for s in e.studies if s.state not in FINAL]
