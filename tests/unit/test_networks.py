"""The networks themselves: shapes, causes and effects, and what each paper promises of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

# ruff: noqa: E402 - what follows needs torch, an extra.
from engines.models.advanced import transformer
from engines.models.advanced.linear import DLinear, NLinear, moving_average
from engines.models.advanced.patchtst import PatchTST
from engines.models.advanced.tft import TFT
from engines.models.advanced.transformer import Transformer
from engines.models.networks import normalise
from engines.models.pytorch.cnn import CNN
from engines.models.pytorch.deep_mlp import DeepMLP
from engines.models.pytorch.lstm import LSTM
from engines.models.pytorch.mlp import MLP

SMALL: dict[Callable[..., Any], dict[str, Any]] = {
    LSTM: {"hidden": 6, "layers": 2, "dropout": 0.2},
    CNN: {"channels": 6, "depth": 2, "kernel": 3, "dropout": 0.2},
    TFT: {"hidden_size": 8, "num_attention_heads": 2, "num_layers": 2, "dropout": 0.2},
    PatchTST: {
        **{"patch_len": 4, "stride": 2, "d_model": 8, "n_heads": 2, "e_layers": 2},
        **{"d_ff": 12, "dropout": 0.2},
    },
    Transformer: {"d_model": 8, "n_heads": 2, "layers": 2, "d_ff": 12, "dropout": 0.2},
    DLinear: {},
    NLinear: {},
}
WINDOWS = tuple(SMALL)
TABLES = (MLP, DeepMLP)
NORMALISED = (LSTM, CNN, TFT, PatchTST, Transformer)
ALONE = (PatchTST, DLinear, NLinear)
"""Forecast each own column from itself."""
by_name = {"ids": lambda value: getattr(value, "__name__", None)}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(5)
    yield
    torch.set_num_threads(before)


def build(kind: Any, columns: int, context: int, outputs: int, own: int = 0, **more: Any) -> Any:
    return kind(columns, context, outputs, own=own, **{**SMALL[kind], **more})


def stirred(network: Any) -> Any:
    """In eval mode, and with no weight at a special value such as zero or one."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def waves(batch: int, context: int, columns: int) -> Any:
    return torch.randn(batch, context, columns).cumsum(1)


@pytest.mark.parametrize("kind", WINDOWS, **by_name)
@pytest.mark.parametrize("context", [8, 24, 96])
@pytest.mark.parametrize("columns", [1, 5, 30])
def test_a_window_network_gives_every_output_of_every_own_column(kind, columns, context):
    for outputs in (1, 12):
        for own in {0, 1, min(3, columns)}:
            network = build(kind, columns, context, outputs, own)
            for batch in (1, 7):
                answer = network(waves(batch, context, columns))

                assert answer.shape == (batch, outputs, max(own, 1))
                assert torch.isfinite(answer).all()


@pytest.mark.parametrize("kind", TABLES, **by_name)
def test_a_table_network_gives_every_output_of_every_row(kind):
    for columns in (1, 5, 30):
        for outputs in (1, 4):
            network = kind(columns, outputs, width=8, depth=4, dropout=0.2)
            for batch in (1, 7):
                assert network(torch.randn(batch, columns)).shape == (batch, outputs)


def some_networks() -> list[Any]:
    """(a function that builds, an input): every network with and without own and other columns."""
    cases: list[Any] = [
        pytest.param(
            lambda kind=kind: kind(5, 3, width=8, depth=3, dropout=0.2), (7, 5), id=kind.__name__
        )
        for kind in TABLES
    ]
    for kind in WINDOWS:
        for columns, own, outputs in ((1, 1, 4), (5, 0, 1), (5, 2, 4), (3, 3, 1)):
            cases.append(
                pytest.param(
                    lambda kind=kind, c=columns, o=own, h=outputs: build(kind, c, 24, h, o),
                    (7, 24, columns),
                    id=f"{kind.__name__}-{columns}-{own}-{outputs}",
                )
            )
    return cases


@pytest.mark.parametrize(("make", "shape"), some_networks())
def test_the_seed_tells_the_weights(make, shape):
    torch.manual_seed(11)
    first = make().state_dict()
    torch.manual_seed(11)
    again = make().state_dict()
    other = make().state_dict()

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("make", "shape"), some_networks())
def test_a_gradient_reaches_every_parameter(make, shape):
    network = stirred(make())
    network(torch.randn(shape)).square().sum().backward()

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # What ought to be zero comes out of rounding, far below this.
        assert parameter.grad.abs().max() > 1e-5, name


@pytest.mark.parametrize(("make", "shape"), some_networks())
def test_a_row_is_predicted_whatever_the_other_rows_are(make, shape):
    network = stirred(make())
    x = torch.randn(shape)
    together = network(x)
    spoilt = x.clone()
    spoilt[3:] = torch.nan

    alone = torch.cat([network(row.unsqueeze(0)) for row in x])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(spoilt)[:3], together[:3], rtol=1e-4, atol=1e-5)
    assert torch.isnan(network(spoilt)[3:]).all()


@pytest.mark.parametrize(("make", "shape"), some_networks())
def test_saved_weights_give_the_same_answers(make, shape, tmp_path):
    network = stirred(make())
    x = torch.randn(shape)
    torch.save(network.state_dict(), tmp_path / "weights")

    other = make().eval()
    assert not torch.equal(other(x), network(x))
    other.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    assert torch.equal(other(x), network(x))


@pytest.mark.parametrize("kind", [k for k in WINDOWS if "dropout" in SMALL[k]], **by_name)
def test_dropout_works_in_training_and_only_there(kind):
    x = waves(4, 24, 3)
    for own in (0, 3):
        network = build(kind, 3, 24, 2, own)

        assert not torch.equal(network.train()(x), network(x))
        assert torch.equal(network.eval()(x), network(x))


def test_dropout_works_in_a_lstm_of_one_layer_and_torch_has_nothing_to_warn_of():
    network = build(LSTM, 3, 24, 2, layers=1)
    x = waves(4, 24, 3)

    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("columns", [3, 5])
@pytest.mark.parametrize("kind", [*NORMALISED, NLinear], **by_name)
def test_a_series_on_another_level_is_forecast_as_much_higher(kind, columns):
    network = stirred(build(kind, columns, 24, 6, 3))
    x = waves(4, 24, columns)
    shift = torch.tensor([10.0, -3.0, 0.5])
    moved = x.clone()
    moved[..., :3] += shift

    torch.testing.assert_close(network(moved), network(x) + shift, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("columns", [3, 5])
@pytest.mark.parametrize("kind", NORMALISED, **by_name)
def test_a_series_in_another_unit_is_forecast_in_that_unit(kind, columns):
    network = stirred(build(kind, columns, 24, 6, 3))
    x = waves(4, 24, columns)
    unit = torch.tensor([10.0, 3.0, 0.5])
    scaled = x.clone()
    scaled[..., :3] *= unit

    torch.testing.assert_close(network(scaled), network(x) * unit, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", NORMALISED, **by_name)
def test_a_series_that_does_not_move_has_a_finite_forecast_and_gradient(kind):
    network = build(kind, 2, 24, 3, 2)
    answer = network(torch.full((2, 24, 2), 7.0))
    answer.sum().backward()

    assert (answer - 7.0).abs().max() < 0.1
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("kind", ALONE, **by_name)
def test_a_column_is_forecast_from_itself_by_weights_that_all_share(kind):
    network = stirred(build(kind, 3, 24, 6, 3))
    x = waves(4, 24, 3)
    turned = x[..., [2, 0, 1]]
    other = x.clone()
    other[..., 1:] = waves(4, 24, 2)

    torch.testing.assert_close(network(turned), network(x)[..., [2, 0, 1]])
    torch.testing.assert_close(network(other)[..., 0], network(x)[..., 0])
    assert not torch.allclose(network(other)[..., 1], network(x)[..., 1])


@pytest.mark.parametrize("kind", ALONE, **by_name)
def test_other_columns_add_nothing_at_first_and_something_once_trained(kind):
    network = build(kind, 5, 24, 6, 2).eval()
    x = waves(4, 24, 5)
    other = x.clone()
    other[..., 4] += waves(4, 24, 1)[..., 0]

    torch.testing.assert_close(network(other), network(x))
    stirred(network)
    assert ((network(other) - network(x)).abs().amax((0, 1)) > 1e-3).all()


@pytest.mark.parametrize("kind", [LSTM, CNN, TFT, Transformer], **by_name)
def test_own_columns_and_others_tell_of_each_other(kind):
    network = stirred(build(kind, 3, 24, 6, 2))
    x = waves(4, 24, 3)
    for column in (1, 2):
        other = x.clone()
        other[..., column] = waves(4, 24, 1)[..., 0]

        assert not torch.allclose(network(other)[..., 0], network(x)[..., 0])


@pytest.mark.parametrize("kind", [k for k in WINDOWS if k is not CNN], **by_name)
@pytest.mark.parametrize("own", [0, 2])
def test_every_step_and_column_of_the_window_counts(kind, own):
    network = stirred(build(kind, 4, 12, 3, own))
    x = waves(2, 12, 4).requires_grad_()
    network(x).square().sum().backward()

    assert (x.grad.abs().sum(0) > 0).all()


def test_own_columns_are_standardised_and_put_back():
    x = waves(3, 24, 4)
    for own in (0, 2, 4):
        one, *put_back = normalise.standardised(x, own)

        assert torch.equal(one[..., own:], x[..., own:])
        torch.testing.assert_close(one[..., :own].mean(1), torch.zeros(3, own), rtol=0, atol=1e-4)
        if own:
            restored = normalise.restored(one[..., :own].flatten(1), *put_back)
            torch.testing.assert_close(restored, x[..., :own], rtol=1e-4, atol=1e-4)


# DLinear and NLinear


def test_a_moving_average_repeats_the_edges():
    series = torch.tensor([[[3.0, 6.0, 0.0, 9.0, 12.0]]])

    torch.testing.assert_close(
        moving_average(series, 3), torch.tensor([[[4.0, 3.0, 5.0, 7.0, 11.0]]])
    )
    # Longer than the series: 2 times 3, all five, and 12 once, by hand for the middle one.
    torch.testing.assert_close(
        moving_average(series, 7)[0, 0, 2], torch.tensor((3 + 3 + 6 + 0 + 9 + 12 + 12) / 7)
    )


def test_dlinear_is_one_map_of_the_average_and_one_of_the_rest():
    network = stirred(DLinear(2, 10, 4, own=2, kernel=5))
    x = waves(1, 10, 2)
    for column in range(2):
        series = x[0, :, column]
        long = torch.cat((series[:1], series[:1], series, series[-1:], series[-1:]))
        trend = torch.stack([long[t : t + 5].mean() for t in range(10)])
        by_hand = network.trend(trend) + network.rest(series - trend)

        torch.testing.assert_close(network(x)[0, :, column], by_hand)


def test_nlinear_is_one_map_of_the_distance_from_the_last_value():
    network = stirred(NLinear(1, 6, 3, own=1))
    x = waves(2, 6, 1)

    by_hand = (x[..., 0] - x[:, -1]) @ network.map.weight.T + network.map.bias + x[:, -1]
    torch.testing.assert_close(network(x)[..., 0], by_hand)


# CNN


@pytest.mark.parametrize(("depth", "kernel"), [(1, 2), (2, 3), (3, 5)])
def test_a_step_of_the_cnn_knows_nothing_of_later_steps(depth, kernel):
    network = stirred(build(CNN, 3, 40, 1, depth=depth, kernel=kernel))
    x = waves(2, 40, 3)
    before = network.hidden(x)
    for step in (0, 13, 39):
        other = x.clone()
        other[:, step] += 5.0
        moved = (network.hidden(other) - before).abs().amax((0, 1)) > 0

        assert not moved[:step].any()
        assert moved[step]


def test_the_cnn_sees_as_far_back_as_it_says():
    network = stirred(build(CNN, 2, 60, 1, depth=3, kernel=3, channels=12))
    x = waves(16, 60, 2).requires_grad_()
    network(x).sum().backward()

    assert network.reach == 29
    assert (x.grad.abs().sum((0, 2)) > 0).nonzero().min() == 60 - network.reach


# TFT


def test_the_columns_shares_sum_to_one():
    for columns in (1, 2, 6):
        network = stirred(build(TFT, columns, 12, 3, 1))
        weights = network.weights(waves(4, 12, columns))

        assert weights.shape == (4, 12, columns)
        assert (weights > 0).all()
        torch.testing.assert_close(weights.sum(2), torch.ones(4, 12))


def test_the_selection_is_the_mean_of_the_columns_by_their_shares():
    network = stirred(build(TFT, 3, 12, 3, own=0))
    x = waves(2, 12, 3)
    selected, shares = network.selection(x)
    by_hand = torch.zeros_like(selected)
    part = network.selection
    for column in range(3):
        value = x[..., column : column + 1]
        embedded = value * part.embedding[column, 0] + part.embedding[column, 1]
        hidden = torch.nn.functional.elu(value * part.into[column, 0] + part.into[column, 1])
        inner = hidden @ part.across[column] + part.across_bias[column]
        left, right = (inner @ part.gate[column] + part.gate_bias[column]).chunk(2, dim=-1)
        added = embedded + left * right.sigmoid()
        centred = added - added.mean(-1, keepdim=True)
        normed = centred / (added.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        seen = normed * part.gain[column] + part.shift[column]
        by_hand += shares[..., column : column + 1] * seen

    torch.testing.assert_close(selected, by_hand, rtol=1e-4, atol=1e-5)


def test_the_decoder_of_the_tft_looks_back_and_not_ahead():
    network = stirred(build(TFT, 2, 12, 5, own=1))
    x = waves(3, 12, 2)
    before = network(x)
    with torch.no_grad():
        network.steps[3] += 1.0
    moved = (network(x) - before).abs().amax((0, 2)) > 0

    assert moved.tolist() == [False, False, False, True, True]


# Transformer and PatchTST


def test_positions_are_the_sines_of_the_paper():
    positions = transformer.sinusoids(50, 6)

    for step, unit in ((0, 0), (7, 1), (49, 2)):
        angle = torch.tensor(step / 10000 ** (2 * unit / 6))
        torch.testing.assert_close(positions[step, 2 * unit], angle.sin(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(positions[step, 2 * unit + 1], angle.cos(), rtol=1e-4, atol=1e-5)
    assert transformer.sinusoids(4, 5).shape == (4, 5)


def test_the_transformer_reads_all_tokens_or_the_last():
    for head in ("flatten", "last"):
        assert build(Transformer, 3, 24, 2, head=head)(waves(2, 24, 3)).shape == (2, 2, 1)
    assert build(Transformer, 3, 24, 2, head="last").readout.in_features == 8
    with pytest.raises(ValueError, match="head is 'mean'"):
        build(Transformer, 3, 24, 2, head="mean")


def test_the_last_patch_ends_with_the_last_value_repeated():
    network = build(PatchTST, 1, 24, 2, own=0, patch_len=6, stride=4)
    x = waves(2, 24, 1)
    seen = []
    network.embedding.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    network(x)
    (patches,) = seen

    assert patches.shape == (2, 6, 6)
    assert network.positions.shape == (6, 8)
    torch.testing.assert_close(patches[:, 1], x[:, 4:10, 0])
    torch.testing.assert_close(patches[:, 5, :4], x[:, 20:24, 0])
    torch.testing.assert_close(patches[:, 5, 4:], x[:, -1:, 0].expand(-1, 2))


# What does not fit


@pytest.mark.parametrize(
    ("kind", "wrong", "says"),
    [
        (PatchTST, {"n_heads": 3}, "3 heads do not divide a width of 8"),
        (Transformer, {"n_heads": 3}, "3 heads do not divide a width of 8"),
        (TFT, {"num_attention_heads": 3}, "3 heads do not divide a hidden_size of 8"),
        (PatchTST, {"patch_len": 25}, "context 24 must rise"),
        (PatchTST, {"stride": 5}, "stride 5, patch_len 4"),
        (PatchTST, {"stride": 0}, "stride 0"),
        (PatchTST, {"e_layers": 0}, "e_layers"),
        (Transformer, {"layers": 0}, "layers"),
        (TFT, {"num_layers": 0}, "num_layers"),
        (LSTM, {"layers": 0}, "layers"),
        (CNN, {"kernel": 1}, "kernel"),
        (CNN, {"depth": 0}, "depth"),
        (DLinear, {"kernel": 4}, "odd"),
    ],
)
def test_hyperparameters_that_do_not_fit_are_refused(kind, wrong, says):
    with pytest.raises(ValueError, match=says):
        build(kind, 3, 24, 2, **wrong)


@pytest.mark.parametrize("kind", WINDOWS, **by_name)
def test_windows_that_do_not_fit_are_refused(kind):
    with pytest.raises(ValueError, match="own is 4, but must lie between 0 and the 3 columns"):
        build(kind, 3, 24, 2, 4)
    for sizes in ((0, 24, 2), (3, 0, 2), (3, 24, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            build(kind, *sizes)


@pytest.mark.parametrize("kind", TABLES, **by_name)
def test_tables_without_columns_are_refused(kind):
    with pytest.raises(ValueError, match="at least 1"):
        kind(0, 1, width=8, depth=2, dropout=0.0)
