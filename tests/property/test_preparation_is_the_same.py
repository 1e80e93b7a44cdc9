"""What stands before a model is the same after it went through JSON, bit by bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.export.preparation import Preparation
from engines.models.prepare import preparation


@pytest.mark.parametrize("columns", ["numbers", "scaled"])
@given(
    seed=st.integers(0, 10_000),
    numbers=st.integers(0, 3),
    codes=st.lists(st.integers(1, 70), max_size=2),
    gaps=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_rows_old_and_new_come_out_the_same(
    columns: str, seed: int, numbers: int, codes: list[int], gaps: float
) -> None:
    if numbers + len(codes) == 0:
        numbers = 1
    random = np.random.default_rng(seed)
    X = np.column_stack(
        [random.normal(1e3, 10.0, 120) for _ in range(numbers)]
        + [random.integers(0, count, 120).astype(float) for count in codes]
    )
    X[random.random(X.shape) < gaps] = np.nan
    new = np.where(random.random(X.shape) < 0.1, np.nan, np.round(X + random.integers(0, 3)))
    categories = {numbers + i: count for i, count in enumerate(codes)}
    fitted = preparation(columns, categories)
    assert fitted is not None
    fitted.fit(X)

    back = Preparation.from_json(json.loads(json.dumps(Preparation.of(fitted).to_json())))

    for rows in (X, new):
        np.testing.assert_array_equal(back.transform(rows), np.asarray(fitted.transform(rows)))
