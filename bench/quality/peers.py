"""The peers: each takes training rows and seconds, and returns something that predicts.

None of them sees the test rows. One core and one thread each, by their own options and by the
environment; what a peer does not offer (a mode, a selection score) is None or left out.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quality import spaces, tuned, warm
from quality.data import Absent, Floats

AUTOGLUON = "HYPERION_BENCH_AUTOGLUON"
"""Environment variable: the Python of the environment that AutoGluon is installed in."""

VALIDATION_SHARE = 0.2
SVR_ROWS_IN_A_TRIAL = 5_000
SVR_ROWS_AT_THE_END = 15_000
"""A fit of support vectors costs the square of the rows: a careful person limits them."""


@dataclass
class Fitted:
    """What a peer returns. selection: the best score it tuned on, in units of `metric`.

    fit_s: set by a peer that runs in a process of its own and keeps the clock itself.
    """

    predict: Callable[[Floats], Floats]
    selection: float | None = None
    metric: str | None = None
    chosen: Any = None
    trials: int | None = None
    fit_s: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


Fit = Callable[[Floats, Floats, float, int, str], Fitted]
"""(X, y, seconds, seed, mode) -> fitted."""


# -- untuned ---------------------------------------------------------------------------------


def default(X: Floats, y: Floats, seconds: float, seed: int, mode: str) -> Fitted:
    """The library's own defaults on all rows; LightGBM where any model may be taken."""
    name = "lightgbm" if mode == "any" else mode
    return Fitted(_quietly(spaces.build(name, {}, seed).fit)(X, y).predict, chosen=name)


# -- Optuna ----------------------------------------------------------------------------------


def tpe_stock(X: Floats, y: Floats, seconds: float, seed: int, mode: str) -> Fitted:
    """Stock TPE on one validation split of 20 %, then a refit on all rows.

    `timeout` never stops a running trial and the refit comes after it, so it spends more than
    asked: that is how it is used.
    """
    return _tpe(X, y, seconds, seed, mode)


def tpe_plus(X: Floats, y: Floats, seconds: float, seed: int, mode: str) -> Fitted:
    """The same with what an expert adds (`tuned.py`)."""
    return _tpe(X, y, seconds, seed, mode, expert=True)


def _tpe(
    X: Floats, y: Floats, seconds: float, seed: int, mode: str, *, expert: bool = False
) -> Fitted:
    import optuna
    from sklearn.metrics import r2_score

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    order = np.random.default_rng(seed).permutation(len(y))
    cut = round(len(y) * VALIDATION_SHARE)
    valid, train = order[:cut], order[cut:]

    def objective(trial: Any) -> float:
        name, params = spaces.suggest(trial, mode)
        rows = train[:SVR_ROWS_IN_A_TRIAL] if name == "svr" else train
        if expert:
            parts = (X[rows], y[rows], X[valid], y[valid])
            model, params = tuned.fit_stopped(name, params, seed, parts)
        else:
            model = spaces.build(name, params, seed).fit(X[rows], y[rows])
        trial.set_user_attr("chosen", [name, params])
        return float(r2_score(y[valid], model.predict(X[valid])))

    options: dict[str, Any] = {"multivariate": True, "group": True} if expert else {}
    with warnings.catch_warnings():  # some options of Optuna are called experimental
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed, **options)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    if expert:
        tuned.enqueue(study, mode)
        seconds *= tuned.SEARCH_SHARE
    _quietly(study.optimize)(objective, timeout=seconds, catch=(ValueError,))
    name, params = study.best_trial.user_attrs["chosen"]
    rows = order[:SVR_ROWS_AT_THE_END] if name == "svr" else order
    model = _quietly(spaces.build(name, params, seed).fit)(X[rows], y[rows])
    return Fitted(
        model.predict,
        selection=study.best_value,
        metric="r2",
        chosen={"model": name, **params},
        trials=len(study.trials),
    )


# -- FLAML -----------------------------------------------------------------------------------

FLAML_LEARNERS: dict[str, Any] = {
    "any": "auto",
    "lightgbm": ["lgbm"],
    "xgboost": ["xgboost", "xgb_limitdepth"],
    "random_forest": ["rf"],
}


def flaml(X: Floats, y: Floats, seconds: float, seed: int, mode: str) -> Fitted:
    """Plain FLAML with its own choice of resampling and its own refit."""
    from flaml import AutoML

    automl = AutoML()
    _quietly(automl.fit)(
        X,
        y,
        task="regression",
        metric="rmse",
        time_budget=seconds,
        estimator_list=FLAML_LEARNERS[mode],
        n_jobs=1,
        seed=seed,
        verbose=0,
        log_file_name="",
    )
    return Fitted(
        automl.predict,
        selection=None if automl.best_loss is None else -float(automl.best_loss),
        metric="neg_rmse",
        chosen={"model": automl.best_estimator, **(automl.best_config or {})},
    )


# -- AutoGluon, in its own environment -------------------------------------------------------


def autogluon(
    X: Floats, y: Floats, seconds: float, seed: int, mode: str, preset: str = "medium_quality"
) -> Fitted:
    """AutoGluon by one of its presets, with all of its models but those that need torch.

    Its process is warmed like ours and keeps the clock. It has no seed for its split.
    """
    python = autogluon_python()
    scratch = tempfile.TemporaryDirectory(prefix="hyperion-bench-")
    folder = Path(scratch.name)
    np.savez(folder / "train.npz", X=X, y=y)
    settings = {"seconds": seconds, "seed": seed, "preset": preset}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    process = subprocess.Popen(
        [python, "-m", "quality.autogluon_peer", str(folder)],
        env=os.environ | warm.THREADS | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "log").open("wb"),
        cwd=folder,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(_tail(folder / "log") or "AutoGluon's process ended without a word")
    told = json.loads(answer)

    def predict(X_test: Floats) -> Floats:
        np.save(folder / "test.npy", X_test)
        process.communicate("predict\n")
        if not (folder / "predicted.npy").is_file():
            raise RuntimeError(_tail(folder / "log"))
        # Kept until here, because the models lie in it.
        with scratch:
            return np.asarray(np.load(folder / "predicted.npy"), dtype=np.float64)

    return Fitted(
        predict,
        selection=told["selection"],
        metric="neg_rmse",
        chosen=told["chosen"],
        trials=told["models"],
        fit_s=told["fit_s"],
        extra={"versions": told["versions"], "cpu_s": told["cpu_s"], "preset": preset},
    )


def autogluon_python() -> str:
    """The interpreter of the environment that has AutoGluon. Raises Absent if none is named."""
    python = os.environ.get(AUTOGLUON, "")
    if not Path(python).is_file():
        raise Absent(
            f"AutoGluon's environment is not named: set {AUTOGLUON} to its python "
            "(bench/requirements-quality-autogluon.txt says how to make it)"
        )
    return python


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


# -- ours ------------------------------------------------------------------------------------


def hyperion(X: Floats, y: Floats, seconds: float, seed: int, mode: str) -> Fitted:
    """`HyperparameterOptimizer.fit` and nothing else: its own split, models and ensemble."""
    try:
        from engines import HyperparameterOptimizer
    except ImportError as error:
        raise Absent(f"this Hyperion has no Python face yet ({error})") from error

    optimizer: Any = HyperparameterOptimizer(random_seed=seed, n_jobs=1, storage=None)
    optimizer.fit(
        X, y, time_budget_s=seconds, models="all" if mode == "any" else [mode], task="regression"
    )
    score = optimizer.best_score_
    held_out = getattr(optimizer, "held_out_score_", None)
    return Fitted(
        optimizer.predict,
        selection=None if score is None else float(score),
        metric="r2",
        chosen=getattr(optimizer, "best_params_", None),
        extra={"held_out_score": None if held_out is None else float(held_out)},
    )


PEERS: dict[str, Fit] = {
    "default": default,
    "tpe_stock": tpe_stock,
    "tpe_plus": tpe_plus,
    "flaml": flaml,
    "autogluon": autogluon,
    "autogluon_best": functools.partial(autogluon, preset="best_quality"),
    "hyperion": hyperion,
}
USUAL = ("hyperion", "default", "tpe_stock", "flaml", "autogluon")
TIMELESS = ("default",)
"""Peers for which the seconds mean nothing: one cell stands for all budgets."""


def offers(peer: str, mode: str) -> bool:
    """Whether a peer can be limited to that model."""
    if peer == "flaml":
        return mode in FLAML_LEARNERS
    return mode == "any" or not peer.startswith("autogluon")


def run(
    peer: str, table: tuple[Floats, Floats, Floats], seconds: float, seed: int, mode: str
) -> tuple[Floats, Fitted, dict[str, float]]:
    """(predictions of the test rows, what was fitted, seconds). table: X_train, y_train, X_test.

    All libraries have fitted something before, and so has the peer itself, on 80 rows.
    """
    X, y, X_test = table
    fit = PEERS[peer]
    if peer.startswith("autogluon"):
        autogluon_python()
    warm.libraries()
    if not peer.startswith("autogluon"):  # which warms its own process
        few, target = warm.tiny()
        fit(few, target, 1.0, seed, mode).predict(few)
    cpu, start = warm.cpu_s(), time.perf_counter()
    fitted = fit(X, y, seconds, seed, mode)
    fit_s, cpu_s = time.perf_counter() - start, warm.cpu_s() - cpu
    start = time.perf_counter()
    predicted = np.asarray(fitted.predict(X_test), dtype=np.float64).reshape(-1)
    spent = {
        "fit_s": fit_s if fitted.fit_s is None else fitted.fit_s,
        "cpu_s": float(fitted.extra.pop("cpu_s", cpu_s)),
        "predict_s": time.perf_counter() - start,
    }
    return predicted, fitted, spent


def _quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Peers' own warnings are theirs; they say nothing of the score."""

    def quiet(*words: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*words, **options)

    return quiet


def peak_memory_mib() -> float:
    """Of this process and of the largest of its children."""
    import resource

    unit = 1024 if sys.platform != "darwin" else 1024**2
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose) / unit
