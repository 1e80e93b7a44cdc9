"""FLAML (Wang, Wu, Weimer and Zhu, "FLAML: a fast and lightweight AutoML library", MLSys 2021).

What to try next, FLAML decides from the trials so far: which learner, by its estimated cost for
improvement, and which parameters, by its local search CFO. So the space below only says what the
parameters of a trial may be. Its bounds are those of FLAML 2.7 or a little wider: there some
depend on the number of rows or columns in ways that a declared space can't say.

A parameter is named `<learner>.<what FLAML calls it>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engines.models.spec import Cost, Form, ModelSpec, Task
from engines.search.space import Choice, Float, Int, Parameter, Space

LEARNERS: Mapping[Task, tuple[str, ...]] = {
    "regression": ("lgbm", "rf", "xgboost", "extra_tree", "xgb_limitdepth", "sgd", "catboost"),
    "classification": (
        *("lgbm", "rf", "xgboost", "extra_tree", "xgb_limitdepth", "sgd", "catboost", "lrl1"),
    ),
}
"""What FLAML takes by itself for a table, in its order. Without catboost installed, the others."""

LEARNER, ROWS, SAMPLE_SIZE = "learner", "rows", "sample_size"
"""Parameters of every trial: the last one where `rows` is `sample`."""


def _grown(most: int = 32768) -> dict[str, Parameter]:
    return {"n_estimators": Int(4, most, log=True, at_most="train_rows")}


_XGBOOST: dict[str, Parameter] = {
    **_grown(),
    "min_child_weight": Float(0.001, 128.0, log=True),
    "learning_rate": Float(1 / 1024, 1.0, log=True),
    "subsample": Float(0.1, 1.0),
    "colsample_bylevel": Float(0.01, 1.0),
    "colsample_bytree": Float(0.01, 1.0),
    "reg_alpha": Float(1 / 1024, 1024.0, log=True),
    "reg_lambda": Float(1 / 1024, 1024.0, log=True),
}
_LEAVES = Int(4, 32768, log=True, at_most="train_rows")


def _forest(task: Task) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {
        **_grown(2048),
        "max_features": Float(0.001, 1.0, log=True),
        "max_leaves": _LEAVES,
    }
    if task == "classification":
        found["criterion"] = Choice(("gini", "entropy"))
    return found


def _sgd(task: Task) -> dict[str, Parameter]:
    losses: tuple[str, ...] = ("log_loss", "modified_huber")
    if task == "regression":
        losses = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
    return {
        "loss": Choice(losses),
        "penalty": Choice(("l1", "l2", "elasticnet", "None")),
        "alpha": Float(1e-7, 0.1, log=True),
        "l1_ratio": Float(1e-9, 1.0, log=True),
        "epsilon": Float(1e-5, 0.1, log=True),
        "learning_rate": Choice(("optimal", "invscaling", "constant")),
        "eta0": Float(1e-7, 0.1, log=True),
        "power_t": Float(1e-5, 1.0),
        "average": Choice((False, True)),
    }


def _parameters(task: Task) -> dict[str, dict[str, Parameter]]:
    """The parameters of each learner, by FLAML's names."""
    found: dict[str, dict[str, Parameter]] = {
        "lgbm": {
            **_grown(),
            "num_leaves": _LEAVES,
            "min_child_samples": Int(2, 128, log=True),
            "learning_rate": Float(1 / 1024, 1.0, log=True),
            "log_max_bin": Int(3, 10, log=True),
            "colsample_bytree": Float(0.01, 1.0),
            "reg_alpha": Float(1 / 1024, 1024.0, log=True),
            "reg_lambda": Float(1 / 1024, 1024.0, log=True),
        },
        "rf": _forest(task),
        "xgboost": {"max_leaves": _LEAVES, **_XGBOOST},
        "extra_tree": _forest(task),
        "xgb_limitdepth": {"max_depth": Int(1, 15), **_XGBOOST},
        "sgd": _sgd(task),
        "catboost": {
            "early_stopping_rounds": Int(10, 150, log=True),
            "learning_rate": Float(0.005, 0.2, log=True),
        },
        "lrl1": {"C": Float(0.03125, 32768.0, log=True)},
    }
    return {learner: found[learner] for learner in LEARNERS[task]}


def _space(task: Task) -> Space:
    parameters: dict[str, Parameter] = {
        LEARNER: Choice(LEARNERS[task]),
        ROWS: Choice(("all", "sample")),
        SAMPLE_SIZE: Int(1, 1_000_000_000, at_most="train_rows", when={ROWS: ("sample",)}),
    }
    for learner, own in _parameters(task).items():
        for name, parameter in own.items():
            parameters[f"{learner}.{name}"] = replace(parameter, when={LEARNER: (learner,)})
    return Space(parameters)


_FIRST = {
    LEARNER: "lgbm",
    ROWS: "all",
    "lgbm.n_estimators": 4,
    "lgbm.num_leaves": 4,
    "lgbm.min_child_samples": 20,
    "lgbm.learning_rate": 0.1,
    "lgbm.log_max_bin": 8,
    "lgbm.colsample_bytree": 1.0,
    "lgbm.reg_alpha": 1 / 1024,
    "lgbm.reg_lambda": 1.0,
}
"""What FLAML tries first, whatever the data: it begins with the cheapest model it knows."""


def _form(task: Task, build: str) -> Form:
    return Form(
        build=f"engines.models.automl.learner:{build}",
        space=_space(task),
        defaults=_FIRST,
        cost=Cost(0.004, rows=0.5, columns=0.5),
        seed_argument="seed",
        columns="numbers",
        # As high as LightGBM's, which it has among its learners; a first trial is a trifle.
        prior=1.0,
    )


MODELS = (
    ModelSpec(
        name="flaml",
        family="automl",
        summary="FLAML chooses learner and parameters, cheap ones first",
        package="flaml",
        install='pip install "hyperion-tui[automl]"',
        # The first dozen are models of four trees or so.
        trials=40,
        sequential=True,
        forms={
            "regression": _form("regression", "FlamlRegressor"),
            "classification": _form("classification", "FlamlClassifier"),
        },
    ),
)
