"""A trial of an agent: seeds side by side, reports by steps, and going on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.data.terms import Terms, steps_of
from engines.models.learner import OutOfTime
from engines.models.rl_agents import protocol
from engines.models.rl_agents.protocol import AgentEvaluation
from engines.models.rl_agents.stages import Stages
from simulator.metrics import sharpe_ratio
from tests.unit.agents.searching import RandomSearch, stages_of

pytest.importorskip("numba")

TERMS = Terms(bars_per_year=252.0, steps=400, seeds=3)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return stages_of(tmp_path_factory.mktemp("market"), TERMS)


class Stopped(Exception):
    """As an order interrupts a trial."""


class Saving:
    """Keeps every state, and interrupts at one of the saves."""

    def __init__(self, state: bytes | None = None, stop_at: int | None = None) -> None:
        self.state = state
        self.saves: list[int] = []
        self._stop_at = stop_at

    def __call__(self, round_: int, pack: Callable[[], bytes]) -> None:
        self.saves.append(round_)
        if len(self.saves) == self._stop_at:
            self.state = pack()
            raise Stopped


def evaluation(stages: Stages, **how: Any) -> AgentEvaluation:
    def begin(seed: int, state: bytes | None) -> RandomSearch:
        if state is None:
            return RandomSearch(stages.train, seed)
        return RandomSearch.unpack(state, stages.train, seed)

    return AgentEvaluation(stages, TERMS, "sharpe_ratio", 5, begin, **how)


def test_the_value_is_the_median_over_the_seeds_of_the_validation_score(stages: Stages) -> None:
    trial = evaluation(stages)
    scores = list(trial.scores())

    assert len(set(scores)) == 3
    assert trial.value == sorted(scores)[1]
    for score, episode in zip(scores, trial.episodes, strict=True):
        assert score == sharpe_ratio(episode.returns, 252.0)
        assert len(episode.returns) == len(stages.validation.bars) - 1 - stages.validation.first


def test_the_kept_returns_begin_with_those_of_the_median_seed(stages: Stages) -> None:
    trial = evaluation(stages)
    list(trial.scores())

    assert trial.returns is not None
    seeds, content = trial.returns
    rows = np.frombuffer(content, "<f4").reshape(seeds, -1)

    assert seeds == 3
    expected = trial.episodes[trial.median_seed].returns.astype(np.float32)
    assert rows[0].tobytes() == expected.tobytes()
    assert sharpe_ratio(rows[0].astype(float), 252.0) == pytest.approx(trial.value, rel=1e-4)


def test_reports_come_at_equal_distances_with_all_seeds_at_the_same_step(stages: Stages) -> None:
    heard: list[tuple[int, int, float]] = []
    at_marks: list[set[int]] = []

    def listen(fold: int, step: int, value: float) -> None:
        heard.append((fold, step, value))
        at_marks.append({training.steps_done for training in trial._trainings})

    trial = evaluation(stages, listen=listen)
    list(trial.scores())

    assert [step for _, step, _ in heard] == [40 * n for n in range(1, 10)]
    assert {fold for fold, _, _ in heard} == {0}
    assert at_marks == [{40 * n} for n in range(1, 10)]


@pytest.mark.parametrize("stop_at", [1, 8, 26])
def test_a_trial_that_was_interrupted_anywhere_ends_as_if_it_had_not_been(
    stages: Stages, stop_at: int
) -> None:
    calm_reports: list[Any] = []
    calm = evaluation(stages, listen=lambda *told: calm_reports.append(told))
    expected = list(calm.scores())
    reports: list[Any] = []
    saving = Saving(stop_at=stop_at)
    with pytest.raises(Stopped):
        list(evaluation(stages, listen=lambda *r: reports.append(r), saver=saving).scores())

    # What was reported behind the checkpoint is deleted in the store.
    reports = [report for report in reports if report[1] <= saving.saves[-1]]
    again = evaluation(stages, listen=lambda *r: reports.append(r), saver=Saving(saving.state))

    assert list(again.scores()) == expected
    assert again.returns == calm.returns
    assert reports == calm_reports


class Clock:
    """A clock that says that it is late once it was asked so often."""

    def __init__(self, over_after: int) -> None:
        self._asked, self._over_after = 0, over_after

    def monotonic(self) -> float:
        self._asked += 1
        return 0.0 if self._asked <= self._over_after else 100.0


def test_a_trial_whose_time_is_up_has_the_score_of_the_steps_that_it_got(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "time", Clock(5))
    trial = evaluation(stages, seconds_left=50.0)

    scores = list(trial.scores())

    done, planned = trial.metrics["steps"]
    assert len(scores) == 3
    assert 40 <= done < planned == 400
    assert {training.steps_done for training in trial._trainings} == {done}


def test_a_trial_without_time_for_its_first_report_has_no_score(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "time", Clock(2))

    with pytest.raises(OutOfTime, match="before the first report"):
        list(evaluation(stages, seconds_left=50.0).scores())


def test_the_periods_are_apart_and_each_market_ends_where_its_period_does(stages: Stages) -> None:
    train, validation, test = stages.train, stages.validation, stages.test

    assert train.last < validation.first < validation.last < test.first < test.last == 699
    assert validation.first - train.last > 60
    assert test.first - validation.last > 60
    # What an agent is shown of a bar is the same whatever comes after it.
    rows = len(train.table)
    assert train.table[train.first :].tobytes() == test.table[train.first : rows].tobytes()


def test_the_budget_is_episodes_of_training_bars_and_has_an_end() -> None:
    assert steps_of(None, 900) == 5_000
    assert steps_of(3, 900) == 2_700
    assert steps_of(10**6, 900) == 100_000
    assert Terms(252.0, steps=95).marks == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]
    assert Terms.of({**TERMS.describe(), "kind": "more"}) == TERMS
