"""Whether a score can be believed: how far selection flatters, and whether noise has a winner.

Both run the program itself (`hyperion-tui run ... --json`) and read what it says to people.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quality import data, warm
from quality.cells import Cell, Settings
from quality.program import hyperion, write_table
from quality.table import SPENT, Row

OPTIMISM, NOISE = "optimism", "noise"

TRIALS = (10, 200)
MODEL = "lightgbm"
GAP = 0.03
GROWTH = 0.02

TARGETS = 20
NOISE_SECONDS = 60
NOISE_ROWS = (500, 5_000)
"""In turn: with few rows luck is larger, with many the test of it is sharper."""
SIGNAL_ROWS = 5_000
COLUMNS = 10
TRUE_R2 = 0.1
NO_WINNER = 19
WINNER = 18
RUN_ADDS_S = 5.0
"""What the program may take for starting and ending, beside what its fits may spend."""
SILENT = "no model beats the baseline"


# -- optimism --------------------------------------------------------------------------------


def optimism_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Each set and seed after few trials and after many, with the same split."""
    for seed in options.seeds:
        for name in options.sets:
            for trials in TRIALS:
                settings = {"set": name, "seed": seed, "trials": trials, "model": MODEL}
                yield Cell(
                    kind=OPTIMISM,
                    name=f"{MODEL}-{name}-s{seed}-{trials}",
                    settings={"kind": OPTIMISM, **settings},
                    limit_s=3600.0,
                    needs=name,
                )


def measure_optimism(settings: Settings, folder: Path) -> dict[str, Any]:
    """Selection and held-out R2 of the chosen trial."""
    told = hyperion(
        *("run", settings["model"], "--trials", str(settings["trials"]), "--workers", "1"),
        *("--seed", str(settings["seed"]), "--metric", "r2"),
        *write_table(folder, *data.load(settings["set"])),
        folder=folder,
    )
    best = told["studies"][0]["best"]
    selection, held_out = best["selection_score"], best["held_out_score"]
    return {
        "selection": selection,
        "held_out": held_out,
        "gap": selection - held_out,
        "trials": told["studies"][0]["trials"],
        "versions": warm.versions(),
        "shown": {"selection": f"{selection:.4f}", "held out": f"{held_out:.4f}"},
    }


def _summarise_optimism(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    few, many = TRIALS
    gaps = {
        (d["cell"]["set"], d["cell"]["seed"], d["cell"]["trials"]): d["result"]["gap"]
        for d in documents
        if "result" in d
    }
    both = sorted(
        (name, seed) for name, seed, trials in gaps if trials == few and (name, seed, many) in gaps
    )
    if not both:
        return {"table": []}
    by_set: dict[str, list[tuple[float, float]]] = {}
    for name, seed in both:
        by_set.setdefault(name, []).append((gaps[name, seed, few], gaps[name, seed, many]))
    lines = {
        name: {
            "splits": len(found),
            f"gap_{few}": _mean([a for a, _ in found]),
            f"gap_{many}": _mean([b for _, b in found]),
        }
        for name, found in by_set.items()
    }
    # Sets weigh the same, however many splits of each are there.
    gap = _mean([line[f"gap_{many}"] for line in lines.values()])
    growth = gap - _mean([line[f"gap_{few}"] for line in lines.values()])
    splits = min(line["splits"] for line in lines.values())
    of = f"{len(lines)} sets, {splits} splits or more"
    what = f"selection R2 minus held-out R2, {MODEL}"
    rows = [
        Row(f"{what}, {many} trials ({of})", f"{gap:+.4f}", f"within {GAP}", abs(gap) <= GAP),
        Row(
            f"its growth from {few} to {many} trials",
            f"{growth:+.4f}",
            f"<= {GROWTH}",
            growth <= GROWTH,
        ),
    ]
    return {
        "table": [asdict(row) for row in rows],
        "gap": gap,
        "growth": growth,
        "by_set": lines,
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


# -- noise -----------------------------------------------------------------------------------


def noise_cells(_: argparse.Namespace) -> Iterator[Cell]:
    """Targets with nothing in them and with a little, in turn."""
    for number in range(TARGETS):
        for signal in (False, True):
            rows = SIGNAL_ROWS if signal else NOISE_ROWS[number % len(NOISE_ROWS)]
            settings = {"number": number, "signal": signal, "rows": rows, "seconds": NOISE_SECONDS}
            yield Cell(
                kind=NOISE,
                name=f"{'signal' if signal else 'noise'}-{number:02d}",
                settings={"kind": NOISE, **settings},
                limit_s=5.0 * NOISE_SECONDS + 120,
            )


def make_target(number: int, rows: int, *, signal: bool) -> data.Table:
    """(X of shape (rows, 10), y of variance about 1), standard normal columns.

    signal: a tenth of the variance is a function of X, in turn a sum over three columns, a wave in
    one, and a product of two.
    """
    random = np.random.default_rng([number, int(signal)])
    X = random.normal(size=(rows, COLUMNS))
    noise = random.normal(size=rows)
    if not signal:
        return X, noise
    shapes = (X[:, :3].sum(axis=1), np.sin(2 * X[:, 0]), X[:, 0] * X[:, 1])
    truth = shapes[number % len(shapes)]
    truth = (truth - truth.mean()) / truth.std()
    return X, math.sqrt(TRUE_R2) * truth + math.sqrt(1 - TRUE_R2) * noise


def measure_noise(settings: Settings, folder: Path) -> dict[str, Any]:
    """What the program says of one target."""
    X, y = make_target(settings["number"], settings["rows"], signal=settings["signal"])
    words = write_table(folder, X, y)
    start = time.monotonic()
    told = hyperion(
        *("run", "sklearn", "ensemble", "--time", f"{settings['seconds']}s", "--workers", "1"),
        *("--seed", str(settings["number"]), "--metric", "r2"),
        *words,
        folder=folder,
    )
    wall_s = time.monotonic() - start
    verdict = told["verdict"] or ""
    named = [study["model"] for study in told["studies"] if study["model"] in verdict]
    silent = SILENT in verdict.lower()
    found = "none" if silent else "winner" if named or "ensemble" in verdict else "unclear"
    scored = [s for s in told["studies"] if s["best"] is not None]
    leader = max(scored, key=lambda s: s["best"]["selection_score"], default=None)
    return {
        "found": found,
        "verdict": verdict,
        "leader": leader
        and {
            "model": leader["model"],
            "selection": leader["best"]["selection_score"],
            "held_out": leader["best"]["held_out_score"],
        },
        "wall_s": wall_s,
        "trials": sum(s["trials"]["complete"] + s["trials"]["pruned"] for s in told["studies"]),
        "versions": warm.versions(),
        "shown": {"found": found},
    }


def _summarise_noise(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for signal, wanted, least, what in (
        (False, "none", NO_WINNER, f"pure noise: `{SILENT}`"),
        (True, "winner", WINNER, f"true R2 {TRUE_R2}, {SIGNAL_ROWS:,} rows: a winner is named"),
    ):
        found = [
            document.get("result", {}).get("found", "failed")
            for document in documents
            if document["cell"]["signal"] is signal
        ]
        if found:
            right = sum(answer == wanted for answer in found)
            # A part of the targets says nothing about a count of all of them.
            held = right >= least if len(found) == TARGETS else None
            rows.append(Row(what, f"{right} of {len(found)}", f">= {least} of {TARGETS}", held))
    over = [
        document["result"]["wall_s"] - document["cell"]["seconds"]
        for document in documents
        if "result" in document
    ]
    if over:
        limit = RUN_ADDS_S + (SPENT - 1) * NOISE_SECONDS
        rows.append(
            Row(
                f"`run --time {NOISE_SECONDS}s`: seconds beyond those asked, {len(over)} runs",
                f"{_mean(over):+.1f}, at most {max(over):+.1f}",
                f"<= {limit:g}",
                max(over) <= limit,
            )
        )
    answers = {d["cell"]["name"]: d.get("result", {}).get("found", "failed") for d in documents}
    return {"table": [asdict(row) for row in rows], "answers": answers}


def summarise(kind: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of the table and the numbers behind them."""
    return (_summarise_optimism if kind == OPTIMISM else _summarise_noise)(documents)
