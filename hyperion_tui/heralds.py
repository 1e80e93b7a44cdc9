"""What is worth a sign to somebody who looks elsewhere, and the bytes of that sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.study.records import Experiment, Study
from engines.study.states import FINAL
from hyperion_tui import text
from hyperion_tui.messages import Snapshot

BELL = "\a"

_BY_NINE = ("iTerm.app", "WezTerm", "ghostty")
"""Terminals, by TERM_PROGRAM, that show OSC 9; the others that show anything know OSC 777."""

MOST = 3
"""News that are told one by one; more of them are counted."""


def news(before: Snapshot, after: Snapshot) -> list[str]:
    """Studies that ended or have a new best, of those that were known before."""
    known = {study.study_id: study for e in before.experiments for study in e.studies}
    told = []
    for experiment in after.experiments:
        for study in experiment.studies:
            old = known.get(study.study_id)
            if old is not None and (line := _change(experiment, old, study)):
                told.append(text.clean(line))
    more = len(told) - MOST
    return told if more <= 0 else [*told[:MOST], f"and {more} more"]


def _change(experiment: Experiment, old: Study, new: Study) -> str:
    best = f"best {text.number(new.best.selection_score)}" if new.best else "no score"
    if new.state in FINAL and old.state not in FINAL:
        return f"{new.name} is {new.state}, {best}"
    if new.best is None or old.best is None:
        return ""
    gain = new.best.selection_score - old.best.selection_score
    return f"{new.name}: new {best}" if (gain if experiment.maximize else -gain) > 0 else ""


def sign(how: str, lines: Sequence[str], environment: Mapping[str, str]) -> str:
    """What to send to the terminal. how: off, bell, or desktop for a notice of the desktop's."""
    if how == "off" or not lines:
        return ""
    if how == "bell":
        return BELL
    # A semicolon would start another field of the sequence.
    told = "; ".join(lines).replace(";", ",")
    if environment.get("TERM_PROGRAM") in _BY_NINE:
        notice = f"\x1b]9;{told}\x1b\\"
    else:
        notice = f"\x1b]777;notify;hyperion-tui;{told}\x1b\\"
    if environment.get("TMUX"):
        doubled = notice.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    return notice
