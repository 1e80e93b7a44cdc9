"""States of studies and experiments, derived from what was ordered and what was done.

Words: waiting, running, pausing, paused, stopped, cancelled, done, failed. Nothing stores
them, so a process that dies can't leave a wrong one behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

FINAL = frozenset({"stopped", "cancelled", "done", "failed"})

TRIAL_WORDS = {
    "COMPLETE": "complete",
    "FAIL": "failed",
    "PRUNED": "pruned",
    "RUNNING": "running",
    "WAITING": "waiting",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Trials of a study by state; `goal` is the number of finished ones wanted, or None."""

    complete: int = 0
    failed: int = 0
    pruned: int = 0
    running: int = 0
    waiting: int = 0
    goal: int | None = None

    @property
    def finished(self) -> int:
        """Trials that count towards the goal: complete, pruned and failed ones."""
        return self.complete + self.failed + self.pruned

    @property
    def reached(self) -> bool:
        """Whether the goal is met. Without a goal it never is."""
        return self.goal is not None and self.finished >= self.goal


def study_state(
    *,
    want: str,
    counts: Counts,
    closed: bool,
    ended_by: str | None,
    failure: str | None,
    closing: bool = False,
    frozen: int = 0,
) -> str:
    """The state of one study.

    want: the order, one of run, pause, stop, cancel. closed: whether its end is settled (the
    held-out score was opened, or can't be). ended_by: why it ended before its goal (time,
    patience), or None. failure: why it can't go on, or None. closing: whether a worker is
    settling its end now. frozen: running trials whose processes were stopped where they are.
    """
    busy = bool(counts.running) or (closing and not closed)
    if failure is not None:
        return "failed"
    if want == "cancel":
        return "pausing" if busy else "cancelled"
    if want == "pause" and not closed:
        # A pause also holds back the settling of an end that was reached meanwhile.
        return "pausing" if busy and frozen < counts.running + int(closing) else "paused"
    if counts.reached or ended_by is not None:
        return "done" if closed else "running"
    if want == "stop":
        return "stopped" if closed and not counts.running else "pausing"
    return "running" if counts.running or counts.finished else "waiting"


def awaits_ensemble(studies: Collection[str], *, wanted: bool, made: bool) -> bool:
    """Whether an experiment still lacks its last row, the ensemble of its finished trials.

    studies: the states of its studies. wanted: whether it learns from data, by models that have a
    plan; an experiment of an older version has none, and gets none. made: whether it was made.
    """
    return (
        wanted
        and not made
        and bool(studies)
        and FINAL.issuperset(studies)
        and not {"done", "stopped"}.isdisjoint(studies)
    )


def experiment_state(
    studies: Iterable[str], failure: str | None, *, awaits_ensemble: bool = False
) -> str:
    """The state of an experiment from those of its studies: what still goes on comes first.

    awaits_ensemble: see the function of that name; an experiment that does goes on.
    """
    states = set(studies)
    if failure is not None:
        return "failed"
    if awaits_ensemble:
        return "running"
    for state in ("running", "pausing"):
        if state in states:
            return state
    if "waiting" in states:
        return "running" if states & FINAL else "waiting"
    for state in ("paused", "done", "stopped", "cancelled"):
        if state in states:
            return state
    return "failed" if states else "waiting"
