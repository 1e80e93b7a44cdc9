"""What is left of a score when the number of tries is counted, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.analysis import luck
from engines.analysis.report import experiment_document, verdict
from engines.study.records import Baseline, Best, Ensemble, Evidence, Experiment, Study
from engines.study.states import Counts
from simulator import statistics

BARS, YEAR = 500, 252.0


def returns(trials: int, seed: int = 0, skill: float = 0.0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(0.0, 0.01, (BARS, trials))
    found[:, 0] += skill
    return found


def test_the_deflated_ratio_counts_every_trial_and_knows_their_spread() -> None:
    tried = returns(20)
    found = luck.multiple_testing(tried, 3)

    r = tried[:, 3]
    sharpes = tried.mean(axis=0) / tried.std(axis=0, ddof=1)
    cross = statistics.deflated_sharpe_ratio(r, 20, variance="cross", sharpes=sharpes)
    assert found["trials"] == 20
    assert found["dsr_null"] == statistics.deflated_sharpe_ratio(r, 20)
    assert found["dsr_cross"] == pytest.approx(cross, rel=1e-9)
    assert found["effective_trials"] == statistics.effective_trials(tried)
    overfitting = statistics.probability_of_overfitting(tried)
    assert overfitting is not None
    assert found["pbo"] == overfitting.pbo


def test_the_best_of_many_worthless_agents_has_no_skill_and_a_good_one_has() -> None:
    worthless = returns(25, seed=1)
    best = int(np.argmax(worthless.mean(axis=0)))
    good = luck.multiple_testing(returns(25, seed=1, skill=0.003), 0)

    assert statistics.probabilistic_sharpe_ratio(worthless[:, best]) > 0.9  # taken by itself
    assert luck.multiple_testing(worthless, best)["dsr_null"] < 0.95
    assert good["dsr_null"] > 0.95
    assert good["pbo"] < 0.1


def test_an_agent_that_never_trades_has_no_deflated_ratio_and_spoils_none() -> None:
    tried = returns(4)
    tried[:, 2] = 0.0

    assert luck.multiple_testing(tried, 2)["dsr_null"] is None
    assert luck.multiple_testing(tried, 0)["dsr_null"] is not None
    assert luck.multiple_testing(tried[:, 2:3], 0)["pbo"] is None


def test_a_lead_over_cash_and_the_interval_agree_on_what_is_luck() -> None:
    skilled, lucky = returns(1, seed=2, skill=0.002)[:, 0], returns(1, seed=2)[:, 0]
    cash = np.zeros(BARS)

    low, high = luck.interval("sharpe_ratio", skilled, YEAR, seed=1) or (0.0, 0.0)
    assert 0 < low < high
    assert luck.p_of_lead("sharpe_ratio", skilled, cash, YEAR, seed=1) < 0.01
    assert luck.p_of_lead("sharpe_ratio", lucky, cash, YEAR, seed=1) > 0.05
    assert luck.p_of_lead("sharpe_ratio", skilled, skilled, YEAR, seed=1) == 1.0
    assert luck.interval("sharpe_ratio", cash, YEAR, seed=1) is None


# -- the verdict -----------------------------------------------------------------------------------

TESTED = {
    "dsr_null": 0.99,
    "dsr_cross": 0.9,
    "trials": 5,
    "effective_trials": 4.2,
    "pbo": 0.1,
}
BASELINES = (
    Baseline("flat", 0.0, 0.0),
    Baseline("buy_and_hold", 0.3, 0.2),
    Baseline("sign_flipped", 9.0, 9.0),
)


def experiment(
    selection: float = 1.8,
    held_out: float | None = 1.5,
    p: float | None = 0.004,
    of_all: dict[str, Any] | None = None,
    **tested: Any,
) -> Experiment:
    evidence = Evidence(baseline="flat", p=p, trading={**TESTED, **tested})
    study = Study(
        study_id=1, experiment_id=1, name="e/td3", model="td3", family="rl_agents", state="done",
        want="run", counts=Counts(complete=5, goal=5), best=Best(3, selection, held_out),
        message=None, openings=1, train_s=9.0, median_s=2.0,
        evidence=None if held_out is None else evidence,
    )  # fmt: skip
    ensemble = Ensemble(None, None, (), Evidence(trading=of_all), "none") if of_all else None
    return Experiment(
        experiment_id=1, name="e", created_at="2026-01-01T00:00:00+00:00", state="done",
        task="trading", dataset=None, objective=None, metric="sharpe_ratio", maximize=True, seed=1,
        split={}, sampler="tpe", pruner="median", workers=1, time_limit_s=None, time_used_s=1.0,
        failure=None, versions={}, runner_pid=None, studies=(study,), baselines=BASELINES,
        ensemble=ensemble,
    )  # fmt: skip


def test_an_agent_that_passes_every_test_leads_and_the_numbers_say_why() -> None:
    said = verdict(experiment())

    assert said.startswith("td3 leads with sharpe_ratio 1.8 in selection, 1.5 on the test period")
    assert "p = 0.004" in said
    assert "deflated Sharpe ratio 0.99 of 5 trials" in said


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (experiment(selection=0.2), "buy_and_hold has sharpe_ratio 0.3 in selection, td3 0.2"),
        (experiment(dsr_null=0.94), "may be the luck of 5 trials"),
        (experiment(dsr_null=0.94, trials=1), "may be the luck of 1 trial ("),
        (experiment(dsr_null=None), "not defined"),
        (experiment(of_all={**TESTED, "dsr_null": 0.7, "trials": 15}), "the luck of 15 trials"),
        (experiment(held_out=0.1), "on the test period buy_and_hold has sharpe_ratio 0.2"),
        (experiment(p=0.2), "over flat on the test period may be luck"),
        (experiment(p=None), "may be luck"),
    ],
)
def test_whatever_may_be_luck_beats_no_baseline(found: Experiment, why: str) -> None:
    said = verdict(found)

    assert said.startswith("No agent beats the baselines: ")
    assert why in said


def test_before_the_test_period_is_opened_nothing_is_claimed() -> None:
    running = replace(experiment(held_out=None), state="running")

    said = verdict(running)

    assert said == "td3 so far leads with sharpe_ratio 1.8 in selection; nothing is tested."


def test_the_document_has_what_luck_explains_of_each_study_and_of_all() -> None:
    document = experiment_document(experiment(of_all={**TESTED, "trials": 15}), None)

    assert document["luck"]["trials"] == 15
    assert document["studies"][0]["evidence"]["trading"]["trials"] == 5
