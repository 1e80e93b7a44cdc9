"""`delete`, `restore`, `purge`, `backup` and `config`: keeping things in order."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

from engines.errors import BadInput
from engines.study import trash
from engines.study.backup import backup as write_backup
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment
from engines.study.states import FINAL
from hyperion_tui import config, text
from hyperion_tui.output import print_json, print_table, talk

LEAVING_S = 20.0
"""How long `delete` waits for an experiment that was told to end just before."""

_POLL_S = 0.1


def delete(arguments: argparse.Namespace, location: Location) -> int:
    """`delete NAME`: out of sight, until `restore` or `purge`."""
    _whole(arguments.name)
    names = trash.delete(location, _at_rest(location, arguments.name))
    if arguments.json:
        print_json({"deleted": names})
    else:
        these = ", ".join(names)
        talk(f"In the trash: {these}. `hyperion-tui restore NAME` brings it back, `purge` frees.")
    return 0


def restore(arguments: argparse.Namespace, location: Location) -> int:
    """`restore NAME`: back from the trash, as it was."""
    _whole(arguments.name)
    names = trash.restore(location, _in_trash(location, arguments.name))
    if arguments.json:
        print_json({"restored": names})
    else:
        talk(f"Brought back: {', '.join(names)}.")
    return 0


def purge(arguments: argparse.Namespace, location: Location) -> int:
    """`purge NAME`: remove for good what is in the trash, with all files beside the store."""
    _whole(arguments.name)
    removed = [
        (experiment.name, trash.purge(location, experiment))
        for experiment in _in_trash(location, arguments.name)
    ]
    if arguments.json:
        print_json(
            [
                {"experiment": name, "file_bytes": freed.files, "store_bytes": freed.store}
                for name, freed in removed
            ]
        )
        return 0
    for name, freed in removed:
        inside = f", {text.size(freed.store)} of room in the store" if freed.store else ""
        talk(f"{name} is gone: {text.size(freed.files)} of files{inside}.")
    return 0


def backup(arguments: argparse.Namespace, location: Location) -> int:
    """`backup FILE`: a packed copy of the store, of one moment, while others go on writing."""
    target = Path(arguments.file)
    written = write_backup(location, target, replace=arguments.force)
    if arguments.json:
        print_json({"store": location.shown, "file": str(target.absolute()), "bytes": written})
    else:
        talk(f"Wrote {target} ({text.size(written)}); look at it with --store {target}.")
        if location.side.is_dir():
            talk(f"note: data, logs and fold models are not in it: they lie in {location.side}.")
    return 0


def config_show(arguments: argparse.Namespace, _: Location) -> int:
    """`config show`: every setting as it holds without a flag, and where it is from."""
    settings = config.effective()
    if arguments.json:
        print_json(
            [
                {"name": s.name, "value": s.value, "origin": s.origin, "meaning": s.meaning}
                for s in settings
            ]
        )
        return 0
    headers = ["setting", "value", "from", "what it is"]
    rows = [[s.name, s.value, s.origin, s.meaning] for s in settings]
    if not arguments.origin:
        headers, rows = [headers[0], headers[1], headers[3]], [[*r[:2], r[3]] for r in rows]
    print_table(headers, rows)
    file = config.path()
    if not file.exists():
        talk(f"There is no {file}: every value is a default, or the environment's.")
    return 0


def _whole(name: str) -> None:
    if "/" in name:
        experiment = name.partition("/")[0]
        raise BadInput(f"`{name}` is one study: the trash takes whole experiments, `{experiment}`.")


def _in_trash(location: Location, name: str) -> list[Experiment]:
    with contextlib.closing(Reader(location)) as reader:
        return reader.find_in_trash(name)


def _at_rest(location: Location, name: str) -> list[Experiment]:
    """The experiments that a name means, once those that were told to end have done so."""
    deadline = time.monotonic() + LEAVING_S
    with contextlib.closing(Reader(location)) as reader:
        while True:
            found = reader.find_experiments(name)
            if not any(map(_is_leaving, found)) or time.monotonic() >= deadline:
                return found
            time.sleep(_POLL_S)


def _is_leaving(experiment: Experiment) -> bool:
    if experiment.state in FINAL:
        return experiment.runner_pid is not None
    return experiment.state == "pausing" and all(s.want == "cancel" for s in experiment.studies)
