"""What happened since this person last looked: how things stood then, and what differs now.

How things stood is a small file beside the store, one for each user, written when the app is left.
A store that can't be written beside, or a file that was spoilt, leaves nothing to tell.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.clock import utc_now
from engines.files import make_private_folder
from engines.study.location import Location
from engines.study.records import Experiment, Study
from hyperion_tui import text

ENDS = ("done", "failed", "stopped", "cancelled", "paused")
"""States in which a study may be found, and that are worth a word, the best news first."""

Stand = tuple[str, int, int, float | None]
"""State, finished and failed trials, and best selection score of a study."""

_NEVER: Stand = ("", 0, 0, None)

_LARGEST_FILE = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Seen:
    """How the studies of a store stood, by id, when somebody last looked at them."""

    at: str
    studies: Mapping[int, Stand]


_SPOILT = (
    *(OSError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError),
    RecursionError,
)
"""What reading a file raises that holds something else than was written."""


def load(location: Location) -> Seen | None:
    """How things stood, or None where nobody has looked yet. Called in a thread."""
    try:
        file = location.seen(os.getuid())
        if file.stat().st_size > _LARGEST_FILE:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        studies = {
            int(key): (str(state), int(finished), int(failed), _score(best))
            for key, (state, finished, failed, best) in found["studies"].items()
        }
        return Seen(str(found["at"]), studies)
    except _SPOILT:
        return None


def save(location: Location, experiments: Iterable[Experiment]) -> None:
    """Note how things stand now. A folder that can't be written is no error."""
    studies = {s.study_id: _stand(s) for e in experiments for s in e.studies}
    if not studies or not location.side.is_dir():
        return
    file = location.seen(os.getuid())
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):
        make_private_folder(file.parent)
        _write(partial, json.dumps({"at": utc_now(), "studies": studies}))
        partial.replace(file)


def _write(file: Path, content: str) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)


def news(seen: Seen | None, experiments: Sequence[Experiment]) -> str:
    """One line on what happened since then, or "" if nothing did.

    `412 trials (7 failed), 2 studies done, 1 stopped; best demo/xgboost 0.8921 (was 0.8700)`.
    """
    if seen is None:
        return ""
    trials = failed = 0
    ended: Counter[str] = Counter()
    for study in (study for e in experiments for study in e.studies):
        before, now = seen.studies.get(study.study_id, _NEVER), _stand(study)
        trials += max(0, now[1] - before[1])
        failed += max(0, now[2] - before[2])
        if now[0] != before[0] and now[0] in ENDS:
            ended[now[0]] += 1
    of_which = f" ({text.count(failed)} failed)" if failed else ""
    counts = [f"{text.plural(trials, 'trial')}{of_which}"] if trials else []
    counts += _ends(ended)
    bests = [line for e in experiments if (line := _best(e, seen))]
    others = f" and {len(bests) - 1} more" if len(bests) > 1 else ""
    best = f"best {bests[0]}{others}" if bests else ""
    return "; ".join(part for part in (", ".join(counts), best) if part)


def _ends(ended: Mapping[str, int]) -> list[str]:
    """`2 studies done`, `1 stopped`: what is counted is said once."""
    told: list[str] = []
    for state in ENDS:
        if count := ended.get(state, 0):
            noun = "" if told else " study" if count == 1 else " studies"
            told.append(f"{text.count(count)}{noun} {state}")
    return told


def _best(experiment: Experiment, seen: Seen) -> str:
    """`demo/ridge 0.8921 (was 0.8700)` where the best of an experiment is better than it was.

    Nothing where several metrics are weighed: a knee may move without being better.
    """
    leader = experiment.ranked[0] if experiment.studies else None
    if leader is None or leader.best is None or experiment.has_several:
        return ""
    stands = [seen.studies.get(study.study_id, _NEVER)[3] for study in experiment.studies]
    known = [score for score in stands if score is not None]
    now = leader.best.selection_score
    if not known:
        return f"{leader.name} {text.number(now)}"
    before = max(known) if experiment.maximize else min(known)
    if now <= before if experiment.maximize else now >= before:
        return ""
    return f"{leader.name} {text.number(now)} (was {text.number(before)})"


def _stand(study: Study) -> Stand:
    best = study.best.selection_score if study.best else None
    return study.state, study.counts.finished, study.counts.failed, best


def _score(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
