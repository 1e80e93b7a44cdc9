"""Objectives that the bench of supervision lets the program run, and the stock way to run one.

`python bench/_objective.py FILE` runs the same function with Optuna's own storage until it is
killed.
"""

import sys
import time

import optuna

from engines.run.checkpoints import Checkpoint

SHORT_S = 0.2
LONG_S = 1.0
EPOCH_S = 0.5
EPOCHS = 8


def short(trial):
    """A trial of a fifth of a second, reporting on its way."""
    x = trial.suggest_float("x", 0.0, 1.0)
    for step in range(4):
        time.sleep(SHORT_S / 4)
        trial.report(x, step)
    return x


def long(trial):
    """A trial of a second."""
    time.sleep(LONG_S)
    return trial.suggest_float("x", 0.0, 1.0)


def epochs(trial):
    """A trial of several seconds that saves its state and reports after every epoch."""
    x = trial.suggest_float("x", 0.0, 1.0)
    checkpoint = Checkpoint(trial)
    first = 0 if checkpoint.step is None else checkpoint.step + 1
    for step in range(first, EPOCHS):
        time.sleep(EPOCH_S)
        checkpoint.saved(step)
        trial.report(x, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


def tell_first(trial):
    """`short`, telling whoever started this process that it is at work."""
    if not TOLD:
        TOLD.append(True)
        print("ready", flush=True)
    return short(trial)


TOLD: list[bool] = []

if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(
        study_name="s", storage=f"sqlite:///{sys.argv[1]}", load_if_exists=True
    ).optimize(tell_first)
