"""Pieces of networks: dropout and the optimiser, as torch's own for less; what a training costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.models import catalogue  # noqa: E402
from engines.models.networks import estimator  # noqa: E402
from engines.models.networks.adamw import AdamW  # noqa: E402
from engines.models.networks.dropout import Dropout  # noqa: E402
from engines.models.networks.work import (  # noqa: E402
    LEAST_EPOCHS,
    LEAST_ROWS,
    PRODUCT_S,
    VALUE_S,
    Work,
    count,
)
from engines.models.pytorch.estimators import SimpleMLPRegressor  # noqa: E402


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


# -- what a training may cost ---------------------------------------------------------------------


def test_a_dear_network_gets_fewer_rows_an_epoch_and_fewer_epochs_and_a_cheap_one_all() -> None:
    cheap, dear = Work(row_s=1e-5, step_s=1e-3), Work(row_s=2e-2, step_s=1e-1)

    assert cheap.epoch_rows(4_000, 64) == 4_000
    assert cheap.epochs(4_000, 64) > 200
    assert dear.epoch_rows(4_000, 64) == LEAST_ROWS
    assert LEAST_EPOCHS <= dear.epochs(LEAST_ROWS, 16) < 40
    assert dear.epoch_rows(50, 6) == 50


@pytest.mark.parametrize("name", ["simple_mlp", "lstm", "cnn", "patchtst", "transformer", "tft"])
def test_larger_networks_are_counted_as_dearer(name: str) -> None:
    form = catalogue.find(name).form("regression")
    small = {**form.defaults, "batch_size": 64}
    sizes = ("width", "hidden", "channels", "d_model", "hidden_size")
    large = {k: 4 * v if k in sizes else v for k, v in small.items()}

    def work(params: dict[str, Any]) -> Work:
        built = form.load_class()(**form.space.arguments(params))
        x = torch.randn(1, built.context_length, 5) if form.windows else torch.randn(1, 5)
        return count(built._network(5, 1), x)

    assert work(large).row_s > 1.5 * work(small).row_s > 0
    assert work(large).step_s > work(small).step_s > 0
    assert work(small) == work(small)


def test_counting_leaves_a_network_and_the_generator_as_they_were() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), Dropout(0.5)).train()
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    counted = count(module, torch.randn(1, 3, generator=torch.Generator().manual_seed(0)))

    assert torch.equal(torch.rand(2), expected)
    assert module.training
    assert not any(layer._forward_hooks for layer in module)
    assert counted.row_s == pytest.approx(12 * PRODUCT_S + 8 * VALUE_S)


def test_an_epoch_of_some_rows_draws_others_each_time_and_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimator, "count", lambda *_: Work(row_s=0.02, step_s=0.0))
    seen: list[Any] = []
    real = SimpleMLPRegressor._loss
    monkeypatch.setattr(
        SimpleMLPRegressor, "_loss", lambda _, p, y: (seen.append(y), real(p, y))[1]
    )
    X = np.random.default_rng(0).normal(size=(2_000, 2))
    fitted = SimpleMLPRegressor(max_epochs=3, batch_size=512).fit(X, X[:, 0])

    assert fitted.epoch_rows_ == (LEAST_ROWS, 1_700)
    steps = [len(y) for y in seen]
    assert steps == 3 * (8 * [16] + [LEAST_ROWS])  # the last ones are those that stop it
    first, second = (torch.cat(seen[n * 9 : n * 9 + 8]).flatten().tolist() for n in (0, 1))
    assert len(set(first) & set(second)) < 40
    assert torch.equal(seen[8], seen[17])
