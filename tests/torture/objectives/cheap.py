"""An objective that costs next to nothing and notes everything it is told and tells."""

import math
import os
import random
import time

from sitecustomize import note

LONGEST_S = float(os.environ.get("HYPERION_TORTURE_LONGEST_S", "0.05"))
HURRY = os.path.join(os.environ["HYPERION_TORTURE_RECORD"], "hurry")


def objective(trial):
    who = {"trial": trial._trial_id, "number": trial.number, "study": trial.study.study_name}
    note("began", **who)
    x = trial.suggest_float("x", -3.0, 3.0)
    y = trial.suggest_int("y", 1, 9)
    kind = trial.suggest_categorical("kind", ["sine", "cosine", "tangent"])
    # The same trial takes the same time again, so that a put back one can be caught again.
    length = random.Random(trial.number).uniform(0.0, LONGEST_S)
    reports = {}
    for step in range(1, 4):
        reports[step] = x / step
        trial.report(reports[step], step)
        if not os.path.exists(HURRY):
            time.sleep(length / 3)
    turn = {"sine": math.sin, "cosine": math.cos, "tangent": math.tan}[kind]
    value = turn(x * y) / (1.0 + abs(x))
    note("ran", **who, params=trial.params, reports=reports, value=value)
    return value
