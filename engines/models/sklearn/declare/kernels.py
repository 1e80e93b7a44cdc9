"""Kernels, neighbours and the small network of scikit-learn, as data.

Columns and the target of a regression are standardised; `gamma` is in units of 1 / (columns x
variance), and `relevance` stretches the columns that matter, so that one set of parameters means
the same on 1 column and on 200. The ranges contain those of auto-sklearn and hyperopt-sklearn
where these are valid. Rows are capped so that one fit ends within about ten seconds.
"""

from __future__ import annotations

from typing import Any

from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Derived, Float, Int, Parameter, Space

_MACHINES = "engines.models.sklearn.kernels"
_NEIGHBORS = "engines.models.sklearn.neighbors"
_PROCESSES = "engines.models.sklearn.gaussian"
_NETWORKS = "engines.models.sklearn.mlp"

_RELEVANCE = Float(0.0, 1.5)
_WEIGHTS = Choice((None, "balanced"))

_CURVED = ("rbf", "poly", "sigmoid")
_KERNEL: dict[str, Parameter] = {
    "kernel": Choice(("rbf", "linear", "poly", "sigmoid")),
    "gamma": Float(2**-10, 2**6, log=True, when={"kernel": _CURVED}),
    "degree": Int(2, 4, when={"kernel": ("poly",)}),
    "coef0": Float(-1.0, 1.0, when={"kernel": ("poly", "sigmoid")}),
    "relevance": _RELEVANCE,
}
_C = Float(2**-5, 2**15, log=True)


def _rbf(gamma: float, relevance: float, **rest: float | None) -> dict[str, Any]:
    return {"kernel": "rbf", "gamma": gamma, "relevance": relevance, **rest}


# The points are greedy choices from a grid of C, gamma, epsilon and relevance over 21 public
# regressions (UCI, KEEL, ISLP; 100 to 350 rows each), each for the error that those before it
# leave; cheap ones first. Those of classification: 5 tables of two classes, same method.
_SVR = (
    _rbf(0.25, 1.0, C=8.0, epsilon=0.02),
    _rbf(1.0, 0.5, C=2.0, epsilon=0.25),
    _rbf(0.25, 1.5, C=2.0, epsilon=0.25),
    _rbf(1.0, 1.0, C=8.0, epsilon=0.25),
    _rbf(1.0, 0.5, C=32.0, epsilon=0.02),
    _rbf(0.25, 1.0, C=128.0, epsilon=0.02),
    _rbf(0.5, 1.5, C=128.0, epsilon=0.02),
)
_SVC = (
    _rbf(0.5, 0.5, C=16.0, class_weight=None),
    _rbf(2.0, 0.0, C=1.0, class_weight=None),
    _rbf(0.25, 1.0, C=64.0, class_weight=None),
    _rbf(0.5, 1.0, C=64.0, class_weight=None),
)
_NU_SVR = (
    _rbf(0.25, 1.0, C=8.0, nu=0.6),
    _rbf(1.0, 0.5, C=2.0, nu=0.5),
    _rbf(1.0, 0.5, C=32.0, nu=0.8),
    _rbf(0.25, 1.0, C=128.0, nu=0.8),
)

SUPPORT_VECTORS = (
    ModelSpec(
        name="svr",
        family="sklearn",
        summary="support vectors with a kernel: strong on small data",
        forms={
            "regression": Form(
                build=f"{_MACHINES}:SupportVectorRegressor",
                columns="scaled",
                space=Space({"C": _C, "epsilon": Float(1e-3, 1.0, log=True), **_KERNEL}),
                defaults=_SVR[0],
                portfolio=_SVR[1:],
                cost=Cost(0.1, 1.3, 0.1),
                most_rows=8_000,
                prior=0.5,
            ),
            "classification": Form(
                build=f"{_MACHINES}:SupportVectorClassifier",
                columns="scaled",
                space=Space({"C": _C, "class_weight": _WEIGHTS, **_KERNEL}),
                defaults=_SVC[0],
                portfolio=_SVC[1:],
                cost=Cost(0.14, 0.9, 0.3),
                most_rows=8_000,
                prior=0.5,
            ),
        },
    ),
    ModelSpec(
        name="nu_svr",
        family="sklearn",
        summary="support vectors by their share instead of a tube",
        forms={
            "regression": Form(
                build=f"{_MACHINES}:NuSupportVectorRegressor",
                columns="scaled",
                space=Space({"C": _C, "nu": Float(0.05, 0.95), **_KERNEL}),
                defaults=_NU_SVR[0],
                portfolio=_NU_SVR[1:],
                cost=Cost(0.14, 1.3, 0.3),
                most_rows=8_000,
                prior=0.2,
            ),
            # nu is a share of the largest that the classes' sizes allow.
            "classification": Form(
                build=f"{_MACHINES}:NuSupportVectorClassifier",
                columns="scaled",
                space=Space({"nu": Float(0.05, 0.95), **_KERNEL}),
                defaults=_rbf(0.25, 0.5, nu=0.5),
                portfolio=(_rbf(0.25, 0.5, nu=0.1), _rbf(1.0, 0.5, nu=0.5)),
                cost=Cost(0.12, 1.1, 0.3),
                most_rows=8_000,
                prior=0.2,
            ),
        },
    ),
    ModelSpec(
        name="linear_svr",
        family="sklearn",
        summary="linear, errors within a tube cost nothing",
        forms={
            "regression": Form(
                build=f"{_MACHINES}:BoundedLinearSVR",
                columns="scaled",
                seed_argument="random_state",
                fixed={"dual": "auto"},
                space=Space(
                    {
                        "C": Float(2**-10, 2**10, log=True),
                        "epsilon": Float(1e-4, 1.0, log=True),
                        "loss": Choice(("epsilon_insensitive", "squared_epsilon_insensitive")),
                    }
                ),
                defaults={"C": 1.0, "epsilon": 0.1, "loss": "squared_epsilon_insensitive"},
                cost=Cost(0.0012, 0.9, 0.9),
                most_rows=200_000,
                prior=0.08,
            ),
            # l1 goes with the squared loss only.
            "classification": Form(
                build=f"{_MACHINES}:BoundedLinearSVC",
                columns="scaled",
                seed_argument="random_state",
                fixed={"dual": "auto"},
                space=Space(
                    {
                        "C": Float(2**-10, 2**10, log=True),
                        "loss": Choice(("squared_hinge", "hinge")),
                        "penalty": Choice(("l2", "l1"), when={"loss": ("squared_hinge",)}),
                        "class_weight": _WEIGHTS,
                    }
                ),
                defaults={
                    "C": 0.1,
                    "loss": "squared_hinge",
                    "penalty": "l2",
                    "class_weight": None,
                },
                cost=Cost(0.0025, 0.9, 0.9),
                most_rows=200_000,
                prior=0.1,
            ),
        },
    ),
    ModelSpec(
        name="kernel_ridge",
        family="sklearn",
        summary="ridge in a kernel's space: smooth, for small data",
        forms={
            "regression": Form(
                build=f"{_MACHINES}:ScaledKernelRidge",
                columns="scaled",
                space=Space(
                    {
                        "alpha": Float(1e-6, 10.0, log=True),
                        "kernel": Choice(("rbf", "laplacian", "poly", "linear")),
                        "gamma": Float(
                            1e-4, 10.0, log=True, when={"kernel": ("rbf", "laplacian", "poly")}
                        ),
                        "degree": Int(2, 3, when={"kernel": ("poly",)}),
                        "coef0": Float(0.0, 1.0, when={"kernel": ("poly",)}),
                        "relevance": _RELEVANCE,
                    }
                ),
                defaults=_rbf(0.25, 1.0, alpha=0.003),
                portfolio=(
                    _rbf(0.5, 1.0, alpha=0.003),
                    {"kernel": "laplacian", "gamma": 0.5, "relevance": 0.5, "alpha": 0.1},
                    {"kernel": "laplacian", "gamma": 0.25, "relevance": 0.5, "alpha": 0.3},
                ),
                cost=Cost(0.05, 2.0, 0.2),
                most_rows=6_000,
                prior=0.4,
            ),
        },
    ),
)

_NEIGHBOURHOOD: dict[str, Parameter] = {
    "n_neighbors": Int(1, 100, log=True, at_most="train_rows"),
    "weights": Choice(("uniform", "distance")),
    "p": Choice((1, 2)),
    "relevance": _RELEVANCE,
}
_RADIUS: dict[str, Parameter] = {
    "n_neighbors": Int(5, 50, log=True, at_most="train_rows"),
    "quantile": Float(0.05, 0.95),
    "weights": Choice(("uniform", "distance")),
    "p": Choice((1, 2)),
}


def _k(n: int, p: int, relevance: float) -> dict[str, Any]:
    return {"n_neighbors": n, "weights": "distance", "p": p, "relevance": relevance}


NEIGHBORS = (
    ModelSpec(
        name="k_neighbors",
        family="sklearn",
        summary="the mean, or the vote, of the nearest rows",
        forms={
            "regression": Form(
                build=f"{_NEIGHBORS}:StretchedNeighborsRegressor",
                columns="scaled",
                space=Space(_NEIGHBOURHOOD),
                defaults=_k(5, 2, 1.0),
                portfolio=(_k(20, 1, 1.0), _k(5, 1, 1.0), _k(12, 1, 0.5)),
                cost=Cost(0.03, 0.5, 0.5),
                most_rows=30_000,
                prior=0.2,
            ),
            "classification": Form(
                build=f"{_NEIGHBORS}:StretchedNeighborsClassifier",
                columns="scaled",
                space=Space(_NEIGHBOURHOOD),
                defaults=_k(20, 2, 1.0),
                portfolio=(_k(3, 1, 0.5), _k(20, 1, 0.0)),
                cost=Cost(0.1, 0.3, 0.3),
                most_rows=30_000,
                prior=0.2,
            ),
        },
    ),
    ModelSpec(
        name="radius_neighbors",
        family="sklearn",
        summary="the mean, or the vote, of all rows within reach",
        forms={
            "regression": Form(
                joint=True,
                build=f"{_NEIGHBORS}:ReachingNeighborsRegressor",
                columns="scaled",
                space=Space(_RADIUS),
                defaults={"n_neighbors": 10, "quantile": 0.5, "weights": "distance", "p": 2},
                cost=Cost(0.026, 1.3, 0.0),
                most_rows=10_000,
                prior=0.1,
            ),
            "classification": Form(
                build=f"{_NEIGHBORS}:ReachingNeighborsClassifier",
                columns="scaled",
                space=Space(_RADIUS),
                defaults={"n_neighbors": 10, "quantile": 0.5, "weights": "distance", "p": 2},
                cost=Cost(0.025, 1.3, 0.0),
                most_rows=10_000,
                prior=0.1,
            ),
        },
    ),
)

_SCALES: dict[str, Parameter] = {
    "kernel": Choice(("matern_2.5", "matern_1.5", "rbf", "rational_quadratic")),
    "per_column": Choice((True, False)),
    "length_scale": Float(0.1, 10.0, log=True),
    "tuning_rows": Int(100, 800, log=True),
}


def _process(kernel: str, **rest: Any) -> dict[str, Any]:
    return {
        "kernel": kernel,
        "per_column": True,
        "length_scale": 1.0,
        "tuning_rows": 300,
        **rest,
    }


PROCESSES = (
    ModelSpec(
        name="gaussian_process",
        family="sklearn",
        summary="a distribution over smooth functions, for small data",
        forms={
            "regression": Form(
                build=f"{_PROCESSES}:ScaledProcessRegressor",
                columns="scaled",
                space=Space({**_SCALES, "alpha": Float(1e-8, 1.0, log=True)}),
                defaults=_process("rational_quadratic", alpha=1e-6),
                portfolio=(
                    _process("matern_1.5", alpha=1e-6, per_column=False),
                    _process("matern_1.5", alpha=0.05),
                    _process("matern_2.5", alpha=1e-6),
                ),
                cost=Cost(0.18, 1.9, 0.1),
                most_rows=4_000,
                prior=0.5,
            ),
            "classification": Form(
                build=f"{_PROCESSES}:ScaledProcessClassifier",
                columns="scaled",
                seed_argument="random_state",
                space=Space({**_SCALES, "signal": Float(0.3, 300.0, log=True)}),
                defaults=_process("matern_2.5", signal=20.0),
                cost=Cost(1.0, 2.3, 0.1),
                most_rows=1_000,
                prior=0.4,
            ),
        },
    ),
)

_NETWORK = Space(
    {
        "width": Int(8, 264, log=True),
        "depth": Int(1, 3),
        "activation": Choice(("relu", "tanh")),
        "alpha": Float(1e-7, 1.0, log=True),
        "learning_rate_init": Float(1e-4, 3e-2, log=True),
        "batch_size": Int(16, 256, log=True),
    },
    derived={"hidden_layer_sizes": Derived("equal_layers", ("width", "depth"))},
)


def _net(width: int, depth: int, activation: str, **rest: float) -> dict[str, Any]:
    return {
        "width": width,
        "depth": depth,
        "activation": activation,
        "alpha": 1e-4,
        "learning_rate_init": 1e-2,
        "batch_size": 32,
        **rest,
    }


NETWORKS = (
    ModelSpec(
        name="mlp_regressor",
        family="sklearn",
        summary="scikit-learn's small neural network",
        forms={
            "regression": Form(
                build=f"{_NETWORKS}:WatchedMLPRegressor",
                columns="scaled",
                seed_argument="random_state",
                space=_NETWORK,
                defaults=_net(64, 2, "tanh"),
                portfolio=(
                    _net(64, 2, "relu"),
                    _net(256, 2, "relu", learning_rate_init=1e-3, alpha=1e-2),
                ),
                cost=Cost(0.27, 0.9, 0.1),
                most_rows=50_000,
                prior=0.5,
            ),
            "classification": Form(
                build=f"{_NETWORKS}:WatchedMLPClassifier",
                columns="scaled",
                seed_argument="random_state",
                space=_NETWORK,
                defaults=_net(64, 2, "tanh"),
                portfolio=(
                    _net(64, 2, "relu"),
                    _net(256, 2, "relu", learning_rate_init=1e-3, alpha=1e-2),
                ),
                cost=Cost(0.27, 0.9, 0.2),
                most_rows=50_000,
                prior=0.5,
            ),
        },
    ),
)

MODELS = (*SUPPORT_VECTORS, *NEIGHBORS, *PROCESSES, *NETWORKS)
