"""Were these really the sampler's suggestions? They are computed again from the store's rows.

A suggestion depends on the study's seed, the trial's number and the trials it saw, see
`engines.search.seen`. What was queued, inherited or written by others was not suggested, and is
said to be so.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from engines.search import seen
from engines.search.cma import ResumableCMA
from engines.search.gaussian import ResumableGP
from engines.search.grid import ResumableGrid, takes_no_point
from engines.search.history import History, NotCovered, View
from engines.search.independent import ResumableRandom
from engines.search.quasi import ResumableQMC
from engines.search.sampler import ResumableTPE, make_sampler, visible_params
from engines.search.seeds import derive
from engines.search.space import Space
from engines.study.records import Experiment, Study
from engines.study.versions import library_versions

SAME, DIFFERS, UNKNOWN = "same", "differs", "unknown"

DRAWING = ("optuna", "numpy")
"""The libraries that draw."""

_distribution = functools.lru_cache(maxsize=1024)(json_to_distribution)


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one finished trial's suggestion when it was computed again.

    verdict: `same`, `differs` or `unknown`. detail: the first parameter that differs, or why it
    is not known. checked: how many parameters were computed again.
    """

    number: int
    verdict: str
    detail: str = ""
    checked: int = 0


def replay_study(
    experiment: Experiment,
    study: Study,
    rows: Sequence[Mapping[str, Any]],
    space: Space | None = None,
) -> dict[int, Replay]:
    """Every finished trial of `study` by number. rows: what `Reader.history` answers.

    space: the declared one, which qmc and grid draw from; without it theirs are unknown. What tpe,
    random and cmaes suggested can always be computed again, what gp suggested never: its fits
    differ in the last bits from machine to machine.
    """
    player = _Player(experiment, study, rows, space)
    return {row["number"]: player.play(row) for row in rows if row["state"] in _FINISHED}


_FINISHED = ("COMPLETE", "PRUNED", "FAIL")


class _Player:
    def __init__(
        self,
        experiment: Experiment,
        study: Study,
        rows: Sequence[Mapping[str, Any]],
        space: Space | None,
    ) -> None:
        seed = derive(experiment.seed, study.model)
        lost = experiment.sampler == "grid" and space is None
        self._sampler = None if lost else make_sampler(experiment.sampler, seed, space)
        self._random = ResumableRandom(seed)
        self._maximize = experiment.maximize
        self._changed = _changed_versions(experiment.versions)
        self._trials = {row["number"]: _frozen(row) for row in rows}
        self._params = {number: visible_params(trial) for number, trial in self._trials.items()}
        self._history = History(experiment.maximize)
        self._problem: str | None = None
        numbers = range(max(self._trials, default=-1) + 1)
        self._over = np.array(
            [n in self._trials and self._trials[n].state.is_finished() for n in numbers], np.bool_
        )
        try:
            if isinstance(self._sampler, ResumableTPE):
                self._history.read([self._trials[number] for number in numbers])
        except (NotCovered, KeyError) as error:
            self._problem = f"the study's history can't be read back: {error}"

    def play(self, row: Mapping[str, Any]) -> Replay:
        trial = self._trials[row["number"]]
        drawn = {n: d for n, d in trial.distributions.items() if not d.single()}
        fixed = trial.system_attrs.get("fixed_params", {})
        record: Mapping[str, Any] = row["seen"] or {}
        skipped = {n: "fixed by the queue" for n in drawn if n in fixed}
        skipped |= dict.fromkeys(record.get("kept", ()), "from an earlier run of the trial")
        left = {n: d for n, d in drawn.items() if n not in skipped}
        if not left:
            return Replay(trial.number, UNKNOWN, _nothing_drawn(trial, row, skipped))
        try:
            again = self._draw(trial, left, row)
        except seen.NoRecord as error:
            return Replay(trial.number, UNKNOWN, str(error))
        except ValueError as error:  # a value that its distribution can't hold
            return Replay(trial.number, UNKNOWN, f"its history can't be used: {error}")
        return self._compare(trial, again, skipped)

    def _draw(
        self, trial: FrozenTrial, wanted: Mapping[str, BaseDistribution], row: Mapping[str, Any]
    ) -> dict[str, Any]:
        if row["seen"] is not None and "not_kept" in row["seen"]:
            raise seen.NoRecord(f"what it had seen was not kept: {row['seen']['not_kept']}")
        if isinstance(self._sampler, ResumableRandom):
            if row["worker_id"] is None:
                raise seen.NoRecord("not written by a worker of Hyperion")
            return {
                name: self._sampler.draw_alone(trial.number, name, distribution)
                for name, distribution in wanted.items()
            }
        if not isinstance(self._sampler, ResumableTPE):
            return self._draw_otherwise(trial, wanted, row)
        view = self._view(trial, row)
        together = self._sampler.draw_together(view, trial.number, view.space())
        again: dict[str, Any] = {}
        for name, distribution in wanted.items():
            # As optuna.Trial decides it: what the trial's own range doesn't hold is drawn alone.
            if name in together and distribution._contains(
                distribution.to_internal_repr(together[name])
            ):
                again[name] = together[name]
            else:
                again[name] = self._sampler.draw_alone(view, trial.number, name, distribution)
        return again

    def _draw_otherwise(
        self, trial: FrozenTrial, wanted: Mapping[str, BaseDistribution], row: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a sampler suggests that looks at no more than its own notes."""
        if row["worker_id"] is None:
            raise seen.NoRecord("not written by a worker of Hyperion")
        if row["retry_of"] is not None:
            raise seen.NoRecord(f"trial {row['retry_of']} tried again")
        sampler, number = self._sampler, trial.number
        if isinstance(sampler, ResumableGP):
            raise seen.NoRecord("a Gaussian process is not fitted alike, bit for bit, elsewhere")
        if isinstance(sampler, ResumableCMA):
            try:
                found = sampler.again(trial, list(self._trials.values()), self._maximize) or {}
            except KeyError as error:
                raise seen.NoRecord(f"what it builds on is lost: {error.args[0]}") from error
        elif isinstance(sampler, ResumableQMC) and sampler.is_declared:
            found = sampler.draw(number)
        elif isinstance(sampler, ResumableGrid):
            earlier = (t for n, t in self._trials.items() if n < number)
            found = sampler.draw(number, sum(takes_no_point(t.system_attrs) for t in earlier))
        else:
            raise seen.NoRecord("the space that it was drawn from is not known here")
        alone = self._random
        return {
            name: found[name] if name in found else alone.draw_alone(number, name, distribution)
            for name, distribution in wanted.items()
        }

    def _view(self, trial: FrozenTrial, row: Mapping[str, Any]) -> View:
        """What the trial saw, put together from its record and the rows of today."""
        record = row["seen"]
        if row["retry_of"] is not None and record is None:
            raise seen.NoRecord(f"trial {row['retry_of']} tried again")
        if record is None and row["worker_id"] is None:
            raise seen.NoRecord("not written by a worker of Hyperion")
        if record is None:
            raise seen.NoRecord("what it had seen was not recorded")
        if "not_kept" in record:
            raise seen.NoRecord(f"what it had seen was not kept: {record['not_kept']}")
        if self._problem is not None:
            raise seen.NoRecord(self._problem)
        hidden = {*seen.unfinished(record), trial.number}
        length = record["top"] + 1
        shown = np.ones(length, np.bool_)
        shown[[number for number in hidden if number < length]] = False
        if length > len(self._over):
            raise seen.NoRecord(f"trial {record['top']} was there then and is not now")
        if (absent := np.flatnonzero(shown & ~self._over[:length])).size:
            raise seen.NoRecord(f"trial {absent[0]} had finished then and has not now")
        mask = self._history.finished(length) & shown
        view = View(self._history, mask, {})
        return View(self._history, mask, seen.plans(record, view.space(), self._params))

    def _compare(
        self, trial: FrozenTrial, again: Mapping[str, Any], skipped: Mapping[str, str]
    ) -> Replay:
        for name, value in again.items():
            distribution = trial.distributions[name]
            stored = trial.params[name]
            if distribution.to_internal_repr(value) == distribution.to_internal_repr(stored):
                continue
            if self._changed:
                return Replay(trial.number, UNKNOWN, f"differs, and {self._changed}", len(again))
            detail = f"{name} is {stored!r}, suggested was {value!r}"
            return Replay(trial.number, DIFFERS, detail, len(again))
        return Replay(trial.number, SAME, _reasons(skipped), len(again))


def _nothing_drawn(trial: FrozenTrial, row: Mapping[str, Any], skipped: Mapping[str, str]) -> str:
    if row["retry_of"] is not None and not skipped:
        return f"trial {row['retry_of']} tried again"
    if not trial.distributions:
        return "it has no parameters"
    return _reasons(skipped) or "nothing to choose: every parameter has one value"


def _reasons(skipped: Mapping[str, str]) -> str:
    """`lr, depth: fixed by the queue`."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def _changed_versions(before: Mapping[str, str]) -> str:
    now = library_versions()
    return ", ".join(
        f"{name} was {before[name]}, is {now.get(name, 'absent')}"
        for name in DRAWING
        if before.get(name, now.get(name)) != now.get(name)
    )


def _frozen(row: Mapping[str, Any]) -> FrozenTrial:
    """A trial as samplers read it."""
    distributions = {name: _distribution(text) for name, (_, text) in row["params"].items()}
    return FrozenTrial(
        number=row["number"],
        trial_id=row["number"],
        state=TrialState[row["state"]],
        value=row["value"],
        datetime_start=None,
        datetime_complete=None,
        params={
            name: distributions[name].to_external_repr(value)
            for name, (value, _) in row["params"].items()
        },
        distributions=distributions,
        user_attrs={},
        system_attrs=row["system"],
        intermediate_values=row["reports"],
    )
