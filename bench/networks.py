"""What networks cost beside plain torch, what a training costs at least, and how they forecast.

Three parts, each a table of bars:

  loop   processor time of an epoch of our training loop / of a bare loop of the same model: the
         same batches, fused AdamW, and clipped gradients. That one is held to the bar; a loop that
         does not clip, and trains another way for it, is shown beside it. Weights are kept after
         every epoch, as a training does; rows that stop a training are left out. Models have their
         default sizes, with dropout, on 10 columns and 24 or 48 rows of a window, batches of 64.
  fixed  wall-clock time of the smallest `fit` there is, in a process that has trained before:
         the network and the optimiser are built, one step is taken on two rows, the weights are
         kept. `cold` is the first `fit` of a process and `import` what comes before it, both in
         processor time: `LOADING_S` of engines/search/allocation.py is their sum;
         `64 rows` a network built and one step of a whole batch, of which most is the step.
  etth1  ETTh1 at 336 -> 96 by the published protocol (tests/contract/etth1.py has the protocol and
         the settings): errors on all 2,785 test windows, seed 1. The tests run some of the same
         (tests/contract/test_etth1.py). The file is not in the repository; HYPERION_ETTH1 says
         where it is. All runs take some ten minutes of one core.

Every cell runs in a process of its own on one thread, and is kept as one JSON in the cells folder,
so a run that was cut off goes on where it was. A cell of `etth1` that is there is not trained
again unless its settings changed; where the code has changed since, its row says `older code`.
`--fresh` measures all again.

`make bench ONLY=networks`, or: python bench/networks.py [--only PART...] [--runs NAME...] [--quick]
[--fresh] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import _common

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

Row = tuple[str, str, str, bool | None]
"""What, its bar, what was measured, and whether it holds (None: no bar, or not measured)."""

PARTS = ("loop", "fixed", "etth1")
PYTORCH, ADVANCED = "engines.models.pytorch.estimators", "engines.models.advanced.estimators"
MODELS = {
    **dict.fromkeys(("SimpleMLP", "DeepMLP", "LSTM", "CNN"), PYTORCH),
    **dict.fromkeys(("DLinear", "NLinear", "PatchTST", "Transformer", "TFT"), ADVANCED),
}
LOOPED = {
    **{"SimpleMLP": 10_000, "LSTM": 2_000, "CNN": 2_000},
    **{"PatchTST": 1_000, "Transformer": 2_000, "TFT": 1_000},
}
"""The models whose loop is measured, and the rows of an epoch: some 0.1 to 1 s of one core."""

MOST_RATIO = 1.1
MOST_MS = {name: 60.0 if name == "TFT" else 30.0 for name in MODELS}
COLUMNS, BATCH = 10, 64


# -- loop: an epoch of ours, and of a bare loop ----------------------------------------------


def measure_loop(cell: dict[str, Any]) -> dict[str, Any]:
    """Processor seconds of an epoch, our way and two bare ways, round by round."""
    import torch

    from engines.models.networks.training import Schedule, Training

    rows, loss = rows_for(cell["model"], LOOPED[cell["model"]]), torch.nn.functional.mse_loss
    schedule = Schedule(learning_rate=1e-3, batch=BATCH, epochs=10**6, weight_decay=1e-4)
    training = Training(network_of(cell["model"]), loss, rows, None, schedule, 1)
    ways: dict[str, Callable[[], Any]] = {
        "ours": training.advance,
        "clipping": bare_epoch(network_of(cell["model"]), rows, schedule, clip=True),
        "not clipping": bare_epoch(network_of(cell["model"]), rows, schedule, clip=False),
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(-1, cell["rounds"]):
        # Whoever comes first in a round finds other things in the caches: they take turns.
        names = list(ways)
        for way in names[number % 3 :] + names[: number % 3]:
            seconds = processor_s(ways[way])
            if number >= 0:
                spent[way].append(seconds)
    pairs = {way: list(zip(spent["ours"], spent[way], strict=True)) for way in ways}
    return {
        "steps": -(-len(rows) // BATCH),
        "epoch_ms": {way: 1000 * median(seconds) for way, seconds in spent.items()},
        "ratio": {way: median(a / b for a, b in pairs[way]) for way in ways},
    }


def bare_epoch(network: Any, rows: Any, schedule: Any, *, clip: bool) -> Callable[[], None]:
    """The loop that anybody would write."""
    import torch

    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,
    )

    def epoch() -> None:
        network.train()
        for index in torch.randperm(len(rows.x)).split(schedule.batch):
            optimiser.zero_grad()
            loss = torch.nn.functional.mse_loss(network(rows.x[index]), rows.y[index])
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
            optimiser.step()

    return epoch


def rows_for(model: str, count: int) -> Any:
    """Random rows, or windows of them as the estimator has them: views of one series."""
    import torch

    from engines.models.networks.training import Rows
    from engines.models.networks.windows import windows

    estimator, random = build(model), torch.Generator().manual_seed(1)
    context = getattr(estimator, "context_length", 1)
    series = torch.randn(count + context - 1, COLUMNS, generator=random)
    y = torch.randn(count, 1, 1, generator=random)
    return Rows(windows(series, context), y) if context > 1 else Rows(series, y[:, 0])


def build(model: str, **more: Any) -> Any:
    """The regressor of a model with its defaults."""
    return getattr(importlib.import_module(MODELS[model]), f"{model}Regressor")(
        device="cpu", **more
    )


def network_of(model: str) -> Any:
    """Its network, the same weights every time."""
    import torch

    torch.manual_seed(1)
    return build(model)._network(COLUMNS, 1)


def processor_s(work: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


# -- fixed: the smallest training ------------------------------------------------------------


def measure_fixed(cell: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of the first `fit` of a process, and of those after it."""
    import numpy as np

    # What a worker has loaded before its first trial.
    importlib.import_module("engines.models.fit")
    begun = time.process_time()
    estimator = build(cell["model"], max_epochs=1)
    imported = time.process_time() - begun
    count = getattr(estimator, "context_length", 1) + 1
    random = np.random.default_rng(1)
    X, y = random.standard_normal((count, COLUMNS)), random.standard_normal(count)

    def smallest() -> None:
        build(cell["model"], max_epochs=1).fit(X, y)

    cold = processor_s(smallest)
    walls, processor = [], []
    for _ in range(cell["rounds"]):
        before = time.process_time()
        walls.append(wall_ms(smallest))
        processor.append(1000 * (time.process_time() - before))
    batches = [wall_ms(one_batch(cell["model"])) for _ in range(cell["rounds"])]
    return {
        "import_ms": 1000 * imported,
        "cold_ms": 1000 * cold,
        "wall_ms": median(walls),
        "cpu_ms": median(processor),
        "batch_ms": median(batches),
    }


def one_batch(model: str) -> Callable[[], None]:
    """A network built, and one step of 64 rows."""
    import torch

    from engines.models.networks.training import Schedule, Training

    rows = rows_for(model, BATCH)

    def work() -> None:
        schedule = Schedule(learning_rate=1e-3, batch=BATCH, epochs=1)
        loss = torch.nn.functional.mse_loss
        Training(network_of(model), loss, rows, None, schedule, 1).advance()

    return work


def wall_ms(work: Callable[[], Any]) -> float:
    """Milliseconds by the clock."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


# -- etth1: one training by the published protocol -------------------------------------------


def measure_etth1(cell: dict[str, Any]) -> dict[str, Any]:
    """Errors on the test windows."""
    import torch

    from tests.contract import etth1

    torch.set_num_threads(1)
    series = etth1.read(etth1.find_file())
    if cell["run"] in etth1.NAIVE:
        rows = etth1.cut(series).test
        predicted = etth1.NAIVE[cell["run"]](rows)
        return {"mse": etth1.mse(predicted, rows), "mae": etth1.mae(predicted, rows)}
    epochs: list[dict[str, float]] = []

    def told(training: Any, seconds: float) -> None:
        epochs.append({"valid_mse": round(training.loss_now, 4), "cpu_s": round(seconds, 1)})
        print(f"  {cell['run']}, epoch {training.epoch}: {epochs[-1]}", file=sys.stderr)

    found = etth1.train(etth1.RUNS[cell["run"]], series, seed=1, told=told)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**found, "peak_mb": round(peak), "by_epoch": epochs}


MEASURES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "loop": measure_loop,
    "fixed": measure_fixed,
    "etth1": measure_etth1,
}


# -- cells -----------------------------------------------------------------------------------


def cells_of(part: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The cells of a part, with all that their numbers depend on beside the code."""
    if part == "loop":
        return [{"part": part, "model": m, "rounds": options.rounds} for m in LOOPED]
    if part == "fixed":
        return [{"part": part, "model": m, "rounds": 3 * options.rounds} for m in MODELS]
    from tests.contract import etth1

    cells: list[dict[str, Any]] = [{"part": part, "run": name} for name in etth1.NAIVE]
    for name, run in etth1.RUNS.items():
        if run.quick or not options.quick:
            cells.append({"part": part, "run": name, "settings": run.described()})
    return [cell for cell in cells if options.runs is None or cell["run"] in options.runs]


def source_hash(part: str) -> str:
    """What the networks, their loop and what measures them looked like."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in ("networks", "pytorch", "advanced"):
        for file in sorted((ROOT / "engines" / "models" / folder).glob("*.py")):
            digest.update(file.read_bytes())
    if part == "etth1":
        from tests.contract import etth1

        # Not the whole file: the settings of one run are nothing to another.
        for step in (etth1.read, etth1.cut, etth1.train):
            digest.update(inspect.getsource(step).encode())
    else:
        digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def take(cell: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """A cell's document, kept from before or measured now."""
    name = cell.get("model") or cell["run"].replace(" ", "_").replace(",", "")
    path = options.cells / f"{cell['part']}-{name}.json"
    stamp = {
        "versions": _common.versions(),
        "machine": _common.machine(),
        "source": source_hash(cell["part"]),
    }
    kept = None if options.fresh else _common.read_cell(path)
    # Training takes minutes, and most changes of the code move no error.
    must_be = {"cell": cell} | ({} if cell["part"] == "etth1" else stamp)
    if kept is not None and all(kept[key] == value for key, value in must_be.items()):
        return kept | {"older": kept["source"] != stamp["source"]}
    print(f"{cell['part']}: {name}", file=sys.stderr)
    load = _common.load_average()
    document = {
        "cell": cell,
        **stamp,
        "load": load,
        "result": _common.run_apart(__file__, cell),
        "older": False,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


# -- tables ----------------------------------------------------------------------------------


def show_loop(taken: list[dict[str, Any]]) -> list[Row]:
    """Times of an epoch, and the ratios that are held to a bar."""
    lines, rows = [], []
    for one in taken:
        model, found = one["cell"]["model"], one["result"]
        times, ratio = found["epoch_ms"], found["ratio"]
        lines.append([model, found["steps"], *times.values()])
        lines[-1] += [ratio["clipping"], ratio["not clipping"]]
        text = f"{ratio['clipping']:.3f} x"
        held = ratio["clipping"] <= MOST_RATIO
        rows.append((f"epoch over a bare loop that clips, {model}", "<= 1.1 x", text, held))
    head = ["epoch", "steps", "ours, ms", "bare, clips", "bare, does not"]
    _common.print_table([*head, "ours / clips", "ours / does not"], lines)
    return rows


def show_fixed(taken: list[dict[str, Any]]) -> list[Row]:
    """Times of the smallest training."""
    lines, rows = [], []
    keys = ("wall_ms", "cpu_ms", "batch_ms", "cold_ms", "import_ms")
    for one in taken:
        model, found = one["cell"]["model"], one["result"]
        lines.append([model, *(found[key] for key in keys)])
        bar, wall = MOST_MS[model], found["wall_ms"]
        rows.append((f"fixed cost, {model}", f"<= {bar:.0f} ms", f"{wall:.1f} ms", wall <= bar))
    _common.print_table(["fit", "wall, ms", "CPU", "64 rows", "cold", "import"], lines)
    return rows


def show_etth1(taken: list[dict[str, Any]]) -> list[Row]:
    """Errors on the test windows."""
    from tests.contract import etth1

    lines, rows = [], []
    keys = ("mse", "mae", "valid_mse", "best_epoch", "epochs", "cpu_s", "peak_mb")
    for one in taken:
        name, found = one["cell"]["run"], one["result"]
        older = "older code" if one["older"] else ""
        lines.append([name, *(found.get(key) for key in keys), older])
        low, high = etth1.BARS[name]
        bar = f"<= {high:.3f}" if low is None else f"{low:g} to {high:g}"
        held = (low or 0.0) <= found["mse"] <= high
        rows.append((f"ETTh1 336 -> 96, MSE, {name}", bar, f"{found['mse']:.4f}", held))
    head = ["ETTh1", "MSE", "MAE", "validation", "best epoch", "epochs", "CPU s", "peak MB", ""]
    _common.print_table(head, lines)
    return rows


SHOWN = {"loop": show_loop, "fixed": show_fixed, "etth1": show_etth1}


def why_not(part: str) -> str | None:
    """Why a part cannot be measured here, in a sentence."""
    try:
        importlib.import_module("torch")
    except ImportError:
        return "torch is not installed"
    if part == "etth1":
        from tests.contract import etth1

        try:
            etth1.find_file()
        except etth1.Missing as error:
            return str(error)
    return None


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--only", nargs="+", default=PARTS, choices=PARTS, metavar="PART")
    add("--runs", nargs="+", metavar="NAME", help="of etth1: these alone")
    add("--rounds", type=int, default=9, metavar="N", help="epochs of each loop (9)")
    add("--quick", action="store_true", help="5 rounds; of etth1 what takes seconds")
    add("--fresh", action="store_true", help="measure cells again that are there already")
    add("--cells", type=Path, default=ROOT / "build" / "bench" / "networks", metavar="DIR")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    add("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds = 5
    return options


def main() -> int:
    """Measure, print, save."""
    options = parse()
    if options.cell is not None:
        cell = json.loads(options.cell)
        print(json.dumps(MEASURES[cell["part"]](cell)))
        return 0
    load = _common.load_average()
    print(_common.describe_machine())
    rows: list[Row] = []
    documents: list[dict[str, Any]] = []
    for part in options.only:
        print(f"\n-- {part}")
        reason = why_not(part)
        if reason is not None:
            print(reason)
            rows.append((part, "", "not measured", None))
            continue
        taken = [take(cell, options) for cell in cells_of(part, options)]
        documents += taken
        rows += SHOWN[part](taken)
    print()
    _common.print_bars(rows)
    keys = ("cell", "older", "load", "result")
    cells = [{key: one[key] for key in keys} for one in documents]
    _common.save(options.json, "networks", {"table": rows, "cells": cells}, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
