"""What the program costs around the fits: time outside them, and what a second worker brings."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from quality import data, warm
from quality.cells import Cell, Settings
from quality.program import hyperion, write_table
from quality.table import Row, geometric_mean

OVERHEAD, SCALING = "overhead", "scaling"

FIT_S = 0.05
FITS = 5
TRIALS = 500
OUTSIDE = 0.10
OBJECTIVES = ("declared", "custom")

MODELS = ("lightgbm", "xgboost")
SCALING_SETS = ("concrete", "abalone", "california")
SCALING_SECONDS = 20
ROUNDS = 3
GAIN = 1.7
WINDOW = 0.75
"""Share of the time in which trials are counted: the rest may go into a last refit."""


# -- overhead --------------------------------------------------------------------------------

# Loaded by every process of the program, because it is found under this name on PYTHONPATH. It
# makes each fit of one model last exactly as long as it should, and keeps the times of fits and
# predictions, so that all around them is the program's own path.
SLOW_FITS = """
import os, sys, time
from importlib.machinery import PathFinder

MODULE = "sklearn.linear_model._coordinate_descent"


def wrap(function, least_s):
    def timed(*words, **options):
        start = time.perf_counter()
        try:
            return function(*words, **options)
        finally:
            while time.perf_counter() - start < least_s:
                pass
            with open(os.environ["BENCH_TIMES"], "a") as file:
                file.write(f"{least_s > 0:d} {time.perf_counter() - start} {time.time()}\\n")
    return timed


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != MODULE:
            return None
        spec = super().find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            model = module.ElasticNet
            model.fit = wrap(model.fit, float(os.environ["BENCH_FIT_S"]))
            model.predict = wrap(model.predict, 0.0)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder)
"""

OBJECTIVE = """
import os, time


def objective(trial):
    spread = [trial.suggest_float(f"x{{i}}", 1e-8, 10.0, log=True) for i in range(5)]
    whole = [trial.suggest_int(f"n{{i}}", 2, 200, log=True) for i in range(2)]
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    for fold in range({fits}):
        start = time.perf_counter()
        while time.perf_counter() - start < {fit_s}:
            pass
        with open(os.environ["BENCH_TIMES"], "a") as file:
            file.write(f"1 {{time.perf_counter() - start}} {{time.time()}}\\n")
        trial.report(-sum(spread), fold)
        trial.should_prune()
    return -sum(spread) - sum(whole) - (kind == "a")
"""


def overhead_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """A declared model whose fits are slowed down, and a function of the user's own."""
    for seed in options.seeds:
        for objective in OBJECTIVES:
            yield Cell(
                kind=OVERHEAD,
                name=f"{objective}-s{seed}",
                settings={
                    **{"kind": OVERHEAD, "objective": objective, "seed": seed},
                    **{"trials": TRIALS, "fits": FITS, "fit_s": FIT_S},
                },
                limit_s=4 * TRIALS * FITS * FIT_S + 120,
            )


def measure_overhead(settings: Settings, folder: Path) -> dict[str, Any]:
    """Share of the time from the first trial's start to the last one's end that is not in fits."""
    times = folder / "times"
    (folder / "hooks").mkdir()
    (folder / "hooks" / "sitecustomize.py").write_text(SLOW_FITS, encoding="utf-8")
    more = {"BENCH_TIMES": str(times), "BENCH_FIT_S": str(settings["fit_s"])}
    if settings["objective"] == "declared":
        old = os.environ.get("PYTHONPATH")
        more["PYTHONPATH"] = os.pathsep.join([str(folder / "hooks"), *([old] if old else [])])
        selector = ["elastic_net", "--data", "diabetes"]
    else:
        file = folder / "objective.py"
        text = OBJECTIVE.format(fits=settings["fits"], fit_s=settings["fit_s"])
        file.write_text(text, encoding="utf-8")
        selector = [f"{file}:objective"]
    told = hyperion(
        *("run", *selector, "--trials", str(settings["trials"]), "--workers", "1"),
        *("--seed", str(settings["seed"]), "--pruner", "none"),
        folder=folder,
        more=more,
    )
    trials = _trials(told, folder)
    first, last = _span(trials)
    # The best trial is fitted once more after the last one has ended: outside the span.
    lines = [line.split() for line in times.read_text(encoding="utf-8").splitlines()]
    counted = [(kind, float(spent)) for kind, spent, ended in lines if float(ended) <= last]
    inside = math.fsum(spent for _, spent in counted)
    fits = sum(kind == "1" for kind, _ in counted)
    share = 1 - inside / (last - first)
    return {
        "outside_share": share,
        "whole_s": last - first,
        "inside_s": inside,
        "trials": len(trials),
        "fits": fits,
        "fits_after_the_last_trial": sum(kind == "1" for kind, _, _ in lines) - fits,
        "ms_outside_per_trial": 1000 * (last - first - inside) / len(trials),
        "versions": warm.versions(),
        "shown": {"outside": f"{share:.1%}"},
    }


def _summarise_overhead(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows, numbers = [], {}
    for objective in OBJECTIVES:
        shares = [
            document["result"]["outside_share"]
            for document in documents
            if document["cell"]["objective"] == objective and "result" in document
        ]
        if shares:
            numbers[objective] = shares
            rows.append(
                Row(
                    f"outside fit and predict, {TRIALS} trials of five 50 ms fits, {objective}",
                    f"{median(shares):.1%} (max {max(shares):.1%})",
                    f"<= {OUTSIDE:.0%}",
                    median(shares) <= OUTSIDE,
                )
            )
    return {"table": [asdict(row) for row in rows], "outside_share": numbers}


# -- scaling ---------------------------------------------------------------------------------


def scaling_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """One worker and two next to each other; nothing else may run meanwhile."""
    if options.jobs != 1:
        raise SystemExit("bench: scaling needs all cores: leave --jobs out")
    for turn in range(ROUNDS):
        for name in SCALING_SETS:
            for model in MODELS:
                for workers in (1, 2):
                    yield Cell(
                        kind=SCALING,
                        name=f"{model}-{name}-r{turn}-{workers}",
                        settings={
                            **{"kind": SCALING, "model": model, "set": name, "round": turn},
                            **{"workers": workers, "seconds": SCALING_SECONDS},
                        },
                        limit_s=6.0 * SCALING_SECONDS + 60,
                        needs=name,
                        pinned=False,
                    )


def measure_scaling(settings: Settings, folder: Path) -> dict[str, Any]:
    """Trials that ended within a window after the first one began.

    The sampler is `random`: the same trials in the same order, however many workers.
    """
    told = hyperion(
        *("run", settings["model"], "--time", f"{settings['seconds']}s", "--trials", "1000000"),
        *("--workers", str(settings["workers"]), "--seed", str(settings["round"])),
        *("--sampler", "random"),
        *write_table(folder, *data.load(settings["set"])),
        folder=folder,
    )
    trials = _trials(told, folder)
    first, _ = _span(trials)
    window = WINDOW * settings["seconds"]
    counted = sum(_seconds(trial["finished_at"]) - first <= window for trial in trials)
    return {
        "trials": counted,
        "window_s": window,
        "all_trials": len(trials),
        "versions": warm.versions(),
        "shown": {"trials": counted},
    }


def _summarise_scaling(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = {
        (d["cell"]["model"], d["cell"]["set"], d["cell"]["round"], d["cell"]["workers"]): d[
            "result"
        ]["trials"]
        for d in documents
        if "result" in d
    }
    gains: dict[tuple[str, str], list[float]] = {}
    for (model, name, turn, workers), alone in counts.items():
        both = counts.get((model, name, turn, 2))
        if workers == 1 and alone and both is not None:
            gains.setdefault((model, name), []).append(both / alone)
    if not gains:
        return {"table": []}
    lines: list[dict[str, Any]] = [
        {"model": model, "set": name, "gain": median(found), "rounds": len(found)}
        for (model, name), found in gains.items()
    ]
    mean = geometric_mean([line["gain"] for line in lines])
    least = min(lines, key=lambda line: line["gain"])
    row = Row(
        f"trials of two workers by those of one, {len(lines)} pairs of model and set",
        f"{mean:.2f} (least {least['gain']:.2f}: {least['model']}, {least['set']})",
        f">= {GAIN}",
        mean >= GAIN,
    )
    return {"table": [asdict(row)], "gains": lines}


# -- both ------------------------------------------------------------------------------------


def _trials(told: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The trials of the one study that have ended with a value. Raises ValueError without any."""
    found = hyperion("trials", told["studies"][0]["study"], folder=folder)
    ended = [trial for trial in found if trial["state"] in ("complete", "pruned")]
    if not ended:
        raise ValueError(f"no trial has ended: {told['studies'][0]['message']}")
    return ended


def _span(trials: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    return (
        min(_seconds(trial["started_at"]) for trial in trials),
        max(_seconds(trial["finished_at"]) for trial in trials),
    )


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def summarise(kind: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of the table and the numbers behind them."""
    return (_summarise_overhead if kind == OVERHEAD else _summarise_scaling)(documents)
