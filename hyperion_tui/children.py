"""Child processes: the same program started as a command, so that this one stays light.

`run_child` is the only place that spawns; it is called in threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from engines.errors import HyperionError, one_line
from engines.models import catalogue
from engines.study.location import STORE_VARIABLE, Location

_FLAGS = ("past_target",)
"""Fields that are yes or no."""


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
    task: str = ""
    horizon: str = ""
    metric: str = ""
    trials: str = ""
    time: str = ""
    workers: str = ""
    name: str = ""
    seed: str = ""
    time_column: str = ""
    groups: str = ""
    sampler: str = ""
    pruner: str = ""
    patience: str = ""
    min_improvement: str = ""
    trial_time: str = ""
    trial_memory: str = ""
    past_target: str = ""
    space: str = ""
    device: str = ""

    def arguments(self) -> list[str]:
        """The words behind `run`."""
        return [*self.selectors, *self._options(f.name for f in fields(self)[1:])]

    def about_data(self) -> list[str]:
        """The words behind `data check`; none as long as no data are named."""
        named = self.data.strip()
        roles = ("target", "task", "horizon", "past_target", "metric", "seed", "time_column")
        implied = [] if self.task.strip() else self._implied()
        return [named, *self._options((*roles, "groups")), *implied] if named else []

    def _implied(self) -> list[str]:
        """The task of models that do no other."""
        try:
            task = catalogue.implied_task(catalogue.select(self.selectors))
        except HyperionError:
            return []
        return ["--task", task] if task is not None else []

    def _options(self, names: Iterable[str]) -> list[str]:
        words: list[str] = []
        for name in names:
            value = str(getattr(self, name)).strip()
            option = f"--{name.replace('_', '-')}"
            if name in _FLAGS:
                # Any other word is the command's to refuse, as it is for every field.
                said = {"yes": [option], "no": [], "": []}
                words += said.get(value.lower(), [f"{option}={value}"])
            elif value:
                words += [option, value]
        return words


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in the data of a request before it starts.

    data: their name, "" where they can't be used; then `problem` says why. unfit: why models
    can't be used on them, by model. expected_s: seconds that a trial of the others should take.
    warnings: what would spoil a result, a sentence each.
    """

    data: str = ""
    task: str = ""
    about: str = ""
    problem: str = ""
    unfit: Mapping[str, str] = field(default_factory=dict)
    expected_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What `data check` says of data. facts: "name", "rows", "span" and the like; None if refused.

    findings: (severity, where, sentence), in the order found. unfit: as in `Look`.
    """

    facts: Mapping[str, Any] | None
    findings: tuple[tuple[str, str, str], ...]
    unfit: Mapping[str, str] = field(default_factory=dict)


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


def look_at_data(location: Location, request: Request) -> Look:
    """Read the data of a request, as far as it names them, in a process that may load pandas."""
    words = ("-m", "hyperion_tui", "data", "check", *request.about_data(), "--json")
    done = run_child(words, {STORE_VARIABLE: location.option})
    try:
        found = json.loads(done.out)
        data = found["data"] if found["ok"] else None
        if data is None:
            wrong = [f["text"] for f in found["findings"] if f["severity"] == "error"]
            return Look(problem=one_line(wrong[0], 300))
        classes = f", {len(data['classes'])} classes" if data["classes"] else ""
        return Look(
            data=data["name"],
            task=data["task"],
            about=f"{data['task']}{classes}: {data['rows']:,} rows, {data['columns']:,} columns",
            unfit=found["unfit"],
            expected_s=found["expected_s"],
            warnings=tuple(
                one_line(f"{f['where']}: {f['text']}", 200)
                for f in found["findings"]
                if f["severity"] == "warning"
            ),
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return Look(problem=_reason(done))


def check_data(location: Location, request: Request) -> Checked:
    """All that is wrong, odd or worth knowing about the data of a request.

    Raises HyperionError without an answer.
    """
    words = ("-m", "hyperion_tui", "data", "check", *request.about_data(), "--json")
    done = run_child(words, {STORE_VARIABLE: location.option})
    try:
        found = json.loads(done.out)
        findings = tuple((f["severity"], f["where"], f["text"]) for f in found["findings"])
        return Checked(found["data"] if found["ok"] else None, findings, found["unfit"])
    except (ValueError, KeyError, TypeError) as error:
        raise HyperionError(_reason(done)) from error


def _reason(done: Done) -> str:
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    if not lines:
        return f"The command ended with exit code {done.code} and said nothing."
    return one_line(lines[-1].removeprefix("hyperion-tui: "), 600)
