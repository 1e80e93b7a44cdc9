"""Child processes: the same program started as a command, so that this one stays light.

`run_child` is the only place that spawns; it is called in threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.errors import HyperionError, one_line
from engines.study.location import STORE_VARIABLE, Location


@dataclass(frozen=True, slots=True)
class Done:
    """How a child ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Request:
    """What the launch dialog asks for; every text as typed, an empty one is left out."""

    selectors: tuple[str, ...]
    data: str = ""
    target: str = ""
    time_column: str = ""
    metric: str = ""
    trials: str = ""
    time: str = ""
    workers: str = ""
    seed: str = ""
    name: str = ""

    def arguments(self) -> list[str]:
        """The words behind `run`."""
        options = {
            "--data": self.data,
            "--target": self.target,
            "--time-column": self.time_column,
            "--metric": self.metric,
            "--trials": self.trials,
            "--time": self.time,
            "--workers": self.workers,
            "--seed": self.seed,
            "--name": self.name,
        }
        words = list(self.selectors)
        for option, value in options.items():
            if value.strip():
                words += [option, value.strip()]
        return words


def run_child(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Done:
    """Run this interpreter with `words`; no terminal, no input, its output is caught.

    environment: variables beside our own; the words are for everybody to see, these are not.
    """
    done = subprocess.run(
        [sys.executable, "-P", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def command(location: Location, *words: str) -> str:
    """Run `hyperion-tui WORDS` on a store and return what it printed.

    Raises HyperionError with the one line that it left on stderr.
    """
    done = run_child(["-m", "hyperion_tui", *words], {STORE_VARIABLE: location.option})
    if done.code != 0:
        raise HyperionError(_reason(done))
    return done.out


def start_experiment(location: Location, request: Request) -> str:
    """Start an experiment that goes on without us; returns its name."""
    out = command(location, "run", *request.arguments(), "--detach", "--json")
    try:
        return str(json.loads(out)["experiment"])
    except (ValueError, KeyError, TypeError) as error:
        raise HyperionError(f"The start answered something strange: {one_line(out)}") from error


def _reason(done: Done) -> str:
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    if not lines:
        return f"The command ended with exit code {done.code} and said nothing."
    return one_line(lines[-1].removeprefix("hyperion-tui: "), 600)
