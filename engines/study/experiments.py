"""Creating an experiment, and adding to one: everything in one transaction, or nothing.

What is fixed (data, task, split, scorer, seed) is compared when a name is used again; the
budget may change.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from sqlalchemy import Connection, select
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from engines.clock import utc_now
from engines.errors import BadInput, NotComparable
from engines.search.space import Space
from engines.study import events, study_rows
from engines.study.control import REOPEN
from engines.study.fronts import SEPARATOR
from engines.study.location import Location
from engines.study.storage import HyperionStorage
from engines.study.tables import DatasetRow, EventRow, ExperimentRow, StudyRow
from engines.study.trash import IN_TRASH
from engines.study.versions import library_versions

MAX_NAME = 120


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """One study to create. space and plan are None for an objective of the user's own.

    plan: what is known before the first trial. `portfolio`: the parameters of the first trials,
    the defaults before the rest; `weights`: what each costs, in units of the first; `prior` and
    `averages`: see `engines.models.spec.Form`; `expected_s`: seconds of a whole trial of the
    defaults; `rows`: (used, there are) training rows of a fold.
    """

    model: str
    family: str
    goal: int | None
    space: Space | None
    plan: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What the experiment learns from. `write` puts the data into a folder."""

    sha256: str
    name: str
    path: str | None
    rows: int
    columns: int
    target: str
    time_column: str | None
    notices: tuple[str, ...]
    write: Callable[[Path], None]
    group_column: str | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExperimentPlan:
    """Everything about an experiment before it exists. name None: `<data>-<n>`, the next free.

    workers, patience and limits: None is "not said", which leaves what an experiment has.
    facts: see `engines.data.facts`. left_out: why some models can't be used, by model. metric: a
    name, or several with commas between; `maximize` is of the first, `maximize_others` of the rest.
    """

    name: str | None
    task: str
    dataset: DatasetPlan | None
    objective: dict[str, Any] | None
    metric: str
    maximize: bool
    seed: int
    split: dict[str, Any] | None
    sampler: str
    pruner: str
    workers: int | None
    patience: int | None
    min_improvement: float | None
    time_limit_s: float | None
    trial_time_s: float | None
    trial_memory_mib: float | None
    studies: tuple[StudyPlan, ...]
    default_workers: int = 1
    facts: dict[str, Any] | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    maximize_others: tuple[bool, ...] = ()


def check_name(name: str) -> str:
    """`name` if it can name an experiment. Raises BadInput otherwise."""
    if (
        not 1 <= len(name) <= MAX_NAME
        or not name.isprintable()
        or "/" in name
        or name != name.strip()
    ):
        raise BadInput(
            f"--name {name[:40]!r} can't name an experiment: use 1 to {MAX_NAME} printable "
            "characters without a slash."
        )
    if any(c in name for c in "*?["):
        raise BadInput(f"--name {name!r} can't name an experiment: *, ? and [ select several.")
    return name


def create_or_extend(storage: HyperionStorage, plan: ExperimentPlan) -> int:
    """Create the experiment, or add models and trials to the one of that name; returns its id.

    Raises NotComparable, naming the differences, if the name belongs to an experiment whose
    fixed part differs.
    """
    if plan.name is not None:
        check_name(plan.name)
    written: list[Path] = []
    try:
        # Somebody sits and waits for this: a full disk is told, not waited for.
        return storage.database.write(
            lambda c: _create_or_extend(c, storage.location, plan, written),
            durable=True,
            patience_s=0.0,
        )
    except BaseException:
        for folder in written:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _create_or_extend(
    connection: Connection, location: Location, plan: ExperimentPlan, written: list[Path]
) -> int:
    with Session(bind=connection) as session:
        existing = session.scalar(select(ExperimentRow).where(ExperimentRow.name == plan.name))
        if existing is not None:
            _require_in_sight(connection, existing)
            _require_same(session, existing, plan)
            experiment = existing
        else:
            experiment = _create(location, session, plan, written)
        _add_studies(session, experiment, plan)
        session.flush()
        return experiment.id


def _create(
    location: Location, session: Session, plan: ExperimentPlan, written: list[Path]
) -> ExperimentRow:
    dataset_id = None
    if plan.dataset is not None:
        fields = {name: getattr(plan.dataset, name) for name in _DATASET_FIELDS}
        dataset = DatasetRow(
            **fields,
            notices=list(plan.dataset.notices),
            classes=list(plan.dataset.classes) or None,
        )
        session.add(dataset)
        session.flush()
        dataset_id = dataset.id
    experiment = ExperimentRow(
        name=plan.name or _free_name(session, plan),
        created_at=utc_now(),
        dataset_id=dataset_id,
        direction="maximize" if plan.maximize else "minimize",
        versions=library_versions(),
        time_used_s=0.0,
        failure=None,
        workers=plan.workers or plan.default_workers,
        min_improvement=plan.min_improvement or 0.0,
        **{name: getattr(plan, name) for name in _PLAN_FIELDS},
    )
    session.add(experiment)
    session.flush()
    if plan.dataset is not None:
        folder = location.data(experiment.id)
        written.append(folder)
        plan.dataset.write(folder)
    _log(session, experiment.id, f"created with seed {plan.seed}, metric {plan.metric}")
    return experiment


_DATASET_FIELDS = (
    *("sha256", "name", "path", "rows", "columns"),
    *("target", "time_column", "group_column"),
)
_PLAN_FIELDS = (
    *("task", "objective", "metric", "seed", "split", "sampler", "pruner"),
    *("patience", "time_limit_s", "trial_time_s", "trial_memory_mib", "facts"),
)
_BUDGET_FIELDS = (
    *("workers", "patience", "min_improvement"),
    *("time_limit_s", "trial_time_s", "trial_memory_mib"),
)


def _free_name(session: Session, plan: ExperimentPlan) -> str:
    base = plan.dataset.name if plan.dataset is not None else plan.studies[0].model
    base = "".join(c if c.isalnum() or c in "-_." else "-" for c in base)[: MAX_NAME - 8] or "data"
    taken = set(session.scalars(select(ExperimentRow.name)))
    number = 1
    while f"{base}-{number}" in taken:
        number += 1
    return f"{base}-{number}"


def _require_same(session: Session, row: ExperimentRow, plan: ExperimentPlan) -> None:
    dataset = session.get(DatasetRow, row.dataset_id) if row.dataset_id is not None else None
    before = {
        "data": dataset.sha256[:12] if dataset else None,
        "target": dataset.target if dataset else None,
        "groups": dataset.group_column if dataset else None,
        "objective": _identity(row.objective),
        "task": row.task,
        "split": row.split,
        "metric": row.metric,
        "direction": row.direction,
        "seed": row.seed,
        "sampler": row.sampler,
        "pruner": row.pruner,
    }
    after = {
        "data": plan.dataset.sha256[:12] if plan.dataset else None,
        "target": plan.dataset.target if plan.dataset else None,
        "groups": plan.dataset.group_column if plan.dataset else None,
        "objective": _identity(plan.objective),
        "task": plan.task,
        "split": plan.split,
        "metric": plan.metric,
        "direction": "maximize" if plan.maximize else "minimize",
        "seed": plan.seed,
        "sampler": plan.sampler,
        "pruner": plan.pruner,
    }
    differences = [f"{k} was {before[k]}, is {after[k]}" for k in before if before[k] != after[k]]
    if differences:
        raise NotComparable(
            f"Experiment `{row.name}` exists and is not comparable: {'; '.join(differences)}. "
            "Take another --name, or the same settings."
        )


def _require_in_sight(connection: Connection, row: ExperimentRow) -> None:
    statement = sql(f"SELECT e.id FROM hx_experiment e WHERE e.id = :id AND {IN_TRASH}")
    if connection.execute(statement, {"id": row.id}).first() is not None:
        raise BadInput(
            f"`{row.name}` is in the trash: bring it back with `hyperion-tui restore {row.name}`, "
            "or take another --name."
        )


def _identity(objective: dict[str, Any] | None) -> str | None:
    """What makes two objectives the same: the code and which function of it."""
    if objective is None:
        return None
    return f"{objective['function']} in {objective['sha256'][:12]}"


def _add_studies(session: Session, experiment: ExperimentRow, plan: ExperimentPlan) -> None:
    found = session.scalars(select(StudyRow).where(StudyRow.experiment_id == experiment.id)).all()
    known = {row.model: row for row in found}
    for offset, study in enumerate(plan.studies):
        row = known.get(study.model)
        if row is None:
            maximize = (plan.maximize, *plan.maximize_others)
            _add_study(session, experiment, study, len(known) + offset, maximize)
            continue
        _require_same_space(experiment, row, study)
        # A search ends a little before its time is up: the same limit again is no more time.
        had = max(experiment.time_used_s, experiment.time_limit_s or 0.0)
        more_time = plan.time_limit_s is not None and plan.time_limit_s > had
        _go_on(session, experiment, row, study.goal, more_time=more_time)
    for name in _BUDGET_FIELDS:
        value = getattr(plan, name)
        if value is not None:
            setattr(experiment, name, value)
    experiment.failure = None
    if plan.left_out:
        # A new dictionary: a change inside the old one would not be seen.
        experiment.left_out = {**(experiment.left_out or {}), **plan.left_out}


def _require_same_space(experiment: ExperimentRow, row: StudyRow, study: StudyPlan) -> None:
    space = study.space.to_json() if study.space is not None else None
    if space != row.space:
        raise NotComparable(
            f"The space of {experiment.name}/{row.model} differs from the one it was searched in: "
            "take another --name for the new one."
        )


def _go_on(
    session: Session,
    experiment: ExperimentRow,
    row: StudyRow,
    goal: int | None,
    *,
    more_time: bool,
) -> None:
    """Let a study run if it is paused, or if there is more to do: a larger total, more time.

    Raises BadInput for one that was stopped or cancelled: that is for good.
    """
    if row.want in ("stop", "cancel"):
        raise BadInput(
            f"{experiment.name}/{row.model} was ended for good ({row.want}): take another --name."
        )
    row.want, row.want_now = "run", False
    larger = goal is not None and (row.goal is None or goal > row.goal)
    if larger:
        row.goal = goal
    if not larger and not (more_time and (row.ended_by or "").startswith("time")):
        return
    session.flush()
    session.execute(sql(REOPEN.replace("?", ":study_id")), {"study_id": row.study_id})
    session.expire(row)


def _add_study(
    session: Session,
    experiment: ExperimentRow,
    plan: StudyPlan,
    position: int,
    maximize: Sequence[bool],
) -> None:
    ways = [StudyDirection.MAXIMIZE if up else StudyDirection.MINIMIZE for up in maximize]
    connection = session.connection()
    study_id = study_rows.add_study(connection, f"{experiment.name}/{plan.model}", ways)
    if len(ways) > 1:
        # As Optuna's `set_metric_names` has it: its dashboard says which axis is which.
        names = json.dumps(experiment.metric.split(SEPARATOR))
        study_rows.set_study_attr(connection, study_id, "system", "study:metric_names", names)
    session.add(
        StudyRow(
            study_id=study_id,
            experiment_id=experiment.id,
            position=position,
            model=plan.model,
            family=plan.family,
            space=plan.space.to_json() if plan.space is not None else None,
            goal=plan.goal,
            plan=plan.plan,
            want="run",
            want_now=False,
            openings=0,
        )
    )


def _log(session: Session, experiment_id: int, text: str) -> None:
    session.add(
        EventRow(
            at=utc_now(),
            experiment_id=experiment_id,
            study_id=None,
            trial_number=None,
            kind=events.EXPERIMENT,
            text=text,
        )
    )
