"""Dropout and the optimiser of networks: as torch's own, for less."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from engines.models.networks.adamw import AdamW  # noqa: E402
from engines.models.networks.dropout import Dropout  # noqa: E402


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_zeroes_its_part_and_scales_the_others(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(300, 401)
    dropped = Dropout(p)(x)

    kept = dropped != 0
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert abs(float((~kept).double().mean()) - p) < 4 * deviation
    assert torch.allclose(dropped[kept], torch.tensor(1 / (1 - p)), rtol=1e-4)


def test_dropout_drops_neighbours_and_repeated_calls_independently() -> None:
    torch.manual_seed(0)
    layer, x = Dropout(0.5), torch.ones(40_000)
    first, second = (layer(x).bool().double() - 0.5 for _ in range(2))

    for lag in (1, 2, 3, 4, 8):
        assert abs(float((first[:-lag] * first[lag:]).mean())) < 0.005
    assert abs(float((first * second).mean())) < 0.005


def test_dropout_sends_gradients_where_it_let_values_through() -> None:
    x = torch.randn(7, 3, requires_grad=True)
    dropped = Dropout(0.4)(x)
    dropped.sum().backward()

    assert x.grad is not None
    assert torch.allclose(x.grad * x, dropped)


@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (2, 3, 5)])
def test_dropout_takes_any_shape_and_draws_again_what_it_drew(shape: tuple[int, ...]) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(torch.ones(shape)))

    assert drawn[0].shape == shape
    assert torch.equal(*drawn)


def test_dropout_of_all_or_nothing_and_outside_training() -> None:
    x = torch.randn(50)

    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(50))
    assert torch.equal(Dropout(0.5).eval()(x), x)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(1.5)


def test_the_optimiser_takes_the_steps_of_torchs_to_the_last_bit() -> None:
    torch.manual_seed(0)
    first, second = ([torch.randn(3, 4), torch.randn(5), torch.randn(2)] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        other.copy_(one)
    for each in (*first, *second):
        each.requires_grad_(True)
    ours = AdamW(first, 0.01, 0.1)
    theirs = torch.optim.AdamW(second, lr=0.01, weight_decay=0.1, fused=True)
    for number in range(6):
        ours.forget()
        theirs.zero_grad()
        if number == 3:
            ours.rate = theirs.param_groups[0]["lr"] = 0.005
            taken_up = AdamW(first, 1.0, 0.1)
            taken_up.restore(ours.state())
            ours = taken_up
        for parameters in (first, second):
            # The last one has no part in some losses.
            sum((each**3).sum() for each in parameters[: 2 + number % 2]).backward()
        ours.step()
        theirs.step()

    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_training_does_not_import_the_compiler_of_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from engines.models.pytorch.estimators import SimpleMLPRegressor\n"
        "X = np.random.default_rng(0).normal(size=(60, 2))\n"
        "SimpleMLPRegressor(max_epochs=2).fit(X, X[:, 0])\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "False\n", done.stderr
