"""From a request to a running experiment: choose models, load data, split, create, start."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from engines.data.scoring import find_metric
from engines.errors import BadInput, StoreUnavailable
from engines.models import catalogue
from engines.models.spec import ModelSpec
from engines.run import objective
from engines.run.capacity import default_workers
from engines.search.pruner import PRUNERS
from engines.search.sampler import SAMPLERS
from engines.study.experiments import (
    DatasetPlan,
    ExperimentPlan,
    StudyPlan,
    check_name,
    create_or_extend,
)
from engines.study.location import Location
from engines.study.store import open_storage

TASKS = ("regression",)
DEFAULT_SEED = 42
DEFAULT_TRIALS = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for. None: not said, so a default or the data decides.

    time_s, trial_time_s: seconds. trial_memory_mib: MiB. trials: finished trials a study.
    """

    selectors: tuple[str, ...]
    data: str | None = None
    target: str | None = None
    time_column: str | None = None
    task: str | None = None
    trials: int | None = None
    time_s: float | None = None
    workers: int | None = None
    seed: int | None = None
    metric: str | None = None
    name: str | None = None
    sampler: str = "tpe"
    pruner: str = "none"
    patience: int | None = None
    min_improvement: float | None = None
    trial_time_s: float | None = None
    trial_memory_mib: float | None = None


def create(location: Location, request: Request) -> int:
    """Create the experiment (or extend the one of that name); returns its id. Starts nothing.

    Raises BadInput, PackageMissing, NotComparable or StoreUnavailable, with nothing written.
    """
    plan = _plan(request)
    storage = open_storage(location)
    try:
        return create_or_extend(storage, plan)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailable(
            f"The data can't be kept in {location.side}: {reason}; free some space, check its "
            "permissions, or name another store with --store."
        ) from error
    finally:
        storage.close()


def _plan(request: Request) -> ExperimentPlan:
    _check_words(request)
    if any(objective.is_objective(word) for word in request.selectors):
        return _custom_plan(request)
    specs = catalogue.select(request.selectors)
    if request.data is None:
        raise BadInput(
            "Which data? Name a file or a bundled set with --data; see `hyperion-tui data list`."
        )
    return _data_plan(request, specs)


def _check_words(request: Request) -> None:
    if request.name is not None:
        check_name(request.name)
    if request.task is not None and request.task not in TASKS:
        raise BadInput(
            f"--task {request.task} is not available in this version: {' or '.join(TASKS)} is."
        )
    if request.sampler not in SAMPLERS:
        raise BadInput(f"--sampler {request.sampler}: one of {', '.join(SAMPLERS)}.")
    if request.pruner not in PRUNERS:
        raise BadInput(f"--pruner {request.pruner}: one of {', '.join(PRUNERS)}.")


def _common(request: Request) -> dict[str, Any]:
    return {
        "name": request.name,
        "seed": DEFAULT_SEED if request.seed is None else request.seed,
        "sampler": request.sampler,
        "pruner": request.pruner,
        "workers": request.workers,
        "default_workers": default_workers(),
        "patience": request.patience,
        "min_improvement": request.min_improvement,
        "time_limit_s": request.time_s,
        "trial_time_s": request.trial_time_s,
        "trial_memory_mib": request.trial_memory_mib,
    }


def _goal(request: Request, default: int) -> int | None:
    """Trials a study: as asked for; without, the default, unless time alone limits it."""
    if request.trials is not None:
        return request.trials
    return None if request.time_s is not None else default


def _custom_plan(request: Request) -> ExperimentPlan:
    if len(request.selectors) > 1:
        raise BadInput(
            "An objective of your own is an experiment of its own: name it alone, "
            f"got {' '.join(request.selectors)}."
        )
    if request.data is not None or request.target is not None:
        raise BadInput("An objective of your own brings its data: leave out --data and --target.")
    described = objective.describe(request.selectors[0])
    metric = request.metric or "score"
    maximize = True if metric == "score" else find_metric(metric).maximize
    study = StudyPlan(
        model=described["function"],
        family=objective.FAMILY,
        goal=_goal(request, DEFAULT_TRIALS),
        space=None,
        defaults=None,
    )
    return ExperimentPlan(
        task="objective",
        dataset=None,
        objective=described,
        metric=metric,
        maximize=maximize,
        split=None,
        studies=(study,),
        **_common(request),
    )


def _data_plan(request: Request, specs: list[ModelSpec]) -> ExperimentPlan:
    # pandas and NumPy: 0.4 s that only an experiment with data has to wait for.
    from engines.data.datasets import load
    from engines.data.snapshot import write_snapshot
    from engines.data.splits import make_split

    metric = find_metric(request.metric or "r2")
    assert request.data is not None
    dataset = load(request.data, target=request.target, time_column=request.time_column)
    common = _common(request)
    split = make_split(dataset.rows, ordered=dataset.ordered, seed=common["seed"])
    facts = {
        "train_rows": min(len(fold.train) for fold in split.folds),
        "columns": len(dataset.features),
    }
    plan = DatasetPlan(
        sha256=dataset.sha256,
        name=_as_text(dataset.name),
        path=None if dataset.path is None else _as_text(dataset.path),
        rows=dataset.rows,
        columns=len(dataset.features),
        target=dataset.target,
        time_column=dataset.time_column,
        notices=dataset.notices,
        write=partial(write_snapshot, dataset=dataset, split=split),
    )
    return ExperimentPlan(
        task="regression",
        dataset=plan,
        objective=None,
        metric=metric.name,
        maximize=metric.maximize,
        split=split.describe(),
        studies=tuple(_study_plan(request, spec, facts) for spec in specs),
        **common,
    )


def _as_text(name: str) -> str:
    """A file's name as text: bytes that are none become `?`, as the store takes text only."""
    return name.encode(errors="replace").decode()


def _study_plan(request: Request, spec: ModelSpec, facts: dict[str, int]) -> StudyPlan:
    space = spec.space.bind(facts)
    return StudyPlan(
        model=spec.name,
        family=spec.family,
        goal=_goal(request, spec.trials),
        space=space,
        defaults=space.clip(spec.defaults),
    )
