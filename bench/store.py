"""What the store and its supervision promise, row by row, beside stock Optuna in the same run.

Prints one table: the figure of stock Optuna on SQLite, ours, the bound that ours is to keep, and
whether it does. Then what is behind it: rates by way and sampler, statements a trial, pages by
order. Rows of one machine and one run can be compared; a busy machine shifts all times, so the
bounds that are times are meant for an idle one with two cores.

  writing      `_throughput.py`: transactions, rates, processor time, queues
  looking      `_reading.py`: first screen, list, poll, pages, on synthetic stores
  supervision  `_supervising.py`: real processes, real signals

Deaths come in a short form here. The long form is the torture suite's; its committed result
(`bench/results/torture.json`) is shown where there is one.

A cell is one JSON in the cells folder, and a run that was cut off goes on where it was.

`make bench ONLY=store`, or: python bench/store.py [--quick] [--only PART...] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _common
import _reading
import _supervising
import _throughput
from _cells import ROOT, Cells, source_hash

TORTURE = ROOT / "bench" / "results" / "torture.json"
OURS = _throughput.OURS[1]
STOCK = _throughput.STOCK


@dataclass(frozen=True)
class Row:
    """One line of the table. held: whether our figure keeps its bound."""

    what: str
    stock: str
    ours: str
    bound: str
    held: bool


def ms(value: float) -> str:
    """Milliseconds, or seconds where there are many."""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.3f} ms" if value < 1 else f"{value:.1f} ms"


def seconds(spread: dict[str, Any]) -> str:
    """The middle and the worst of some times."""
    return f"{spread['p50_s']:.2f} (max {spread['max_s']:.2f}) s"


# -- the parts -------------------------------------------------------------------------------


def writing(cells: Cells, options: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """Transactions, rates, processor time and queues."""
    ways = (STOCK, *_throughput.OURS) if options.quick else _throughput.WAYS
    some_queues = _throughput.QUEUES[1:] if options.quick else _throughput.QUEUES
    counted = _throughput.transactions(cells, ways)
    cpu = _throughput.processor_time(cells, ways, options.rounds)
    rates = {
        workers: _throughput.rates(cells, ways, options.rounds, options.seconds, workers, "random")
        for workers in ((2,) if options.quick else (2, 8))
    }
    with_tpe = [] if options.quick else _throughput.rates(cells, ways, 1, options.seconds, 2, "tpe")
    queues = _throughput.queues(cells, some_queues)
    body |= {"asked_for_one_trial": counted, "cpu_ms_per_trial": cpu, "queues": queues}
    body["rates"] = [
        *(
            {"workers": n, "sampler": "random", **line}
            for n, lines in rates.items()
            for line in lines
        ),
        *({"workers": 2, "sampler": "tpe", **line} for line in with_tpe),
    ]
    return [
        *_transaction_rows(counted),
        *(_rate_row(workers, lines) for workers, lines in rates.items()),
        Row(
            "storage CPU per trial, one process",
            ms(cpu[STOCK]),
            " / ".join(ms(cpu[way]) for way in _throughput.OURS),
            "<= 3 ms",
            all(cpu[way] <= 3.0 for way in _throughput.OURS),
        ),
        *(_queue_row(queues, queued) for queued, _ in some_queues),
    ]


def _transaction_rows(counted: list[dict[str, Any]]) -> list[Row]:
    rows = []
    for reports, name in ((0, "6 parameters"), (_throughput.REPORTS, "6 parameters, 20 reports")):
        of = {line["way"]: line for line in counted if line["reports"] == reports}
        both = [of[way] for way in _throughput.OURS]
        rows.append(
            Row(
                f"write transactions per trial of {name} (fsynced)",
                f"{of[STOCK]['writes']:g} ({of[STOCK]['fsynced']:g})",
                " / ".join(f"{one['writes']:g} ({one['fsynced']:g})" for one in both),
                "<= 3 (1)",
                all(one["writes"] <= 3 and one["fsynced"] <= 1 for one in both),
            )
        )
    return rows


def _rate_row(workers: int, lines: list[dict[str, Any]]) -> Row:
    of = {line["way"]: line for line in lines}
    both = [of[way] for way in _throughput.OURS]
    return Row(
        f"trials/s at an objective that costs nothing, {workers} workers",
        f"{of[STOCK]['trials_per_s']:.0f}",
        " / ".join(f"{one['trials_per_s']:.0f} ({one['ratio'] or 0:.1f}x)" for one in both),
        ">= 4x",
        all((one["ratio"] or 0.0) >= 4.0 for one in both),
    )


def _queue_row(queues: list[dict[str, Any]], queued: int) -> Row:
    of = {line["way"]: line for line in queues if line["queued"] == queued}

    def say(line: dict[str, Any]) -> str:
        return f"{line['run_twice']} twice, {line['died']} died, {line['waiting_left']} left"

    both = [of[way] for way in _throughput.OURS]
    return Row(
        f"{queued} queued trials, {of[STOCK]['workers']} workers: run twice",
        say(of[STOCK]),
        " / ".join(say(one) for one in both),
        "0, all exit 0",
        not any(one["run_twice"] or one["died"] or one["waiting_left"] for one in both),
    )


def looking(cells: Cells, options: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """First screen, list, poll, and pages."""
    one = _reading.first_screen(cells, options.trials)
    many = _reading.many_studies(cells)
    page = _reading.pages(cells, options.page)
    stock, ours = one["stock-study"], one["study"]
    body["looks"] = {"study": one, "list": many, "page": page}
    return [
        Row(
            f"first screen of a {options.trials:,}-trial study",
            ms(stock["first_ms"]),
            ms(ours["first_ms"]),
            "<= 0.3 s",
            ours["first_ms"] <= 300,
        ),
        Row(
            "the same after 11 trials moved",
            ms(stock["poll_ms"]),
            ms(ours["change_ms"]),
            "<= 2 ms",
            ours["change_ms"] <= 2.0,
        ),
        Row(
            "poll when idle: the store / the app's feed",
            ms(stock["poll_ms"]),
            f"{ms(ours['poll_ms'])} / {ms(ours['feed_poll_ms'])}",
            "<= 0.1 ms",
            max(ours["poll_ms"], ours["feed_poll_ms"]) <= 0.1,
        ),
        Row(
            f"list of {_reading.STUDIES} studies",
            ms(many["stock-list"]["list_ms"]),
            f"{ms(many['list']['again_ms'])} (file not in memory: {ms(many['list']['list_ms'])})",
            "<= 50 ms",
            many["list"]["again_ms"] <= 50,
        ),
        Row(
            f"page of {options.page:,} trials by value, of one state and half of the models",
            f"{ms(page['stock-page']['cold_ms'])}, then {ms(page['stock-page']['warm_ms'])}",
            f"{ms(page['page']['value_ms'])} (file not in memory: "
            f"{ms(page['page']['value_cold_ms'])})",
            "<= 20 ms",
            page["page"]["value_ms"] <= 20,
        ),
        Row(
            "the slowest page of any order, direction and place",
            "-",
            ms(page["page"]["worst_ms"]),
            "<= 20 ms",
            page["page"]["worst_ms"] <= 20,
        ),
    ]


def supervision(cells: Cells, options: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """Deaths, pauses and what the runner costs."""
    found = _supervising.measure(cells, quick=options.quick)
    body["supervision"] = found
    died, lost, stock = found["deaths"], found["losses"], found["stock losses"]
    pause, freeze, runner = found["pauses"], found["freezes"], found["runner"]
    bad = lost["lost_or_changed"] + lost["stranded_after_5_s"] + lost["running_at_the_end"]
    kills = sum(lost["kills"].values())
    rows = [
        Row(
            "acknowledged trials lost or changed; RUNNING left 5 s after restart",
            f"RUNNING for ever: {stock['running_for_ever']} of {stock['kills']} kills",
            f"{lost['lost_or_changed']} of {lost['acknowledged']}; {lost['stranded_after_5_s']} "
            f"({kills} kills)",
            "0; 0",
            bad + lost["doubles"] == 0 and lost["integrity"] == "ok",
        ),
        *_torture_row(),
        _within("worker kill noticed", "never", died["noticed"], 0.5),
        _within("worker kill, back at full strength", "never", died["mended"], 5.0),
        _within("runner kill, adopted by `resume`", "never", died["adopted"], 1.0),
        _within(
            f"pause between trials of {pause['between']['trial_s']:g} s",
            "none",
            pause["between"],
            pause["between"]["trial_s"] + 0.5,
        ),
        _within(
            f"pause at a report, every {pause['report']['epoch_s']:g} s of "
            f"{pause['report']['trial_s']:g}",
            "none",
            pause["report"],
            pause["report"]["epoch_s"] + 0.5,
        ),
        _within("freeze", "none", freeze["freeze"], 0.25),
        _within("resume what is frozen", "none", freeze["thaw"], 0.25),
        Row(
            "runner of two workers",
            "none",
            f"{runner['rss_mib']:.1f} MiB, {runner['cpu_percent']:.2f} % CPU",
            "<= 20 MiB, <= 1 %",
            runner["rss_mib"] <= 20 and runner["cpu_percent"] <= 1,
        ),
    ]
    return rows


def _within(what: str, stock: str, spread: dict[str, Any], bound_s: float) -> Row:
    return Row(what, stock, seconds(spread), f"<= {bound_s:g} s", spread["max_s"] <= bound_s)


def _torture_row() -> list[Row]:
    """The long form's own summary, if its result is committed."""
    try:
        long = json.loads(TORTURE.read_text(encoding="utf-8"))
        lost, left = long["lost_or_changed"], long["left_running"]
        return [
            Row(
                f"the same over {long['kills']:,} random kills (torture.json)",
                "-",
                f"{lost} of {long['acknowledged']:,}; {left}",
                "0; 0",
                lost == left == long["acknowledged_twice"] == 0,
            )
        ]
    except (OSError, ValueError, KeyError):
        return []


# -- the command -----------------------------------------------------------------------------

PARTS: dict[str, Callable[[Cells, argparse.Namespace, dict[str, Any]], list[Row]]] = {
    "writing": writing,
    "looking": looking,
    "supervision": supervision,
}


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything: some three minutes")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    add("--rounds", type=int, default=3, metavar="N", help="times that rates are taken (3)")
    add("--seconds", type=float, default=4.0, metavar="S", help="of one rate (4)")
    add("--fresh", action="store_true", help="measure cells again that are there already")
    add("--cells", type=Path, default=ROOT / "build" / "bench" / "store", metavar="DIR")
    add("--dir", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR", help="for stores")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    options.trials, options.page = (20_000, 100_000)
    if options.quick:
        options.rounds, options.seconds = 1, 2.0
        options.trials, options.page = (2_000, 10_000)
        options.cells = options.cells.with_name("store-quick")
    return options


def print_details(body: dict[str, Any]) -> None:
    """What is behind the table."""
    if "rates" in body:
        print()
        fields = ("way", "sampler", "workers", "trials_per_s", "ratio", "slowest_trial_s", "alive")
        head = ["store", "sampler", "workers", "trials/s", f"x {STOCK}", "slowest s", "alive"]
        _common.print_table(head, [[line[f] for f in fields] for line in body["rates"]])
        print()
        fields = ("way", "reports", "selects", "changes", "writes", "fsynced")
        head = ["asked for one trial", "reports", "SELECTs", "changes", "write txns", "fsynced"]
        _common.print_table(
            head, [[line[f] for f in fields] for line in body["asked_for_one_trial"]]
        )
    if "looks" in body:
        print()
        fields = ("order", "way", "place", "cold_ms", "warm_ms")
        lines = body["looks"]["page"]["page"]["lines"]
        _common.print_table(["page by", *fields[1:]], [[line[f] for f in fields] for line in lines])


def main() -> int:
    """Measure, print, save."""
    options = parse()
    load = _common.load_average()
    cells = Cells(options.cells, options.dir, fresh=options.fresh)
    kind = _common.file_system(options.dir)
    print(f"the store, on {kind}: {_common.describe_machine()}")
    body: dict[str, Any] = {}
    rows = [row for part in options.only for row in PARTS[part](cells, options, body)]
    cells.end()
    head = ["what", "stock Optuna on SQLite", "Hyperion", "to keep", "held"]
    _common.print_table(
        head, [[r.what, r.stock, r.ours, r.bound, "yes" if r.held else "NO"] for r in rows]
    )
    print("two figures: `study.optimize` on our storage / a worker's own way (claim, run, end)")
    print_details(body)
    settings = {name: getattr(options, name) for name in ("quick", "rounds", "seconds", "only")}
    document = {
        "what": "the store's and supervision's promises beside stock Optuna, in one run",
        "settings": {
            **settings,
            "file_system": kind,
            "source": source_hash("engines", "hyperion_tui"),
        },
        "table": [asdict(row) for row in rows],
        **body,
        "cells": cells.taken,
    }
    _common.save(options.json, "store", document, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
