"""scikit-learn's estimators as skops files, from which only the types on our list are built.

The list is fixed here, but for what installed packages declare as models, and never taken from the
file: one that asks for any other type is refused before anything of it is built. What is built is
filled with the file's numbers; a file made by somebody to do harm can still make a library crash,
as any file of numbers can, but it can't name code to run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from engines.errors import BadInput, HyperionError, one_line
from engines.models import catalogue

OWN = "engines.models.sklearn."

_PARTS = (
    # What estimators of ours hold inside.
    "engines.models.sklearn.adaboost._TimedClassifier",
    "engines.models.sklearn.adaboost._TimedRegressor",
    "engines.models.sklearn.linear._InlierRidge",
    # What scikit-learn's hold: skops trusts public estimators by itself, and no more.
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.DotProduct",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.RationalQuadratic",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    # The check of its input that histogram boosting keeps as a function; it is one of a kind.
    "functools.partial",
    "sklearn.utils.validation.check_array",
    "numpy.dtype",
)


@cache
def trusted() -> tuple[str, ...]:
    """The names of all types, beside skops' own list, that may be built from a file."""
    builds = {f.build for spec in catalogue.models().values() for f in spec.forms.values()}
    # Ours, and those that installed packages declare; scikit-learn's are on skops' list.
    own = {
        build.replace(":", ".")
        for build in builds
        if build.startswith(OWN) or not build.startswith(("engines.", "sklearn."))
    }
    return (*sorted(own), *_PARTS)


def write(path: Path, estimator: Any) -> None:
    """Write an estimator. Raises HyperionError for one that could not be read back, OSError."""
    import skops.io

    skops.io.dump(estimator, path)
    unknown = set(skops.io.get_untrusted_types(file=path)) - set(trusted())
    if unknown:
        raise HyperionError(
            f"{type(estimator).__name__} can't be exported: it holds {', '.join(sorted(unknown))}, "
            "which no safe format carries."
        )


def read(path: Path) -> Any:
    """Read it back. Raises BadInput for a file that is none, or asks for a type not on the list."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(trusted()))
    except UntrustedTypesFoundException as error:
        raise BadInput(f"{path} is refused: {one_line(error)}") from error
    except OSError:
        raise
    except Exception as error:  # the border: a file that is not what it should be
        what = f"{type(error).__name__}: {one_line(error, 200)}"
        raise BadInput(f"{path} is no skops file that can be read ({what}).") from error
