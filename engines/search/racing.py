"""Racing: a trial that is clearly behind after its first folds ends early.

Folds differ more from each other than trials do, so a trial is compared with the best complete one
fold by fold, as F-Race does (Birattari, Stuetzle, Paquete and Varrentrapp 2002). What such a
difference is worth is learned from the trials that finished: how much their differences to the best
one vary from fold to fold. Stopping cross-validation early like this is known to save half of the
time and more (Bergman, Purucker and Hutter 2024, arXiv 2405.03389).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST_RIVALS = 2
"""With fewer complete trials nobody is behind."""

MOST_RIVALS = 20
"""The best so many complete trials are the yardstick: the spread grows with the distance."""

Z = 2.3
"""Standard errors behind. Together with the luck of the best, a trial that is truly as good as the
best of 2 to 100 is ended in less than one in twenty cases, looks after every fold included."""


def is_behind(folds: Sequence[float], rivals: Sequence[Sequence[float]], *, maximize: bool) -> bool:
    """Whether a trial with these first fold scores is clearly worse than the best complete one.

    folds: scores of the folds done, in order. rivals: all fold scores of complete trials, same
    folds in the same order. With mean difference d to the best rival over k folds, and s the
    standard deviation from fold to fold of the finished trials' differences to it, pooled over
    them, the trial is behind if d > s (t / sqrt(k) + l). t is Student's for as many degrees of
    freedom as s has and the one-sided level of `Z` normal standard errors; l = sqrt(ln n / 2 F) for
    n rivals and F folds: the luck of the best of n equally good ones.
    False while that can't be said: no fold done or none left, fewer than `LEAST_RIVALS` rivals,
    differences without any spread, a score that is not finite.
    """
    sign = 1.0 if maximize else -1.0
    done = len(folds)
    whole = [r for r in rivals if len(r) > done and all(map(math.isfinite, r))]
    if not done or len(whole) < LEAST_RIVALS or not all(map(math.isfinite, folds)):
        return False
    whole.sort(key=lambda r: sign * math.fsum(r) / len(r), reverse=True)
    best = whole[0]
    behind = sign * math.fsum(b - f for b, f in zip(best, folds, strict=False)) / done
    if behind <= 0:
        return False
    squares, freedom = 0.0, 0
    for rival in whole[1:MOST_RIVALS]:
        differences = [b - r for b, r in zip(best, rival, strict=False)]
        mean = math.fsum(differences) / len(differences)
        squares += math.fsum((d - mean) ** 2 for d in differences)
        # One that is the best one again says nothing about differences.
        freedom += len(differences) - 1 if any(differences) else 0
    if not freedom or squares <= 0.0:
        return False
    spread = math.sqrt(squares / freedom)
    luck = math.sqrt(math.log(len(whole)) / 2 / len(best))
    return behind > spread * (student(freedom) / math.sqrt(done) + luck)


def student(freedom: int) -> float:
    """The quantile of Student's distribution that is as rare as `Z` in the normal one.

    The expansion of Cornish and Fisher (Abramowitz and Stegun 26.7.5): 2 % off for 4 degrees of
    freedom, less for more.
    """
    z, n = Z, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3
