"""What the screen promises, row by row, measured on a pseudo-terminal.

One table: the figure, its bar, and whether it holds. All figures but one are taken from outside:
a child of this process on a terminal of 120x40 that answers like xterm (`_terminal.py`), on
synthetic stores (`_stores.py`) that another process keeps moving as workers would
(`_screen_news.py`). The one is the longest block of the event loop, which a watch inside of the
app sees (`_screen_program.py`).

  first     first full paint beside hello Textual of the same run; `--help` and `list`
  keys      row move, page, order and filter among 100,000 trials, while the log gets 50 lines/s:
            from the key to the end of the first picture in which rows changed
  blocks    the longest callback of the loop meanwhile
  idle      ten seconds without a key
  wire      bytes: a trial that ends, the log at 50 lines/s, row, page, focus
  memory    resident size before and after streaming. Half an hour of 50 lines/s is shortened to
            `--minutes` (3) at ten times that rate; the log keeps 5,000 lines either way
  hostile   twenty strings in every view (`_screen_hostile.py`)

Bytes and memory hold on any machine. Times are bounds for an idle one; on a busy one the clock
counts what others do, so a block is given in processor time as well.

A cell is one JSON in the cells folder, and a run that was cut off goes on where it was.

`make bench ONLY=screen`, or: python bench/screen.py [--quick] [--only PART...] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _common
import _screen
import _screen_hostile
from _cells import ROOT, Cells, source_hash


@dataclass(frozen=True)
class Row:
    """One line of the table. held: whether the figure keeps its bar."""

    what: str
    figure: str
    bar: str
    held: bool


Body = dict[str, Any]


def first(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """How long until it is there."""
    body["first"] = found = cells.take(
        "first", _screen.first, {"trials": options.trials, "rounds": options.rounds}
    )
    paint = found["paint"]
    return [
        Row(
            f"first full paint, {options.trials:,} trials",
            f"{paint['ratio']:.2f} x hello Textual, {paint['settled_s']:.2f} s",
            "<= 2.5 x, <= 0.6 s when quiet",
            paint["ratio"] <= 2.5 and paint["settled_s"] <= 0.6,
        ),
        _bounded("--help", found["help_s"], "s", 0.15),
        _bounded(f"list, {options.trials:,} trials", found["list_s"], "s", 0.3),
    ]


def keys(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """How long until a key shows."""
    settings = {"trials": options.trials, "presses": options.presses, "lines_s": 50}
    body["keys"] = found = cells.take("keys", _screen.keys, settings)
    rows = []
    for name, bar in (("row move", 10.0), ("page", 20.0), ("order", 50.0), ("filter", 50.0)):
        rows.append(_bounded(f"{name}: median", found[name]["median_ms"], "ms", bar))
        if name == "row move":
            rows.append(_bounded(f"{name}: slowest", found[name]["max_ms"], "ms", 50.0))
    unanswered = sum(found[name]["unanswered"] for name in found)
    return [*rows, _bounded("keys without an answer", unanswered, "keys", 0)]


def blocks(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """How long the loop was busy with one thing."""
    settings = {"trials": options.trials, "presses": options.presses, "lines_s": 50}
    body["blocks"] = found = cells.take("blocks", _screen.blocks, settings)
    figure = f"{found['wall_ms']:.0f} ms, {found['cpu_ms']:.0f} ms of them computing"
    return [Row("longest block of the loop", figure, "<= 50 ms", found["wall_ms"] <= 50)]


def idle(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """What it costs to let it stand."""
    settings = {"trials": options.trials, "seconds": options.seconds}
    body["idle"] = found = cells.take("idle", _screen.idle, settings)
    return [
        _bounded(f"idle for {options.seconds:g} s", found["bytes"], "bytes", 0),
        _bounded("idle: processor time", found["cpu_percent"], "%", 0.5),
    ]


def wire(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """What is sent."""
    body["wire"] = {}
    rows = []
    for size in ("120x40", "80x24"):
        settings = {"size": size, "trials": 300, "seconds": options.seconds, "lines_s": 50}
        body["wire"][size] = found = cells.take(f"wire-{size}", _screen.wire, settings)
        rows += [
            _bounded(f"log at 50 lines/s, {size}", found["log"]["kb_s"], "kB/s", 10),
            _bounded(f"log: processor time, {size}", found["log"]["cpu_percent"], "%", 3),
            _bounded(f"a trial ends as the best, {size}", found["best_kb"], "kB", 3),
            _bounded(f"... and the next one starts, {size}", found["turn_kb"], "kB", 3),
            _bounded(f"row move, results, {size}", found["results row_kb"], "kB", 0.5),
            _bounded(f"row move, trials, {size}", found["trials row_kb"], "kB", 0.5),
            _bounded(f"page, {size}", found["page_kb"], "kB", 6),
            _bounded(f"focus change, {size}", found["focus_kb"], "kB", 25),
        ]
    return rows


def memory(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """What it keeps."""
    settings = {"trials": options.trials, "minutes": options.minutes, "lines_s": 500}
    body["memory"] = found = cells.take("memory", _screen.memory, settings)
    about = f"{options.minutes:g} min of 500 lines/s"
    return [
        _bounded(f"memory, {options.trials:,} trials, {about}", found["after_mib"], "MiB", 70),
        _bounded("memory: growth", found["growth_mib"], "MiB", 5),
    ]


def hostile(cells: Cells, options: argparse.Namespace, body: Body) -> list[Row]:
    """What the data can do to the terminal."""
    body["hostile"] = found = _screen_hostile.measure(cells, "120x40")
    views = f"{found['strings']} strings in {found['views']} views"
    return [
        Row(f"crashes by {views}", str(len(found["crashes"])), "0", not found["crashes"]),
        Row(f"raw bytes by {views}", str(len(found["raw"])), "0", not found["raw"]),
    ]


def _bounded(what: str, value: float, unit: str, bar: float) -> Row:
    digits = 2 if abs(value) < 10 else 0
    return Row(what, f"{value:.{digits}f} {unit}", f"<= {bar:g} {unit}", value <= bar)


PARTS: dict[str, Callable[[Cells, argparse.Namespace, Body], list[Row]]] = {
    "first": first,
    "keys": keys,
    "blocks": blocks,
    "idle": idle,
    "wire": wire,
    "memory": memory,
    "hostile": hostile,
}


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="10,000 trials and less of everything")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    add("--rounds", type=int, default=5, metavar="N", help="starts of each program (5)")
    add("--minutes", type=float, default=3.0, metavar="M", help="of streaming (3)")
    add("--fresh", action="store_true", help="measure cells again that are there already")
    add("--cells", type=Path, default=ROOT / "build" / "bench" / "screen", metavar="DIR")
    add("--dir", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR", help="for stores")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    options.trials, options.presses, options.seconds = 100_000, 60, 10.0
    if options.quick:
        options.trials, options.presses, options.seconds = 10_000, 15, 3.0
        options.rounds, options.minutes = 2, 0.25
        options.cells = options.cells.with_name("screen-quick")
    return options


def main() -> int:
    """Measure, print, save."""
    options = parse()
    load = _common.load_average()
    cells = Cells(options.cells, options.dir, fresh=options.fresh)
    print(f"the screen: {_common.describe_machine()}")
    body: Body = {}
    rows = [row for part in options.only for row in PARTS[part](cells, options, body)]
    cells.end()
    lines = [[r.what, r.figure, r.bar, "yes" if r.held else "NO"] for r in rows]
    _common.print_table(["what", "measured", "bar", "held"], lines)
    names = ("quick", "rounds", "minutes", "only", "trials", "presses", "seconds")
    document = {
        "what": "the screen's promises, measured on a pseudo-terminal",
        "settings": {name: getattr(options, name) for name in names}
        | {"source": source_hash("engines", "hyperion_tui")},
        "table": [asdict(row) for row in rows],
        **body,
        "cells": cells.taken,
    }
    _common.save(options.json, "screen", document, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
