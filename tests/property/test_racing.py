"""Racing judges differences: what all trials share on a fold changes nothing."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engines.search.racing import is_behind

SCORES = st.integers(-64, 64).map(lambda n: n / 8)
"""Eighths: sums and differences of them are exact."""


@given(
    scores=arrays(float, (6, 5), elements=SCORES),
    fold_effects=arrays(float, 5, elements=SCORES),
    done=st.integers(1, 4),
    maximize=st.booleans(),
)
def test_how_hard_a_fold_is_does_not_matter(
    scores, fold_effects, done: int, maximize: bool
) -> None:
    rivals, mine = scores[:5], scores[5]
    means = sorted(rivals.mean(axis=1))
    assume(means[-1] != means[-2] and means[0] != means[1])  # who is the best is clear

    plain = is_behind(mine[:done].tolist(), rivals.tolist(), maximize=maximize)
    moved = is_behind(
        (mine + fold_effects)[:done].tolist(), (rivals + fold_effects).tolist(), maximize=maximize
    )
    mirrored = is_behind((-mine)[:done].tolist(), (-rivals).tolist(), maximize=not maximize)

    assert plain == moved == mirrored


@given(
    scores=arrays(float, (6, 5), elements=SCORES),
    done=st.integers(1, 4),
    worse=st.integers(0, 80).map(lambda n: n / 8),
)
def test_who_is_worse_still_stays_behind(scores, done: int, worse: float) -> None:
    rivals, mine = scores[:5].tolist(), scores[5]

    if is_behind(mine[:done].tolist(), rivals, maximize=True):
        assert is_behind((mine - worse)[:done].tolist(), rivals, maximize=True)
