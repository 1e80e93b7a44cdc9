"""What may be ranked together, by how much the search was optimistic, and the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.analysis.compare import (
    changed_parameters,
    describe_question,
    differences,
    gap,
    group_comparable,
)
from engines.analysis.report import (
    best_baseline,
    experiment_document,
    trial_detail_document,
    trial_document,
    verdict,
)
from engines.study.records import (
    Baseline,
    Best,
    Dataset,
    Ensemble,
    Evidence,
    Trial,
    TrialDetail,
)
from engines.study.states import Counts
from tests.unit.building import a_study, an_experiment

ORDERED = {"kind": "expanding windows", "ordered": True, "folds": 5}
OTHER_DATA = Dataset("towns", None, "b" * 64, 100, 3, "price", None, ())
GROUPED = Dataset("towns", None, "a" * 64, 100, 3, "price", None, (), "county")
OTHER_TARGET = Dataset("towns", None, "a" * 64, 100, 3, "rent", None, ())
SCORES = {"a": 0.7, "b": 0.9}
CODE = {"sha256": "1" * 64, "function": "f", "reference": "m.py:f"}


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({}, {}, True),
        ({}, {"sampler": "random", "workers": 9, "name": "z", "time_limit_s": 5.0}, True),
        ({}, {"dataset": OTHER_DATA}, False),
        ({}, {"dataset": OTHER_TARGET}, False),
        ({}, {"dataset": GROUPED}, False),
        ({"dataset": GROUPED}, {"dataset": GROUPED}, True),
        ({}, {"metric": "mae", "maximize": False}, False),
        ({}, {"task": "forecast"}, False),
        ({}, {"seed": 8}, False),
        ({}, {"split": {"kind": "random folds", "ordered": False, "folds": 3}}, False),
        ({}, {"split": ORDERED}, False),
        ({"split": ORDERED}, {"split": ORDERED, "seed": 8}, True),
        ({"dataset": None, "objective": CODE}, {"dataset": None, "objective": CODE}, True),
        (
            {"dataset": None, "objective": CODE},
            {"dataset": None, "objective": {**CODE, "function": "g"}},
            False,
        ),
        (
            {"dataset": None, "objective": CODE},
            {"dataset": None, "objective": {**CODE, "sha256": "2" * 64}},
            False,
        ),
    ],
)
def test_studies_are_ranked_together_only_when_they_answer_one_question(
    first: dict, second: dict, together: bool
) -> None:
    one, two = an_experiment("a"), an_experiment("b")
    one, two = replace(one, **first), replace(two, **second)

    groups = group_comparable([(one, one.studies[0]), (two, two.studies[0])])

    assert len(groups) == (1 if together else 2)
    assert sum(len(group.rows) for group in groups) == 2


@pytest.mark.parametrize(
    ("maximize", "order"), [(True, ["c", "a", "b", "n"]), (False, ["b", "a", "c", "n"])]
)
def test_a_group_is_sorted_from_best_to_worst_with_the_unscored_last(
    maximize: bool, order: list[str]
) -> None:
    scores = {"n": None, "a": 0.5, "b": 0.1, "c": 0.9}
    studies = [
        a_study(f"e/{name}", best=None if score is None else Best(0, score, None))
        for name, score in scores.items()
    ]
    experiment = an_experiment("e", *studies, maximize=maximize)

    (group,) = group_comparable([(experiment, study) for study in studies])

    assert [study.model for _, study in group.rows] == order
    ranked = ["mean", "median"] if maximize else ["median", "mean"]
    assert [baseline.name for baseline in group.baselines] == ranked
    assert [study.model for study in experiment.ranked] == order


def test_ensembles_stand_beside_the_studies_best_first_and_never_among_them() -> None:
    made = {name: Ensemble(score, 0.5, (), None, None) for name, score in SCORES.items()}
    experiments = [an_experiment(name, ensemble=one) for name, one in made.items()]
    none = an_experiment("n", ensemble=Ensemble(None, None, (), None, "no ensemble: none"))
    pairs = [(e, s) for e in (*experiments, none, an_experiment("z")) for s in (*e.studies,) * 2]

    (group,) = group_comparable(pairs)

    assert [e.name for e, _ in group.ensembles] == ["b", "a"]
    assert len(group.rows) == len(pairs)
    (worse_first,) = group_comparable([(replace(e, maximize=False), s) for e, s in pairs])
    assert [e.name for e, _ in worse_first.ensembles] == ["a", "b"]


def test_what_differs_is_named_and_groups_are_one_of_it() -> None:
    grouped = an_experiment(dataset=GROUPED)

    assert differences([an_experiment(), grouped]) == ["groups"]
    assert ", groups by county, r2" in describe_question(grouped)


def test_a_question_is_told_in_words() -> None:
    words = describe_question(an_experiment())

    assert words == "towns (100 x 3, aaaaaaaa), target price, r2, 5 random folds, seed 7"
    custom = replace(an_experiment(), dataset=None, objective=CODE)
    assert describe_question(custom) == "m.py:f, r2, seed 7"


@pytest.mark.parametrize(
    ("maximize", "selection", "held_out", "expected"),
    [
        (True, 0.8, 0.7, -0.1),
        (True, 0.7, 0.8, 0.1),
        (False, 2.0, 2.5, -0.5),
        (False, 2.5, 2.0, 0.5),
        (True, -0.3, -0.5, -0.2),
        (True, 0.8, None, None),
    ],
)
def test_a_gap_below_zero_means_worse_on_data_the_search_never_saw(
    maximize: bool, selection: float, held_out: float | None, expected: float | None
) -> None:
    found = gap(selection, held_out, maximize)

    assert found == (None if expected is None else pytest.approx(expected))
    assert gap(None, held_out, maximize) is None


def test_parameters_that_differ_are_told_in_their_order() -> None:
    sets = [
        {"a": 1, "b": 0.5, "c": None, "d": "x"},
        {"a": 1, "b": 0.5000000001, "c": None, "e": True},
    ]

    assert changed_parameters(sets) == ["b", "d", "e"]
    assert changed_parameters(sets[:1]) == []
    assert changed_parameters([{"a": 1}, {"a": 1.0}]) == ["a"]
    assert changed_parameters([{"a": None}, {}]) == ["a"]
    assert changed_parameters([]) == []


# -- the verdict ----------------------------------------------------------------------------------


def with_best(best: Best | None, **changes: object):  # type: ignore[no-untyped-def]
    return an_experiment("e", a_study(best=best), **changes)


def test_the_verdict_names_the_leader_with_both_scores_and_the_baseline() -> None:
    assert verdict(with_best(Best(1, 0.8123456, 0.7))) == (
        "ridge leads with r2 0.8123 in selection, 0.7 on held-out data; "
        "the best baseline (mean) has 0."
    )


def test_the_verdict_is_careful_while_the_search_goes_on() -> None:
    running = with_best(Best(1, 0.8, None), state="running")

    assert verdict(running).startswith("ridge so far leads with r2 0.8 in selection; the best")


@pytest.mark.parametrize(
    ("score", "maximize", "baseline", "beaten"),
    [
        (0.1, True, 0.0, True),
        (0.0, True, 0.0, False),
        (-0.1, True, 0.0, False),
        (1.0, False, 2.0, True),
        (2.0, False, 2.0, False),
        (3.0, False, 2.0, False),
    ],
)
def test_only_a_strictly_better_score_beats_a_baseline(
    score: float, maximize: bool, baseline: float, beaten: bool
) -> None:
    worse = baseline - 1 if maximize else baseline + 1
    experiment = with_best(
        Best(1, score, None),
        maximize=maximize,
        baselines=(Baseline("median", worse, None), Baseline("mean", baseline, None)),
    )

    found = best_baseline(experiment)

    assert found is not None
    assert found.name == "mean"
    assert verdict(experiment).startswith("No model beats the baseline: mean has") is not beaten


def test_without_a_score_the_verdict_says_only_that() -> None:
    assert verdict(with_best(None)) == "No trial has completed."
    assert verdict(replace(with_best(None), studies=())) == "No trial has completed."


def test_a_leader_that_may_have_read_the_target_is_told_with_the_column() -> None:
    leaks = ["column 'copy' equals the target 'y'", "column 'next' tells the rest"]
    leaky = replace(with_best(Best(1, 1.0, 1.0)), facts={"leaks": leaks})

    assert verdict(leaky).endswith(
        "; but column 'copy' equals the target 'y' (and 1 more): look there first."
    )
    assert "look" not in verdict(replace(with_best(None), facts={"leaks": leaks}))


def test_without_baselines_the_leader_leads() -> None:
    custom = with_best(Best(1, 0.8, None), baselines=())

    assert verdict(custom) == "ridge leads with r2 0.8 in selection."
    assert verdict(replace(custom, baselines=(Baseline("mean", None, None),))) == verdict(custom)


# -- documents ------------------------------------------------------------------------------------


def test_an_experiment_s_document_has_the_promised_keys() -> None:
    experiment = with_best(Best(1, 0.8, 0.7))

    document = experiment_document(experiment, lambda study: {"alpha": 1.0})

    promised = "experiment state task data metric direction seed studies baselines ensemble verdict"
    assert set(promised.split()) <= set(document)
    assert {"name", "sha256", "rows", "columns"} <= set(document["data"])
    (study,) = document["studies"]
    assert {"study", "model", "family", "state", "trials", "best"} <= set(study)
    assert set(study["trials"]) == {
        *("complete", "failed", "pruned", "running", "waiting", "goal"),
    }
    assert study["best"] == {
        "number": 1,
        "selection_score": 0.8,
        "held_out_score": 0.7,
        "params": {"alpha": 1.0},
    }
    assert document["baselines"][0] == {
        "name": "mean",
        "selection_score": 0.0,
        "held_out_score": -0.1,
    }
    assert document["direction"] == "maximize"
    assert document["verdict"] == verdict(experiment)
    listed = experiment_document(experiment, None)
    assert "params" not in listed["studies"][0]["best"]


def test_a_document_of_nothing_found_holds_nulls() -> None:
    experiment = replace(with_best(None), dataset=None, objective=CODE, maximize=False)

    document = experiment_document(experiment, lambda study: {})

    assert document["studies"][0]["best"] is None
    assert document["data"]["sha256"] is None
    assert document["direction"] == "minimize"


def test_a_trial_s_document_has_the_promised_keys() -> None:
    trial = Trial(
        1, 1, 4, "failed", None, {"a": 1}, None, None, 0.5, 2, 7, "ValueError: x", None, 3
    )

    document = trial_document(trial)

    assert {"number", "state", "value", "params", "duration_s", "worker", "seed", "error"} <= set(
        document
    )
    assert (document["number"], document["error"], document["retry_of"]) == (4, "ValueError: x", 3)


def test_a_trial_s_detail_tells_its_folds_and_reports_as_well() -> None:
    trial = Trial(1, 1, 4, "pruned", 0.3, {"a": 1}, None, None, 0.5, 2, 7, None, None, None)
    metrics = {"folds": [0.3], "rows": [4000, 50000]}

    document = trial_detail_document(TrialDetail(trial, None, metrics, ((1, 0.3),), 100.0, 2))

    assert document["metrics"] == metrics
    assert document["reports"] == [[1, 0.3]]
    assert (document["number"], document["requeues"], document["traceback"]) == (4, 2, None)


def test_a_document_holds_evidence_ensemble_and_what_was_left_out() -> None:
    evidence = Evidence((0.7, 0.9), (0.6, 0.8), "mean", 0.002)
    members = ({"study": "e/ridge", "number": 0, "weight": 1.0},)
    experiment = replace(
        with_best(Best(1, 0.8, 0.7), ensemble=Ensemble(0.82, 0.71, members, evidence, None)),
        studies=(a_study(best=Best(1, 0.8, 0.7), evidence=evidence, rows=(40, 500)),),
        left_out={"gamma": "the target has negative values"},
    )

    document = experiment_document(experiment, None)

    (study,) = document["studies"]
    assert study["rows"] == [40, 500]
    assert study["evidence"]["held_out_interval"] == (0.6, 0.8)
    assert study["evidence"]["p_beats_baseline"] == 0.002
    assert document["ensemble"]["members"] == list(members)
    assert document["left_out"] == {"gamma": "the target has negative values"}
    none = replace(experiment, ensemble=Ensemble(None, None, (), None, "no ensemble: none"))
    assert experiment_document(none, None)["ensemble"] is None
    assert experiment_document(none, None)["ensemble_note"] == "no ensemble: none"


def test_a_lead_that_luck_could_give_is_no_lead() -> None:
    lucky = with_best(Best(1, 0.8, 0.1))
    unsure = replace(lucky, studies=(a_study(evidence=Evidence(p=0.02, baseline="mean")),))
    sure = replace(lucky, studies=(a_study(evidence=Evidence(p=0.002, baseline="mean")),))

    assert verdict(unsure).startswith("No model beats the baseline: the lead of ridge over mean")
    assert "(better than mean: p = 0.002)" in verdict(sure)


# -- progress -------------------------------------------------------------------------------------


def test_time_to_go_is_the_missing_trials_at_their_median_shared_by_the_workers() -> None:
    half = a_study("e/a", counts=Counts(complete=5, goal=10), median_s=2.0, state="running")
    done = a_study("e/b", counts=Counts(complete=4, goal=4), median_s=9.0)
    experiment = an_experiment("e", half, done, workers=2)

    assert experiment.eta_s == 5.0
    assert (experiment.finished, experiment.goal, experiment.progress) == (9, 14, 9 / 14)
    assert replace(experiment, time_limit_s=6.0, time_used_s=3.0).eta_s == 3.0
    fresh = a_study("e/c", counts=Counts(goal=3), median_s=None, state="waiting")
    assert replace(experiment, studies=(half, fresh)).eta_s is None
    stopped = replace(half, want="stop")
    assert replace(experiment, studies=(stopped, done)).eta_s == 0.0
    endless = replace(half, counts=Counts(complete=5))
    timed = replace(experiment, studies=(endless,), time_limit_s=10.0, time_used_s=4.0)
    assert (timed.goal, timed.progress, timed.eta_s) == (None, 0.4, 6.0)
