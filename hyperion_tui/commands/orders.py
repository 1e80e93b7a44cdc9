"""`pause`, `resume`, `stop`, `cancel`, `retry`: orders to what exists."""

from __future__ import annotations

import argparse
import contextlib

from engines.errors import BadInput
from engines.run import orders
from engines.study import control
from engines.study.location import Location
from engines.study.reader import Reader
from hyperion_tui import text
from hyperion_tui.commands.run import follow
from hyperion_tui.output import print_json, talk


def order(arguments: argparse.Namespace, location: Location) -> int:
    """`pause`, `stop` and `cancel` NAME."""
    now = bool(getattr(arguments, "now", False))
    freeze = bool(getattr(arguments, "freeze", False))
    targets = _find(location, arguments.name)
    done = orders.give(location, targets, arguments.command, now=now, freeze=freeze)
    waits = arguments.command in ("pause", "stop") and not (now or freeze)
    # What is paused and has trials running is frozen, and stays so.
    moving = [s for _, s in targets if s.name in done.names and s.state != "paused"]
    in_hand = sum(study.counts.running for study in moving)
    return _say(arguments, done, in_hand if waits else 0)


def resume(arguments: argparse.Namespace, location: Location) -> int:
    """`resume NAME`, with a larger budget if asked: what was paused or lost its runner goes on."""
    targets = _find(location, arguments.name)
    if arguments.wait and len({e.experiment_id for e, _ in targets}) > 1:
        raise BadInput("--wait follows one experiment: name it, or one of its studies.")
    done = orders.resume(
        location,
        targets,
        trials=arguments.trials,
        time_s=arguments.time,
        workers=arguments.workers,
    )
    if not arguments.wait:
        return _say(arguments, done)
    for note in done.notes:
        talk(f"note: {note}")
    with contextlib.closing(Reader(location)) as reader:
        return follow(reader, location, targets[0][0].experiment_id, as_json=arguments.json)


def retry(arguments: argparse.Namespace, location: Location) -> int:
    """`retry STUDY [NUMBER...]`: failed trials again, as new numbers."""
    targets = _find(location, arguments.study)
    if len(targets) != 1:
        raise BadInput(
            f"`{arguments.study}` is {len(targets)} studies: name one, as EXPERIMENT/MODEL."
        )
    experiment, study = targets[0]
    numbers, done = orders.retry(location, experiment, study, arguments.numbers)
    for note in done.notes:
        talk(f"note: {note}")
    if arguments.json:
        print_json({"study": study.name, "queued": numbers})
    else:
        talk(f"{study.name}: queued again as {', '.join(map(str, numbers))}.")
    return 0


def _find(location: Location, name: str) -> list[orders.Target]:
    with contextlib.closing(Reader(location)) as reader:
        return reader.find_studies(name)


def _say(arguments: argparse.Namespace, done: orders.Done, in_hand: int = 0) -> int:
    for note in done.notes:
        talk(f"note: {note}")
    if arguments.json:
        print_json({"order": arguments.command, "studies": list(done.names)})
    else:
        verb = control.VERBS["run" if arguments.command == "resume" else arguments.command]
        finish = "finishes" if in_hand == 1 else "finish"
        first = f"; {text.plural(in_hand, 'trial')} in hand {finish} first" if in_hand else ""
        talk(f"To be {verb}: {', '.join(done.names)}{first}.")
    return 0
