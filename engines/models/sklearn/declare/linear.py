"""Linear models of scikit-learn, the two references, and the curve of one column, as data.

Columns and the target of a regression are standardised, so that a penalty or a threshold means the
same on every data set: with one of 1, Lasso switches every column off.
"""

from __future__ import annotations

from typing import Any

from engines.models.needs import at_most_columns, target_above
from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Float, Int, Parameter, Space

_HANDS = "engines.models.sklearn.linear"

_WEIGHTS = Choice((None, "balanced"))
"""How classes count: by their rows, or all the same."""

_INVERSE = Float(2**-10, 2**15, log=True)
"""LogisticRegression's C: FLAML searches up to 2^15; below 2^-10 nothing but the odds is left."""

# Gamma priors of the two precisions, as auto-sklearn searches them.
_PRECISIONS: dict[str, Parameter] = {
    name: Float(1e-10, 1e-3, log=True) for name in ("alpha_1", "alpha_2", "lambda_1", "lambda_2")
}
_PRECISION_DEFAULTS: dict[str, Any] = dict.fromkeys(_PRECISIONS, 1e-6)

_PENALISED = (
    ModelSpec(
        name="ridge",
        family="sklearn",
        summary="linear, squared penalty: a fast and strong reference",
        forms={
            "regression": Form(
                joint=True,
                build="sklearn.linear_model:Ridge",
                columns="scaled",
                space=Space({"alpha": Float(1e-6, 1e5, log=True)}),
                defaults={"alpha": 1.0},
                cost=Cost(0.0013, 0.35, 0.85),
                prior=0.3,
            ),
            "classification": Form(
                build="sklearn.linear_model:RidgeClassifier",
                columns="scaled",
                space=Space({"alpha": Float(1e-6, 1e5, log=True), "class_weight": _WEIGHTS}),
                defaults={"alpha": 1.0, "class_weight": None},
                cost=Cost(0.005, 0.4, 0.6),
                prior=0.3,
            ),
        },
    ),
    ModelSpec(
        name="lasso",
        family="sklearn",
        summary="linear, absolute penalty: switches columns off",
        forms={
            "regression": Form(
                joint=True,
                build=f"{_HANDS}:BoundedLasso",
                columns="scaled",
                fixed={"max_iter": 20_000},
                space=Space({"alpha": Float(1e-6, 1.0, log=True)}),
                defaults={"alpha": 0.01},
                cost=Cost(0.0015, 0.3, 0.5),
                prior=0.12,
            ),
            # saga in every case: liblinear takes two classes only, and shrinks the intercept too.
            "classification": Form(
                build="sklearn.linear_model:LogisticRegression",
                columns="scaled",
                seed_argument="random_state",
                fixed={"solver": "saga", "l1_ratio": 1.0, "tol": 1e-3, "max_iter": 200},
                space=Space({"C": _INVERSE, "class_weight": _WEIGHTS}),
                defaults={"C": 0.3, "class_weight": None},
                cost=Cost(0.006, 1.1, 1.0),
                most_rows=50_000,
                prior=0.15,
            ),
        },
    ),
    ModelSpec(
        name="elastic_net",
        family="sklearn",
        summary="linear, a mix of both penalties",
        forms={
            "regression": Form(
                joint=True,
                build=f"{_HANDS}:BoundedElasticNet",
                columns="scaled",
                fixed={"max_iter": 20_000},
                space=Space(
                    {
                        "alpha": Float(1e-6, 10.0, log=True),
                        "l1_ratio": Float(0.01, 1.0),
                    }
                ),
                defaults={"alpha": 0.01, "l1_ratio": 0.5},
                cost=Cost(0.001, 0.4, 0.6),
                prior=0.3,
            ),
            "classification": Form(
                build=f"{_HANDS}:ElasticLogistic",
                columns="scaled",
                seed_argument="random_state",
                space=Space(
                    {
                        "C": _INVERSE,
                        "l1_ratio": Choice((0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)),
                        "class_weight": _WEIGHTS,
                    }
                ),
                defaults={"C": 0.1, "l1_ratio": 0.0, "class_weight": None},
                cost=Cost(0.005, 0.7, 0.3),
                most_rows=50_000,
                prior=0.3,
            ),
        },
    ),
    ModelSpec(
        name="bayesian_ridge",
        family="sklearn",
        summary="ridge that finds its own penalty from the data",
        forms={
            "regression": Form(
                build="sklearn.linear_model:BayesianRidge",
                columns="scaled",
                space=Space(_PRECISIONS),
                defaults=_PRECISION_DEFAULTS,
                cost=Cost(0.001, 0.7, 1.1),
                most_rows=50_000,
                needs=(at_most_columns(1000),),
                prior=0.1,
            ),
        },
    ),
    ModelSpec(
        name="ard_regression",
        family="sklearn",
        summary="Bayesian ridge with a penalty for each column",
        forms={
            "regression": Form(
                build=f"{_HANDS}:BoundedARD",
                columns="scaled",
                fixed={"max_iter": 300},
                space=Space({**_PRECISIONS, "threshold_lambda": Float(1e3, 1e5, log=True)}),
                defaults={**_PRECISION_DEFAULTS, "threshold_lambda": 1e4},
                cost=Cost(0.0015, 0.4, 1.0),
                most_rows=50_000,
                needs=(at_most_columns(500),),
                prior=0.1,
            ),
        },
    ),
)

_ROBUST = (
    ModelSpec(
        name="huber",
        family="sklearn",
        summary="linear, large errors count less: for outliers",
        forms={
            "regression": Form(
                build=f"{_HANDS}:SteadyHuber",
                columns="scaled",
                fixed={"max_iter": 1000},
                space=Space(
                    {
                        "epsilon": Float(1.0, 4.0),
                        "alpha": Float(1e-7, 1e3, log=True),
                    }
                ),
                defaults={"epsilon": 1.35, "alpha": 1e-4},
                cost=Cost(0.0032, 0.65, 0.5),
                most_rows=200_000,
                prior=0.08,
            ),
        },
    ),
    ModelSpec(
        name="theil_sen",
        family="sklearn",
        summary="linear, the median of many small fits: for outliers",
        forms={
            "regression": Form(
                build=f"{_HANDS}:BoundedTheilSen",
                columns="scaled",
                seed_argument="random_state",
                space=Space(
                    {
                        "subset": Float(0.0, 1.0),
                        "max_subpopulation": Int(100, 10_000, log=True),
                    }
                ),
                defaults={"subset": 0.0, "max_subpopulation": 1000},
                cost=Cost(0.042, 0.7, 0.8),
                most_rows=10_000,
                needs=(at_most_columns(50),),
                prior=0.03,
            ),
        },
    ),
    ModelSpec(
        name="ransac",
        family="sklearn",
        summary="ridge on the rows that agree: for gross outliers",
        forms={
            "regression": Form(
                joint=True,
                build=f"{_HANDS}:RansacRidge",
                columns="scaled",
                seed_argument="random_state",
                space=Space(
                    {
                        "alpha": Float(1e-6, 1e3, log=True),
                        "min_samples": Float(0.02, 0.95, log=True),
                        "residual_threshold": Float(0.1, 5.0, log=True),
                        "max_trials": Int(10, 100, log=True),
                    }
                ),
                defaults={
                    "alpha": 1.0,
                    "min_samples": 0.5,
                    "residual_threshold": 2.0,
                    "max_trials": 50,
                },
                cost=Cost(0.0034, 0.45, 0.6),
                most_rows=100_000,
                prior=0.03,
            ),
        },
    ),
    ModelSpec(
        name="quantile",
        family="sklearn",
        summary="linear, fits the median: for skewed errors",
        forms={
            "regression": Form(
                build="sklearn.linear_model:QuantileRegressor",
                columns="scaled",
                # The interior point solver grows with the rows, the simplex with their square.
                # Half of the column's scale is the steepest that the pinball loss of a median
                # can be: a penalty above it leaves a constant.
                fixed={"quantile": 0.5, "solver": "highs-ipm"},
                space=Space({"alpha": Float(1e-6, 0.5, log=True)}),
                defaults={"alpha": 1e-3},
                cost=Cost(0.04, 1.2, 1.0),
                most_rows=5_000,
                needs=(at_most_columns(300),),
                prior=0.05,
            ),
        },
    ),
)

_DIRECTIONS = (
    ModelSpec(
        name="orthogonal_matching_pursuit",
        family="sklearn",
        summary="linear, takes columns one by one, the best first",
        forms={
            "regression": Form(
                joint=True,
                build=f"{_HANDS}:FittingPursuit",
                columns="scaled",
                space=Space(
                    {"n_nonzero_coefs": Int(1, 500, log=True, at_most="wide_columns")},
                ),
                defaults={"n_nonzero_coefs": 10},
                cost=Cost(0.0008, 0.3, 0.55),
                prior=0.05,
            ),
        },
    ),
    ModelSpec(
        name="lasso_lars",
        family="sklearn",
        summary="Lasso along its exact path",
        forms={
            "regression": Form(
                build=f"{_HANDS}:ShortLassoLars",
                columns="scaled",
                seed_argument="random_state",
                # Noise far below the last digit shown: it parts columns that are equal.
                fixed={"jitter": 1e-9, "max_iter": 1000},
                space=Space({"alpha": Float(1e-6, 1.0, log=True)}),
                defaults={"alpha": 1e-2},
                cost=Cost(0.0013, 0.3, 0.7),
                prior=0.05,
            ),
        },
    ),
    ModelSpec(
        name="lars",
        family="sklearn",
        summary="linear, lets columns in one by one along an exact path",
        forms={
            "regression": Form(
                build=f"{_HANDS}:FittingLars",
                columns="scaled",
                seed_argument="random_state",
                fixed={"jitter": 1e-9},
                space=Space(
                    {"n_nonzero_coefs": Int(1, 500, log=True, at_most="wide_columns")},
                ),
                defaults={"n_nonzero_coefs": 20},
                cost=Cost(0.0015, 0.25, 0.55),
                prior=0.03,
            ),
        },
    ),
    ModelSpec(
        name="pls",
        family="sklearn",
        summary="linear on few directions: for many related columns",
        forms={
            "regression": Form(
                joint=True,
                build=f"{_HANDS}:FittingPLS",
                columns="scaled",
                space=Space({"n_components": Int(1, 64, log=True, at_most="wide_columns")}),
                defaults={"n_components": 3},
                cost=Cost(0.0009, 0.6, 0.5),
                prior=0.08,
            ),
        },
    ),
)

_STEPS: dict[str, Parameter] = {
    "penalty": Choice(("l2", "l1", "elasticnet")),
    "alpha": Float(1e-7, 1e-1, log=True),
    "l1_ratio": Float(1e-9, 1.0, when={"penalty": ("elasticnet",)}),
}
_RATES: dict[str, Parameter] = {
    "eta0": Float(
        1e-4, 1.0, log=True, when={"learning_rate": ("constant", "invscaling", "adaptive")}
    ),
    "power_t": Float(1e-5, 1.0, when={"learning_rate": ("invscaling",)}),
    "average": Choice((False, True)),
    "tol": Float(1e-5, 1e-1, log=True),
}
_PASSIVE: dict[str, Parameter] = {
    "learning_rate": Choice(("pa1", "pa2")),
    "eta0": Float(1e-5, 10.0, log=True),
    "average": Choice((False, True)),
    "tol": Float(1e-5, 1e-1, log=True),
}
_PASSIVE_DEFAULTS: dict[str, Any] = {
    "learning_rate": "pa1",
    "eta0": 1e-2,
    "average": True,
    "tol": 1e-4,
}

_ROW_BY_ROW = (
    ModelSpec(
        name="sgd",
        family="sklearn",
        summary="linear, trained row by row: for very many rows",
        forms={
            "regression": Form(
                build=f"{_HANDS}:SteadySGDRegressor",
                columns="scaled",
                seed_argument="random_state",
                fixed={"max_iter": 1000},
                # Without the rate `optimal`: with these losses its first steps run away.
                space=Space(
                    {
                        "loss": Choice(
                            (
                                "squared_error",
                                "huber",
                                "epsilon_insensitive",
                                "squared_epsilon_insensitive",
                            )
                        ),
                        "epsilon": Float(
                            1e-5,
                            1.0,
                            log=True,
                            when={
                                "loss": (
                                    "huber",
                                    "epsilon_insensitive",
                                    "squared_epsilon_insensitive",
                                )
                            },
                        ),
                        **_STEPS,
                        "learning_rate": Choice(("invscaling", "adaptive", "constant")),
                        **_RATES,
                    }
                ),
                defaults={
                    "loss": "squared_error",
                    "penalty": "l2",
                    "alpha": 1e-4,
                    "learning_rate": "adaptive",
                    "eta0": 0.1,
                    "average": False,
                    "tol": 1e-4,
                },
                cost=Cost(0.0028, 1.0, 0.65),
                prior=0.05,
            ),
            "classification": Form(
                build=f"{_HANDS}:SteadySGDClassifier",
                columns="scaled",
                seed_argument="random_state",
                fixed={"max_iter": 1000},
                space=Space(
                    {
                        "loss": Choice(
                            (
                                "log_loss",
                                "modified_huber",
                                "hinge",
                                "squared_hinge",
                                "perceptron",
                            )
                        ),
                        **_STEPS,
                        "learning_rate": Choice(("optimal", "invscaling", "adaptive", "constant")),
                        **_RATES,
                        "class_weight": _WEIGHTS,
                    }
                ),
                defaults={
                    "loss": "log_loss",
                    "penalty": "l2",
                    "alpha": 1e-4,
                    "learning_rate": "adaptive",
                    "eta0": 0.1,
                    "average": False,
                    "tol": 1e-4,
                    "class_weight": None,
                },
                cost=Cost(0.021, 1.0, 0.7),
                most_rows=200_000,
                prior=0.08,
            ),
        },
    ),
    # scikit-learn's own classes of this name end with its version 1.10; these are what it names
    # in their place. `eta0` is the aggressiveness, C in the paper (Crammer et al. 2006).
    ModelSpec(
        name="passive_aggressive",
        family="sklearn",
        summary="linear, row by row, moves only when it is wrong",
        forms={
            "regression": Form(
                build=f"{_HANDS}:SteadySGDRegressor",
                columns="scaled",
                seed_argument="random_state",
                fixed={"loss": "epsilon_insensitive", "penalty": None, "max_iter": 1000},
                space=Space({**_PASSIVE, "epsilon": Float(1e-3, 1.0, log=True)}),
                defaults={**_PASSIVE_DEFAULTS, "epsilon": 0.1},
                cost=Cost(0.0014, 0.9, 0.5),
                prior=0.03,
            ),
            "classification": Form(
                build=f"{_HANDS}:SteadySGDClassifier",
                columns="scaled",
                seed_argument="random_state",
                fixed={"loss": "hinge", "penalty": None, "max_iter": 1000},
                space=Space({**_PASSIVE, "class_weight": _WEIGHTS}),
                defaults={**_PASSIVE_DEFAULTS, "class_weight": None},
                cost=Cost(0.0041, 0.85, 0.75),
                prior=0.03,
            ),
        },
    ),
)

_SHRINKAGE: dict[str, Parameter] = {"alpha": Float(1e-6, 1e2, log=True)}

_OTHER_DISTRIBUTIONS = (
    ModelSpec(
        name="poisson",
        family="sklearn",
        summary="linear in the logarithm: for counts and rates",
        forms={
            "regression": Form(
                shifts=False,
                build=f"{_HANDS}:LogLinkRegressor",
                fixed={"power": 1.0},
                space=Space(_SHRINKAGE),
                defaults={"alpha": 1e-3},
                cost=Cost(0.002, 0.5, 0.7),
                most_rows=200_000,
                needs=(target_above(0, inclusive=True),),
                prior=0.1,
            ),
        },
    ),
    ModelSpec(
        name="gamma",
        family="sklearn",
        summary="linear in the logarithm: errors grow with the value",
        forms={
            "regression": Form(
                shifts=False,
                build=f"{_HANDS}:LogLinkRegressor",
                fixed={"power": 2.0},
                space=Space(_SHRINKAGE),
                defaults={"alpha": 1e-3},
                cost=Cost(0.002, 0.5, 0.7),
                most_rows=200_000,
                needs=(target_above(0),),
                prior=0.08,
            ),
        },
    ),
    ModelSpec(
        name="tweedie",
        family="sklearn",
        summary="between Poisson and gamma: amounts with many zeros",
        forms={
            "regression": Form(
                shifts=False,
                build=f"{_HANDS}:LogLinkRegressor",
                # Up to below 2: from there on a zero has no likelihood. 2 itself is `gamma`.
                space=Space({"power": Float(1.0, 1.99), **_SHRINKAGE}),
                defaults={"power": 1.5, "alpha": 1e-3},
                cost=Cost(0.002, 0.6, 0.6),
                most_rows=200_000,
                needs=(target_above(0, inclusive=True),),
                prior=0.1,
            ),
        },
    ),
)

_REFERENCES = (
    ModelSpec(
        name="isotonic",
        family="sklearn",
        summary="a rising or falling curve over the best single column",
        trials=3,
        forms={
            "regression": Form(
                build=f"{_HANDS}:IsotonicColumn",
                space=Space({"increasing": Choice(("auto", True, False))}),
                defaults={"increasing": "auto"},
                cost=Cost(0.0014, 1.0, 0.8),
                prior=0.02,
            ),
        },
    ),
    ModelSpec(
        name="dummy",
        family="sklearn",
        summary="looks at no column: what any model must beat",
        trials=3,
        forms={
            "regression": Form(
                joint=True,
                build="sklearn.dummy:DummyRegressor",
                space=Space(
                    {
                        "strategy": Choice(("mean", "median", "quantile")),
                        "quantile": Float(0.05, 0.95, when={"strategy": ("quantile",)}),
                    }
                ),
                defaults={"strategy": "mean"},
                cost=Cost(0.0001, 0.1, 0.1),
                prior=0.0,
            ),
            "classification": Form(
                build="sklearn.dummy:DummyClassifier",
                seed_argument="random_state",
                space=Space(
                    {"strategy": Choice(("prior", "most_frequent", "stratified", "uniform"))}
                ),
                defaults={"strategy": "prior"},
                cost=Cost(0.0002, 0.3, 0.0),
                prior=0.0,
            ),
        },
    ),
)

MODELS = (
    *_PENALISED,
    *_ROBUST,
    *_DIRECTIONS,
    *_ROW_BY_ROW,
    *_OTHER_DISTRIBUTIONS,
    *_REFERENCES,
)
