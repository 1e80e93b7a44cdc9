"""Suggestions depend on seed, number and history: no restart changes them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import optuna
import pytest

from engines.search.sampler import make_sampler
from engines.search.space import Choice, Float, Int, Space

SPACE = Space(
    {
        "kernel": Choice(("rbf", "poly", "linear")),
        "C": Float(1e-3, 1e3, log=True),
        "degree": Int(2, 6, when={"kernel": ("poly",)}),
        "gamma": Float(1e-4, 1.0, log=True, when={"kernel": ("rbf", "poly")}),
    }
)
TRIALS = 40


def is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def score(params: dict) -> float:
    return params["C"] ** 0.1 + 10 * params.get("gamma", 0.5) - params.get("degree", 0)


class CutOff(Exception):
    """A trial that ends in the middle, as by kill -9."""


class Breaking:
    """A trial that is killed after so many parameters."""

    def __init__(self, trial: optuna.Trial, after: int) -> None:
        self.trial, self.left = trial, after

    def __getattr__(self, name: str):
        if not name.startswith("suggest"):
            raise AttributeError(name)
        if self.left == 0:
            raise CutOff
        self.left -= 1
        return getattr(self.trial, name)


def suggestions(
    sampler: str, seed: int, segments: Sequence[int], cut: Sequence[int] = ()
) -> list[dict]:
    """Parameters of a study that is taken up again by a new process after each segment.

    cut: numbers of trials that are killed after their first parameter and run again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name="s", direction="minimize")
    for length in segments:
        study = optuna.load_study(
            storage=storage, study_name="s", sampler=make_sampler(sampler, seed, SPACE)
        )
        for _ in range(length):
            trial = study.ask()
            if trial.number in cut:
                with pytest.raises(CutOff, match="^$"):
                    SPACE.suggest(Breaking(trial, 1))
                # The same row runs again, with what it had, in a process of its own.
                study = optuna.load_study(
                    storage=storage, study_name="s", sampler=make_sampler(sampler, seed, SPACE)
                )
                trial = optuna.Trial(study, trial._trial_id)
            study.tell(trial, score(SPACE.suggest(trial)))
    return [trial.params for trial in study.get_trials()]


needs_cmaes = pytest.param("cmaes", marks=pytest.mark.skipif(not is_there("cmaes"), reason="extra"))


@pytest.fixture(scope="module", params=["tpe", "random", needs_cmaes, "qmc", "grid"])
def uninterrupted(request: pytest.FixtureRequest) -> tuple[str, list[dict]]:
    return request.param, suggestions(request.param, 7, [TRIALS])


@pytest.mark.parametrize("segments", [[20, 20], [5, 35], [1] * 12 + [28]], ids=["20", "5", "1"])
def test_a_rebuilt_sampler_suggests_what_the_first_one_would_have(
    uninterrupted: tuple[str, list[dict]], segments: list[int]
) -> None:
    sampler, expected = uninterrupted

    assert suggestions(sampler, 7, segments) == expected


def test_a_trial_cut_off_after_its_first_parameter_gets_the_same_others(
    uninterrupted: tuple[str, list[dict]],
) -> None:
    sampler, expected = uninterrupted

    assert suggestions(sampler, 7, [TRIALS], cut=(0, 3, 11, 25, 39)) == expected


def test_another_seed_suggests_something_else(uninterrupted: tuple[str, list[dict]]) -> None:
    sampler, expected = uninterrupted

    other = suggestions(sampler, 8, [TRIALS])

    alike = sum(a == b for a, b in zip(other, expected, strict=True))
    assert alike <= (2 if sampler == "grid" else 0)


def test_the_study_does_not_suggest_one_point_again_and_again(
    uninterrupted: tuple[str, list[dict]],
) -> None:
    sampler, expected = uninterrupted

    different = {tuple(params.values()) for params in expected}
    assert len(different) == TRIALS
    if sampler != "grid":
        assert len({params["C"] for params in expected}) == TRIALS
    assert {params["kernel"] for params in expected} == {"rbf", "poly", "linear"}


@pytest.mark.slow
@pytest.mark.skipif(not is_there("torch"), reason="extra")
def test_a_gaussian_process_suggests_the_same_after_a_restart_and_a_kill() -> None:
    expected = suggestions("gp", 7, [16])

    assert suggestions("gp", 7, [12, 1, 3], cut=(11, 13)) == expected
    assert suggestions("gp", 8, [11]) != expected[:11]
