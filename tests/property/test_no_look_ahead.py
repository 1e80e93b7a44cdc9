"""Whatever the market: what is known at a bar never depends on the bars behind it, to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.causality import perturbed
from simulator.features import BUILT_IN
from simulator.market import build_market
from simulator.risk import KellySize, VolatilityTarget
from simulator.synthetic import garch, geometric_brownian, regime_switching

MAKERS = [garch, geometric_brownian, regime_switching]


@settings(max_examples=25)
@given(
    make=st.sampled_from(MAKERS),
    seed=st.integers(0, 2**31),
    bars=st.integers(80, 400),
    share=st.floats(0.2, 0.99),
)
def test_features_and_rules_are_the_same_on_any_prefix_and_with_any_future(make, seed, bars, share):
    whole = make(bars, seed=seed)
    cut = max(2, int(bars * share))
    rules = [VolatilityTarget(0.2), KellySize(window=30)]
    table = build_market(whole, rules=rules).table[:cut]

    for name, function in BUILT_IN.items():
        before = function(whole)[:cut]
        assert np.array_equal(before, function(whole.head(cut)), equal_nan=True), name
    other = build_market(perturbed(whole, cut), rules=rules).table[:cut]
    assert np.array_equal(table, other)
