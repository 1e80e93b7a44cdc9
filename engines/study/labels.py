"""Tags and notes: what a person writes on an experiment, a study or a trial.

They are Optuna's user attributes `tags` and `note`, so optuna-dashboard and `trials_dataframe()`
show them, and what `study.set_user_attr("tags", [...])` writes is shown here. An experiment is no
study of Optuna's: its own lie, as `experiment_tags` and `experiment_note`, on its first study.

Plain SQL, so that a screen can do this without loading SQLAlchemy.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.errors import BadInput
from engines.study.location import Location
from engines.study.plain import Connection, transaction
from engines.study.records import Experiment, Study, Trial

TAGS, NOTE = "tags", "note"

OF_EXPERIMENT = {TAGS: "experiment_tags", NOTE: "experiment_note"}
"""Keys of what belongs to the experiment, on its first study."""

MOST_TAGS = 20
LONGEST_TAG = 30
LONGEST_NOTE = 2_000

_KEYS = (TAGS, NOTE, *OF_EXPERIMENT.values())
_TAG = re.compile(r"\w[\w.=/-]*")

Ask = Callable[[str, Sequence[Any]], list[Any]]
"""Runs a question and returns all its rows."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The tags, in the order of the alphabet, and the note, "" without one."""

    tags: tuple[str, ...] = ()
    note: str = ""


NONE = Labels()


@dataclass(frozen=True, slots=True)
class Subject:
    """What carries labels: an experiment, one of its studies, or a trial of that."""

    experiment: Experiment
    study: Study | None = None
    number: int | None = None

    @property
    def name(self) -> str:
        """`demo`, `demo/ridge` or `demo/ridge#3`."""
        if self.study is None:
            return self.experiment.name
        return self.study.name if self.number is None else f"{self.study.name}#{self.number}"


def check_tag(tag: str) -> str:
    """The tag itself. Raises BadInput for what `tag:NAME` could not ask for later."""
    if len(tag) > LONGEST_TAG or not _TAG.fullmatch(tag):
        raise BadInput(
            f"`{tag[:40]}` is no tag: take letters, digits and . = / _ -, at most {LONGEST_TAG}, "
            "without spaces."
        )
    return tag


def change_tags(
    location: Location,
    subjects: Sequence[Subject],
    *,
    add: Collection[str] = (),
    remove: Collection[str] = (),
) -> dict[str, Labels]:
    """Add and remove tags of all subjects, in one transaction; returns what each has now.

    Removing what is not there is no error. Raises BadInput for a tag that is none, too many of
    them, a subject that is gone, or an attribute of that name that holds something else.
    """
    for tag in add:
        check_tag(tag)

    def changed(subject: Subject, before: str | None) -> list[str]:
        kept = set(_tags(_decoded(before), strict_for=subject.name)) - set(remove) | set(add)
        if len(kept) > MOST_TAGS:
            raise BadInput(f"{subject.name} would have {len(kept)} tags: {MOST_TAGS} is the most.")
        return sorted(kept)

    return _change(location, subjects, TAGS, changed)


def set_note(location: Location, subjects: Sequence[Subject], note: str) -> dict[str, Labels]:
    """Write a note on all subjects, or remove it with ""; returns what each has now.

    Raises BadInput for a longer one than `LONGEST_NOTE`, or a subject that is gone.
    """
    kept = note.strip()
    if len(kept) > LONGEST_NOTE:
        raise BadInput(f"The note has {len(kept):,} characters: {LONGEST_NOTE:,} is the most.")

    def changed(subject: Subject, before: str | None) -> str:
        if not isinstance(_decoded(before), str | None):
            raise BadInput(
                f"{subject.name} has an attribute `note` of its own: nothing was changed."
            )
        return kept

    return _change(location, subjects, NOTE, changed)


def _change(
    location: Location,
    subjects: Sequence[Subject],
    key: str,
    changed: Callable[[Subject, str | None], str | list[str]],
) -> dict[str, Labels]:
    result: dict[str, Labels] = {}
    with transaction(location) as connection:
        for subject in subjects:
            table, column, owner = _place(connection, subject)
            own = key if subject.study is not None else OF_EXPERIMENT[key]
            stored = _stored(connection, table, column, owner)
            value = changed(subject, stored.get(own))
            if value:
                stored[own] = json.dumps(value)
                connection.execute(
                    f'INSERT INTO {table} ({column}, "key", value_json) VALUES (?, ?, ?) '
                    f'ON CONFLICT ({column}, "key") DO UPDATE SET value_json = excluded.value_json',
                    (owner, own, stored[own]),
                )
            elif stored.pop(own, None) is not None:
                connection.execute(
                    f'DELETE FROM {table} WHERE {column} = ? AND "key" = ?', (owner, own)
                )
            result[subject.name] = _labels(stored, subject.study is None)
    return result


def _place(connection: Connection, subject: Subject) -> tuple[str, str, int]:
    """Table, its column with the owner's id, and that id. Raises BadInput if the owner is gone."""
    study = "study_user_attributes", "study_id"
    if subject.study is None:
        sql = "SELECT study_id FROM hx_study WHERE experiment_id = ? ORDER BY position LIMIT 1"
        values: tuple[int, ...] = (subject.experiment.experiment_id,)
    elif subject.number is None:
        sql, values = "SELECT study_id FROM hx_study WHERE study_id = ?", (subject.study.study_id,)
    else:
        study = "trial_user_attributes", "trial_id"
        sql = "SELECT trial_id FROM trials WHERE study_id = ? AND number = ?"
        values = (subject.study.study_id, subject.number)
    found = connection.execute(sql, values).fetchone()
    if found is None:
        raise BadInput(f"There is no {subject.name}: see `hyperion-tui list`.")
    return *study, int(found[0])


def _stored(connection: Connection, table: str, column: str, owner: int) -> dict[str, str]:
    rows = connection.execute(
        f'SELECT "key", value_json FROM {table} WHERE {column} = ? AND "key" IN ({_marks(_KEYS)})',
        (owner, *_KEYS),
    ).fetchall()
    return {row[0]: row[1] for row in rows}


# -- reading --------------------------------------------------------------------------------------


def on_experiments(ask: Ask, experiments: Sequence[Experiment]) -> list[Experiment]:
    """The same experiments with their labels and those of their studies."""
    # All there are: few people write many, and a list of ids may be longer than SQLite takes.
    known = _grouped(
        ask(
            'SELECT study_id, "key", value_json FROM study_user_attributes '
            f'WHERE "key" IN ({_marks(_KEYS)}) ORDER BY study_id',
            _KEYS,
        )
    )
    return [_on_experiment(e, known) for e in experiments] if known else list(experiments)


def _on_experiment(experiment: Experiment, known: Mapping[int, dict[str, str]]) -> Experiment:
    studies, of_all = [], NONE
    for study in experiment.studies:
        stored = known.get(study.study_id, {})
        own, above = _labels(stored, False), _labels(stored, True)
        studies.append(replace(study, tags=own.tags, note=own.note))
        of_all = of_all if above == NONE else above
    return replace(experiment, studies=tuple(studies), tags=of_all.tags, note=of_all.note)


def on_trials(ask: Ask, trials: Mapping[int, Trial]) -> dict[int, Trial]:
    """The same trials, by trial id, with their labels."""
    labelled, ids = dict(trials), list(trials)
    for start in range(0, len(ids), 500):
        page = ids[start : start + 500]
        rows = ask(
            'SELECT trial_id, "key", value_json FROM trial_user_attributes '
            f'WHERE trial_id IN ({_marks(page)}) AND "key" IN (?, ?) ORDER BY trial_id',
            (*page, TAGS, NOTE),
        )
        for trial_id, stored in _grouped(rows).items():
            own = _labels(stored, False)
            labelled[trial_id] = replace(labelled[trial_id], tags=own.tags, note=own.note)
    return labelled


def of_study(ask: Ask, study_id: int) -> dict[int, Labels]:
    """The labels of all trials of a study that have any, by number."""
    # The plus keeps the index on the study out: few attributes are there, and many trials.
    rows = ask(
        'SELECT t.number, a."key", a.value_json FROM trial_user_attributes a '
        'JOIN trials t ON t.trial_id = a.trial_id WHERE a."key" IN (?, ?) AND +t.study_id = ? '
        "ORDER BY t.number",
        (TAGS, NOTE, study_id),
    )
    found = _grouped(rows)
    labels = {number: _labels(stored, False) for number, stored in found.items()}
    return {number: given for number, given in labels.items() if given != NONE}


def _grouped(rows: Iterable[Any]) -> dict[int, dict[str, str]]:
    """Key and JSON of each owner's attributes."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for owner, key, value in rows:
        found[owner][key] = value
    return found


def _labels(stored: Mapping[str, str], of_experiment: bool) -> Labels:
    """What is stored under the keys of a study or trial, or of an experiment."""
    tags, note = (OF_EXPERIMENT[key] if of_experiment else key for key in (TAGS, NOTE))
    told = _decoded(stored.get(note))
    return Labels(_tags(_decoded(stored.get(tags))), told if isinstance(told, str) else "")


def _tags(value: Any, *, strict_for: str = "") -> tuple[str, ...]:
    """The tags that an attribute means: a list of texts, or one text with spaces or commas.

    strict_for: whose attribute it is; then BadInput is raised for anything else.
    """
    words = re.split(r"[\s,]+", value) if isinstance(value, str) else value
    if value is None:
        return ()
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        if strict_for:
            raise BadInput(
                f"{strict_for} has an attribute `tags` of its own, {json.dumps(value)[:60]}: "
                "nothing was changed."
            )
        return ()
    return tuple(sorted({word for word in words if word}))


def _decoded(value_json: str | None) -> Any:
    try:
        return None if value_json is None else json.loads(value_json)
    except ValueError:
        return None


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
