"""What each pruner saves, and what it costs: the same search of one model with and without it.

For each model and data set, by seed: so many trials with each pruner, all else equal. `time` is
processor time of the whole search over that of the search without a pruner in the same round;
`best` the best selection score against the best one without, `held-out` the like for the score on
rows that the search never saw, both in R2 (above zero is better). Pruned trials count as trials, as
they do for people, so a pruner saves time and may miss the best; whether that pays is what the
last columns say.

A cell (model, data, seed, pruner) runs in a process of its own on one thread and is kept as one
JSON in the cells folder, so a run that was cut off goes on where it was; it is measured again when
versions, machine or source have changed, or with `--fresh`.

`make bench ONLY=pruning`, or:
python bench/pruning.py [--quick] [--sets NAME...] [--seeds N...] [--trials N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import _cells
import _common

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

PRUNERS = ("none", "racing", "median", "halving", "wilcoxon")
SETS = ("airfoil", "concrete")
MODELS = ("lightgbm", "xgboost", "simple_mlp", "random_forest")
SEEDS = (0, 1)
TRIALS = 40


def run_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """One search; its processor time and both scores of its best trial."""
    from engines.run.inline import run_inline
    from engines.run.start import Request, create
    from engines.study.location import locate
    from engines.study.reader import Reader

    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as folder:
        location = locate(str(Path(folder) / "studies.db"))
        experiment_id = create(
            location,
            Request(
                selectors=(cell["model"],),
                data=cell["data"],
                task="regression",
                trials=cell["trials"],
                seed=cell["seed"],
                pruner=cell["pruner"],
                workers=1,
            ),
        )
        begun = time.process_time()
        run_inline(location, experiment_id).storage.close()
        spent = time.process_time() - begun
        reader = Reader(location)
        study = reader.experiment(experiment_id).studies[0]
        reader.close()
        assert study.best is not None
        return {
            "cpu_s": spent,
            "best": study.best.selection_score,
            "held_out": study.best.held_out_score,
            "pruned": study.counts.pruned,
            "failed": study.counts.failed,
        }


def measure(cell: Mapping[str, Any], _: Path) -> dict[str, Any]:
    """`run_cell` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).resolve()), "--cell", json.dumps(dict(cell))],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{HERE}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(model: str, pruner: str, rounds: list[dict[str, dict[str, Any]]]) -> list[Any]:
    """What a pruner did for a model, the mean over data sets and seeds."""
    pairs = [(found["none"], found[pruner]) for found in rounds]
    return [
        f"{model} {pruner}",
        mean(with_["cpu_s"] / none["cpu_s"] for none, with_ in pairs),
        mean(with_["pruned"] for _, with_ in pairs),
        mean(with_["best"] - none["best"] for none, with_ in pairs),
        mean(with_["held_out"] - none["held_out"] for none, with_ in pairs),
        sum(with_["failed"] for _, with_ in pairs),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true", help="one set, one seed, 10 trials")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="N")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each search (40)")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--json", metavar="FILE", default=str(HERE / "results" / "pruning.json"))
    parser.add_argument("--cells", type=Path, default=ROOT / "build" / "bench" / "pruning")
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell is not None:
        print(json.dumps(run_cell(options.cell)))
        return 0
    load = _common.load_average()
    sets, seeds = (SETS[:1], SEEDS[:1]) if options.quick else (options.sets, options.seeds)
    options.cells.mkdir(parents=True, exist_ok=True)
    cells = _cells.Cells(options.cells, options.cells, fresh=options.fresh)
    table = []
    for model in MODELS:
        rounds = []
        for data in sets:
            for seed in seeds:
                how = {"model": model, "data": data, "seed": seed}
                how["trials"] = 10 if options.quick else options.trials
                rounds.append(
                    {
                        pruner: cells.take(
                            f"{model}-{data}-s{seed}-{pruner}", measure, {**how, "pruner": pruner}
                        )
                        for pruner in PRUNERS
                    }
                )
        table += [row(model, pruner, rounds) for pruner in PRUNERS[1:]]
    cells.end()
    head = ["model and pruner", "time", "pruned", "best", "held-out", "failed"]
    print(_common.describe_machine())
    _common.print_table(head, table)
    if not options.quick:
        body = {"columns": head, "rows": table, "cells": cells.taken}
        _common.save(options.json, "pruning", body, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
