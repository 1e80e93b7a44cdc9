"""Every model of the catalogue goes into files without code, and says the same in a new process."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.search.space import Choice
from tests.contract import exported, spaces
from tests.contract.spaces import Case

SOME = (
    *("ridge-classification", "poisson-regression", "random_forest-regression"),
    *("hist_gradient_boosting-classification", "k_neighbors-regression", "svr-regression"),
    *("xgboost-classification", "lightgbm-regression", "catboost-regression"),
    "simple_mlp-classification",
)
"""One of each way to be written, and of each that holds something unusual."""

SAMPLES = 1
"""Random sets of parameters of each form, beside its defaults."""

STEADY = {"sgd.eta0": 0.01, "sgd.learning_rate": "invscaling"}
"""With which FLAML's linear model does not run away."""

LEARNERS = ("rf", "xgboost", "extra_tree", "xgb_limitdepth", "sgd", "catboost", "lrl1")


def usable() -> list[Case]:
    """Every form that is installed and can be used on the rows."""
    return [
        case
        for case in spaces.cases()
        if case.reason_missing is None
        and case.form.refusal(spaces.facts(exported.SHAPE, case)) is None
    ]


def test_what_is_read_in_another_process_predicts_the_same(tmp_path: Path) -> None:
    cases = [case for case in usable() if str(case) in SOME]
    for case in cases:
        (tmp_path / str(case)).mkdir()
        exported.write(case, exported.defaults(case), tmp_path / str(case))

    assert len(cases) > 4
    exported.require_same(tmp_path / str(case) for case in cases)


@pytest.mark.slow
def test_every_form_of_every_model_predicts_the_same_in_another_process(tmp_path: Path) -> None:
    folders = []
    for case in usable():
        for number, params in enumerate(
            [exported.defaults(case), *spaces.samples(case, exported.SHAPE, SAMPLES)]
        ):
            folders.append(tmp_path / f"{case}-{number}")
            folders[-1].mkdir()
            exported.write(case, params, folders[-1])

    exported.require_same(folders)


@pytest.mark.slow
def test_every_learner_of_flaml_predicts_the_same_in_another_process(tmp_path: Path) -> None:
    pytest.importorskip("flaml")
    folders = []
    for task in ("regression", "classification"):
        case = Case("flaml", task)
        space = case.form.space.bind(spaces.facts(exported.SHAPE, case))
        learners = space.parameters["learner"]
        assert isinstance(learners, Choice)
        for learner in (one for one in LEARNERS if one in learners.values):
            folders.append(tmp_path / f"{learner}-{task}")
            folders[-1].mkdir()
            params = space.clip({"learner": learner, "rows": "all", **STEADY})
            exported.write(case, params, folders[-1])

    exported.require_same(folders)
