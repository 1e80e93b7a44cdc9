"""How sure a score is: intervals around it, and whether it beats another on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.data import futures, measures
from engines.data.resampling import Blocks, Draws, Floats, Units, block_length
from engines.data.scoring import Metric, ScoreError

Groups = npt.NDArray[np.generic]

_PAIRED_RESAMPLES = 2000
_PERMUTED_BELOW = 400

Loss: TypeAlias = Callable[[Floats, Floats], Floats]


def interval(
    metric: Metric,
    y: Any,
    predicted: Any,
    *,
    seed: int,
    groups: Groups | None = None,
    ordered: bool = False,
    embargo: int = 0,
    level: float = 0.95,
    resamples: int = 500,
) -> tuple[float, float]:
    """(low, high) of the metric on rows like these: the percentile bootstrap (Efron, 1979).

    y, predicted: as for `Metric.score`. groups: (rows,) draws whole groups. ordered: rows in
    order are drawn in blocks, at least `embargo` rows long. The model is taken as it is: the
    interval says what other rows would have given, not what another training would have.
    Resamples on which the metric is not defined are left out. Raises ScoreError if it is
    defined on none, or as `Metric.score` does.
    """
    return selection_interval(
        metric,
        [(y, predicted)],
        seed=seed,
        groups=None if groups is None else [groups],
        ordered=ordered,
        embargo=embargo,
        level=level,
        resamples=resamples,
    )


def selection_interval(
    metric: Metric,
    parts: Sequence[tuple[Any, Any]],
    *,
    seed: int,
    groups: Sequence[Groups] | None = None,
    ordered: bool = False,
    embargo: int = 0,
    level: float = 0.95,
    resamples: int = 500,
) -> tuple[float, float]:
    """(low, high) of `selection_score(metric, parts)`: rows are drawn again within each fold.

    groups: (rows,) of each part. The rest as for `interval`. It does not know that the score
    was the best of many, so it is no interval for new data: that is the held-out one.
    """
    checked = [measures.arrays(metric, y, predicted) for y, predicted in parts]
    if metric.pooled:
        checked = [tuple(np.concatenate(side) for side in zip(*checked, strict=True))]  # type: ignore[list-item]
        groups = None if groups is None else [np.concatenate(list(groups))]
    values = np.zeros(resamples)
    for at, (y, predicted) in enumerate(checked):
        group = None if groups is None else groups[at]
        draws = _draws(len(y), group, ordered, embargo, resamples, seed + at)
        values += measures.resampled(metric, y, predicted, draws) / len(checked)
    values = values[np.isfinite(values)]
    if not len(values):
        raise ScoreError(f"{metric.name} is not defined: {metric.undefined}")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draws(
    rows: int, groups: Groups | None, ordered: bool, embargo: int, resamples: int, seed: int
) -> Draws:
    if ordered:
        return Blocks(rows, block_length(rows, embargo), resamples, seed)
    return Units(rows, groups, resamples, seed)


def difference(
    metric: Metric,
    y: Any,
    predicted: Any,
    reference: Any,
    *,
    seed: int,
    groups: Groups | None = None,
    ordered: bool = False,
    embargo: int = 0,
    level: float = 0.95,
    resamples: int = _PAIRED_RESAMPLES,
) -> tuple[float, float, float, float]:
    """(difference, low, high, p): by how much `predicted` scores better than `reference`.

    In units of the metric, above 0 for better, whichever way the metric goes. Both are scored on
    the same resamples of the rows, so what makes rows hard for both is not counted as doubt. p:
    the share of resamples without a gain, (1 + n) / (1 + N). The rest as for `interval`.
    """
    y, predicted = measures.arrays(metric, y, predicted)
    _, reference = measures.arrays(metric, y, reference)
    sign = 1.0 if metric.maximize else -1.0
    value = sign * (metric.score(y, predicted) - metric.score(y, reference))
    draws = _draws(len(y), groups, ordered, embargo, resamples, seed)
    gain = sign * measures.resampled(metric, y, predicted, draws)
    gain = gain - sign * measures.resampled(metric, y, reference, draws)
    gain = gain[np.isfinite(gain)]
    if not len(gain):
        raise ScoreError(f"{metric.name} is not defined: {metric.undefined}")
    low, high = np.quantile(gain, [(1 - level) / 2, (1 + level) / 2])
    p = (1 + (gain <= 0).sum()) / (1 + len(gain))
    return value, float(low), float(high), float(p)


def beats(
    metric: Metric,
    y: Any,
    predicted: Any,
    reference: Any,
    *,
    seed: int = 0,
    groups: Groups | None = None,
    ordered: bool = False,
    embargo: int = 0,
) -> float:
    """The p-value, from 0 to 1, against "`predicted` is no better than `reference`" (one-sided).

    y, predicted, reference: the same rows, as for `Metric.score`. Where the metric is a mean of
    losses of rows (or, for r2 and rmse, falls with one) it is that of a paired t-test of the
    differences, with whole groups as the units, or for rows in order with the Newey-West
    variance over a block. Below 400 rows without order or groups, where a few large losses spoil
    that test, it is the share of permutations of `predicted` that lose as little (Fisher's test
    of whether it knows anything of `y`), and 1.0 if the mean gain is not positive. For f1 and
    roc_auc it is the share of paired bootstrap resamples without a gain. Shares are counted as
    (1 + n) / (1 + N). 1.0 where too few rows say anything. Raises ScoreError as `Metric.score`
    does.
    """
    y, predicted = measures.arrays(metric, y, predicted)
    _, reference = measures.arrays(metric, y, reference)
    losses = LOSSES if y.ndim == 1 else futures.LOSSES
    if metric.name not in losses:
        draws = _draws(len(y), groups, ordered, embargo, _PAIRED_RESAMPLES, seed)
        return _share_without_gain(metric, y, predicted, reference, draws)
    loss = losses[metric.name]
    if metric.name == "mape" and (y == 0).any():
        raise ScoreError(f"{metric.name} is not defined: {metric.undefined}")
    gain = loss(y, reference) - loss(y, predicted)
    if not ordered and groups is None and len(gain) < _PERMUTED_BELOW:
        return _p_of_permutations(loss, y, predicted, float(gain.mean()), seed)
    if ordered:
        return _p_of_ordered(gain, block_length(len(gain), embargo))
    return _p_of_groups(gain, groups)


def _share_without_gain(
    metric: Metric, y: Floats, predicted: Floats, reference: Floats, draws: Draws
) -> float:
    gain = measures.resampled(metric, y, predicted, draws)
    gain = gain - measures.resampled(metric, y, reference, draws)
    gain = gain[np.isfinite(gain)] * (1 if metric.maximize else -1)
    return float((1 + (gain <= 0).sum()) / (1 + len(gain)))


def _p_of_permutations(
    loss: Loss, y: Floats, predicted: Floats, mean_gain: float, seed: int
) -> float:
    if mean_gain <= 0:
        return 1.0
    random, seen = np.random.default_rng(seed), float(loss(y, predicted).sum())
    limit = seen + measures._SAME * abs(seen)  # sums of the same losses in another order
    as_good = sum(
        float(loss(y, random.permutation(predicted)).sum()) <= limit
        for _ in range(_PAIRED_RESAMPLES)
    )
    return (1 + as_good) / (1 + _PAIRED_RESAMPLES)


def _p_of_groups(gain: Floats, groups: Groups | None) -> float:
    """Paired t-test of the mean gain, with the variance of sums of groups."""
    rows, mean = len(gain), float(gain.mean())
    off = gain - mean
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1]
        off = np.bincount(codes, off).astype(np.float64)
    units = len(off)
    if units < 2:
        return 1.0
    variance = float(off @ off) * units / (units - 1) / rows**2
    return _p_of_mean(mean, variance, units - 1, float(np.abs(gain).max()))


def _p_of_ordered(gain: Floats, length: int) -> float:
    """The same with the variance of Newey and West (1987), eq. 5, over `length` - 1 lags."""
    rows, mean = len(gain), float(gain.mean())
    if rows < 2:
        return 1.0
    off = gain - mean
    # Covariances at all lags at once; twice the length, so that the ends don't meet.
    spectrum = np.fft.rfft(off, 2 * rows)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * rows)[:length] / rows
    weights = 2 * (1 - np.arange(length) / length)
    weights[0] = 1.0
    variance = max(0.0, float(weights @ covariance)) / rows
    freedom = max(1, rows // length - 1)
    return _p_of_mean(mean, variance, freedom, float(np.abs(gain).max()))


def _p_of_mean(mean: float, variance: float, freedom: int, scale: float) -> float:
    """P(a mean this large | the true one is 0), Student's t with `freedom` degrees."""
    from scipy.special import stdtr

    if not np.isfinite(mean) or not np.isfinite(variance):
        return 1.0
    if variance <= (measures._SAME * scale) ** 2:
        # The same gain everywhere: as many equal signs as there are independent units.
        return 0.5 ** (freedom + 1) if mean > 0 else 1.0
    return float(stdtr(freedom, -mean / np.sqrt(variance)))


def _squared(y: Floats, predicted: Floats) -> Floats:
    return (y - predicted) ** 2


def _absolute(y: Floats, predicted: Floats) -> Floats:
    return np.abs(y - predicted)


def _relative(y: Floats, predicted: Floats) -> Floats:
    return np.abs((y - predicted) / y)


def _wrong(y: Floats, predicted: Floats) -> Floats:
    return (measures.labels(predicted) != y).astype(np.float64)


def _wrong_by_class(y: Floats, predicted: Floats) -> Floats:
    """Errors weighed so that their mean is 1 - balanced accuracy."""
    codes = y.astype(np.int64)
    sizes = np.bincount(codes)
    return _wrong(y, predicted) * len(y) / (sizes[codes] * (sizes > 0).sum())


LOSSES: dict[str, Loss] = {
    "r2": _squared,
    "rmse": _squared,
    "mse": _squared,
    "mae": _absolute,
    "pinball": _absolute,
    "mape": _relative,
    "accuracy": _wrong,
    "balanced_accuracy": _wrong_by_class,
    "log_loss": measures.log_losses,
}
"""The loss of a row that a metric's comparison is made of: (n,) each."""
