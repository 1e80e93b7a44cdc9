"""What holds for importance whatever was tried."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.analysis.importance import LEAST_TRIALS, importances

VALUES = st.one_of(st.integers(-5, 5), st.floats(-1, 1), st.booleans(), st.sampled_from("abc"))
TRIALS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("xyz"), VALUES), st.integers(-1000, 1000)),
    min_size=LEAST_TRIALS,
    max_size=30,
)


@settings(max_examples=20, deadline=None)
@given(TRIALS, st.booleans())
def test_shares_lie_between_none_and_all_and_any_growing_scale_gives_the_same(trials, maximize):
    found = importances(trials, maximize=maximize)
    scaled = importances([(p, float(s) ** 3 + 5 * s) for p, s in trials], maximize=maximize)
    turned = importances([(p, -s) for p, s in trials], maximize=not maximize)

    assert found is not None
    assert all(0.0 <= one.share <= 1.0 for one in found)
    assert found == scaled == turned


@settings(max_examples=15, deadline=None)
@given(TRIALS)
def test_the_order_of_the_trials_does_not_matter(trials):
    one = importances(trials, maximize=True) or []
    other = importances(trials[::-1], maximize=True) or []

    assert {(i.name, round(i.share, 9)) for i in one} == {
        (i.name, round(i.share, 9)) for i in other
    }
