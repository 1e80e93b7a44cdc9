"""CSV files: what a spreadsheet, pandas and Optuna's users get, whole or not at all."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from engines.analysis.compare import group_comparable
from engines.analysis.export import comparison_rows, to_csv, trial_rows, write_whole
from engines.errors import BadInput
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.records import Ensemble, Evidence
from engines.study.storage import HyperionStorage
from tests.unit.building import (
    a_study,
    add_worker,
    an_experiment,
    asking,
    experiment_plan,
    must_claim,
    run_job,
    run_objective,
    study_plan,
)

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\0=1"]
FLOATS = [0.1, 1 / 3, 1e-308, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789, 1e22]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    (header, cells) = read(to_csv([{"name": text, text: "plain"}]))

    assert cells[0] == f"'{text}"
    assert header[1] == f"'{text}"


def test_numbers_stay_numbers_and_absent_values_stay_empty() -> None:
    (_, cells) = read(
        to_csv([{"a": -1, "b": -1.5, "c": None, "d": True, "e": np.float64(-2.5), "f": ""}])
    )

    assert cells == ["-1", "-1.5", "", "True", "-2.5", ""]


def test_text_with_commas_quotes_and_lines_comes_back() -> None:
    odd = 'a,"b"\nc;d\re\r\nf'

    assert read(to_csv([{"x": odd, "y": 1}]))[1] == [odd, "1"]


def test_floats_come_back_bit_by_bit_through_pandas() -> None:
    frame = pd.read_csv(io.StringIO(to_csv([{"x": value} for value in FLOATS])))

    assert [value.hex() for value in frame["x"]] == [value.hex() for value in FLOATS]


def test_columns_keep_the_order_in_which_they_first_appear() -> None:
    table = read(to_csv([{"b": 1, "a": 2}, {"c": 3, "a": 4}]))

    assert table == [["b", "a", "c"], ["1", "2", ""], ["", "4", "3"]]
    assert read(to_csv([])) == [[]]


@pytest.fixture
def finished(location: Location, storage: HyperionStorage) -> Location:
    """A study with notes, a complete, a failed, a pruned, a running and a waiting trial."""
    create_or_extend(storage, experiment_plan(study_plan(goal=9)))
    worker = add_worker(location)
    run_job(storage, must_claim(storage, worker), [0.25, 0.5])
    run_job(storage, must_claim(storage, worker), ValueError("=bad"))

    def pruned(trial: optuna.Trial) -> float:
        trial.suggest_float("size", 0.1, 10.0, log=True)
        trial.set_user_attr("note", "mine")
        raise optuna.TrialPruned

    run_objective(storage, must_claim(storage, worker), pruned)
    must_claim(storage, worker)
    optuna.load_study(study_name="e/shapes", storage=storage).enqueue_trial({"size": 1.0})
    return location


def test_trials_have_optuna_s_columns_first_and_ours_behind(
    finished: Location, storage: HyperionStorage
) -> None:
    theirs = optuna.load_study(study_name="e/shapes", storage=storage).trials_dataframe()
    with asking(finished) as reader:
        experiment = reader.experiment(1)
        study = experiment.studies[0]
        rows = trial_rows(experiment, study, reader.trials(1), reader.attributes(1))

    ours = pd.read_csv(io.StringIO(to_csv(rows)))

    assert list(ours.columns[: len(theirs.columns)]) == list(theirs.columns)
    assert {"study", "metric", "seed", "worker", "error", "served_from"} <= set(ours.columns)
    for column in ("number", "value", "params_size", "state", "user_attrs_note"):
        pd.testing.assert_series_equal(ours[column], theirs[column], check_dtype=False)
    assert list(ours["state"]) == ["COMPLETE", "FAIL", "PRUNED", "RUNNING", "WAITING"]
    assert ours["error"][1] == "ValueError: =bad"


def test_times_have_an_offset_and_are_optuna_s_moments(
    finished: Location, storage: HyperionStorage
) -> None:
    theirs = optuna.load_study(study_name="e/shapes", storage=storage).trials[0]
    with asking(finished) as reader:
        experiment = reader.experiment(1)
        (row, *_) = trial_rows(experiment, experiment.studies[0], reader.trials(1))

    begun, ended = (pd.Timestamp(row[name]) for name in ("datetime_start", "datetime_complete"))

    assert str(begun.tz) == "UTC"
    assert theirs.datetime_start is not None
    assert theirs.datetime_complete is not None
    assert abs(begun.timestamp() - theirs.datetime_start.timestamp()) < 0.5
    assert abs(ended.timestamp() - theirs.datetime_complete.timestamp()) < 0.5
    assert pd.Timedelta(row["duration"]) == ended - begun


def test_a_comparison_ranks_within_each_question_and_lists_baselines() -> None:
    a = an_experiment("a", a_study("a/ridge"), a_study("a/svr", best=None))
    b = an_experiment("b", seed=8)
    groups = group_comparable([(e, s) for e in (a, b) for s in e.studies])
    params = {"ridge": {"alpha": 0.5, "same": 1}, "svr": {"same": 1}}

    rows = comparison_rows(groups, lambda study: params[study.model])

    assert [(r["group"], r["rank"], r["model"]) for r in rows] == [
        *((1, 1, "ridge"), (1, None, "svr"), (1, None, "mean"), (1, None, "median")),
        *((2, 1, "ridge"), (2, None, "mean"), (2, None, "median")),
    ]
    assert rows[0]["gap"] == pytest.approx(-0.1)
    assert rows[0]["params_alpha"] == 0.5
    changed = comparison_rows(groups, lambda study: params[study.model], only_changed=True)
    assert "params_alpha" in changed[0]
    assert "params_same" not in changed[0]
    assert all(math.isfinite(r["selection_score"]) for r in rows if r["model"] != "svr")


def test_a_comparison_has_intervals_caps_members_and_never_ranks_an_ensemble() -> None:
    evidence = Evidence((0.7, 0.9), (0.6, 0.8), "mean", 0.002)
    members = (
        {"study": "a/ridge", "number": 0, "weight": 0.25},
        {"study": "a/svr", "number": 3, "weight": 0.75},
    )
    experiment = an_experiment(
        "a",
        a_study("a/ridge", evidence=evidence, rows=(4000, 50000)),
        a_study("a/svr"),
        ensemble=Ensemble(0.95, 0.7, members, evidence, None),
    )
    groups = group_comparable([(experiment, s) for s in experiment.studies])

    rows = comparison_rows(groups, lambda study: {})

    assert [(r["kind"], r["model"], r["rank"]) for r in rows] == [
        *(("study", "ridge", 1), ("study", "svr", 2), ("ensemble", "ensemble", None)),
        *(("baseline", "mean", None), ("baseline", "median", None)),
    ]
    ridge, svr, ensemble, mean, _ = rows
    bounds = ("selection_low", "selection_high", "held_out_low", "held_out_high")
    assert [ridge[name] for name in bounds] == [0.7, 0.9, 0.6, 0.8]
    assert [ensemble[name] for name in bounds] == [0.7, 0.9, 0.6, 0.8]
    assert (ridge["p_beats_baseline"], ridge["baseline"]) == (0.002, "mean")
    assert (ridge["rows_used"], ridge["rows_there"]) == (4000, 50000)
    assert (svr["rows_used"], svr["held_out_low"]) == (None, None)
    assert ensemble["members"] == "a/ridge#0 0.25; a/svr#3 0.75"
    assert ensemble["gap"] == pytest.approx(-0.25)
    assert mean["gap"] == pytest.approx(-0.1)


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_written_once_and_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_whole(path, "one\n")

    with pytest.raises(BadInput, match=r"table.csv exists: name another file, or add --force"):
        write_whole(path, "two\n")
    assert path.read_text() == "one\n"
    write_whole(path, "two\n", force=True)

    assert path.read_text() == "two\n"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("call", ["write_text", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old\n")

    def fail(self: Path, *args: object, **kwargs: object) -> None:
        if call == "write_text":
            self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, call, fail)
    with pytest.raises(BadInput, match=r"table.csv can't be written: No space left on device"):
        write_whole(path, "new\n", force=True)
    monkeypatch.undo()

    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder: name a file in it"):
        write_whole(tmp_path, "x")
    with pytest.raises(BadInput, match="can't be written: No such file or directory"):
        write_whole(tmp_path / "none" / "x.csv", "x")

    assert list(tmp_path.iterdir()) == []
