"""Measurements of the app on a pseudo-terminal: see screen.py for what each is good for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import startup
from _cells import Settings
from _terminal import Terminal

HERE = Path(__file__).resolve().parent
MODELS = ("ridge:sklearn", "random_forest:ensemble", "xgboost:ensemble", "lightgbm:ensemble")
SIZE = "120x40"
DOWN, PAGE_DOWN, PAGE_UP = "\x1b[B", "\x1b[6~", "\x1b[5~"
ROWS = re.compile(rb"\x1b\[(?:[4-9]|[12]\d|3[0-7]);\d+H")
"""Something in the lines of the table, at 120x40: nothing but keys changes it while only the log
moves."""

SILENCE_S = 0.7
"""Longer than two ticks of the feed."""

LIMIT_S = 60.0
LOGGED = re.compile(rb"[a-z]#\d")
"""A line of the log: on a busy machine it comes long after the empty panes."""


def build(folder: Path, trials: int, models: Sequence[str]) -> Path:
    """A synthetic store: `trials` of each model."""
    path = folder / "synthetic.db"
    command = [sys.executable, str(HERE / "_stores.py"), str(path), str(trials), *models]
    subprocess.run(command, check=True)
    return path


class Mover:
    """The process that keeps a store moving."""

    def __init__(self, store: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "_screen_news.py"), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ok\n":
            raise SystemExit("screen: the process that moves the store ended")

    def ask(self, words: str) -> None:
        """Begin something."""
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def tell(self, words: str) -> None:
        """Do something and wait until it is done."""
        self.ask(words)
        self._answer()

    def stop(self) -> None:
        """End what goes on until the next word comes."""
        self.tell("log 1 0")
        self._answer()

    def close(self) -> None:
        """Let the store rest."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def moving(store: Path) -> Iterator[Mover]:
    """A store that is kept moving."""
    mover = Mover(store)
    try:
        yield mover
    finally:
        mover.close()


@contextlib.contextmanager
def shown(
    folder: Path,
    store: Path,
    *,
    size: str = SIZE,
    program: Sequence[str] = (),
    until: re.Pattern[bytes] = LOGGED,
) -> Iterator[Terminal]:
    """The app on a store, painted. until: what stands on the screen once the store was read."""
    columns, lines = map(int, size.split("x"))
    terminal = Terminal(
        list(program) or startup.program(),
        startup.environment(folder, store),
        columns=columns,
        lines=lines,
        record=True,
    )
    try:
        while not until.search(terminal.recorded) and terminal.age_s() < LIMIT_S:
            terminal.read_for(0.1)
        terminal.settle(SILENCE_S, LIMIT_S)
        yield terminal
    finally:
        terminal.end()


def bytes_of(terminal: Terminal, keys: str) -> int:
    """What is sent for some keys, until it is silent."""
    terminal.take()
    terminal.send(keys)
    terminal.read_for(SILENCE_S)
    return len(terminal.take())


# -- cells -----------------------------------------------------------------------------------


def first(settings: Settings, folder: Path) -> dict[str, Any]:
    """First paint of a large store beside hello Textual; --help; list."""
    stores: dict[str, Path | None] = {"app": build(folder, settings["trials"], MODELS[:1])}
    starts = startup.summarise(startup.measure_apps(stores, folder, settings["rounds"], 0.0))
    commands = startup.measure_commands(stores, folder, settings["rounds"])
    paint = starts["app"]
    return {
        "paint": {"settled_s": paint["settled_s"], "ratio": paint["settled_ratio"]},
        "hello_s": starts[startup.HELLO]["settled_s"],
        "start_bytes": paint["start_bytes"],
        "peak_mib": paint["peak_mib"],
        "help_s": commands["--help"]["wall_s"],
        "list_s": commands["app"]["wall_s"],
    }


def keys(settings: Settings, folder: Path) -> dict[str, Any]:
    """Times from a key to its picture in the table of trials, while the log streams."""
    store = build(folder, settings["trials"], MODELS[:1])
    with moving(store) as mover, shown(folder, store) as terminal:
        _open_trials(terminal)
        mover.ask(f"log {settings['lines_s']}")
        return _press(terminal, settings["presses"])


def blocks(settings: Settings, folder: Path) -> dict[str, Any]:
    """The longest callback of the loop during the same, and while trials end."""
    store, file = build(folder, settings["trials"], MODELS[:1]), folder / "blocks.json"
    program = [sys.executable, str(HERE / "_screen_program.py"), str(file)]
    with moving(store) as mover, shown(folder, store, program=program) as terminal:
        os.kill(terminal.pid, signal.SIGUSR1)
        mover.ask(f"log {settings['lines_s']}")
        terminal.read_for(3.0)
        _open_trials(terminal)
        _press(terminal, settings["presses"])
        mover.stop()
        mover.ask("trials 5")
        terminal.read_for(5.0)
        os.kill(terminal.pid, signal.SIGUSR2)
        deadline = time.monotonic() + LIMIT_S
        while not file.exists() and time.monotonic() < deadline:
            terminal.read_for(0.05)
        return dict(json.loads(file.read_text(encoding="ascii")))


def _open_trials(terminal: Terminal) -> None:
    terminal.send("2")
    terminal.settle(SILENCE_S, terminal.age_s() + LIMIT_S)
    terminal.send("\r")
    terminal.settle(SILENCE_S, terminal.age_s() + LIMIT_S)


def _press(terminal: Terminal, presses: int) -> dict[str, Any]:
    ways = {
        "row move": [DOWN] * presses,
        "page": [PAGE_DOWN] * (presses // 2),
        "order": ["s"] * (presses // 3),
        "filter": ["f"] * (presses // 3),
    }
    return {name: _times(terminal, pressed) for name, pressed in ways.items()}


def _times(terminal: Terminal, pressed: Sequence[str]) -> dict[str, Any]:
    taken = []
    for key in pressed:
        taken.append(terminal.answer_s(key, ROWS))
        # A person is not faster, and the next key must not be answered by this one's picture.
        terminal.read_for(0.1)
    times = [1000 * (LIMIT_S if seconds is None else seconds) for seconds in taken]
    return {
        "median_ms": median(times),
        "max_ms": max(times),
        "unanswered": taken.count(None),
        "presses": len(taken),
    }


def idle(settings: Settings, folder: Path) -> dict[str, Any]:
    """Bytes and processor time without a key, on a store where nothing happens."""
    store = build(folder, settings["trials"], MODELS[:1])
    with shown(folder, store) as terminal:
        terminal.read_for(1.0)
        cpu, began = terminal.cpu_s(), time.perf_counter()
        came = terminal.read_for(settings["seconds"])
        took = time.perf_counter() - began
        return {"bytes": came, "cpu_percent": 100 * (terminal.cpu_s() - cpu) / took}


def wire(settings: Settings, folder: Path) -> dict[str, Any]:
    """Bytes of what happens, and of keys. Medians; the largest beside them."""
    store = build(folder, settings["trials"], MODELS)
    with moving(store) as mover, shown(folder, store, size=settings["size"]) as terminal:
        found: dict[str, Any] = {"start_kb": terminal.received / 1000}
        _note(found, "focus", [bytes_of(terminal, key) for key in ("2", "3", "1", "\t", "2")])
        moved = [bytes_of(terminal, DOWN) for _ in range(3)]
        _note(found, "results row", moved)
        _note(found, "best", [_news(terminal, mover, f"best {n}") for n in range(1, 5)])
        _note(found, "turn", [_news(terminal, mover, f"turn {n}") for n in range(5, 9)])
        found["log"] = _log(terminal, mover, settings)
        _open_trials(terminal)
        _note(found, "trials row", [bytes_of(terminal, DOWN) for _ in range(8)])
        _note(found, "page", [bytes_of(terminal, PAGE_DOWN) for _ in range(5)])
        return found


def _note(found: dict[str, Any], name: str, sent: Sequence[int]) -> None:
    found[f"{name}_kb"], found[f"{name}_max_kb"] = median(sent) / 1000, max(sent) / 1000


def _news(terminal: Terminal, mover: Mover, words: str) -> int:
    terminal.take()
    mover.tell(words)
    terminal.read_for(2 * SILENCE_S)
    sent = len(terminal.take())
    if words.startswith("best"):
        mover.tell("start")
        terminal.read_for(2 * SILENCE_S)
    return sent


def _log(terminal: Terminal, mover: Mover, settings: Settings) -> dict[str, Any]:
    mover.ask(f"log {settings['lines_s']}")
    terminal.read_for(1.0)
    cpu, began = terminal.cpu_s(), time.perf_counter()
    came = terminal.read_for(settings["seconds"])
    took = time.perf_counter() - began
    used = terminal.cpu_s() - cpu
    mover.stop()
    return {"kb_s": came / 1000 / took, "cpu_percent": 100 * used / took}


def memory(settings: Settings, folder: Path) -> dict[str, Any]:
    """Resident size when all is painted, and after streaming."""
    store = build(folder, settings["trials"], MODELS[:1])
    with moving(store) as mover, shown(folder, store) as terminal:
        _open_trials(terminal)
        terminal.send("\x1b")
        terminal.read_for(1.0)
        before = terminal.memory_mib()
        mover.ask(f"log {settings['lines_s']}")
        taken = []
        end = time.monotonic() + 60 * settings["minutes"]
        while time.monotonic() < end:
            terminal.read_for(5.0)
            terminal.take()
            taken.append(terminal.memory_mib())
        after, peak = terminal.memory_mib(), terminal.peak_memory_mib()
    if before is None or after is None:
        raise SystemExit("screen: the kernel tells no memory of a process here")
    return {
        "before_mib": before,
        "after_mib": after,
        "growth_mib": after - before,
        "peak_mib": peak,
        "every_5_s_mib": taken,
    }
