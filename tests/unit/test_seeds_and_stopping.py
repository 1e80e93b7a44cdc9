"""Seeds that are the same everywhere and for ever, and the rules that end a study."""

from __future__ import annotations

import optuna
import pytest

from engines.errors import BadInput, PackageMissing
from engines.search.pruner import PRUNERS, make_pruner
from engines.search.sampler import make_sampler, require_sampler
from engines.search.seeds import derive, params_hash
from engines.search.stopping import SAME_FAILURES, has_stalled, repeated_cause


def test_seeds_are_pinned_because_stored_studies_depend_on_them() -> None:
    assert derive(42, "ridge") == 5939652
    assert derive(42, 0, "alpha") == 1871995408
    assert derive() == 309448485
    assert params_hash({"alpha": 0.1, "kind": None, "deep": True}) == "c71c08df88bf1a0b68ab0b52"


def test_a_seed_depends_on_every_part_and_on_their_order() -> None:
    seeds = [derive(1, 2), derive(2, 1), derive(12), derive(1, "2", ""), derive("1", "2")]

    assert seeds[0] == seeds[-1]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_identity_of_parameters_ignores_their_order_and_nothing_else() -> None:
    same = params_hash({"a": 1, "b": 0.5})

    assert params_hash({"b": 0.5, "a": 1}) == same
    assert params_hash({"a": 1, "b": 0.5000000000000001}) != same
    assert params_hash({"a": True, "b": 0.5}) != same
    assert params_hash({"a": "1", "b": 0.5}) != same


STALLED = [
    # values, maximize, patience, min_improvement, stalled
    ([], True, 2, 0.0, False),
    ([0.1], True, 1, 0.0, False),
    ([0.1, 0.1], True, 1, 0.0, True),
    ([0.1, 0.2, 0.15], True, 2, 0.0, False),
    ([0.1, 0.2, 0.15, 0.2], True, 2, 0.0, True),
    ([3.0, 2.0, 2.5, 2.5], False, 2, 0.0, True),
    ([3.0, 2.0, 2.5, 1.9], False, 2, 0.0, False),
    ([0.1, None, None], True, 2, 0.0, True),
    ([None, None, None], True, 2, 0.0, False),
    ([0.10, 0.11, 0.12], True, 2, 0.05, True),
    ([0.10, 0.11, 0.20], True, 2, 0.05, False),
]


@pytest.mark.parametrize(("values", "maximize", "patience", "least", "stalled"), STALLED)
def test_a_study_has_stalled_when_patience_trials_brought_nothing(
    values: list, maximize: bool, patience: int, least: float, stalled: bool
) -> None:
    answer = has_stalled(values, maximize=maximize, patience=patience, min_improvement=least)

    assert answer is stalled


def test_failures_repeat_only_when_the_last_ones_all_share_one_cause() -> None:
    same = [("FAIL", "ValueError", "bad")] * SAME_FAILURES

    assert repeated_cause(same) == ("ValueError", "bad")
    assert repeated_cause([*same, ("COMPLETE", None, None)]) == ("ValueError", "bad")
    assert repeated_cause(same[1:]) is None
    assert repeated_cause([*same[1:], ("FAIL", "ValueError", "other")]) is None
    assert repeated_cause([("COMPLETE", None, None), *same]) is None
    assert repeated_cause([("COMPLETE", None, None)] * SAME_FAILURES) is None
    assert repeated_cause([("FAIL", None, None)] * SAME_FAILURES) == ("failed", "")


def test_unknown_samplers_and_pruners_are_named() -> None:
    with pytest.raises(ValueError, match="must be one of tpe, random, gp, cmaes, qmc, grid, got"):
        make_sampler("x", 1)
    with pytest.raises(ValueError, match="one of racing, none, median, halving, wilcoxon, got 'x'"):
        make_pruner("x")
    kinds = {name: type(make_pruner(name)) for name in PRUNERS}
    assert kinds["racing"] is kinds["none"]
    assert len(set(kinds.values())) == len(PRUNERS) - 1


def test_a_sampler_that_can_not_be_had_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("tpe", "random", "qmc", "grid"):
        require_sampler(name)
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "torch,cmaes")

    with pytest.raises(PackageMissing, match=r"^--sampler gp needs torch: pip install torch$"):
        require_sampler("gp")
    with pytest.raises(PackageMissing, match=r"^--sampler cmaes needs cmaes: pip install cmaes$"):
        require_sampler("cmaes")
    with pytest.raises(BadInput, match="--sampler grid makes its grid from a declared space"):
        require_sampler("grid", declared=False)
    with pytest.raises(BadInput, match="--sampler x: one of tpe, random"):
        require_sampler("x")


def test_successive_halving_and_the_median_let_the_first_fold_pass() -> None:
    for name in ("median", "halving"):
        study = optuna.create_study(direction="maximize", pruner=make_pruner(name))
        for _ in range(6):
            trial = study.ask()
            for fold in range(1, 5):
                trial.report(1.0, step=fold * 100_000)
                assert not trial.should_prune()
            study.tell(trial, 1.0)
        worst = study.ask()
        worst.report(-9.0, step=50)
        assert not worst.should_prune()
        worst.report(-9.0, step=200_000)
        assert worst.should_prune()


def test_the_signed_rank_test_wants_more_than_a_few_folds() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("wilcoxon"))
    best = study.ask()
    for fold in range(1, 6):
        best.report(fold / 10, step=fold)
    study.tell(best, 0.3)
    worse = study.ask()
    told = []
    for fold in range(1, 6):
        worse.report(fold / 10 - 0.05 - fold / 100, step=fold)
        told.append(worse.should_prune())

    assert told == [False, False, False, True, True]
