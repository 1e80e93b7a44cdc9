"""`pause`, `resume`, `stop`, `cancel`, `retry`: orders to what exists."""

from __future__ import annotations

import argparse
import contextlib

from engines.errors import BadInput
from engines.run.launcher import start_runner
from engines.study import control, supervision
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment, Study
from engines.study.sqlite import connect_to_write, writing
from engines.study.states import FINAL
from hyperion_tui.output import print_json, talk

Pairs = list[tuple[Experiment, Study]]


def order(arguments: argparse.Namespace, location: Location) -> int:
    """`pause`, `stop` and `cancel` NAME."""
    pairs = _find(location, arguments.name)
    now = bool(getattr(arguments, "now", False))
    names = control.order(location, pairs, arguments.command, now=now)
    # Somebody has to carry the order out: open the held-out part, put trials back.
    for experiment in _experiments(pairs):
        start_runner(location, experiment.experiment_id)
    return _say(arguments, names, control.VERBS[arguments.command])


def resume(arguments: argparse.Namespace, location: Location) -> int:
    """`resume NAME`, with a larger budget if asked: what was paused or lost its runner goes on."""
    pairs = _find(location, arguments.name)
    names: list[str] = []
    if arguments.trials is not None:
        names += control.raise_goals(location, pairs, arguments.trials)
    for experiment in _experiments(pairs):
        control.change_experiment(
            location,
            experiment.experiment_id,
            workers=arguments.workers,
            time_limit_s=arguments.time,
        )
        _forgive(location, experiment)
    pairs = _find(location, arguments.name)
    if any(study.state not in FINAL for _, study in pairs):
        names += control.order(location, pairs, "run")
    elif not names:
        _refuse(pairs)
    for experiment in _experiments(pairs):
        start_runner(location, experiment.experiment_id)
    return _say(arguments, list(dict.fromkeys(names)), "resumed")


def retry(arguments: argparse.Namespace, location: Location) -> int:
    """`retry STUDY [NUMBER...]`: failed trials again, as new numbers."""
    pairs = _find(location, arguments.study)
    if len(pairs) != 1:
        raise BadInput(
            f"`{arguments.study}` is {len(pairs)} studies: name one, as EXPERIMENT/MODEL."
        )
    experiment, study = pairs[0]
    numbers = control.retry(location, experiment, study, arguments.numbers)
    control.change_experiment(location, experiment.experiment_id)
    _forgive(location, experiment)
    start_runner(location, experiment.experiment_id)
    if arguments.json:
        print_json({"study": study.name, "queued": numbers})
    else:
        talk(f"{study.name}: queued again as {', '.join(map(str, numbers))}.")
    return 0


def _find(location: Location, name: str) -> Pairs:
    with contextlib.closing(Reader(location)) as reader:
        return reader.find_studies(name)


def _experiments(pairs: Pairs) -> list[Experiment]:
    return list({experiment.experiment_id: experiment for experiment, _ in pairs}.values())


def _forgive(location: Location, experiment: Experiment) -> None:
    """A person has looked: earlier deaths of a runner that is not alive no longer count."""
    if experiment.runner_pid is not None:
        return
    with contextlib.closing(connect_to_write(location.path)) as connection, writing(connection):
        supervision.forgive_deaths(connection, experiment.experiment_id)


def _refuse(pairs: Pairs) -> None:
    states = ", ".join(f"{study.name} is {study.state}" for _, study in pairs[:3])
    raise BadInput(
        f"Nothing to resume: {states}; a larger total goes on: `resume NAME --trials N`."
    )


def _say(arguments: argparse.Namespace, names: list[str], verb: str) -> int:
    if arguments.json:
        print_json({"order": arguments.command, "studies": names})
    else:
        talk(f"To be {verb}: {', '.join(names)}.")
    return 0
