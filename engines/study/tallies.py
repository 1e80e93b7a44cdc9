"""How many trials every study has in each state, its best one and its pace, kept up to date.

Counting 20,000 trials takes some milliseconds, and a screen asks whenever a trial moves. A trial
that has ended never changes again, so after the first look only rows above the highest id that was
seen and those that had not ended are read: the work is that of what is new. Each look is one
statement, hence of one moment, and brings the number of all rows and studies with it; where that
disagrees (a study was deleted, or a row of a trial of stock Optuna's was added late) everything is
counted again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

Ask = Callable[[str, Sequence[Any]], list[Any]]

RECENT = 51
"""The numbers, back from the newest trial that ended, whose median duration is a study's pace: the
latest trials say most about what is to come."""

_UNFINISHED = ("RUNNING", "WAITING")
_MANY = 2_000

# Inside a function the state can't be looked up in an index: it shall only filter what the index
# on the value finds in its order.
_BEST = """
SELECT b.study_id, b.value, (
    SELECT min(t.number) FROM hx_trial t
    WHERE t.study_id = b.study_id AND t.value = b.value AND coalesce(t.state, '') = 'COMPLETE'
) AS number FROM (
    SELECT s.study_id, (
        SELECT t.value FROM hx_trial t
        WHERE t.study_id = s.study_id AND coalesce(t.state, '') = 'COMPLETE' AND t.value IS NOT NULL
        ORDER BY t.value {way} LIMIT 1
    ) AS value FROM hx_study s JOIN hx_experiment e ON e.id = s.experiment_id
    WHERE e.direction = ?
) b WHERE b.value IS NOT NULL
"""

_LOOK = """
SELECT study_id, state, count(*) AS n, sum(duration_s) AS seconds, max(trial_id) AS trial_id
FROM hx_trial GROUP BY study_id, state
UNION ALL
SELECT study_id, state, NULL, NULL, trial_id FROM hx_trial WHERE state = 'RUNNING'
UNION ALL
SELECT study_id, state, NULL, NULL, trial_id FROM hx_trial WHERE state = 'WAITING'
"""

_PACE = """
SELECT t.study_id, t.number, t.duration_s FROM hx_study s
JOIN hx_trial t ON t.study_id = s.study_id AND t.number > (
    SELECT u.number FROM hx_trial u WHERE u.study_id = s.study_id AND u.duration_s IS NOT NULL
    ORDER BY u.number DESC LIMIT 1
) - ? WHERE t.duration_s IS NOT NULL
"""

_COLUMNS = "trial_id, study_id, number, state, value, duration_s"


class Tally:
    """What is known about the trials of one study. States are Optuna's words."""

    def __init__(self, maximize: bool = True) -> None:
        self.counts: Counter[str] = Counter()
        self.train_s = 0.0
        self.best: tuple[int, float] | None = None
        self._maximize = maximize
        self._recent: dict[int, float] = {}
        self._newest = -1

    @property
    def median_s(self) -> float | None:
        """Median seconds of the latest trials that ended, None before the first."""
        durations = sorted(self._recent.values())
        return durations[len(durations) // 2] if durations else None

    def add_best(self, number: int, value: float) -> None:
        """Take a complete trial for the best one if it is; of equals the first."""
        if self.best is not None:
            best_number, best = self.best
            better = value > best if self._maximize else value < best
            if not (better or (value == best and number < best_number)):
                return
        self.best = (number, value)

    def set_durations(self, seconds: dict[int, float]) -> None:
        """Start with the seconds of the latest trials, by number."""
        self._recent = seconds
        self._newest = max(seconds)

    def add_duration(self, number: int, seconds: float) -> None:
        """Remember how long a trial took if it is one of the latest."""
        if number <= self._newest - RECENT:
            return
        self._recent[number] = seconds
        if number > self._newest:
            self._newest = number
            for old in [n for n in self._recent if n <= number - RECENT]:
                del self._recent[old]


class Tallies:
    """The tallies of all studies of a store. `ask` puts one statement to it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tallies: dict[int, Tally] = {}
        self._studies = -1
        self._ended = 0
        self._highest = 0
        self._unfinished: dict[int, tuple[int, str]] = {}

    def copy(self, ask: Ask) -> Tallies:
        """What is known by now, for another connection to the same store."""
        twin = Tallies(ask)
        twin._tallies = deepcopy(self._tallies)
        twin._studies, twin._ended, twin._highest = self._studies, self._ended, self._highest
        twin._unfinished = dict(self._unfinished)
        return twin

    def refresh(self) -> None:
        """Bring everything up to now."""
        if not self._catch_up():
            self._count_all()

    def of(self, study_id: int) -> Tally:
        """The trials of one study, as of the last refresh."""
        return self._tallies.get(study_id) or Tally()

    def _catch_up(self) -> bool:
        """Read what is new; False if that does not add up to what is there."""
        known = list(self._unfinished)
        if self._studies < 0 or len(known) > _MANY:
            return False
        marks = ", ".join("?" * len(known))
        before = f"SELECT {_COLUMNS} FROM hx_trial WHERE trial_id IN ({marks}) UNION ALL "
        rows = self._ask(
            f"SELECT {_COLUMNS} FROM hx_trial WHERE trial_id > ? UNION ALL "
            f"{before if known else ''}"
            "SELECT NULL, (SELECT count(*) FROM hx_study), count(*), NULL, NULL, NULL "
            "FROM hx_trial",
            [self._highest, *known],
        )
        *trials, totals = sorted(rows, key=lambda row: row["trial_id"] is None)
        for row in trials:
            if row["study_id"] not in self._tallies:
                return False
            self._take(row)
        counted = self._ended + len(self._unfinished)
        return (self._studies, counted) == (totals["study_id"], totals["number"])

    def _take(self, row: Any) -> None:
        trial_id, state = row["trial_id"], row["state"]
        tally = self._tallies[row["study_id"]]
        self._highest = max(self._highest, trial_id)
        if (old := self._unfinished.pop(trial_id, None)) is not None:
            tally.counts[old[1]] -= 1
        tally.counts[state] += 1
        if state in _UNFINISHED:
            self._unfinished[trial_id] = (row["study_id"], state)
            return
        self._ended += 1
        if state == "COMPLETE" and row["value"] is not None:
            tally.add_best(row["number"], row["value"])
        if row["duration_s"] is not None:
            tally.train_s += row["duration_s"]
            tally.add_duration(row["number"], row["duration_s"])

    def _count_all(self) -> None:
        directions = self._ask(
            "SELECT s.study_id, e.direction FROM hx_study s "
            "LEFT JOIN hx_experiment e ON e.id = s.experiment_id",
            (),
        )
        self._tallies = {
            row["study_id"]: Tally(row["direction"] == "maximize") for row in directions
        }
        self._studies = len(directions)
        self._ended = self._highest = 0
        self._unfinished = {}
        others: dict[int, Tally] = defaultdict(Tally)  # of studies that stock Optuna deleted
        for row in self._ask(_LOOK, ()):
            study_id, state = row["study_id"], row["state"]
            self._highest = max(self._highest, row["trial_id"])
            if row["n"] is None:
                self._unfinished[row["trial_id"]] = (study_id, state)
                continue
            tally = self._tallies.get(study_id) or others[study_id]
            tally.counts[state] = row["n"]
            tally.train_s += row["seconds"] or 0.0
            self._ended += 0 if state in _UNFINISHED else row["n"]
        self._tallies |= others
        for direction, way in (("maximize", "DESC"), ("minimize", "ASC")):
            for row in self._ask(_BEST.format(way=way), (direction,)):
                if row["study_id"] in self._tallies:
                    self._tallies[row["study_id"]].add_best(row["number"], row["value"])
        recent: dict[int, dict[int, float]] = defaultdict(dict)
        for study_id, number, seconds in self._ask(_PACE, (RECENT,)):
            recent[study_id][number] = seconds
        for study_id, durations in recent.items():
            if study_id in self._tallies:
                self._tallies[study_id].set_durations(durations)
