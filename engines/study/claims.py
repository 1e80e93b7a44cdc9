"""What a worker does next: the choice and the claim, in one write transaction.

The budget is enforced here and nowhere else: a trial is created or taken from the queue only
while finished + running is below the study's goal, so any number of workers, deaths and
resumes ends with exactly the total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from engines.clock import utc_now
from engines.search.stopping import SAME_FAILURES, has_stalled, repeated_cause
from engines.study import events
from engines.study.states import TRIAL_WORDS, Counts
from engines.study.storage import HyperionStorage
from engines.study.tables import EventRow, ExperimentRow, StudyRow, TrialRow

FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that now belongs to one worker.

    kind: `trial` or `closing` (settle the end of a study: open its held-out part).
    trial_id and number are None for a closing.
    """

    kind: str
    study_id: int
    study_name: str
    model: str
    space: list[Any] | None
    trial_id: int | None = None
    number: int | None = None


def claim(
    storage: HyperionStorage,
    experiment_id: int,
    worker_id: int,
    loaded: Collection[str] = (),
) -> Job | None:
    """Claim the next job of an experiment for a worker, or None if there is none now.

    The study with the smallest share of its goal comes first, queued trials before new ones;
    among equals one whose family this worker has `loaded`.
    """
    with storage.transaction() as session:
        experiment = session.get_one(ExperimentRow, experiment_id)
        studies = session.scalars(
            select(StudyRow)
            .where(StudyRow.experiment_id == experiment_id)
            .order_by(StudyRow.position)
        ).all()
        counts = _count(session, [s.study_id for s in studies])
        # A study that has ended is settled first: its score would wait for all the others.
        if (job := _take_closing(experiment, studies, counts, worker_id)) is not None:
            return job
        candidates = [s for s in studies if _may_run(s, counts[s.study_id])]
        candidates.sort(key=lambda s: (_share(s, counts[s.study_id]), s.family not in loaded))
        for study in candidates:
            if _rules_end(session, experiment, study):
                continue
            row = _take_trial(storage, session, study, worker_id)
            if row is not None:
                return _trial_job(session, storage, study, row)
        # The stopping rules may just have ended one.
        return _take_closing(experiment, studies, counts, worker_id)


def _take_closing(
    experiment: ExperimentRow,
    studies: Sequence[StudyRow],
    counts: Mapping[int, Counts],
    worker_id: int,
) -> Job | None:
    for study in studies:
        if _may_close(study, counts[study.study_id]):
            study.closing_worker = worker_id
            return Job(
                "closing", study.study_id, _name(experiment, study), study.model, study.space
            )
    return None


def _name(experiment: ExperimentRow, study: StudyRow) -> str:
    return f"{experiment.name}/{study.model}"


def _count(session: Session, ids: list[int]) -> dict[int, Counts]:
    tallies: dict[int, dict[str, int]] = defaultdict(dict)
    for study_id, state, n in session.execute(
        select(TrialRow.study_id, TrialRow.state, func.count())
        .where(TrialRow.study_id.in_(ids))
        .group_by(TrialRow.study_id, TrialRow.state)
    ):
        tallies[study_id][TRIAL_WORDS[state]] = n
    return {study_id: Counts(**tallies[study_id]) for study_id in ids}


def _may_run(study: StudyRow, counts: Counts) -> bool:
    if study.want != "run" or study.failure is not None or study.ended_by is not None:
        return False
    return study.goal is None or counts.finished + counts.running < study.goal


def _share(study: StudyRow, counts: Counts) -> float:
    started = counts.finished + counts.running
    return started / study.goal if study.goal else float(started)


def _may_close(study: StudyRow, counts: Counts) -> bool:
    if study.closed_at is not None or study.closing_worker is not None:
        return False
    if study.failure is not None or study.want in ("cancel", "pause") or counts.running:
        return False
    reached = study.goal is not None and counts.finished >= study.goal
    return reached or study.ended_by is not None or study.want == "stop"


def _rules_end(session: Session, experiment: ExperimentRow, study: StudyRow) -> bool:
    """Apply the stopping rules to a study before it gets another trial."""
    begun = study.rules_from or 0  # told to go on, it gets its patience once more
    latest = session.execute(
        select(TrialRow.state, TrialRow.error_class, TrialRow.error_message)
        .where(
            TrialRow.study_id == study.study_id,
            TrialRow.state.in_(FINISHED),
            TrialRow.number >= begun,
        )
        .order_by(TrialRow.number.desc())
        .limit(SAME_FAILURES)
    ).all()
    cause = repeated_cause([(row[0], row[1], row[2]) for row in latest])
    if cause is not None and study.failure is None:
        study.failure = f"{SAME_FAILURES} trials in a row failed: {cause[0]}: {cause[1]}"
        _log(session, study, f"failed: {study.failure}")
        return True
    if experiment.patience is None:
        return False
    values = session.execute(
        select(TrialRow.state, TrialRow.value, TrialRow.number)
        .where(TrialRow.study_id == study.study_id, TrialRow.state.in_(FINISHED))
        .order_by(TrialRow.number)
    ).all()
    fresh = sum(number >= begun for _, _, number in values)
    if fresh >= experiment.patience and has_stalled(
        [value if state == "COMPLETE" else None for state, value, _ in values],
        maximize=experiment.direction == "maximize",
        patience=experiment.patience,
        min_improvement=experiment.min_improvement,
    ):
        study.ended_by = f"no improvement in {experiment.patience} trials"
        _log(session, study, study.ended_by)
        return True
    return False


def _take_trial(
    storage: HyperionStorage, session: Session, study: StudyRow, worker_id: int
) -> TrialRow | None:
    """The oldest queued trial, or a new one, RUNNING and held by the worker."""
    waiting = session.scalar(
        select(TrialRow.trial_id)
        .where(TrialRow.study_id == study.study_id, TrialRow.state == "WAITING")
        .order_by(TrialRow.number)
        .limit(1)
    )
    if waiting is not None:
        row = storage.take_waiting(session, waiting)
    else:
        trial = storage._get_prepared_new_trial(study.study_id, None, session)
        session.flush()
        row = session.get_one(TrialRow, trial.trial_id)
    if row is not None:
        row.worker_id = worker_id
    return row


def _trial_job(session: Session, storage: HyperionStorage, study: StudyRow, row: TrialRow) -> Job:
    experiment = session.get_one(ExperimentRow, study.experiment_id)
    times = "once" if row.requeues == 1 else f"{row.requeues} times"
    again = f", put back {times} before" if row.requeues else ""
    _log(session, study, f"started{again}", events.TRIAL_STARTED, row.number)
    storage.hold(row.trial_id, row.worker_id or 0)
    return Job(
        "trial",
        study.study_id,
        _name(experiment, study),
        study.model,
        study.space,
        row.trial_id,
        row.number,
    )


def find_same(
    storage: HyperionStorage, study_id: int, params_hash: str
) -> tuple[int, float] | None:
    """(number, value) of a complete trial with these parameters, or None."""
    with storage.reading(), storage.transaction() as session:
        row = session.execute(
            select(TrialRow.number, TrialRow.value)
            .where(
                TrialRow.study_id == study_id,
                TrialRow.params_hash == params_hash,
                TrialRow.state == "COMPLETE",
                TrialRow.value.is_not(None),
            )
            .order_by(TrialRow.number)
            .limit(1)
        ).first()
    return (row[0], float(row[1] or 0.0)) if row is not None else None


def close_study(
    storage: HyperionStorage,
    study_id: int,
    worker_id: int,
    *,
    score: float | None,
    number: int | None,
    note: str | None,
    opened: bool,
) -> None:
    """Settle the end of a study that this worker had claimed.

    score and number: the held-out score and the trial it belongs to, or None with a `note` that
    says why there is none. opened: whether the held-out part was looked at for this.
    """
    with storage.transaction(durable=True) as session:
        study = session.get_one(StudyRow, study_id)
        if study.closing_worker != worker_id or study.want == "cancel":
            return
        study.closed_at = utc_now()
        study.held_out_score, study.held_out_number, study.held_out_note = score, number, note
        study.openings += int(opened)
        if number is None and study.want == "run":
            study.failure = note
        text = f"held-out {score:.6g} for trial {number}" if score is not None else f"{note}"
        _log(session, study, f"finished: {text}")


def _log(
    session: Session,
    study: StudyRow,
    text: str,
    kind: str = events.STUDY,
    number: int | None = None,
) -> None:
    session.add(
        EventRow(
            at=utc_now(),
            experiment_id=study.experiment_id,
            study_id=study.study_id,
            trial_number=number,
            kind=kind,
            text=text,
        )
    )
