"""What our way of training boosted trees saves, and what it costs, library by library.

Three questions, each a ratio of processor time on one thread, of the same parameters and rows:

  binned   a trial on rows that an earlier trial has binned / the same trial with a fold of its own
  followed our rounds, with a deadline, a loss and predictions kept / the library's own loop of
           as many rounds with its early stopping
  bagged   held-out error of five early-stopped fold models, averaged / of the library's estimator
           as it comes out of the box, fitted on all five folds' rows; and how long both take

Rows are Friedman's first function with noise, of which half of the columns tell nothing. The table
shows medians over rounds; every round has other rows.

`make bench ONLY=boosting`, or: python bench/boosting.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import _common
import numpy as np
from sklearn.datasets import make_friedman1

from engines.models.ensemble.declare import MODELS
from engines.models.learner import FoldView, Watch

FOLDS = 5
TEST_ROWS = 4000
FORMS = {spec.name: spec.forms["regression"] for spec in MODELS if spec.reason_missing is None}


def rows_of(rows: int, seed: int) -> tuple[Any, Any, Any, Any]:
    """(X, y, X_test, y_test)."""
    X, y = make_friedman1(rows + TEST_ROWS, 10, noise=1.0, random_state=seed)
    return X[:rows], y[:rows], X[rows:], y[rows:]


def fold(X: Any, y: Any, number: int) -> FoldView:
    """One of `FOLDS` folds; every fifth row validates."""
    valid = np.arange(len(y)) % FOLDS == number
    return FoldView(number, X[~valid], y[~valid], X[valid], y[valid], {}, 0)


def watch() -> Watch:
    """As in a trial: time is limited, and what other folds may ask for is kept."""
    return Watch(time.monotonic() + 3600.0, keeps=True)


def processor_s(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time, and what `work` returned."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def model(library: str) -> Any:
    """An untrained estimator with our defaults."""
    form = FORMS[library]
    return form.load_class()(**form.fixed, **form.defaults, seed=1)


def stock(library: str) -> Any:
    """The library's estimator as it comes out of the box."""
    quiet = {
        "lightgbm": ("LGBMRegressor", {"n_jobs": 1, "verbosity": -1}),
        "xgboost": ("XGBRegressor", {"n_jobs": 1}),
        "catboost": (
            "CatBoostRegressor",
            {"thread_count": 1, "verbose": False, "allow_writing_files": False},
        ),
    }
    name, arguments = quiet[library]
    return getattr(importlib.import_module(library), name)(**arguments)


def own_loop(library: str, view: FoldView, rounds: int) -> Callable[[], Any]:
    """The library's own training of so many rounds, on rows that are binned already."""
    ours = model(library)
    target = ours._target_of(view.y)
    if library == "catboost":
        train, valid = ours._quantised(view, target)
        parameters = {**ours._parameters(target), "iterations": rounds, "od_wait": rounds}
        return lambda: (
            importlib.import_module(library).CatBoost(parameters).fit(train, eval_set=valid)
        )
    train, valid = ours._binned(view, target)
    parameters = ours._parameters(target, len(view.y))
    valid.set_label(target.encode(view.y_valid))
    if library == "xgboost":
        parameters["eval_metric"] = "rmse"
        return lambda: importlib.import_module(library).train(
            parameters,
            train,
            rounds,
            evals=[(valid, "valid")],
            early_stopping_rounds=rounds,
            verbose_eval=False,
        )
    lightgbm = importlib.import_module(library)
    parameters = {**parameters, "metric": "l2"}
    stop = lightgbm.early_stopping(rounds, verbose=False)
    return lambda: lightgbm.train(parameters, train, rounds, valid_sets=[valid], callbacks=[stop])


def measure(library: str, rows: int, seed: int) -> dict[str, float]:
    """One round of the three questions."""
    X, y, X_test, y_test = rows_of(rows, seed)
    view = fold(X, y, 0)
    alone, fitted = processor_s(lambda: model(library).fit_watched(fold(X, y, 0), watch()))
    model(library).fit_watched(view, watch())
    shared, _ = processor_s(lambda: model(library).fit_watched(view, watch()))
    grown: list[int] = []
    counted = Watch(listen=lambda round_, predicted: grown.append(round_), every=1)
    model(library).fit_watched(view, counted)
    native, _ = processor_s(own_loop(library, view, len(grown)))

    folds = [fold(X, y, number) for number in range(FOLDS)]
    bag_s, bag = processor_s(lambda: [model(library).fit_watched(f, watch()) for f in folds])
    stock_s, plain = processor_s(lambda: stock(library).fit(X, y))

    def error(predicted: Any) -> float:
        return float(np.sqrt(np.mean((predicted - y_test) ** 2)))

    return {
        "rounds": fitted.rounds_,
        "binned": shared / alone,
        "followed": shared / native,
        "trial_s": bag_s,
        "stock_s": stock_s,
        "bagged": error(np.mean([one.predict(X_test) for one in bag], axis=0))
        / error(plain.predict(X_test)),
    }


def parse() -> argparse.Namespace:
    """The options, with `--quick` worked in."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--libraries", nargs="+", default=list(FORMS), choices=list(FORMS), metavar="NAME")
    add("--rows", type=int, nargs="+", default=[1000, 8000], metavar="N")
    add("--rounds", type=int, default=5, metavar="N", help="times that a cell is taken (5)")
    add("--quick", action="store_true", help="1,000 rows, twice")
    add("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = [1000], 2
    return options


def main() -> int:
    """Measure, print, save."""
    options = parse()
    load = _common.load_average()
    print(f"boosted trees, processor time on one thread: {_common.describe_machine()}")
    lines = []
    for library in options.libraries:
        for rows in options.rows:
            taken = [measure(library, rows, seed) for seed in range(options.rounds)]
            middle = {key: median(one[key] for one in taken) for key in taken[0]}
            lines.append({"library": library, "rows": rows, **middle, "taken": taken})
    head = ["library", "rows", "rounds", "binned", "followed", "bagged", "trial s", "stock s"]
    keys = ["library", "rows", "rounds", "binned", "followed", "bagged", "trial_s", "stock_s"]
    _common.print_table(head, [[line[key] for key in keys] for line in lines])
    _common.save(options.json, "boosting", {"settings": vars(options), "table": lines}, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
