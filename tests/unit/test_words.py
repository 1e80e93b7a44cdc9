"""What is said of scores and trials: intervals, luck, caps, members, and why a trial ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engines.study.records import Ensemble, Evidence, Trial, TrialDetail
from hyperion_tui import words
from tests.unit.building import a_study, an_experiment

EVIDENCE = Evidence((0.71, 0.79), (0.6521, 0.7583), "mean", 0.0004)
MEMBERS = (
    {"study": "e/ridge", "number": 0, "weight": 0.25},
    {"study": "other/svr", "number": 7, "weight": 0.75},
)


def detail(state: str = "pruned", *, reports: int = 0, **metrics: Any) -> TrialDetail:
    trial = Trial(1, 1, 4, state, 0.3, {}, None, None, 0.5, 1, 7, None, None, None)
    steps = tuple((step, 0.3) for step in range(1, reports + 1))
    return TrialDetail(trial, None, metrics, steps, None, 0)


@pytest.mark.parametrize(
    ("p", "said"), [(None, "–"), (0.0, "<0.001"), (0.00099, "<0.001"), (0.03, "0.03"), (1.0, "1")]
)
def test_a_probability_is_no_finer_than_it_is_known(p: float | None, said: str) -> None:
    assert words.probability(p) == said


def test_an_interval_has_both_ends_or_is_a_dash() -> None:
    assert words.interval((-0.117, 0.40444)) == "-0.117..0.404"
    assert words.interval(None) == "–"
    assert words.held_out_interval(None) == "–"
    assert words.selection_interval(Evidence()) == "–"


def test_certainty_is_one_sentence_of_what_is_known() -> None:
    assert words.certainty(EVIDENCE) == (
        "0.71..0.79, held-out 0.652..0.758 (95 %), p <0.001 against mean"
    )
    assert words.certainty(replace(EVIDENCE, p=0.2, selection_interval=None)) == (
        "held-out 0.652..0.758 (95 %), p = 0.2 against mean"
    )
    assert words.certainty(Evidence()) == words.certainty(None) == ""


def test_members_are_listed_by_weight_and_named_shortly_in_their_own_experiment() -> None:
    ensemble = Ensemble(0.9, 0.8, MEMBERS, None, None)

    assert words.ensemble_line(ensemble, "e") == "other/svr#7 75%, ridge#0 25%"


def test_many_classes_are_cut_and_counted() -> None:
    assert words.classes_line(("a", "b")) == "2 classes: a, b"
    told = words.classes_line(tuple(f"c{i}" for i in range(30)))
    assert told.startswith("30 classes: c0, c1,")
    assert told.endswith("c7 and 22 more")
    assert len(words.classes_line(("x" * 500, "y"))) < 60


SPLIT = {"kind": "random folds", "folds": 5, "ordered": False}


@pytest.mark.parametrize(
    ("pruner", "reports", "folds", "said"),
    [
        ("racing", 2, [0.3, 0.4], "ended early after 2 of 5 folds: clearly behind the best trial"),
        ("racing", 0, [0.3], "ended after 1 of 5 folds: the experiment's time was up"),
        ("racing", 0, [], "ended: the experiment's time was up"),
        ("median", 3, [0.3], "ended early after 1 of 5 folds (pruner median)"),
        ("wilcoxon", 0, [0.3], "ended after 1 of 5 folds: the experiment's time was up"),
    ],
)
def test_why_a_trial_was_pruned_is_said_in_words(
    pruner: str, reports: int, folds: list[float], said: str
) -> None:
    experiment = an_experiment(pruner=pruner, split=SPLIT)

    assert words.why_pruned(detail(reports=reports, folds=folds), experiment).startswith(said)


def test_an_objective_of_one_s_own_has_no_folds_to_tell_of() -> None:
    experiment = an_experiment(pruner="median", split=None, dataset=None)

    assert words.why_pruned(detail(reports=1), experiment) == "ended early (pruner median)"


def test_a_record_is_told_with_folds_rounds_rows_and_what_time_cut() -> None:
    metrics = {"folds": [0.5, 0.25], "rounds": [40, 51], "rows": [4000, 50000], "cut_short": 2}

    told = dict(words.training({**metrics, "rmse": 3.25}))

    assert told == {
        "folds": "0.5000  0.2500",
        "rounds": "40  51",
        "rows": "trained on 4,000 of 50,000 rows",
        "cut short": "2 folds: the time was up before training was",
        "rmse": "3.250",
    }
    assert list(words.training({})) == []


def test_remarks_tell_what_the_table_has_no_column_for() -> None:
    capped = a_study("e/svr", rows=(4000, 50000))
    experiment = an_experiment(
        "e",
        a_study("e/ridge"),
        capped,
        ensemble=Ensemble(0.9, 0.8, MEMBERS[:1], None, None),
        left_out={"gamma": "reason", "poisson": "reason", "isotonic": "another"},
    )

    assert list(words.remarks(experiment)) == [
        "svr: trained on 4,000 of 50,000 rows",
        "ensemble: ridge#0 25%",
        "left out: gamma, poisson: reason",
        "left out: isotonic: another",
    ]
    none = Ensemble(None, None, (), None, "no ensemble: fewer than two trials were kept")
    assert "no ensemble: fewer than two trials were kept" in words.remarks(
        replace(experiment, ensemble=none)
    )


def test_a_study_is_told_by_its_certainty_and_before_that_by_its_trials() -> None:
    study = a_study("e/svr", rows=(4000, 50000), evidence=EVIDENCE)

    assert words.about_study(study) == (
        "svr (4,000 of 50,000 rows): 0.71..0.79, held-out 0.652..0.758 (95 %), "
        "p <0.001 against mean, best is trial 1"
    )
    assert words.about_study(a_study()) == ("ridge: 3 complete, best is trial 1")
    assert words.about_study(replace(study, message="it ended")) == "svr: it ended"
