"""From a request to a running experiment: choose models, load data, split, create, start."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.data.scoring import (
    FIT_TIME,
    TRADING,
    Metric,
    default_metric,
    find_metric,
    find_metrics,
)
from engines.errors import BadInput, PackageMissing, StoreUnavailable
from engines.files import typed_path
from engines.models import catalogue, spacefile
from engines.models.spacefile import SpaceFile
from engines.models.spec import TASKS, Facts, Form, ModelSpec, is_installed
from engines.run import objective, several
from engines.run.capacity import default_workers, free_memory_mib
from engines.run.warm import Sets, best_sets
from engines.search.pruner import PRUNERS
from engines.search.sampler import require_sampler
from engines.study.experiments import (
    DatasetPlan,
    ExperimentPlan,
    StudyPlan,
    check_name,
    create_or_extend,
)
from engines.study.location import Location
from engines.study.store import open_storage

if TYPE_CHECKING:
    # pandas comes with it, which only an experiment with data has to wait for.
    from engines.data.datasets import Dataset
    from engines.data.splits import Split
    from engines.run.metric_file import MetricFile
    from engines.run.metric_package import MetricPackage
    from engines.run.own_metric import OwnMetric

    Own = OwnMetric | MetricFile | MetricPackage

DEFAULT_SEED = 42
DEFAULT_TRIALS = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for. None: not said, so a default or the data decides.

    sample: learn from so many rows, drawn at random. horizon: steps of a forecast, in rows.
    past_target: whether models may read the target up to the row before. device: where networks
    are trained, cpu or cuda; without a word, on the GPU where there is one. time_s, trial_time_s:
    seconds. trial_memory_mib: MiB. space: a TOML file, see `engines.models.spacefile`. trials:
    finished trials a study. pruner: without a word, racing for declared models and none for
    objectives. tell: called with a line about what takes memory or time before it begins. costs,
    episodes: of agents, see `engines.data.terms`. own_metric: in the place of `metric`.
    warm_start: a study or experiment of the same store whose best parameters are tried early.
    """

    selectors: tuple[str, ...]
    data: str | None = None
    target: str | None = None
    time_column: str | None = None
    groups: str | None = None
    sample: int | None = None
    task: str | None = None
    horizon: int | None = None
    past_target: bool = False
    device: str | None = None
    trials: int | None = None
    time_s: float | None = None
    workers: int | None = None
    seed: int | None = None
    metric: str | None = None
    name: str | None = None
    sampler: str = "tpe"
    pruner: str | None = None
    patience: int | None = None
    min_improvement: float | None = None
    trial_time_s: float | None = None
    trial_memory_mib: float | None = None
    costs: Mapping[str, float | None] = field(default_factory=dict)
    episodes: int | None = None
    space: str | None = None
    tell: Callable[[str], None] | None = None
    own_metric: OwnMetric | None = None
    warm_start: str | None = None


def create(
    location: Location,
    request: Request,
    dataset: Dataset | None = None,
    split: Split | None = None,
) -> int:
    """Create the experiment (or extend the one of that name); returns its id. Starts nothing.

    dataset: rows that are in memory already, in the place of `request.data`, and how they are
    split, where that is not to be drawn. Raises BadInput, PackageMissing, NotComparable or
    StoreUnavailable, with nothing written.
    """
    plan = _plan(request, dataset, split)
    if request.warm_start is not None:
        models = {study.model for study in plan.studies if _takes_sets(study)}
        plan = _warmed(plan, best_sets(location, request.warm_start, models, request.tell))
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


def _plan(request: Request, dataset: Dataset | None, split: Split | None = None) -> ExperimentPlan:
    _check_words(request)
    if any(objective.is_objective(word) for word in request.selectors):
        return _custom_plan(request)
    specs = catalogue.select(request.selectors)
    if (request.task or catalogue.implied_task(specs)) == TRADING:
        return _market_plan(request, specs, dataset)
    if request.data is None and dataset is None:
        raise BadInput(
            "Which data? Name a file or a bundled set with --data; see `hyperion-tui data list`."
        )
    return _data_plan(request, specs, dataset, split)


def _warmed(plan: ExperimentPlan, sets: Sets) -> ExperimentPlan:
    """The plan with sets of parameters behind the first trial of each study that takes any."""
    return replace(plan, studies=tuple(_with_sets(s, sets.get(s.model, ())) for s in plan.studies))


def _takes_sets(study: StudyPlan) -> bool:
    """Whether somebody may say what is tried early: what searches by itself asks what it likes."""
    return study.plan is not None and study.space is not None and "sequential" not in study.plan


def _with_sets(study: StudyPlan, sets: Sequence[dict[str, Any]]) -> StudyPlan:
    if not _takes_sets(study):
        return study
    assert study.plan is not None
    assert study.space is not None
    first, *others = study.plan["portfolio"]
    weigh = dict(zip(map(str, (first, *others)), study.plan["weights"], strict=True))
    clipped = [study.space.clip(params) for params in sets]
    portfolio = list({str(params): params for params in (first, *clipped, *others)}.values())
    weights = [weigh.get(str(params), 1.0) for params in portfolio]
    return replace(study, plan={**study.plan, "portfolio": portfolio, "weights": weights})


def _check_words(request: Request) -> None:
    if request.name is not None:
        check_name(request.name)
    if request.task is not None and request.task not in TASKS:
        raise BadInput(
            f"--task {request.task} is not available in this version: {' or '.join(TASKS)} is."
        )
    declared = not any(objective.is_objective(word) for word in request.selectors)
    require_sampler(request.sampler, declared=declared)
    several.check(request, own_objective=not declared)
    _check_device(request.device)
    if request.pruner is not None and request.pruner not in PRUNERS:
        raise BadInput(f"--pruner {request.pruner}: one of {', '.join(PRUNERS)}.")


def _check_device(device: str | None) -> None:
    """Refuse a device that is not there. torch is only imported where a GPU was asked for."""
    if device not in (None, "cpu", "cuda"):
        raise BadInput(f"--device {device}: cpu or cuda.")
    if device != "cuda":
        return
    if not is_installed("torch"):
        raise PackageMissing('--device cuda needs torch: pip install "hyperion-tui[deep]".')
    # By name: what screens import may not name it.
    if not importlib.import_module("torch").cuda.is_available():
        raise BadInput(
            "--device cuda: torch finds no GPU here; see that its driver is loaded and that torch "
            "is a build for CUDA, or take --device cpu."
        )


def _common(request: Request) -> dict[str, Any]:
    return {
        "name": request.name,
        "seed": DEFAULT_SEED if request.seed is None else request.seed,
        "sampler": request.sampler,
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
    if request.space is not None:
        raise BadInput("An objective of your own has its space in its code: leave out --space.")
    if request.data is not None or request.target is not None or request.horizon is not None:
        raise BadInput("An objective of your own brings its data: leave out --data and --target.")
    described = objective.describe(request.selectors[0])
    metric = request.metric or "score"
    maximize = True if metric == "score" else find_metric(metric).maximize
    study = StudyPlan(
        model=described["function"],
        family=objective.FAMILY,
        goal=_goal(request, DEFAULT_TRIALS),
        space=None,
        plan=None,
    )
    return ExperimentPlan(
        task="objective",
        dataset=None,
        objective=described,
        metric=metric,
        maximize=maximize,
        split=None,
        studies=(study,),
        pruner=_objective_pruner(request),
        **_common(request),
    )


def _objective_pruner(request: Request) -> str:
    """Folds race; an objective of the user's own has none, so its reports are left to Optuna."""
    if request.pruner == "racing":
        raise BadInput(
            "--pruner racing compares folds, which an objective of your own does not have: "
            "take median, halving, wilcoxon or none."
        )
    return request.pruner or "none"


def _data_plan(
    request: Request, specs: list[ModelSpec], dataset: Dataset | None, split: Split | None
) -> ExperimentPlan:
    # pandas and NumPy: 0.4 s that only an experiment with data has to wait for.
    from engines.data.changes import mark_of
    from engines.data.datasets import load
    from engines.data.facts import check_metric, data_facts
    from engines.data.leaks import LEAK_ADVICE, find_leaks
    from engines.data.memory import Room
    from engines.data.past import Asked
    from engines.data.splits import split_dataset

    asked = Asked(request.task, request.horizon, request.past_target)
    task = asked.table_task
    spaces = _spaces(request, specs)
    if dataset is None:
        assert request.data is not None
        dataset = load(
            request.data,
            target=request.target,
            time_column=request.time_column,
            task=task,
            groups=request.groups,
            sample_rows=request.sample,
            room=Room(int(free_memory_mib() * 2**20), request.tell),
        )
    leaks = [str(leak) for leak in find_leaks(dataset, known=asked.horizon is not None)]
    warnings = (f"{leak}: {LEAK_ADVICE}" for leak in leaks)
    dataset = asked.of(replace(dataset, notices=(*dataset.notices, *warnings)))
    own = _own_metric(request)
    if own is not None:
        metrics: tuple[Metric, ...] = (own.metric(dataset.task, dataset.classes),)
    else:
        metrics = find_metrics(request.metric or default_metric(dataset.task), dataset.task)
    common = _common(request)
    if split is None:
        split = split_dataset(dataset, common["seed"])
    for metric in metrics:
        if metric is not FIT_TIME:
            check_metric(metric, dataset, split)
    facts = {**data_facts(dataset, split), "folds": len(split.folds)}
    if own is not None:
        facts["own_metric"] = own.described()
    if leaks:
        facts["leaks"] = leaks
    specs, left_out = _usable(request, specs, dataset.task, facts)
    past = {} if dataset.past is None else dataset.past.describe(dataset.task)
    mark = None if dataset.path is None else mark_of(dataset.path)
    return ExperimentPlan(
        task=dataset.task,
        dataset=_dataset_plan(dataset, split, own),
        objective=None,
        **_scored_by(metrics),
        split={**split.describe(), **past},
        studies=tuple(
            _study_plan(request, spec, spec.form(dataset.task, past=bool(past)), spaces, facts)
            for spec in specs
        ),
        pruner=request.pruner or ("racing" if len(metrics) == 1 else "none"),
        facts={**facts, **_kept(file=mark, device=several.device(request, metrics))},
        left_out=left_out,
        **common,
    )


def _scored_by(metrics: Sequence[Metric]) -> dict[str, Any]:
    """The fields of a plan that say what it is scored by."""
    return {
        "metric": ",".join(metric.name for metric in metrics),
        "maximize": metrics[0].maximize,
        "maximize_others": tuple(metric.maximize for metric in metrics[1:]),
    }


def _own_metric(request: Request) -> Own | None:
    """A metric that is no name of ours: of a notebook, of a file (with a colon), of a package."""
    if request.metric is None:
        return request.own_metric
    from engines.run.metric_package import named_metric

    return named_metric(request.metric)


def _dataset_plan(dataset: Dataset, split: Split, own: Own | None = None) -> DatasetPlan:
    return DatasetPlan(
        sha256=dataset.sha256,
        name=_as_text(dataset.name),
        path=None if dataset.path is None else _as_text(dataset.path),
        rows=dataset.rows,
        columns=len(dataset.features) if dataset.past is None else dataset.past.base - 1,
        target=dataset.target,
        time_column=dataset.time_column,
        group_column=dataset.group_column,
        classes=dataset.classes,
        notices=dataset.notices,
        write=partial(_write_data, dataset=dataset, split=split, own=own),
    )


def _market_plan(
    request: Request, specs: list[ModelSpec], dataset: Dataset | None
) -> ExperimentPlan:
    """Agents: bars in the place of a table, and terms of trading beside the split."""
    from engines.data.changes import mark_of
    from engines.run.bars import prepare

    made = prepare(request, dataset)
    spaces = _spaces(request, specs)
    specs, left_out = _usable(request, specs, TRADING, made.facts)
    mark = None if made.data.path is None else mark_of(made.data.path)
    return ExperimentPlan(
        task=TRADING,
        dataset=_dataset_plan(made.data, made.split),
        objective=None,
        **_scored_by(made.metrics),
        split=made.described,
        studies=tuple(
            _study_plan(request, spec, spec.form(TRADING), spaces, made.facts) for spec in specs
        ),
        pruner=request.pruner or ("median" if len(made.metrics) == 1 else "none"),
        facts={**made.facts, **_kept(file=mark, device=request.device)},
        # `all` means all agents here: what only predicts is not missed.
        left_out={n: why for n, why in left_out.items() if catalogue.find(n).does(TRADING)},
        **_common(request),
    )


def _kept(**known: Any) -> dict[str, Any]:
    return {name: value for name, value in known.items() if value is not None}


def _write_data(folder: Path, dataset: Dataset, split: Split, own: Own | None) -> None:
    from engines.data.snapshot import write_snapshot

    write_snapshot(folder, dataset, split)
    if own is not None:
        own.write(folder)


def _usable(
    request: Request, specs: list[ModelSpec], task: str, facts: Facts
) -> tuple[list[ModelSpec], dict[str, str]]:
    """(models that can do this task on these data, why the others can't).

    Raises BadInput for a model that was named by itself, or if none is left.
    """
    reasons = {spec.name: spec.reason_unfit(task, facts) for spec in specs}
    if several.asks_for_several(request):
        reasons |= {spec.name: several.CHOOSES_ITSELF for spec in specs if spec.sequential}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    for word in request.selectors:
        if catalogue.is_group(word):
            continue
        name = catalogue.find(word).name
        if name in left_out:
            raise BadInput(f"{name} can't be used here: {left_out[name]}.")
    usable = [spec for spec in specs if spec.name not in left_out]
    if not usable:
        name, reason = next(iter(left_out.items()))
        raise BadInput(f"None of these models can be used here: {name}: {reason}.")
    return usable, left_out


def _as_text(name: str) -> str:
    """A file's name as text: bytes that are none become `?`, as the store takes text only."""
    return name.encode(errors="replace").decode()


def _spaces(request: Request, specs: list[ModelSpec]) -> SpaceFile | None:
    """The file that narrows what is searched. Raises BadInput if it names none of the models."""
    if request.space is None:
        return None
    found = spacefile.load(typed_path(request.space))
    found.require_any(specs)
    return found


def _study_plan(
    request: Request, spec: ModelSpec, form: Form, spaces: SpaceFile | None, facts: Facts
) -> StudyPlan:
    declared = form.space if spaces is None else spaces.space(spec.name, form)
    space = declared.bind(facts)
    portfolio: list[dict[str, Any]] = []
    weights: list[float] = []
    for params, weight in form.weighed:
        clipped = space.clip(params)
        if clipped not in portfolio:
            portfolio.append(clipped)
            weights.append(weight)
    plan = {
        "portfolio": portfolio,
        "weights": weights,
        "prior": form.prior,
        "averages": form.averages,
        "expected_s": form.expected_s(facts),
        "rows": [form.rows_used(facts), facts["train_rows"]],
    }
    if spec.sequential:
        plan["sequential"] = True
    return StudyPlan(
        model=spec.name,
        family=spec.family,
        goal=_goal(request, spec.trials),
        space=space,
        plan=plan,
    )
