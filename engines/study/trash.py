"""The trash: experiments that are out of sight, can be brought back, and can be removed for good.

Nothing is stored for it but a line of the log: an experiment is in the trash as long as the last
thing that happened to it is that it was put there. So whatever happens to it later, such as an
order from a screen that had not noticed, takes it out again, and none is at work unseen.

Plain SQL, so that a screen can do this without loading SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import BadInput
from engines.study import control, events
from engines.study.location import FOLDERS, Location
from engines.study.locks import runners, take_runner_lock
from engines.study.plain import Connection, transaction
from engines.study.records import Experiment
from engines.study.states import FINAL

IN_TRASH = (
    "EXISTS (SELECT 1 FROM hx_event v WHERE v.kind = 'trashed' AND v.seq = "
    "(SELECT max(l.seq) FROM hx_event l WHERE l.experiment_id = e.id))"
)
"""Whether `hx_experiment e` is in the trash. Two steps in an index for each experiment."""

OF_A_TRIAL = (
    *("trial_params", "trial_values", "trial_intermediate_values", "trial_heartbeats"),
    *("trial_user_attributes", "trial_system_attributes", "hx_returns"),
)
"""Tables of what belongs to a trial."""

OF_A_STUDY = (
    *("hx_trial", "hx_study", "trials", "study_directions"),
    *("study_user_attributes", "study_system_attributes", "studies"),
)
"""Tables with the id of a study, in an order in which they can be emptied."""

_OF_AN_EXPERIMENT = (
    *("hx_event", "hx_worker", "hx_runner", "hx_baseline", "hx_ensemble", "hx_returns"),
)

AT_REST = (*FINAL, "paused")


@dataclass(frozen=True, slots=True)
class Freed:
    """What a purge gave back, in bytes. store: inside the store, None where it can't be told."""

    files: int
    store: int | None


def delete(location: Location, experiments: Sequence[Experiment]) -> list[str]:
    """Put experiments into the trash; returns their names.

    Raises BadInput, and changes nothing, if one of them is not at rest.
    """
    for experiment in experiments:
        if experiment.state not in AT_REST:
            raise BadInput(
                f"{experiment.name} is {experiment.state}: end it first, "
                f"`hyperion-tui cancel {experiment.name}`, then delete it."
            )
    with transaction(location) as connection:
        for experiment in experiments:
            _require_nobody(location, connection, experiment)
            _note(connection, experiment, events.TRASHED, "put into the trash")
    return [experiment.name for experiment in experiments]


def restore(location: Location, experiments: Sequence[Experiment]) -> list[str]:
    """Bring experiments back from the trash, as they were; returns the names of those in it."""
    names = []
    with transaction(location) as connection:
        for experiment in experiments:
            if _is_in_trash(connection, experiment.experiment_id):
                _note(connection, experiment, events.RESTORED, "brought back from the trash")
                names.append(experiment.name)
    return names


def purge(location: Location, experiment: Experiment) -> Freed:
    """Remove an experiment of the trash for good: rows, models, logs, data, checkpoints.

    Rows go first: what is left if this process dies then is found by `doctor --clean`.
    Raises BadInput if it is no longer in the trash, or somebody works on it.
    """
    lock = None
    if location.is_file:
        # As long as this process has the lock of its runner, nobody can start one.
        lock = take_runner_lock(location.runner_lock(experiment.experiment_id))
        if lock is None:
            raise BadInput(f"{experiment.name} is at work again: it is no longer in the trash.")
    try:
        with transaction(location, durable=True) as connection:
            if not location.is_file:
                _require_nobody(location, connection, experiment)
            if not _is_in_trash(connection, experiment.experiment_id):
                raise BadInput(f"{experiment.name} is not in the trash any more.")
            before = _free_bytes(connection, location)
            _remove_rows(connection, experiment)
            after = _free_bytes(connection, location)
        files = sum(remove(folder) for folder in location.folders(experiment.experiment_id))
    finally:
        if lock is not None:
            os.close(lock)
    return Freed(files, None if before is None or after is None else max(0, after - before))


def orphans(location: Location, known: Collection[int]) -> list[Path]:
    """Folders beside the store of experiments that are not among the `known` ones."""
    return [f for f in _folders(location) if not (f.name.isdigit() and int(f.name) in known)]


def remove_orphans(location: Location) -> int:
    """Remove the folders of experiments that are no longer in the store; returns their bytes."""
    # Looked for first: who makes a folder has the write lock until the row is there.
    found = _folders(location)
    known: set[str] = set()
    if found and location.may_exist:
        with transaction(location) as connection:
            rows = connection.execute("SELECT id FROM hx_experiment ORDER BY id").fetchall()
        known = {str(row["id"]) for row in rows}
    return sum(remove(folder) for folder in found if folder.name not in known)


def _folders(location: Location) -> list[Path]:
    """The folders of experiments beside the store."""
    everything = (sorted((location.side / kind).glob("*")) for kind in FOLDERS)
    return [path for paths in everything for path in paths if path.is_dir()]


def remove(folder: Path) -> int:
    """Remove a folder with all in it; returns the bytes of its files, 0 if there is none."""
    freed = size(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return freed


def size(folder: Path) -> int:
    """The bytes of all files below a folder. Files that go meanwhile are not counted."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size if path.is_file() else 0
    return total


def _note(connection: Connection, experiment: Experiment, kind: str, text: str) -> None:
    control.add_event(connection, experiment.experiment_id, kind, text)


def _require_nobody(location: Location, connection: Connection, experiment: Experiment) -> None:
    if runners(location, connection, [experiment.experiment_id]):
        raise BadInput(
            f"{experiment.name} is {experiment.state}, and its processes are still there: "
            f"`hyperion-tui cancel {experiment.name}` ends them; then delete it."
        )


def _is_in_trash(connection: Connection, experiment_id: int) -> bool:
    found = connection.execute(
        f"SELECT e.id FROM hx_experiment e WHERE e.id = ? AND {IN_TRASH}", (experiment_id,)
    ).fetchall()
    return bool(found)


def _free_bytes(connection: Connection, location: Location) -> int | None:
    """Room inside the file that what is written next can use."""
    if not location.is_file:
        return None
    pages, size_of_one = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("freelist_count", "page_size")
    )
    return int(pages) * int(size_of_one)


def _remove_rows(connection: Connection, experiment: Experiment) -> None:
    for study in experiment.studies:
        for table in OF_A_TRIAL:
            connection.execute(
                f"DELETE FROM {table} WHERE trial_id IN "
                "(SELECT trial_id FROM trials WHERE study_id = ?)",
                (study.study_id,),
            )
        for table in OF_A_STUDY:
            connection.execute(f"DELETE FROM {table} WHERE study_id = ?", (study.study_id,))
    this = (experiment.experiment_id,)
    for table in _OF_AN_EXPERIMENT:
        connection.execute(f"DELETE FROM {table} WHERE experiment_id = ?", this)
    connection.execute("DELETE FROM hx_experiment WHERE id = ?", this)
    connection.execute(
        "DELETE FROM hx_dataset WHERE NOT EXISTS "
        "(SELECT 1 FROM hx_experiment e WHERE e.dataset_id = hx_dataset.id)"
    )
