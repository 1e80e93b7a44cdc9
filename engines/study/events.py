"""The kinds of events and their sentences: what the log of an experiment is made of."""

from __future__ import annotations

from typing import Protocol

TRIAL_STARTED = "trial_started"
TRIAL_COMPLETE = "trial_complete"
TRIAL_PRUNED = "trial_pruned"
TRIAL_FAILED = "trial_failed"
TRIAL_REQUEUED = "trial_requeued"
TRIAL_PROGRESS = "trial_progress"
STUDY = "study"
EXPERIMENT = "experiment"
WORKER = "worker"
TRASHED = "trashed"
RESTORED = "restored"

ERROR_KINDS = frozenset({TRIAL_FAILED})


class _Ending(Protocol):
    @property
    def error_class(self) -> str | None: ...
    @property
    def error_message(self) -> str | None: ...
    @property
    def served_from(self) -> int | None: ...


def trial_ended(
    state: str, value: float | None, duration_s: float | None, ending: _Ending
) -> dict[str, str]:
    """`kind` and `text` of the event that a finished trial leaves behind."""
    took = "" if duration_s is None else f" ({duration_s:.1f} s)"
    score = "" if value is None else f"{value:.6g}"
    if state == "FAIL":
        reason = f"{ending.error_class or 'failed'}: {ending.error_message or 'no reason known'}"
        return {"kind": TRIAL_FAILED, "text": f"failed: {reason}{took}"}
    if state == "PRUNED":
        return {"kind": TRIAL_PRUNED, "text": f"pruned at {score}{took}"}
    if ending.served_from is not None:
        return {"kind": TRIAL_COMPLETE, "text": f"{score}, as trial {ending.served_from} had it"}
    return {"kind": TRIAL_COMPLETE, "text": f"{score}{took}"}
