"""`tag` and `note`: what a person writes on experiments, studies and trials."""

from __future__ import annotations

import argparse
import contextlib
import re

from engines.errors import BadInput
from engines.study import labels
from engines.study.labels import Labels, Subject
from engines.study.location import Location
from engines.study.reader import Reader
from hyperion_tui.output import print_json, print_table, talk

_TRIAL = re.compile(r"(.+/.+)#([0-9]{1,9})")


def tag(arguments: argparse.Namespace, location: Location) -> int:
    """`tag NAME +x -y`: add and remove tags; without any it shows them."""
    add = [word.removeprefix("+") for word in arguments.tags if not word.startswith("-")]
    remove = [word[1:] for word in arguments.tags if word.startswith("-")]
    subjects = find(location, arguments.name)
    if not add and not remove:
        return _show(arguments, _of(location, subjects))
    both = sorted(set(add) & set(remove))
    if both:
        raise BadInput(f"`{both[0]}` is to be added and removed: give one of them.")
    return _tell(arguments, labels.change_tags(location, subjects, add=add, remove=remove))


def note(arguments: argparse.Namespace, location: Location) -> int:
    """`note NAME TEXT`: write a note, or remove it with an empty one; without any it shows it."""
    subjects = find(location, arguments.name)
    if not arguments.text:
        return _show(arguments, _of(location, subjects))
    written = labels.set_note(location, subjects, " ".join(arguments.text))
    return _tell(arguments, written)


def find(location: Location, name: str) -> list[Subject]:
    """What a name means: `demo`, `demo/ridge`, `demo/ridge#3`, a glob or a unique prefix.

    Raises BadInput when nothing does, or a prefix means several.
    """
    with contextlib.closing(Reader(location)) as reader:
        trial = _TRIAL.fullmatch(name)
        if trial is not None:
            number = int(trial[2])
            found = [Subject(e, s, number) for e, s in reader.find_studies(trial[1])]
            for subject in found:
                assert subject.study is not None
                reader.trial(subject.study.study_id, number)  # BadInput if there is none
            return found
        if "/" in name:
            return [Subject(e, s) for e, s in reader.find_studies(name)]
        return [Subject(e) for e in reader.find_experiments(name)]


def _of(location: Location, subjects: list[Subject]) -> dict[str, Labels]:
    found = {}
    with contextlib.closing(Reader(location)) as reader:
        for subject in subjects:
            if subject.study is not None and subject.number is not None:
                trial = reader.trial(subject.study.study_id, subject.number).trial
                found[subject.name] = Labels(trial.tags, trial.note)
            else:
                held = subject.study or subject.experiment
                found[subject.name] = Labels(held.tags, held.note)
    return found


def _show(arguments: argparse.Namespace, found: dict[str, Labels]) -> int:
    if arguments.json:
        _print(found)
    else:
        rows = [[name, " ".join(given.tags), given.note] for name, given in found.items()]
        print_table(["name", "tags", "note"], rows)
    return 0


def _tell(arguments: argparse.Namespace, found: dict[str, Labels]) -> int:
    if arguments.json:
        _print(found)
        return 0
    for name, given in found.items():
        if arguments.command == "tag":
            talk(f"{name}: {' '.join(given.tags) or 'no tag'}")
        else:
            talk(f"{name}: {given.note or 'no note'}")
    return 0


def _print(found: dict[str, Labels]) -> None:
    print_json(
        [
            {"name": name, "tags": list(given.tags), "note": given.note or None}
            for name, given in found.items()
        ]
    )
