"""Our networks forecast ETTh1 as published: 336 hours to 96, on all test windows.

Slow: some two minutes of one core, nearly all of them PatchTST's three epochs. The whole table,
with the runs that take longer, is `python bench/networks.py --only etth1`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from tests.contract import etth1  # noqa: E402 - needs torch, an extra

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def series() -> Iterator[torch.Tensor]:
    """The rows of the protocol; one thread, as a worker has."""
    try:
        path = etth1.find_file()
    except etth1.Missing as error:
        pytest.skip(str(error))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield etth1.read(path)
    torch.set_num_threads(threads)


def test_the_windows_are_those_of_the_protocol(series: torch.Tensor) -> None:
    for context in (etth1.LONGEST, 96):
        parts = etth1.cut(series, context)
        assert [len(p) for p in (parts.train, parts.valid, parts.test)] == [8209, 2785, 2785]
        assert torch.equal(parts.train.y[-1], series[8640 - 96 : 8640])
        assert torch.equal(parts.valid.y[0], series[8640 : 8640 + 96])
        assert torch.equal(parts.test.x[0], series[11520 - context : 11520])
        assert torch.equal(parts.test.y[-1], series[-96:])


@pytest.mark.parametrize("name", etth1.NAIVE)
def test_naive_forecasts_have_their_known_errors(series: torch.Tensor, name: str) -> None:
    rows = etth1.cut(series).test
    low, high = etth1.BARS[name]
    assert low is not None
    assert low <= etth1.mse(etth1.NAIVE[name](rows), rows) <= high


@pytest.mark.parametrize("name", ["DLinear", "NLinear", "PatchTST, 3 epochs"])
def test_networks_reach_the_published_error(series: torch.Tensor, name: str) -> None:
    found = etth1.train(etth1.RUNS[name], series, seed=1)
    assert found["mse"] <= etth1.BARS[name][1], found
