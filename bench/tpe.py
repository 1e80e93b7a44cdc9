"""What a suggestion costs in a long study: Optuna's TPE against ours, which suggests the same.

A study in memory is filled with finished trials drawn at random; then trials are asked for, all of
their parameters suggested, and ended. Processor time of the process is counted, from asking to the
last parameter. Two spaces: five floats and a choice, and one of every kind of parameter (steps and
whole numbers cost stock the most). Stock takes a new seed before every draw, as ours does, so both
must suggest the same; `same` says whether they did, parameter by parameter.

`first` is the first suggestion of a process, which reads all trials; it is not in the ratio.

A cell (space, trials, way, round) runs in a process of its own on one thread and is kept as one
JSON in the cells folder, so a run that was cut off goes on where it was; it is measured again when
versions, machine or source have changed, or with `--fresh`. The table shows medians over rounds; a
ratio is the median of the ratios within each round.

`make bench ONLY=tpe`, or: python bench/tpe.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import _common

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WAYS = ("stock", "ours")
SPACES = ("floats", "mixed")
SEED = 3


def source_hash() -> str:
    """What the samplers and this benchmark looked like."""
    digest = hashlib.blake2b(digest_size=8)
    for file in [*sorted((ROOT / "engines" / "search").rglob("*.py")), Path(__file__)]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


# -- one cell, in a process of its own -------------------------------------------------------


def run_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Fill a study, and count the processor time of the next suggestions."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = make_space(cell["space"])
    study = optuna.create_study(sampler=make_sampler(cell["way"]))
    study.add_trials(finished_trials(space, cell["trials"], cell["round"]))
    spent: list[float] = []
    suggested: list[dict[str, Any]] = []
    for _ in range(cell["suggestions"] + 1):
        before = time.process_time()
        trial = study.ask()
        params = {name: trial._suggest(name, distribution) for name, distribution in space.items()}
        spent.append(1000 * (time.process_time() - before))
        suggested.append(params)
        study.tell(trial, 0.5)
    return {"first_ms": spent[0], "cpu_ms": median(spent[1:]), "suggested": suggested}


def make_sampler(way: str) -> Any:
    """Ours, or Optuna's with nothing but our seed before every draw."""
    from optuna.samplers import TPESampler

    from engines.search.sampler import ResumableTPE
    from engines.search.seeds import derive

    class Stock(TPESampler):
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            self._rng.rng.seed(derive(SEED, trial.number, "relative"))
            return super().sample_relative(study, trial, search_space)

    return Stock(seed=SEED) if way == "stock" else ResumableTPE(SEED)


def make_space(name: str) -> dict[str, Any]:
    """The distributions of a space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    choice = CategoricalDistribution(("a", "b", "c"))
    if name == "floats":
        return {**{f"x{i}": FloatDistribution(-5, 5) for i in range(5)}, "choice": choice}
    return {
        "rate": FloatDistribution(1e-5, 1, log=True),
        "share": FloatDistribution(0, 1),
        "subsample": FloatDistribution(0.5, 1, step=0.05),
        "units": IntDistribution(8, 2048, log=True),
        "depth": IntDistribution(1, 12),
        "choice": choice,
    }


def finished_trials(space: Mapping[str, Any], count: int, seed: int) -> Iterator[Any]:
    """Complete trials drawn evenly, with values drawn evenly."""
    import numpy as np
    from optuna.samplers._random import RandomSampler
    from optuna.trial import create_trial

    drawing, values = RandomSampler(seed=seed), np.random.RandomState(seed)
    for _ in range(count):
        nobody: Any = None
        yield create_trial(
            params={n: drawing.sample_independent(nobody, nobody, n, d) for n, d in space.items()},
            distributions=dict(space),
            value=float(values.rand()),
        )


# -- all cells -------------------------------------------------------------------------------


def cells(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every cell, the ways next to each other so that they meet the same weather."""
    for turn, space, trials, way in itertools.product(
        range(options.rounds), options.spaces, options.trials, WAYS
    ):
        yield {
            "round": turn,
            "space": space,
            "trials": trials,
            "way": way,
            "suggestions": options.suggestions,
        }


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Settings and result of every cell, measured now or kept from before."""
    options.cells.mkdir(parents=True, exist_ok=True)
    same = {"versions": _common.versions(), "machine": _common.machine(), "source": source_hash()}
    taken, kept = [], 0
    for cell in cells(options):
        name = f"{cell['space']}-{cell['trials']}-{cell['way']}-r{cell['round']}.json"
        path = options.cells / name
        stamp = {"cell": cell, **same}
        document = _common.read_cell(path)
        if options.fresh or document is None or {k: document.get(k) for k in stamp} != stamp:
            if sys.stderr.isatty():
                print(f"\r{name:<40}", end="", flush=True, file=sys.stderr)
            document = {**stamp, "result": _common.run_apart(__file__, cell)}
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        else:
            kept += 1
        taken.append({**cell, **document["result"]})
    clear = f"\r{'':<40}\r" if sys.stderr.isatty() else ""
    print(f"{clear}{len(taken)} cells, {kept} of them from before", file=sys.stderr)
    return taken


def summarise(taken: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each space and number of trials."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for one in taken:
        groups.setdefault((one["space"], one["trials"]), []).append(one)
    lines = []
    for (space, trials), group in groups.items():
        stock, ours = ([one for one in group if one["way"] == way] for way in WAYS)
        pairs = list(zip(stock, ours, strict=True))
        lines.append(
            {
                "space": space,
                "trials": trials,
                "stock_ms": median(one["cpu_ms"] for one in stock),
                "ours_ms": median(one["cpu_ms"] for one in ours),
                "ratio": median(b["cpu_ms"] / a["cpu_ms"] for a, b in pairs),
                "stock_first_ms": median(one["first_ms"] for one in stock),
                "ours_first_ms": median(one["first_ms"] for one in ours),
                "same": all(a["suggested"] == b["suggested"] for a, b in pairs),
            }
        )
    return lines


def print_lines(lines: list[dict[str, Any]]) -> None:
    """The table."""
    head = ["space", "trials", "stock CPU ms", "ours CPU ms", "ours / stock"]
    head += ["stock first", "ours first", "same"]
    fields = ["space", "trials", "stock_ms", "ours_ms", "ratio", "stock_first_ms", "ours_first_ms"]
    _common.print_table(
        head, [[*(line[f] for f in fields), "yes" if line["same"] else "NO"] for line in lines]
    )


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--trials", type=int, nargs="+", default=[1000, 5000, 20_000], metavar="N")
    add("--spaces", nargs="+", default=SPACES, choices=SPACES, metavar="NAME")
    add("--suggestions", type=int, default=20, metavar="N", help="counted in a cell (20)")
    add("--rounds", type=int, default=3, metavar="N", help="times that every cell is taken (3)")
    add("--quick", action="store_true", help="one round of five suggestions")
    add("--fresh", action="store_true", help="measure cells again that are there already")
    add("--cells", type=Path, default=ROOT / "build" / "bench" / "tpe", metavar="DIR")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    add("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.suggestions = 1, 5
    return options


def main() -> int:
    """Measure, print, save."""
    options = parse()
    if options.cell is not None:
        print(json.dumps(run_cell(json.loads(options.cell))))
        return 0
    load = _common.load_average()
    print(f"processor time of a suggestion: {_common.describe_machine()}")
    taken = measure(options)
    lines = summarise(taken)
    print_lines(lines)
    worst = max((line["ratio"] for line in lines), default=math.nan)
    print(f"the largest ratio is {worst:.2f}")
    body = {
        "what": "processor time from asking for a trial to its last parameter, in milliseconds",
        "settings": {
            "rounds": options.rounds,
            "suggestions": options.suggestions,
            "source": source_hash(),
        },
        "table": lines,
        "cells": [{k: v for k, v in one.items() if k != "suggested"} for one in taken],
    }
    _common.save(options.json, "tpe", body, load)
    return 0 if all(line["same"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
