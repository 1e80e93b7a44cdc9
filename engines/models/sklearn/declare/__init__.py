"""The models of scikit-learn, declared: spaces, known-good defaults and costs, as data.

Ranges follow what published tuners search (auto-sklearn, hyperopt-sklearn, TabRepo), widened
where their choices are no longer valid. Linear models and kernels see a standardised target,
so `alpha`, `epsilon` and `C` mean the same on every data set.
"""

from engines.models.sklearn.declare import kernels, linear, trees

MODELS = (*linear.MODELS, *trees.MODELS, *kernels.MODELS)
