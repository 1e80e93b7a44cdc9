"""How good the returned model is for the seconds it cost, beside peers, on data that none has seen.

  compare    held-out RMSE of what each peer returns: eight public data sets, three seeds, one core
  optimism   how far the selection score flatters, after 10 trials and after 200
  noise      targets without signal and with a little: is there a winner only where there is one
  overhead   time outside fit and predict, with five fits of 50 ms a trial
  scaling    trials of two workers by those of one, in the same time

Name the parts to measure; without one, only the table of what has been measured is printed. A cell
is one JSON in the folder of results, so a run that was cut off goes on where it was; `--again`
measures cells that are there. The whole takes hours: the decisive cells come first.

Peers need packages that nothing else here does: bench/README.md says how to install them. What is
not installed is left out and said.

`make bench ONLY=quality ARGS="compare --jobs 2"`, or: python bench/quality.py compare --jobs 2
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _common
from quality import compare, data, machinery, peers, table, trust
from quality.cells import QUIET, Cell, Measure, Queue, kept_of, run_one, share_of_core, write

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results" / "quality"
SUMMARY = HERE / "results" / "quality.json"
AGAIN = ("none", "failed", "disturbed", "all")

PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Cell]]] = {
    compare.KIND: compare.cells,
    trust.OPTIMISM: trust.optimism_cells,
    trust.NOISE: trust.noise_cells,
    machinery.OVERHEAD: machinery.overhead_cells,
    machinery.SCALING: machinery.scaling_cells,
}
KINDS: dict[str, Measure] = {
    compare.KIND: compare.measure,
    trust.OPTIMISM: trust.measure_optimism,
    trust.NOISE: trust.measure_noise,
    machinery.OVERHEAD: machinery.measure_overhead,
    machinery.SCALING: machinery.measure_scaling,
}
USUAL: dict[str, Any] = {
    "modes": list(compare.MODES),
    "sets": list(data.SOURCES),
    "seeds": list(compare.SEEDS),
}
QUICK: dict[str, Any] = {
    "modes": ["any"],
    "seconds": [10],
    "sets": ["diabetes", "concrete"],
    "seeds": [0],
}


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)}")
    add("--modes", nargs="+", choices=compare.MODES, metavar="MODE")
    add("--seconds", nargs="+", type=int, metavar="S", help="budgets, of those of the mode")
    add("--sets", nargs="+", choices=data.SOURCES, metavar="SET")
    add("--seeds", nargs="+", type=int, metavar="N")
    add("--peers", nargs="+", choices=peers.PEERS, default=list(peers.USUAL), metavar="PEER")
    add("--jobs", type=int, default=1, metavar="N", help="cells side by side, a core each (1)")
    add("--again", choices=AGAIN, default="none", help="which cells, anew")
    add("--table", action="store_true", help="measure nothing")
    add("--details", action="store_true", help="scores by data set as well")
    add("--quick", action="store_true", help="two small sets, one seed, 10 s")
    add("--cells", type=Path, default=KEPT, metavar="DIR", help="where results lie")
    add("--json", metavar="FILE", help=f"where the summary goes ({SUMMARY.name} of the results)")
    add("--cell", help=argparse.SUPPRESS)
    add("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part `{part}`; there are {', '.join(PARTS)}")
    for name, usual in (USUAL | QUICK if options.quick else USUAL).items():
        if getattr(options, name) is None:
            setattr(options, name, usual)
    return options


def summarise(kept: Path, modes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The table and the numbers behind it, from all results that are there."""
    documents = {kind: list(kept_of(kept, kind)) for kind in PARTS}
    compared = table.summarise(table.index(documents[compare.KIND]), modes)
    parts: dict[str, Any] = {compare.KIND: compared}
    for kind, module in (
        (trust.OPTIMISM, trust),
        (trust.NOISE, trust),
        (machinery.OVERHEAD, machinery),
        (machinery.SCALING, machinery),
    ):
        parts[kind] = module.summarise(kind, documents[kind])
    everything = [document for found in documents.values() for document in found]
    return {
        "what": "quality of the returned model for the seconds it cost, beside peers",
        "taken": _taken(everything),
        "table": [row for part in parts.values() for row in part.pop("table")],
        **parts,
    }


def _taken(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """When, where and with what the cells were measured: it must be the same for all of a table."""
    results = [document.get("result", {}) for document in documents]
    dates = sorted(document["date"] for document in documents)
    machines = [document["machine"] for document in documents]
    versions: dict[str, set[str]] = {}
    for result in results:
        for package, version in result.get("versions", {}).items():
            versions.setdefault(package, set()).add(version)
    ours = {
        result["source"]
        for document, result in zip(documents, results, strict=True)
        if document["cell"].get("peer", "hyperion") == "hyperion" and "source" in result
    }
    return {
        "cells": len(documents),
        "dates": dates[:1] + dates[-1:],
        "machines": sorted({f"{m['cpu']}, {m['cores']} cores, {m['system']}" for m in machines}),
        "pinned": all(
            document["machine"]["pinned"]
            for document in documents
            if document["cell"]["kind"] == compare.KIND
        ),
        "highest_load_before": max((m["load_before"][0] for m in machines), default=None),
        "share_of_its_core": _share(documents),
        "versions": {package: sorted(found) for package, found in sorted(versions.items())},
        "states_of_our_source": sorted(ours),
    }


def _share(documents: list[dict[str, Any]]) -> dict[str, float] | None:
    """Of all cells of peers that never wait."""
    shares = [share for document in documents if (share := share_of_core(document)) is not None]
    return {"mean": sum(shares) / len(shares), "least": min(shares)} if shares else None


def show(summary: dict[str, Any], *, details: bool) -> None:
    """The table, and what makes it hard to believe."""
    taken = summary["taken"]
    print(f"{taken['cells']} cells, {' to '.join(taken['dates'])}; {'; '.join(taken['machines'])}")
    words = {True: "yes", False: "NO", None: "-"}
    _common.print_table(
        ["what", "measured", "to keep", "held"],
        [[r["what"], r["measured"], r["bound"], words[r["held"]]] for r in summary["table"]],
    )
    print("[95 % interval: bootstrap over data sets]")
    share = taken["share_of_its_core"]
    if share is not None and share["mean"] < QUIET:
        print(f"the machine did other work: a fit had {share['mean']:.0%} of its core")
    if len(taken["states_of_our_source"]) > 1:
        count = len(taken["states_of_our_source"])
        print(f"our cells are of {count} states of the program: `--peers hyperion --again all`")
    for failed in summary[compare.KIND]["failed"]:
        print(f"failed: {failed['cell']}: {failed['error']}")
    if details:
        _show_details(summary[compare.KIND])


def _show_details(compared: dict[str, Any]) -> None:
    rivals = sorted({peer for line in compared["by_set"] for peer in line["r2"]})
    print("\nheld-out R2, mean over seeds (0 s: no budget)")
    _common.print_table(
        ["mode", "seconds", "data", *rivals],
        [
            [
                *(line["mode"], line["seconds"], line["set"]),
                *(f"{line['r2'][p]:.4f}" if p in line["r2"] else None for p in rivals),
            ]
            for line in compared["by_set"]
        ],
    )


def main() -> int:
    """Measure, print, save."""
    options = parse()
    if options.cell is not None:
        settings = json.loads(options.cell)
        return run_one(KINDS[settings["kind"]], settings, options.answer)
    if not options.table:
        for part in options.parts:
            try:
                Queue(options.cells, options.jobs, options.again).run(list(PARTS[part](options)))
            except KeyboardInterrupt:
                print("cut off; the same command goes on from here", file=sys.stderr)
                return 130
    summary = summarise(options.cells, compare.MODES)
    if not summary["taken"]["cells"]:
        print("nothing has been measured yet; name a part, such as `compare`", file=sys.stderr)
        return 0
    show(summary, details=options.details)
    file = Path(options.json) if options.json else None
    if file is None and options.cells == KEPT:
        file = SUMMARY
    if file is not None:
        write(file, {"benchmark": "quality", **summary})
        print(f"written: {file}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
