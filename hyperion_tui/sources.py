"""Where data can be taken from: sets used before, bundled ones, and files in a folder.

Folders are read in threads: a disk that is away may take minutes to answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engines.data.bundled import data_sets
from engines.errors import HyperionError
from engines.study.records import Dataset, Experiment

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq")
"""How files end that are listed; others can be named in the launch dialog."""

MOST_FILES = 2_000
"""So many entries of a folder are shown; who has more types a path."""

MOST_USED = 8
"""So many sets that were used before are shown, the latest first."""

ASKED_FOR = ("forecast", "trading")
"""Tasks that are never guessed from the target."""

USED, BUNDLE, FILE, FOLDER = "used", "bundled", "file", "folder"


@dataclass(frozen=True, slots=True)
class Source:
    """Something that data can be read from, or a folder that leads to more.

    named: what `--data` takes, or the path of a folder. columns: to learn from. target,
    time_column, task: as it was used, or is bundled, else "". size: in bytes, and modified: in
    seconds since 1970, of a file.
    """

    kind: str
    label: str
    named: str
    rows: int | None = None
    columns: int | None = None
    target: str = ""
    time_column: str = ""
    task: str = ""
    horizon: str = ""
    past_target: str = ""
    about: str = ""
    size: int | None = None
    modified: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other one."""
        return self.kind, self.named, self.target


@dataclass(frozen=True, slots=True)
class Folder:
    """The entries of a folder, `..` first, then folders, then files. left_out: how many more."""

    path: Path
    entries: tuple[Source, ...]
    left_out: int = 0


def used_before(experiments: Iterable[Experiment]) -> list[Source]:
    """The data of experiments, the newest first, each file and target once.

    Data that came from memory, in a notebook, can't be named and are left out.
    """
    found: dict[tuple[str, str, str], Source] = {}
    for experiment in experiments:
        data = experiment.dataset
        if data is None or (data.path is None and data.name not in data_sets()):
            continue
        named, past = data.path or data.name, past_of(experiment)
        source = Source(
            USED,
            data.name,
            named,
            rows=data.rows,
            columns=data.columns,
            target=data.target,
            # Read without an order then: not to be guessed anew.
            time_column=data.time_column or ("none" if data.path else ""),
            task=experiment.task if experiment.task in ASKED_FOR else "",
            horizon=past["horizon"],
            past_target=past["past_target"],
            about=f"in {experiment.name}",
        )
        found.setdefault(source.key, source)
    return list(found.values())[:MOST_USED]


def past_of(experiment: Experiment) -> dict[str, str]:
    """What an experiment was asked about the past, as fields of the launch dialog."""
    split = experiment.split or {}
    horizon = str(split.get("horizon") or "")
    return {"horizon": horizon, "past_target": "yes" if split.get("past_target") else ""}


def bundled() -> list[Source]:
    """The sets that are known by name."""
    return [
        Source(
            BUNDLE,
            b.name,
            b.name,
            rows=b.rows,
            columns=b.columns - 1 - b.ordered,
            target=b.target,
            time_column=b.time_column or "",
            about=b.description,
        )
        for b in data_sets().values()
    ]


def list_folder(path: Path) -> Folder:
    """What of a folder may be data. Called in a thread.

    Raises HyperionError if it can't be read.
    """
    folders, files = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(Source(FOLDER, f"{entry.name}/", entry.path))
                elif entry.name.lower().endswith(ENDINGS):
                    files.append(_file(entry))
    except OSError as error:
        raise HyperionError(f"{path} can't be read: {error.strerror}.") from error
    shown = [*sorted(folders, key=_by_name), *sorted(files, key=_by_name)]
    up = [Source(FOLDER, "../", str(path.parent))] if path.parent != path else []
    return Folder(path, (*up, *shown[:MOST_FILES]), max(0, len(shown) - MOST_FILES))


def same_data(data: Dataset, source: str, target: str) -> bool:
    """Whether an experiment's data came from this source, for this target."""
    return (data.path or data.name) == source and data.target == target


def starting_folder() -> Path:
    """Where to look first: where the program was started, or home if that is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path.home()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _file(entry: os.DirEntry[str]) -> Source:
    try:
        found = entry.stat()
    except OSError:  # it went meanwhile, or is a link to nothing
        return Source(FILE, entry.name, entry.path)
    return Source(FILE, entry.name, entry.path, size=found.st_size, modified=found.st_mtime)


def _by_name(source: Source) -> str:
    return source.label.casefold()
