"""What a trial may use, and when a worker is odd: limits that kill, and a flag that does not."""

from __future__ import annotations

from collections.abc import Callable

from engines.run import tree
from engines.run.hands import Hand, Verdict
from engines.study.outlook import Facts

MEMORY_EVERY_S = 0.4
"""Sampling takes its time as well: a limit that is passed is seen within half a second."""

HUNG_S = 600.0
HUNG_TICKS = 10
"""Less processor time than this, a tenth of a second, is that of a thread that only waits."""

MOTION_EVERY_S = 5.0
HUNG = "no processor time and no report for 10 minutes"


def judge(hand: Hand, facts: Facts, now: float) -> Verdict | None:
    """Why the trial in a worker's hands is to be ended now, or None."""
    limit = facts.trial_time_s
    if limit is not None and now - hand.since > limit:
        return "TimeLimit", f"took longer than --trial-time {limit:g} s"
    most = facts.trial_memory_mib
    if most is None or now - hand.memory_checked < MEMORY_EVERY_S:
        return None
    hand.memory_checked = now
    used = tree.memory_mib(hand.pid, hand.others, above=most)
    if used <= most:
        return None
    return "MemoryLimit", f"used {used:.0f} MiB of --trial-memory {most:g} MiB"


def has_moved(hand: Hand, count_reports: Callable[[], int], now: float) -> bool:
    """Whether a worker has used processor time or reported something since it last did."""
    ticks = tree.processor_ticks(hand.pid, hand.others)
    # Fewer than before: a child has ended that nobody waited for.
    if abs(ticks - hand.ticks) >= HUNG_TICKS:
        hand.ticks, hand.moved = ticks, now
        return True
    reports = count_reports()
    if reports == hand.reports:
        return False
    hand.reports, hand.moved = reports, now
    return True
