"""Samplers whose suggestions depend on (study seed, trial number) and the trials seen, only.

A stock sampler draws from one stream that starts anew in every process: a resumed study
repeats its first suggestions, five of five. Here every draw has a generator of its own,
seeded from what is being drawn, so any pattern of kills and resumes suggests the same, even
when a trial was cut off between two of its parameters.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _RELATIVE_PARAMS_KEY, default_gamma
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from engines.errors import BadInput, PackageMissing
from engines.search import seen
from engines.search.cma import ResumableCMA
from engines.search.density import Density
from engines.search.gaussian import ResumableGP
from engines.search.grid import ResumableGrid
from engines.search.history import History, NotCovered, View
from engines.search.independent import ResumableRandom, uniform
from engines.search.quasi import ResumableQMC
from engines.search.seeds import derive
from engines.search.space import Space

SAMPLERS = ("tpe", "random", "gp", "cmaes", "qmc", "grid")

_NEEDS = {"gp": "torch", "cmaes": "cmaes"}
"""Packages that are no part of a plain installation."""

_VIEWS_KEPT = 64


@dataclass
class _Look:
    """One look at a study, for all draws of one trial."""

    view: View
    space: dict[str, BaseDistribution]
    record: dict[str, Any] | None


class ResumableTPE(TPESampler):
    """Optuna's tree-structured Parzen estimator with a seed for every draw.

    Suggestions are stock's, bit for bit, for the same seeds and the same trials seen, from
    columns that finished trials are added to once. A trial looks at its study once, at its first
    draw, while stock reads anew at each; `take_seen` tells what it saw. Several objectives and
    constraints go stock's way. Not for several threads at once.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._study_seed = seed
        self._forget()

    def _forget(self) -> None:
        self._history: History | None = None
        self._source: tuple[Any, int] | None = None
        self._not_covered: str | None = None
        self._looks: dict[int, _Look] = {}
        self._untold: dict[str, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what it read: a copy may serve another study."""
        hidden = ("_history", "_source", "_not_covered", "_looks", "_untold")
        return {name: value for name, value in self.__dict__.items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    # -- what a trial sees ---------------------------------------------------------------------

    def take_seen(self, number: int | None = None) -> dict[str, Any] | None:
        """What the last look at the study saw, for `engines.search.seen`; None if told already.

        number: of the trial that looked, where several are asked for in turn.
        """
        if number is not None:
            look = self._looks.get(number)
            record = look.record if look is not None else None
            if look is not None:
                look.record = None
            return record
        record, self._untold = self._untold, None
        return record

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._looks.pop(trial.number, None)
        self._untold = None
        super().before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._looks.pop(trial.number, None)
        super().after_trial(study, trial, state, values)

    def _look(self, study: Study, trial: FrozenTrial) -> _Look | None:
        """What this trial sees, the same at all of its draws; None where stock has to do it."""
        if study._is_multi_objective():
            self._untold = seen.not_kept("several metrics")
            return None
        source = (study._storage, study._study_id)
        if self._source is None or self._source[0] is not source[0] or self._source[1] != source[1]:
            self._forget()
            self._source = source
        look = self._looks.get(trial.number)
        if look is not None:
            return look
        try:
            if self._not_covered is None:
                look = self._read(study, trial)
        except NotCovered as why:
            self._not_covered = str(why)
        if look is None:
            self._untold = seen.not_kept(str(self._not_covered))
            return None
        self._looks[trial.number] = look
        if len(self._looks) > _VIEWS_KEPT:
            del self._looks[next(iter(self._looks))]
        self._untold = look.record
        return look

    def _read(self, study: Study, trial: FrozenTrial) -> _Look:
        if self._history is None:
            self._history = History(study.direction == StudyDirection.MAXIMIZE)
        trials = study._get_trials(deepcopy=False)
        others = [t for t in self._history.read(trials) if t.number != trial.number]
        visible = {
            other.number: params
            for other in others
            if other.state == TrialState.RUNNING and (params := visible_params(other))
        }
        view = View(self._history, self._history.finished(len(trials)), visible)
        space = view.space()
        hidden = (other.number for other in others if other.number not in visible)
        record = seen.write(len(trials) - 1, hidden, visible, space, kept(trial))
        return _Look(view, space, record)

    # -- draws ---------------------------------------------------------------------------------

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        look = self._look(study, trial)
        if look is None:
            return super().infer_relative_search_space(study, trial)
        return dict(look.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._seed(trial.number, "relative")
        return super().sample_relative(study, trial, search_space)

    def _sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        look = self._look(study, trial)
        if look is None:
            return super()._sample_relative(study, trial, search_space)
        return self.draw_together(look.view, trial.number, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        look = self._look(study, trial)
        if look is None:
            self._seed(trial.number, param_name)
            return super().sample_independent(study, trial, param_name, param_distribution)
        return self.draw_alone(look.view, trial.number, param_name, param_distribution)

    def draw_together(
        self, view: View, number: int, space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of `space` for a trial that sees `view`; none while it sees too few."""
        if not space or view.finished < self._n_startup_trials:
            return {}
        self._seed(number, "relative")
        return self._draw(view, space)

    def draw_alone(self, view: View, number: int, name: str, distribution: BaseDistribution) -> Any:
        """One parameter by itself for a trial that sees `view`."""
        self._seed(number, name)
        if view.finished < self._n_startup_trials:
            return uniform(self._random_sampler, name, distribution)
        return self._draw(view, {name: distribution})[name]

    def _seed(self, number: int, what: str) -> None:
        seed = derive(self._study_seed, number, what)
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)

    def _draw(self, view: View, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """As stock's `_sample`, from columns."""
        good, rest = view.split(space, default_gamma(view.finished))
        below = Density(good, space, self._parzen_estimator_parameters)
        above = Density(rest, space, self._parzen_estimator_parameters)
        candidates = below.sample(self._rng.rng, self._n_ei_candidates)
        gain = self._compute_acquisition_func(candidates, below, above)
        best: Mapping[str, Any] = self._compare(candidates, gain)
        return {name: space[name].to_external_repr(best[name]) for name in space}


def visible_params(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters a trial has, and those that its sampler noted down to suggest next."""
    chunks: list[str] = []
    while chunk := trial.system_attrs.get(f"{_RELATIVE_PARAMS_KEY}:{len(chunks)}"):
        chunks.append(chunk)
    try:
        noted = json.loads("".join(chunks)) if chunks else {}
    except ValueError:  # seen while it was being written
        noted = {}
    return {**noted, **trial.params}


def kept(trial: FrozenTrial) -> list[str]:
    """Parameters that a trial has and that its sampler was not asked for in this run of it.

    Those of an earlier run, which was cut off; what a queue fixed is told by the trial itself.
    """
    fixed = trial.system_attrs.get("fixed_params", {})
    return [n for n, d in trial.distributions.items() if n not in fixed and not d.single()]


Sampler: TypeAlias = (
    ResumableTPE | ResumableRandom | ResumableGP | ResumableCMA | ResumableQMC | ResumableGrid
)


def make_sampler(name: str, seed: int, space: Space | None = None) -> Sampler:
    """The sampler of a study.

    space: the declared one, bound to the data; None for an objective of the user's own, which has
    no grid. Raises ValueError for a name that is not in `SAMPLERS`, and for a grid without a space.
    """
    if name == "tpe":
        return ResumableTPE(seed)
    if name == "random":
        return ResumableRandom(seed)
    if name == "gp":
        return ResumableGP(seed)
    if name == "cmaes":
        return ResumableCMA(seed, space)
    if name == "qmc":
        return ResumableQMC(seed, space)
    if name != "grid":
        raise ValueError(f"`sampler` must be one of {', '.join(SAMPLERS)}, got {name!r}")
    if space is None:
        raise ValueError("a grid is made from a declared space, and there is none")
    return ResumableGrid(seed, space)


def require_sampler(name: str, *, declared: bool = True) -> None:
    """Raise what a person should know before an experiment with this sampler begins.

    declared: whether the models declare their spaces. Raises BadInput for an unknown name and for a
    grid of an objective of one's own, PackageMissing where a library is not installed.
    """
    if name not in SAMPLERS:
        raise BadInput(f"--sampler {name}: one of {', '.join(SAMPLERS)}.")
    if name == "grid" and not declared:
        raise BadInput(
            "--sampler grid makes its grid from a declared space, and an objective of your own has "
            "none: take --sampler qmc or random."
        )
    package = _NEEDS.get(name)
    if package is not None and not _is_installed(package):
        raise PackageMissing(f"--sampler {name} needs {package}: pip install {package}")


def _is_installed(package: str) -> bool:
    # The variable makes packages look absent, as in the list of models.
    if package in os.environ.get("HYPERION_HIDE_PACKAGES", "").split(","):
        return False
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
