"""The split of bars: three periods in time, 60, 20 and 20 %, with an embargo before the later two.

Agents learn on the first and are chosen on the second; the third is opened for the chosen one. The
embargo is longer than the longest window that a feature looks back on, so that nothing an agent
is shown in a period was seen in the one before.
"""

from __future__ import annotations

import math

import numpy as np

from engines.data.splits import EMBARGO, HELD_OUT, Fold, Split
from engines.errors import BadInput

VALIDATION = 0.2

FEWEST_SCORED = 50
"""Bars of the validation and of the test period: of fewer a Sharpe ratio says nothing."""

FEWEST_TRAINED = 100
"""Decisions in the training period."""


def split_bars(bars: int, warm_up: int) -> Split:
    """The periods of `bars` bars: one fold, whose rows validate, and the held-out rows.

    warm_up: bars before the first one at which all features are known, so one less than the
    longest window. It may lie before a later period, whose first bar is then the first that
    is decided at. Raises BadInput for too few bars, with how many there must be.
    """
    embargo = max(warm_up + 1, math.ceil(bars * EMBARGO))
    usable = bars - 2 * embargo
    validation, test = (round(usable * share) for share in (VALIDATION, HELD_OUT))
    train = usable - validation - test
    if min(validation, test) < FEWEST_SCORED or train - warm_up < FEWEST_TRAINED:
        raise BadInput(
            f"{bars:,} bars are too few to learn on 60 %, choose on 20 % and test on 20 % of them "
            f"with {embargo} bars left out in between: give at least {fewest_bars(warm_up):,}."
        )
    first = train + embargo
    return Split(
        ordered=True,
        search=np.arange(first + validation),
        held_out=np.arange(bars - test, bars),
        folds=(Fold(np.arange(train), np.arange(first, first + validation)),),
        embargo=embargo,
    )


def fewest_bars(warm_up: int) -> int:
    """So many bars can be split."""
    bars = 2 * (warm_up + 1) + FEWEST_SCORED
    while not _is_enough(bars, warm_up):
        bars += 1
    return bars


def _is_enough(bars: int, warm_up: int) -> bool:
    usable = bars - 2 * max(warm_up + 1, math.ceil(bars * EMBARGO))
    scored = min(round(usable * VALIDATION), round(usable * HELD_OUT))
    trained = usable - round(usable * VALIDATION) - round(usable * HELD_OUT) - warm_up
    return scored >= FEWEST_SCORED and trained >= FEWEST_TRAINED
