"""The training loop of networks: when it ends, what it keeps, and that it can go on elsewhere."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from engines.data.scoring import METRICS, ScoreError  # noqa: E402
from engines.data.snapshot import MOST_CONTEXT, Snapshot  # noqa: E402
from engines.data.splits import make_split  # noqa: E402
from engines.models import catalogue  # noqa: E402
from engines.models.evaluation import Evaluation  # noqa: E402
from engines.models.fit import Trainer  # noqa: E402
from engines.models.learner import FoldView, Watch  # noqa: E402
from engines.models.networks import estimator, training  # noqa: E402
from engines.models.networks.training import Rows, Schedule, Training, predict  # noqa: E402
from engines.models.networks.windows import windows, with_history  # noqa: E402
from engines.models.pytorch import estimators as tables  # noqa: E402

NETWORKS = [name for name, spec in catalogue.models().items() if spec.package == "torch"]
WINDOWED = [n for n in NETWORKS if catalogue.find(n).form("regression").windows]
SMALL = {
    **{"width": 8, "depth": 1, "context_length": 6, "hidden": 8, "layers": 1, "channels": 4},
    **{"kernel": 3, "patch_len": 3, "d_model": 8, "n_heads": 2, "e_layers": 1, "d_ff": 8},
    **{"hidden_size": 8, "num_attention_heads": 2, "num_layers": 1, "batch_size": 32},
    **{"max_epochs": 3, "learning_rate": 3e-3},
}
"""Sizes that train in milliseconds."""


def build(name: str, task: str = "regression", **more: Any) -> Any:
    """A small network of the catalogue."""
    kind = catalogue.find(name).form(task).load_class()
    known = kind().get_params()
    return kind(**{k: v for k, v in {**SMALL, **more}.items() if k in known})


def series(rows: int = 160, columns: int = 3, seed: int = 0) -> tuple[Any, Any]:
    """Rows whose target follows from the latest values of the first column."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, columns))
    return X, np.convolve(X[:, 0], [0.6, 0.4, 0.2])[:rows] + 0.1 * random.normal(size=rows)


def network(dropout: float = 0.3) -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 16),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(16, 1),
    )


def parts() -> tuple[Rows, Rows]:
    X, y = series(120)
    rows = Rows(torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None])
    return Rows(rows.x[:90], rows.y[:90]), Rows(rows.x[90:], rows.y[90:])


def begin(aside: bool = True, **schedule: Any) -> Training:
    train, held = parts()
    how = {"learning_rate": 0.01, "batch": 16, "epochs": 30, "patience": 30, **schedule}
    loss = torch.nn.functional.mse_loss
    return Training(network(), loss, train, held if aside else None, Schedule(**how), seed=3)


def weights(trained: Any) -> list[Any]:
    return [v.clone() for v in trained.state_dict().values()]


def run(one: Training) -> Training:
    while not one.over:
        one.advance()
    return one


# -- the loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [1, 7, 19])
def test_a_training_taken_up_by_another_process_ends_with_the_same_weights(stop_after: int) -> None:
    whole = run(begin(epochs=24, patience=8))
    first = begin(epochs=24, patience=8)
    for _ in range(stop_after):
        first.advance()
    kept = io.BytesIO()
    torch.save(first.state(), kept)
    torch.rand(5)  # whatever that process did with the generator

    second = begin(epochs=24, patience=8)
    kept.seek(0)
    second.restore(torch.load(kept, weights_only=True))
    run(second)

    assert (second.epoch, second.best_epoch) == (whole.epoch, whole.best_epoch)
    pairs = zip(weights(second.best()), weights(whole.best()), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_state_of_an_earlier_version_begins_the_training_anew() -> None:
    whole, first, second = run(begin()), begin(), begin()
    first.advance()
    state = first.state()
    del state["format"], state["optimiser"]["means"]
    second.restore(state)

    assert second.epoch == 0
    pairs = zip(weights(run(second).best()), weights(whole.best()), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_weights_of_the_best_epoch_are_kept_and_training_ends_by_patience() -> None:
    one = begin(learning_rate=0.05, epochs=400, patience=6)
    losses, kept = [], []
    while not one.over:
        one.advance()
        losses.append(one.loss_now)
        kept.append(weights(one.network))

    assert one.epoch < 400
    assert one.epoch - one.best_epoch == 6
    assert one.best_epoch == 1 + int(np.argmin(losses))
    pairs = zip(weights(one.best()), kept[one.best_epoch - 1], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_without_rows_aside_the_last_weights_are_kept() -> None:
    one = run(begin(aside=False, epochs=5))

    assert (one.epoch, one.best_epoch) == (5, 5)


def test_the_rate_is_halved_when_progress_has_ended() -> None:
    one = begin(learning_rate=0.05, epochs=400, patience=6)
    run(one)

    assert one.state()["optimiser"]["rate"] < 0.05


def test_a_loss_that_is_not_finite_is_no_training() -> None:
    one = begin(learning_rate=1e30)

    with pytest.raises(ScoreError, match=r"in epoch \d+: learning rate 1e\+30 is too high"):
        run(one)


def test_training_ends_in_the_epoch_in_which_time_is_up() -> None:
    one = begin()
    one.advance(deadline=time.monotonic() - 1.0)

    assert one.was_cut
    assert one.over
    assert one.best_epoch == 1


def test_nobody_elses_random_numbers_are_used_up() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    X, y = series()
    tables.SimpleMLPRegressor(max_epochs=3).fit(X, y)

    assert torch.equal(torch.rand(3), expected)


def test_an_epoch_calls_the_network_once_a_batch() -> None:
    train, _ = parts()
    calls: list[int] = []
    module = network()
    module.register_forward_hook(lambda *_: calls.append(1))
    how = Schedule(learning_rate=0.01, batch=30, epochs=1)
    Training(module, torch.nn.functional.mse_loss, train, None, how, seed=0).advance()

    assert len(calls) == math.ceil(len(train) / 30)


# -- windows --------------------------------------------------------------------------------------


def test_windows_are_views_of_the_series() -> None:
    values = torch.arange(40.0).reshape(20, 2)
    found = windows(values, 4)

    assert found.shape == (17, 4, 2)
    assert torch.equal(found[5], values[5:9])
    assert found.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()


def test_history_is_what_came_right_before_and_the_first_row_where_nothing_did() -> None:
    X = np.arange(6.0).reshape(3, 2)
    before = -np.arange(8.0).reshape(4, 2)

    assert with_history(X, before, 3).tolist() == [*before[-2:].tolist(), *X.tolist()]
    assert with_history(X, before[:1], 3).tolist() == [*before[[0, 0]].tolist(), *X.tolist()]
    assert with_history(X, None, 3).tolist() == [X[0].tolist()] * 2 + X.tolist()


@pytest.mark.parametrize("name", WINDOWED)
def test_no_prediction_knows_of_later_rows(name: str) -> None:
    X, y = series()
    model = build(name).fit(X, y)
    later = X.copy()
    later[100:] = np.random.default_rng(5).permutation(later[100:])

    assert not np.array_equal(X[100:], later[100:])
    np.testing.assert_array_equal(model.predict(later)[:100], model.predict(X)[:100])
    assert not np.allclose(model.predict(later)[100:], model.predict(X)[100:])


@pytest.mark.parametrize("name", WINDOWED)
def test_a_row_is_predicted_from_the_rows_before_it_wherever_they_are_given(name: str) -> None:
    X, y = series()
    model = build(name).fit(X, y)

    np.testing.assert_allclose(
        model.predict(X[100:], before=X[:100]), model.predict(X)[100:], rtol=1e-4, atol=1e-5
    )


# -- estimators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_and_is_the_same_again(name: str, task: str) -> None:
    X, y = series()
    target = (y > 0).astype(float) if task == "classification" else y
    one, other = (build(name, task).fit(X, target) for _ in range(2))

    assert one.predict(X).shape == y.shape
    assert np.array_equal(one.predict(X), other.predict(X))
    assert 1 <= one.rounds_ <= 3
    if task == "classification":
        assert one.predict_proba(X).sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_that_score_a_network_have_no_say_in_its_training(name: str) -> None:
    X, y = series()

    def trained(y_valid: Any) -> Any:
        view = FoldView(0, X[:120], y[:120], X[120:], y_valid, {}, 0, ordered=True)
        return build(name).fit_watched(view, Watch())

    assert np.array_equal(trained(y[120:]).predict(X), trained(-y[120:]).predict(X))


def test_a_refit_trains_the_epochs_it_was_told_on_all_rows() -> None:
    X, y = series()
    model = build("simple_mlp").fit_rounds(X, y, 2)

    assert model.rounds_ == 2
    other = build("simple_mlp").fit_rounds(X, np.append(y[:-1], y[-1] + 9.0), 2)
    assert not np.array_equal(model.predict(X), other.predict(X))


def test_the_rows_set_aside_are_the_latest_of_ordered_ones() -> None:
    rows = Rows(torch.arange(100.0)[:, None], torch.arange(100.0)[:, None])
    train, aside = estimator._set_aside(rows, seed=0, ordered=True)
    mixed, other = estimator._set_aside(rows, seed=0, ordered=False)

    assert aside is not None
    assert other is not None
    assert float(train.y.max()) < float(aside.y.min())
    assert float(mixed.y.max()) > float(other.y.min())
    assert sorted([*mixed.y.flatten().tolist(), *other.y.flatten().tolist()]) == list(range(100))
    assert estimator._set_aside(Rows(rows.x[:39], rows.y[:39]), 0, True)[1] is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", [tables.SimpleMLPRegressor, tables.SimpleMLPClassifier])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke them
def test_networks_of_rows_are_estimators_as_scikit_learn_has_them(kind: Callable[..., Any]) -> None:
    rounding = {"check_methods_subset_invariance": "float32 sums depend on the batch in digit 7"}
    model = kind(width=32, depth=1, max_epochs=30, learning_rate=0.01, dropout=0.0, batch_size=16)
    check_estimator(model, expected_failed_checks=rounding, on_skip=None)


# -- in an experiment -----------------------------------------------------------------------------


class Notes:
    """A keeper in memory, which interrupts the training of a fold after so many epochs."""

    def __init__(self, interrupt: tuple[int, int] | None = None) -> None:
        self.folds: dict[int, Any] = {}
        self.states: dict[int, bytes] = {}
        self.interrupt = interrupt

    def outcome(self, index: int) -> Any:
        return self.folds.get(index)

    def done(self, index: int, outcome: Any) -> None:
        self.folds[index] = outcome

    def saver(self, index: int) -> Any:
        return _Saver(self, index)


class _Saver:
    def __init__(self, notes: Notes, index: int) -> None:
        self.notes, self.index = notes, index
        self.state = notes.states.get(index)

    def __call__(self, round_: int, pack: Callable[[], bytes]) -> None:
        if self.notes.interrupt == (self.index, round_):
            self.notes.states[self.index] = pack()
            raise KeyboardInterrupt


def ordered(rows: int = 240) -> Snapshot:
    X, y = series(rows)
    return Snapshot(X=X, y=y, categories={}, split=make_split(rows, ordered=True, seed=0))


@pytest.fixture(params=["simple_mlp", "lstm"])
def evaluate(request: pytest.FixtureRequest) -> Callable[..., Evaluation]:
    name = request.param
    form = replace(catalogue.find(name).form("regression"), fixed={"max_epochs": 5})
    data = ordered()
    facts = {"train_rows": data.train_rows, "columns": 3, "wide_columns": 3, "context_rows": 8}
    params = form.space.bind(facts).clip(form.defaults)

    def one(keeper: Any = None) -> Evaluation:
        return Evaluation(Trainer(data, METRICS["r2"]), form, params, 5, keeper=keeper)

    return one


def test_an_interrupted_trial_ends_with_the_scores_of_one_that_was_not(
    evaluate: Callable[..., Evaluation],
) -> None:
    expected = list(evaluate().scores())
    notes = Notes(interrupt=(2, 2))
    with pytest.raises(KeyboardInterrupt):
        list(evaluate(notes).scores())

    assert sorted(notes.folds) == [0, 1]
    notes.interrupt = None
    assert list(evaluate(notes).scores()) == expected


def test_windows_reach_from_the_validation_rows_into_the_past() -> None:
    data = ordered()
    form = catalogue.find("lstm").form("regression")
    trainer = Trainer(data, METRICS["r2"])
    facts = {"train_rows": data.train_rows, "columns": 3, "wide_columns": 3, "context_rows": 8}
    outcome = trainer.fit_fold(form, form.space.bind(facts).clip(form.defaults), 5, 1)
    rows = data.split.folds[1].valid

    again = outcome.model.predict(data.X[rows], data.before(rows))
    np.testing.assert_allclose(again, outcome.predicted, rtol=1e-6)
    blind = outcome.model.predict(data.X[rows], data.X[:0])
    assert not np.allclose(blind[:3], again[:3])
    np.testing.assert_allclose(blind[50:], again[50:], rtol=1e-4, atol=1e-6)
    assert outcome.model.tail is not None
    assert len(outcome.model.tail) == min(MOST_CONTEXT, len(data.split.folds[1].train))


def test_what_a_network_says_in_parts_is_what_it_says_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.randn(50, 3)
    module = network()
    at_once = predict(module, x)
    monkeypatch.setattr(training, "MOST_PREDICTED", 7)

    assert torch.allclose(predict(module, x), at_once, atol=1e-6)
