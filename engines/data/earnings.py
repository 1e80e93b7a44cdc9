"""Scores of a policy from what it earned, bar by bar.

Staying in cash has no Sharpe ratio, for it has no risk; here it counts as 0 in every metric, what
cash earns. A policy that never trades is a result then, and one that trades has to beat it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.data.scoring import ScoreError, find_metric, finite
from simulator import metrics

Floats = npt.NDArray[np.float64]

RATIOS = ("sharpe_ratio", "sortino_ratio", "calmar_ratio")


def score_returns(name: str, returns: Floats, bars_per_year: float) -> float:
    """The metric `name` of simple returns (bars,), every cost paid.

    0.0 where no bar earned or lost anything. Raises ScoreError where the metric is not defined
    (see `simulator.metrics`), or a return is not finite.
    """
    metric = find_metric(name, "trading")
    if not np.isfinite(returns).all():
        raise ScoreError(f"{metric.name}: a return is not a finite number")
    if not returns.any():
        return 0.0
    compute = getattr(metrics, metric.name)
    found = compute(returns, bars_per_year) if metric.name in RATIOS else compute(returns)
    if found is None:
        why = metric.undefined or "the returns are all the same"
        raise ScoreError(f"{metric.name} is not defined: {why}")
    return finite(found)
