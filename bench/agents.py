"""Agents that trade: whether they learn, how fast, and what each of their parts does for it.

Parts, each a table of bars:

  control   Rainbow on CartPole-v1, 50,000 steps, three seeds: the mean return of 20 episodes
            without exploration. A check of the algorithm away from any market.
  rainbow   plain DQN, Rainbow, and both with augmented replay on the market whose best policy is
            known, at 10 bp: growth and Sharpe ratio as fractions of the best policy's on 5,000 bars
            of another path, after 3,000 and 10,000 steps, three seeds.
  ablation  Rainbow on that market, plain and with augmented replay, one switch at a time the
            other way, after 3,000 and 5,000 steps.
  learning  the same by the program's own training and declared defaults: SAC, TD3 and Rainbow with
            augmented replay, beside plain DQN, random actions and the toss of a coin.
  race      processor time until 0.9 of the optimum's growth, beside the plain loop of
            stable-baselines3.
  pendulum  SAC and TD3 of this program on Pendulum-v1, beside what is published.

The settings were chosen on other paths and seeds than those reported here: `_agents_control.py`,
`_agents_rainbow.py` and `_agents_ou.py`, which have the parts, say which.

Every cell runs in a process of its own on one thread, and is kept as one JSON under
`bench/results/agents`, so a run that was cut off goes on where it was. A cell is measured again
if its settings changed, or with `--fresh`; where the code has changed since, its row says so.
`--kept` measures nothing and shows what there is.

`make bench ONLY=agents`, or:
python bench/agents.py [PART...] [--seeds N...] [--fresh | --kept] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Before this folder, which has a file of the name `simulator` as well.
sys.path.insert(0, str(ROOT))

import _common  # noqa: E402

MODULES = {
    "control": "_agents_control",
    "rainbow": "_agents_rainbow",
    "ablation": "_agents_rainbow",
    "learning": "_agents_ou",
    "race": "_agents_ou",
    "pendulum": "_agents_ou",
}
PARTS = tuple(MODULES)
LIBRARIES = ("torch", "stable-baselines3")
KEPT = HERE / "results" / "agents"


def module_of(part: str) -> Any:
    """What measures a part: heavy, so imported when it is needed."""
    return importlib.import_module(MODULES[part])


def source_hash() -> str:
    """What the agents and the market looked like."""
    digest = hashlib.blake2b(digest_size=8)
    agents = ROOT / "engines" / "models" / "rl_agents"
    for file in sorted([*agents.glob("*.py"), *(ROOT / "simulator").glob("*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def take(cell: dict[str, Any], fresh: bool, measures: bool) -> dict[str, Any] | None:
    """A cell's document, kept from before or measured now; None if neither is to be."""
    path = KEPT / f"{cell['part']}-{cell['name']}-s{cell['seed']}.json"
    source = source_hash()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    if not fresh and kept.get("cell") == cell:
        return {**kept, "older": kept["source"] != source}
    if not measures:
        return None
    print(f"{cell['part']}: {cell['name']}, seed {cell['seed']}", file=sys.stderr)
    load = _common.load_average()
    versions = _common.versions() | {name: metadata.version(name) for name in LIBRARIES}
    stamp = {"versions": versions, "machine": _common.machine(), "source": source}
    document = {"cell": cell, **stamp, "load": load, "result": _common.run_apart(__file__, cell)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return {**document, "older": False}


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--fresh", action="store_true", help="measure cells again that are there")
    how.add_argument("--kept", action="store_true", help="measure nothing, show what is there")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    add("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return options


def main() -> int:
    """Measure, print, save."""
    options = parse()
    if options.cell is not None:
        cell = json.loads(options.cell)
        print(json.dumps(module_of(cell["part"]).measure(cell)))
        return 0
    load = _common.load_average()
    print(_common.describe_machine())
    rows, documents = [], []
    for part in options.parts or PARTS:
        print(f"\n-- {part}")
        here = module_of(part)
        cells = here.cells_of(part, options.seeds)
        found = [take(cell, options.fresh, not options.kept) for cell in cells]
        taken = [one for one in found if one is not None]
        documents += taken
        rows += here.show(part, taken)
        if len(taken) < len(cells):
            missing = f"{len(cells) - len(taken)} of {len(cells)}"
            rows.append((f"{part}, cells not measured", "", missing, None))
    print()
    _common.print_bars(rows)
    keys = ("cell", "older", "load", "result")
    cells = [{key: one[key] for key in keys} for one in documents]
    _common.save(options.json, "agents", {"table": rows, "cells": cells}, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
