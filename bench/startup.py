"""How long the program takes to appear, and what it costs to let it stand.

Every program is started in a pseudo-terminal of 120x40 that answers like xterm (device
attributes, synchronised output), and read as fast as it writes. Times count from just before the
fork:

  first byte   the first thing that the terminal receives
  first text   the first character that can be seen
  settled      the last byte before half a second of silence: the whole screen is there

The plain alternative is the smallest Textual app (`_hello.py`: header, one line, footer), started
by the same interpreter, in the same run and in turn with the app, so that a busy machine slows
both. The app opens three stores: none (the first start), 12 studies of 20 trials, and one study of
100,000 trials. The stores are synthetic (`_stores.py`). A number is the median of the rounds; a
ratio is the median of the ratios within each round. The first start of everything is thrown away.

Peak memory is the kernel's high-water mark (VmHWM) of that process; idle is five seconds without
a key after it has settled: bytes to the terminal and processor time, summed over the threads.

The commands `--help` and `list` are timed from start to exit, in turn with `python -c pass`.

`make bench ONLY=startup`, or: python bench/startup.py [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import _common
from _terminal import Terminal

from engines.models import catalogue

HERE = Path(__file__).resolve().parent
SIZE = (120, 40)
SILENCE_S = 0.5
LIMIT_S = 60.0
LARGE = 100_000
HELLO = "hello Textual"
KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""Variables that a program is given; PYTHONPATH says which working tree is measured."""


@dataclass(frozen=True)
class Start:
    """One start of one program. settled_s is None if it was never silent for long enough."""

    first_byte_s: float | None
    first_text_s: float | None
    settled_s: float | None
    start_bytes: int
    peak_mib: float | None
    idle_bytes_s: float | None
    idle_cpu_percent: float | None
    exit_code: int


def program() -> list[str]:
    """The installed command, or the module where there is none."""
    script = Path(sys.executable).with_name("hyperion-tui")
    if script.exists():
        return [sys.executable, str(script)]
    return [sys.executable, "-m", "hyperion_tui"]


def environment(home: Path, store: Path | None) -> dict[str, str]:
    """A plain terminal and a home of its own; nothing of the person who runs this."""
    kept = {k: os.environ[k] for k in KEPT if k in os.environ}
    return {
        "LANG": "C.UTF-8",
        **kept,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "HOME": str(home),
        "HYPERION_HOME": str(home / "hyperion"),
        "HYPERION_STORAGE": str(store or home / "hyperion" / "none.db"),
    }


def start(command: Sequence[str], env: Mapping[str, str], idle_s: float) -> Start:
    """Start it, watch it appear, leave it alone for `idle_s`, and end it."""
    terminal = Terminal(command, env, columns=SIZE[0], lines=SIZE[1])
    settled = terminal.settle(SILENCE_S, LIMIT_S)
    received = terminal.received
    idle_bytes = idle_cpu = None
    if idle_s > 0:
        cpu, began = terminal.cpu_s(), time.perf_counter()
        came = terminal.read_for(idle_s)
        took = time.perf_counter() - began
        idle_bytes, idle_cpu = came / took, 100 * (terminal.cpu_s() - cpu) / took
    peak = terminal.peak_memory_mib()
    code = terminal.end()
    return Start(
        terminal.first_byte_s,
        terminal.first_text_s,
        settled,
        received,
        peak,
        idle_bytes,
        idle_cpu,
        code,
    )


# -- the app -------------------------------------------------------------------------------


def build_stores(folder: Path, large: int) -> dict[str, Path | None]:
    """The three stores that the app is started on, by what the table calls them."""
    specs = list(catalogue.models().values())[:12]
    small, big = folder / "small.db", folder / "big.db"
    for path, trials, some in ((small, 20, specs), (big, large, specs[:1])):
        words = [f"{spec.name}:{spec.family}" for spec in some]
        builder = [sys.executable, str(HERE / "_stores.py"), str(path), str(trials), *words]
        subprocess.run(builder, check=True)
    return {
        "app, no store": None,
        f"app, {len(specs)} x 20 trials": small,
        f"app, {large:,} trials": big,
    }


def measure_apps(
    stores: Mapping[str, Path | None], folder: Path, rounds: int, idle_s: float
) -> dict[str, list[Start]]:
    """`rounds` starts of each, in turn; the idle time is taken in the last round only."""
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        HELLO: ([sys.executable, str(HERE / "_hello.py")], environment(folder / "hello", None))
    }
    for name, store in stores.items():
        home = folder / "".join(c for c in name if c.isalnum())
        home.mkdir()
        commands[name] = (program(), environment(home, store))
    taken: dict[str, list[Start]] = {name: [] for name in commands}
    for number in range(-1, rounds):
        for name, (command, env) in commands.items():
            one = start(command, env, idle_s if number == rounds - 1 else 0.0)
            if number >= 0:
                taken[name].append(one)
        print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return taken


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what is known, or None if something is missing."""
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) and known else None


def ratio(ours: Sequence[float | None], plain: Sequence[float | None]) -> float | None:
    """The median over rounds of ours / plain, each from the same round."""
    return middle(
        [a / b if a is not None and b else None for a, b in zip(ours, plain, strict=True)]
    )


def summarise(taken: Mapping[str, list[Start]]) -> dict[str, dict[str, Any]]:
    """Medians, ratios to the hello-world app, and the idle figures, by program."""
    plain = taken[HELLO]
    summary: dict[str, dict[str, Any]] = {}
    for name, starts in taken.items():
        body: dict[str, Any] = {}
        for field in ("first_byte_s", "first_text_s", "settled_s"):
            mine = [getattr(one, field) for one in starts]
            body[field] = middle(mine)
            body[field.replace("_s", "_ratio")] = ratio(mine, [getattr(o, field) for o in plain])
        body["settled_range_s"] = _range([one.settled_s for one in starts])
        body["start_bytes"] = middle([one.start_bytes for one in starts])
        body["peak_mib"] = middle([one.peak_mib for one in starts])
        body["idle_bytes_s"] = starts[-1].idle_bytes_s
        body["idle_cpu_percent"] = starts[-1].idle_cpu_percent
        body["exit_codes"] = sorted({one.exit_code for one in starts})
        body["rounds"] = [asdict(one) for one in starts]
        summary[name] = body
    return summary


def _range(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [min(known), max(known)] if known else None


def print_apps(summary: Mapping[str, dict[str, Any]]) -> None:
    """The table of starts."""
    head = ["start", "1st byte s", "x hello", "1st text s", "x hello", "settled s", "x hello"]
    head += ["KiB", "peak MiB", "idle B/s", "idle CPU %", "exit"]
    fields = ["first_byte_s", "first_byte_ratio", "first_text_s", "first_text_ratio"]
    fields += ["settled_s", "settled_ratio"]
    rows = [
        [
            name,
            *(body[field] for field in fields),
            body["start_bytes"] / 1024,
            body["peak_mib"],
            body["idle_bytes_s"],
            body["idle_cpu_percent"],
            "/".join(map(str, body["exit_codes"])),
        ]
        for name, body in summary.items()
    ]
    _common.print_table(head, rows)


# -- the commands --------------------------------------------------------------------------


def time_command(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Seconds of a command from start to exit; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"startup: {' '.join(command[1:])} ended with {done.returncode}")
    return took


def measure_commands(
    stores: Mapping[str, Path | None], folder: Path, rounds: int
) -> dict[str, dict[str, Any]]:
    """`--help` and `list`, in turn with a bare interpreter."""
    env = environment(folder, None)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "--help": [*program(), "--help"],
    }
    for name, store in stores.items():
        if store is not None:
            commands[name.replace("app, ", "list, ")] = [*program(), "list", "--store", str(store)]
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(-1, rounds):
        for name, command in commands.items():
            seconds = time_command(command, env)
            if number >= 0:
                taken[name].append(seconds)
    plain = taken["python -c pass"]
    return {
        name: {"wall_s": median(runs), "ratio": ratio(runs, plain), "rounds_s": runs}
        for name, runs in taken.items()
    }


def print_commands(summary: Mapping[str, dict[str, Any]]) -> None:
    """The table of commands."""
    rows = [[name, body["wall_s"], body["ratio"]] for name, body in summary.items()]
    _common.print_table(["command", "wall s", "x bare python"], rows)


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="starts of each (7)")
    parser.add_argument("--idle", type=float, default=5.0, metavar="S", help="idle seconds (5)")
    parser.add_argument(
        "--large", type=int, default=LARGE, metavar="N", help="trials of the big store"
    )
    parser.add_argument(
        "--quick", action="store_true", help="3 rounds, 2 idle seconds, 10,000 trials"
    )
    parser.add_argument("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.idle, options.large = 3, 2.0, 10_000
    load = _common.load_average()
    print(f"start-up at {SIZE[0]}x{SIZE[1]}: {_common.describe_machine()}")
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as name:
        folder = Path(name)
        stores = build_stores(folder, options.large)
        apps = summarise(measure_apps(stores, folder, options.rounds, options.idle))
        print_apps(apps)
        print()
        commands = measure_commands(stores, folder, options.rounds)
        print_commands(commands)
    body = {
        "what": "start-up in a pseudo-terminal; ratios are to hello Textual and to bare python",
        "settings": {"size": list(SIZE), "silence_s": SILENCE_S, "rounds": options.rounds}
        | {"idle_s": options.idle, "large_store_trials": options.large},
        "starts": apps,
        "commands": commands,
    }
    _common.save(options.json, "startup", body, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
