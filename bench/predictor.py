"""What the predictor that `fit` takes home gains by training again on all rows, way by way.

A search with some seconds ends with members: kept trials and their weights. Each is then trained
in every way there is, however long that takes, and the weighted mean is scored on a quarter of the
rows that none has seen:

  search     the fold models of the search, which have not seen the held-out rows
  one        one model of all rows, with the rounds that the folds found
  four       four of them, a seed each
  folds      the folds trained again, over all rows
  home       what `fit` takes home without a limit (engines/run/final.py)

The table shows RMSE by that of `search`, the geometric mean over sets and seeds, and the seconds
that each way takes by those that the members took in the search.

`make bench ONLY=predictor`, or: python bench/predictor.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import _common
import numpy as np
from quality import data, warm

from engines import HyperparameterOptimizer
from engines.models.evaluation import Evaluation, mean_rounds
from engines.run import final
from engines.run.context import Context
from engines.run.settle import load_or_refit
from engines.search.seeds import derive
from engines.study.location import locate

WAYS = ("search", "one", "four", "folds", "home")
SETS = ("diabetes", "concrete", "airfoil", "abalone", "communities")
MODES = ("all", "lightgbm", "xgboost", "random_forest")
Floats = data.Floats


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--modes", nargs="+", default=list(MODES), metavar="MODEL", help="all, or one model")
    add("--sets", nargs="+", default=list(SETS), choices=data.SOURCES, metavar="SET")
    add("--seeds", nargs="+", type=int, default=[0, 1], metavar="N")
    add("--seconds", type=float, default=8.0, metavar="S", help="of the search (8)")
    add("--quick", action="store_true", help="two small sets, one seed, 4 s")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.seeds, options.seconds = ["diabetes", "concrete"], [0], 4.0
    return options


def measure(mode: str, name: str, seed: int, seconds: float) -> dict[str, Any]:
    """RMSE and seconds of every way, for the members of one search."""
    X, y, X_test, y_test = data.split(*data.load(name), seed)
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as folder:
        store = str(Path(folder) / "studies.db")
        optimizer = HyperparameterOptimizer(random_seed=seed, storage=store)
        optimizer.fit(X, y, time_budget_s=seconds, models=mode, task="regression")
        experiment = optimizer._experiment
        assert experiment is not None
        context = Context(locate(store), experiment.experiment_id, 0)
        found = {way: np.zeros(len(y_test)) for way in WAYS}
        spent = dict.fromkeys(WAYS, 0.0)
        chosen = final._chosen(context, experiment)
        for weight, trial in chosen:
            spent["search"] += trial.duration_s
            for way, (predicted, took) in ways(context, trial, X_test).items():
                found[way] += weight * predicted
                spent[way] += took
        begun = time.perf_counter()
        found["home"] = final.final_predictor(context, experiment, None).predict(X_test)
        spent["home"] = time.perf_counter() - begun
        context.storage.close()
    error = {way: float(np.sqrt(np.mean((found[way] - y_test) ** 2))) for way in WAYS}
    members = [{"model": trial.model, "weight": weight} for weight, trial in chosen]
    settings = {"mode": mode, "set": name, "seed": seed}
    return {**settings, "members": members, "rmse": error, "seconds": spent}


def ways(context: Context, trial: Any, X: Floats) -> dict[str, tuple[Floats, float]]:
    """(predictions, seconds of training) of a trial trained in each way but the last."""
    form, params = context.form(trial.model), final._params(context, trial)
    rows, rounds = np.arange(len(context.data.y)), mean_rounds(trial.metrics)
    seeds = [trial.seed, *(derive(trial.seed, number) for number in range(1, 4))]
    begun = time.perf_counter()
    models = [context.trainer.refit(form, params, seed, rows, rounds) for seed in seeds]
    one_s = (time.perf_counter() - begun) / len(seeds)
    begun = time.perf_counter()
    again = Evaluation(final._over_all_rows(context), form, params, trial.seed)
    list(again.scores())
    folds_s = time.perf_counter() - begun

    def mean(models: list[Any]) -> Floats:
        return np.asarray(np.mean([model.predict(X) for model in models], axis=0))

    return {
        "search": (mean(load_or_refit(context, trial)), 0.0),
        "one": (mean(models[:1]), one_s),
        "four": (mean(models), one_s * len(seeds)),
        "folds": (mean(again.models), folds_s),
    }


def middle(lines: list[dict[str, Any]], key: str, way: str) -> float:
    """The geometric mean of a way by the search."""
    return math.exp(fmean(math.log(line[key][way] / line[key]["search"]) for line in lines))


def main() -> int:
    """Measure, print, save."""
    options = parse()
    load = _common.load_average()
    print(f"training again on all rows, by the models of the search: {_common.describe_machine()}")
    warm.libraries()
    taken = []
    for mode in options.modes:
        for name in options.sets:
            for seed in options.seeds:
                taken.append(measure(mode, name, seed, options.seconds))
    rows = []
    for mode in options.modes:
        lines = [line for line in taken if line["mode"] == mode]
        for key in ("rmse", "seconds"):
            shown = [middle(lines, key, way) for way in WAYS[1:]]
            rows.append([f"{mode}: {key}", len(lines), *shown])
    _common.print_table(["models", "searches", *WAYS[1:]], rows)
    _common.save(options.json, "predictor", {"settings": vars(options), "taken": taken}, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
