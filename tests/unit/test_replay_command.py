"""`trials STUDY --replay`: whether what stands in the store is what was suggested."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from engines.search.sampler import ResumableTPE, make_sampler
from engines.search.seeds import derive
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.storage import HyperionStorage
from hyperion_tui import cli
from tests.unit.building import add_worker, asking, changing, experiment_plan, study_plan
from tests.unit.histories import CONDITIONAL, score

STUDY = "e/shapes"
TRIALS = 24


@pytest.fixture
def searched(location: Location, storage: HyperionStorage) -> Location:
    """A study of 24 trials by one worker, with what each had seen; the first was queued."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    defaults = {"kernel": "poly", "C": 1.0, "degree": 3, "gamma": 0.5}
    plan = study_plan(space=CONDITIONAL, defaults=defaults, goal=TRIALS)
    create_or_extend(storage, experiment_plan(plan, sampler="tpe", maximize=False))
    worker = add_worker(location)
    sampler = make_sampler("tpe", derive(7, "shapes"))
    assert isinstance(sampler, ResumableTPE)
    records = {}
    study = optuna.load_study(study_name=STUDY, storage=storage, sampler=sampler)
    for _ in range(TRIALS):
        trial = study.ask()
        params = CONDITIONAL.suggest(trial)
        records[trial.number] = sampler.take_seen()
        if trial.number % 7 == 3:
            trial.report(score(params), 1)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score(params))
    with changing(location) as connection:
        for number, record in records.items():
            connection.execute(
                "UPDATE hx_trial SET worker_id = ?, seen = ? WHERE number = ?",
                (worker, None if record is None else json.dumps(record), number),
            )
    return location


def ask(location: Location, *words: str) -> int:
    return cli.main(["--store", str(location.path), "trials", STUDY, "--replay", *words])


def test_every_suggestion_is_the_same_again(
    searched: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(searched) == 0

    said = capsys.readouterr()
    head, *lines = said.out.splitlines()
    assert head.split() == ["number", "replay", "parameters", "detail"]
    assert [line.split()[1] for line in lines] == ["same"] * TRIALS
    assert said.err == f"{TRIALS} same, 0 differs, 0 unknown\n"


def test_a_changed_value_is_found_and_is_exit_code_1(
    searched: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    with asking(searched) as reader:
        history = reader.history(1)
    best = min(history[:12], key=lambda row: row["value"] if row["value"] is not None else 1e9)
    with changing(searched) as connection:
        connection.execute(
            "UPDATE trial_values SET value = 50.0 WHERE trial_id = "
            "(SELECT trial_id FROM trials WHERE number = ?)",
            (best["number"],),
        )

    assert ask(searched, "--json") == 1

    listed = json.loads(capsys.readouterr().out)
    different = [one for one in listed if one["replay"]["verdict"] == "differs"]
    assert different
    assert all(one["number"] > best["number"] for one in different)
    assert all(" is " in one["replay"]["detail"] for one in different)


def test_a_trial_that_runs_has_no_replay_yet(
    searched: Location, storage: HyperionStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.load_study(study_name=STUDY, storage=storage).ask()

    assert ask(searched, "--json") == 0

    listed = json.loads(capsys.readouterr().out)
    assert listed[-1]["replay"] is None
    assert listed[-2]["replay"] == {"verdict": "same", "detail": "", "parameters": len(
        listed[-2]["params"]
    ) - 1}  # fmt: skip


def test_a_replay_has_no_csv_form(
    searched: Location, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(searched, "--csv", str(tmp_path / "t.csv")) == 2

    assert "--replay has no CSV or Markdown form" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()
