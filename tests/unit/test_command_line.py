"""The command line: exit codes, one line for what can't be used, and nothing written then."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines.errors import BadInput
from engines.run import orders
from engines.study.endings import HeldOut, close_study
from engines.study.ensembles import keep_ensemble
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.locks import take_runner_lock
from engines.study.reader import Reader
from engines.study.sqlite import explain
from engines.study.states import Counts
from hyperion_tui import cli, options
from hyperion_tui.commands.show import state_line
from tests.unit.building import (
    a_study,
    add_worker,
    an_experiment,
    changing,
    dataset_plan,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    rows,
    run_job,
    study_plan,
)


@dataclass
class Said:
    """What a command ended with."""

    code: int
    out: str
    error: str

    def refuses(self, code: int, pattern: str) -> None:
        """One line on stderr that matches, nothing on stdout, and this exit code."""
        assert self.code == code, (self.code, self.out, self.error)
        assert self.out == ""
        assert self.error.endswith("\n")
        assert len(self.error.splitlines()) == 1, self.error
        assert self.error.startswith("hyperion-tui: ")
        assert "\x1b" not in self.error
        assert "Traceback" not in self.error
        assert re.search(pattern, self.error), self.error


Say = Callable[..., Said]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    def call(*words: str) -> Said:
        before = os.umask(0o022)
        try:
            code = cli.main(list(words))
        except SystemExit as left:  # argparse, for --help and --version
            code = int(left.code or 0)
        finally:
            os.umask(before)
        captured = capfd.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a good table in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    lines = ["size,word,price"] + [f"{i * 0.1},{'ab'[i % 2]},{i**0.5}" for i in range(40)]
    (folder / "good.csv").write_text("\n".join(lines) + "\n")
    (folder / "constant.csv").write_text("size,price\n" + "".join(f"{i},3\n" for i in range(40)))
    (folder / "empty.csv").touch()
    (folder / "header.csv").write_text("size,price\n")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    (folder / "folder.csv").mkdir()
    (folder / "nasty\x1b[31m\nname.csv").write_text("size,price\n")
    (folder / "mine.py").write_text("def f(trial):\n    return 1.0\n")
    return folder


GOOD = ("run", "ridge", "--data", "good.csv", "--target", "price")
OF_MINE = ("run", "mine.py:f")

BAD_RUNS = {
    "missing file": (("run", "ridge", "--data", "none.csv"), 2, r"none\.csv"),
    "empty file": (("run", "ridge", "--data", "empty.csv"), 2, "empty"),
    "header only": (("run", "ridge", "--data", "header.csv"), 2, "no rows|0 rows|header"),
    "binary file": (("run", "ridge", "--data", "binary.csv"), 2, "binary|not text|NUL"),
    "folder as data": (("run", "ridge", "--data", "folder.csv"), 2, "folder"),
    "nasty name": (("run", "ridge", "--data", "nasty\x1b[31m\nname.csv"), 2, "name.csv"),
    "unknown set": (("run", "ridge", "--data", "diabets"), 2, "diabetes"),
    "no data": (("run", "ridge"), 2, "Which data"),
    "absent target": ((*GOOD[:4], "--target", "prize"), 2, "did you mean price"),
    "text target": (
        (*GOOD[:4], "--target", "word", "--task", "regression"),
        2,
        "holds text",
    ),
    "model of another task": (
        ("run", "huber", "--data", "good.csv", "--target", "word"),
        2,
        "huber can't be used here: does no classification",
    ),
    "model for other values": (
        ("run", "gamma", "--data", "good.csv", "--target", "price"),
        2,
        "gamma can't be used here: the target has values down to 0",
    ),
    "metric of another task": ((*GOOD, "--metric", "accuracy"), 2, "accuracy"),
    "absent groups": ((*GOOD, "--groups", "county"), 2, "county"),
    "constant target": (
        ("run", "ridge", "--data", "constant.csv", "--target", "price"),
        2,
        "constant|same",
    ),
    "absent time column": ((*GOOD, "--time-column", "when"), 2, "no time column"),
    "trials 0": ((*GOOD, "--trials", "0"), 2, r"--trials: 0 is not a whole number from 1 to"),
    "trials abc": ((*GOOD, "--trials", "abc"), 2, "--trials: `abc` is not a whole number"),
    "trials 1e9": ((*GOOD, "--trials", "1e9"), 2, "--trials: `1e9` is not a whole number"),
    "trials too many": ((*GOOD, "--trials", "9" * 30), 2, "--trials: 9+ is not a whole number"),
    "workers 0": ((*GOOD, "--workers", "0"), 2, "--workers: 0 is not a whole number"),
    "seed x": ((*GOOD, "--seed", "x"), 2, "--seed: `x` is not a whole number"),
    "seed -1": ((*GOOD, "--seed", "-1"), 2, "--seed: -1 is not a whole number"),
    "time soon": ((*GOOD, "--time", "soon"), 2, "--time: `soon` is not a duration such as 90s"),
    "time 0": ((*GOOD, "--time", "0s"), 2, "--time: `0s` must be above 0"),
    "time -5": ((*GOOD, "--time", "-5"), 2, "--time"),
    "trial time": ((*GOOD, "--trial-time", "1x"), 2, "--trial-time: `1x` is not a duration"),
    "memory": ((*GOOD, "--trial-memory", "much"), 2, "`much` is not an amount of memory"),
    "patience": ((*GOOD, "--patience", "0"), 2, "--patience: 0 is not a whole number"),
    "improvement": ((*GOOD, "--min-improvement", "nan"), 2, "nan is not a number of at least 0"),
    "metric": ((*GOOD, "--metric", "auc"), 2, "No metric `auc`: one of r2"),
    "sampler": ((*GOOD, "--sampler", "grd"), 2, "--sampler grd: one of tpe, random"),
    "pruner": ((*GOOD, "--pruner", "x"), 2, "--pruner x: one of racing, none"),
    "task": ((*GOOD, "--task", "poetry"), 2, "--task poetry"),
    "name with a slash": ((*GOOD, "--name", "a/b"), 2, "can't name an experiment"),
    "nasty experiment": ((*GOOD, "--name", "\x1b[31mred"), 2, "can't name an experiment"),
    "unknown model": (("run", "lightgmb", "--data", "good.csv"), 2, "did you mean lightgbm"),
    "nasty model": (("run", "\x1b]0;x\x07", "--data", "good.csv"), 2, "No model"),
    "missing package": (
        ("run", "catboost", "--data", "good.csv"),
        3,
        "catboost needs catboost: pip",
    ),
    "missing objective": (("run", "none.py:f"), 2, "no file .*none.py"),
    "missing function": (("run", "mine.py:g"), 2, "defines no `g`"),
    "two objectives": ((*OF_MINE, "ridge"), 2, "an experiment of its own"),
    "objective with data": ((*OF_MINE, "--data", "good.csv"), 2, "leave out --data"),
    "no selector": (("run",), 2, "SELECTOR"),
    "unknown option": ((*GOOD, "--frobnicate"), 2, "unrecognized arguments: --frobnicate"),
    "abbreviated option": ((*GOOD, "--tri", "5"), 2, "unrecognized arguments: --tri"),
    "other database": (
        (*GOOD, "--store", "mysql://h/d"),
        2,
        "SQLite file or a PostgreSQL database",
    ),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_a_run_that_can_not_be_is_refused_and_writes_nothing(
    case: str, say: Say, here: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, code, pattern = BAD_RUNS[case]
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "catboost")
    before = sorted(os.listdir(here))

    said = say(*words)

    said.refuses(code, pattern)
    assert not own_home.exists()
    assert sorted(os.listdir(here)) == before


BAD_ENVIRONMENT = [
    ("OPTUNA_TRIALS", "abc", r"OPTUNA_TRIALS: `abc` is not a whole number from 1 to 1,000,000"),
    ("OPTUNA_TRIALS", "-1", "OPTUNA_TRIALS: -1 is not a whole number"),
    ("OPTUNA_TRIALS", "0", "OPTUNA_TRIALS: 0 is not a whole number"),
    ("OPTUNA_TRIALS", "1e9", "OPTUNA_TRIALS: `1e9` is not a whole number"),
    ("OPTUNA_TRIALS", "1000000000", "OPTUNA_TRIALS: 1000000000 is not a whole number"),
    ("RANDOM_SEED", "x", "RANDOM_SEED: `x` is not a whole number from 0 to"),
    ("OPTIMIZATION_TIMEOUT", "-1", "OPTIMIZATION_TIMEOUT: `-1` is not a duration"),
    ("OPTIMIZATION_TIMEOUT", "0", "OPTIMIZATION_TIMEOUT: `0` must be above 0"),
    ("OPTIMIZATION_TIMEOUT", "\x1b[2J", "OPTIMIZATION_TIMEOUT: "),
]


@pytest.mark.parametrize(("name", "value", "pattern"), BAD_ENVIRONMENT)
def test_a_bad_variable_is_named_with_its_value_and_range(
    name: str,
    value: str,
    pattern: str,
    say: Say,
    here: Path,
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)

    said = say(*GOOD)

    said.refuses(2, pattern + ".*set another value or unset it")
    assert not own_home.exists()


def test_a_flag_wins_over_a_bad_variable_and_an_empty_variable_is_none(
    say: Say, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTUNA_TRIALS", "abc")
    monkeypatch.setenv("RANDOM_SEED", "  ")

    said = say(*GOOD, "--trials", "3", "--metric", "none")

    said.refuses(2, "No metric `none`")


BAD_WORDS = {
    "unknown command": (("frobnicate",), "invalid choice: 'frobnicate'"),
    "unknown option": (("list", "--frobnicate"), "unrecognized arguments"),
    "nasty option": (("list", "--\x1b[31m"), "unrecognized arguments"),
    "data without action": (("data",), "ACTION"),
    "show nothing": (("show",), "NAME"),
    "resume to zero": (("resume", "e", "--trials", "0"), "--trials: 0 is not"),
    "retry by name": (("retry", "e/a", "first"), "`first` is not a whole number"),
    "check a missing file": (("data", "check", "none.csv"), "none.csv"),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_words_that_make_no_command_are_refused(
    case: str, say: Say, here: Path, own_home: Path
) -> None:
    words, pattern = BAD_WORDS[case]

    if case == "check a missing file":
        said = say(*words)
        assert said.code == 2
        assert "none.csv" in said.out + said.error
        assert "Traceback" not in said.error
    else:
        say(*words).refuses(2, pattern)

    assert not own_home.exists()


# -- a store that is there ------------------------------------------------------------------------


@pytest.fixture
def store(own_home: Path) -> Location:
    """Experiments `first` (two studies, some trials) and `fine` (nothing yet), without a runner."""
    location = new_store(own_home / "studies.db")
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(study_plan("a"), study_plan("b"), name="first"))
        create_or_extend(storage, experiment_plan(study_plan("a"), name="fine", seed=8))
        worker = add_worker(location)
        for score in (0.25, 0.5, 0.75):
            run_job(storage, must_claim(storage, worker), [score])
        run_job(storage, must_claim(storage, worker), ValueError("too \x1b[31mred"))
    return location


BAD_NAMES = {
    ("show", "frist"): "No experiment or study `frist`: did you mean first",
    ("show", "f"): "`f` could be fine, first: type more of it",
    ("show", "f*"): "is several experiments .*: name one",
    ("show", "nothing-like-it"): "see `hyperion-tui list`",
    ("show", "first/c"): "No study `first/c`: did you mean",
    ("show", "\x1b[31m"): "No experiment or study",
    ("trials", "first"): "is 2 studies .*: name one",
    ("trials", "first/x"): "No study",
    ("retry", "first"): "is 2 studies: name one",
    ("retry", "first/a", "0"): "trial 0 did not fail",
    ("retry", "fine/a"): "has no failed trial to retry",
    ("pause", "none"): "No experiment or study `none`",
    ("compare", "none"): "No experiment or study `none`",
}


@pytest.mark.parametrize("words", BAD_NAMES, ids=" ".join)
def test_a_name_that_means_nothing_or_too_much_is_refused(
    words: tuple[str, ...], say: Say, store: Location
) -> None:
    before = rows(store, "SELECT max(seq) FROM hx_event")

    say(*words).refuses(2, BAD_NAMES[words])

    assert rows(store, "SELECT max(seq) FROM hx_event") == before


def test_looking_starts_nothing_and_says_that_nobody_drives(say: Say, store: Location) -> None:
    listed = say("list")
    shown = say("show", "first")
    table = say("trials", "first/b")

    assert (listed.code, shown.code, table.code) == (0, 0, 0)
    assert "running (no runner: resume first)" in listed.out
    assert "running (no runner: resume first)" in shown.out
    assert "b leads" in shown.out or "a leads" in shown.out or "so far leads" in shown.out
    assert "\x1b" not in listed.out + shown.out + table.out
    assert not (store.side / "run").exists()


def test_json_is_a_document_on_stdout_and_silence_on_stderr(say: Say, store: Location) -> None:
    for words in (
        *(["list"], ["show", "first"], ["show", "first/a"], ["trials", "first/a"]),
        *(["compare"], ["capabilities"], ["data", "list"], ["doctor", "--where"]),
    ):
        said = say(*words, "--json")

        assert said.code == 0, words
        assert json.loads(said.out)
        assert said.error == ""

    document = json.loads(say("show", "first/a", "--json").out)
    assert [study["model"] for study in document["studies"]] == ["a"]
    (first, *_) = json.loads(say("trials", "first/a", "--json").out)
    assert {"number", "state", "value", "params", "duration_s", "worker", "seed", "error"} <= set(
        first
    )


def test_capabilities_count_what_can_run_and_name_the_tasks(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = say("capabilities").out
    listed = {spec["model"]: spec for spec in json.loads(say("capabilities", "--json").out)}

    assert re.search(r"^sklearn +36/36 ", told, re.MULTILINE)
    assert re.search(r"^ensemble +3/3 ", told, re.MULTILINE)
    assert listed["ridge"]["tasks"] == ["regression", "classification", "forecast"]
    assert listed["huber"]["tasks"] == ["regression", "forecast"]
    assert listed["sac"]["tasks"] == ["trading"]
    assert all(spec["summary"] and spec["available"] for spec in listed.values())
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "catboost")
    lean = say("capabilities").out
    assert re.search(r"^ensemble +2/3 ", lean, re.MULTILINE)
    assert "catboost needs catboost: pip install" in lean
    monkeypatch.setenv("HYPERION_HIDE_PACKAGES", "torch,flaml")
    lean = say("capabilities").out
    for family, models in (("pytorch", 4), ("advanced", 5), ("automl", 1)):
        assert re.search(rf"^{family} +0/{models} ", lean, re.MULTILINE)
    assert 'patchtst needs torch: pip install "hyperion-tui[deep]"' in lean
    assert 'flaml needs flaml: pip install "hyperion-tui[automl]"' in lean
    rows = {spec["model"]: spec for spec in json.loads(say("capabilities", "--json").out)}
    assert rows["ridge"]["available"]
    assert not rows["lstm"]["available"]
    assert rows["lstm"]["reason"] == 'needs torch: pip install "hyperion-tui[deep]"'


def test_one_trial_is_told_with_its_folds_and_its_error(say: Say, store: Location) -> None:
    good = say("trials", "first/a", "0")
    bad = say("trials", "first/b", "1")

    assert good.out.startswith("first/a trial 0: complete, score 0.2500\n  kind = round\n")
    assert "folds: 0.2500" in good.out
    assert "error: ValueError: too ␛[31mred" in bad.out
    assert "Traceback" in bad.out
    document = json.loads(say("trials", "first/a", "0", "--json").out)
    assert document["metrics"] == {"folds": [0.25]}
    say("trials", "first/a", "99").refuses(2, "99")
    say("trials", "first/a", "x").refuses(2, "NUMBER: `x` is not a whole number")
    say("trials", "first/a", "0", "--csv", "-").refuses(2, "leave out the number")
    say("trials", "first/a", "0", "--replay").refuses(2, "leave out the number")


def test_show_and_compare_tell_intervals_luck_ensemble_caps_and_what_was_left_out(
    say: Say, own_home: Path
) -> None:
    location = new_store(own_home / "studies.db")
    plan = study_plan("a", goal=1, plan={"portfolio": [], "weights": [], "rows": [4000, 50000]})
    reasons = {"gamma": "the target has negative values"}
    data = dataset_plan(classes=("low", "high"), group_column="county")
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(plan, name="e", left_out=reasons, dataset=data))
        worker = add_worker(location)
        run_job(storage, must_claim(storage, worker), [0.75])
        found = {
            **{"selection_interval": [0.7, 0.8], "held_out_interval": [0.6, 0.78]},
            **{"baseline": "mean", "p_beats_baseline": 0.0004},
        }
        must_claim(storage, worker)
        close_study(storage, 1, worker, HeldOut(0.7, 0, opened=True, evidence=found))
        must_claim(storage, worker)
        members = [{"study": "e/a", "number": 0, "weight": 1.0}]
        keep_ensemble(
            storage, 1, worker,
            selection_score=0.76, held_out_score=0.71, members=members, evidence=found,
        )  # fmt: skip

    shown, compared = say("show", "e"), say("compare", "e")

    for line in (
        *("groups: rows with one county stay in one part of the split", "2 classes: low, high"),
        *("a: trained on 4,000 of 50,000 rows", "ensemble: a#0 100%"),
        "left out: gamma: the target has negative values",
    ):
        assert line in shown.out, shown.out
    assert re.search(r"^1  a +0\.7500 +0\.7000 +0\.6\.\.0\.78 ", shown.out, re.MULTILINE)
    assert re.search(r"^   ensemble +0\.7600 ", shown.out, re.MULTILINE)
    assert re.search(r"^a +0\.7\.\.0\.8 +0\.6\.\.0\.78 +<0\.001 +mean$", shown.out, re.MULTILINE)
    row = next(line for line in compared.out.splitlines() if line.startswith("1  e/a"))
    assert {"0.7..0.8", "0.6..0.78", "-0.05000", "<0.001", "4,000"} <= set(row.split())
    assert re.search(r"^– +e/ensemble +ensemble +0\.7600 ", compared.out, re.MULTILINE)


def test_data_are_checked_for_the_models_that_could_not_use_them(say: Say, here: Path) -> None:
    lines = ["size,price"] + [f"{i % 7},{i - 20}" for i in range(60)]
    (here / "negative.csv").write_text("\n".join(lines) + "\n")

    told = say("data", "check", "negative.csv", "--target", "price", "--task", "regression")
    document = json.loads(say("data", "check", "good.csv", "--target", "word", "--json").out)

    assert told.code == 0
    assert re.search(r"models +left out: .*gamma.*: the target has negative values", told.out)
    assert document["data"]["task"] == "classification"
    assert document["data"]["classes"] == ["a", "b"]
    assert document["unfit"]["huber"] == "does no classification"
    assert "ridge" not in document["unfit"]
    zero = say("data", "check", "negative.csv", "--target", "price", "--metric", "mape")
    assert zero.code == 2
    assert re.search(r"error +file: --metric mape is not defined", zero.out)


def test_csv_goes_to_stdout_or_to_a_new_file(say: Say, store: Location, here: Path) -> None:
    on_stdout = say("trials", "first/a", "--csv", "-")
    to_file = say("trials", "first/a", "--csv", "trials.csv")

    assert (on_stdout.code, to_file.code) == (0, 0)
    assert (here / "trials.csv").read_text() == on_stdout.out
    assert on_stdout.out.startswith("number,value,datetime_start,datetime_complete,duration,")
    assert "2 rows written to" in to_file.error
    say("trials", "first/a", "--csv", "trials.csv").refuses(2, "exists: .* --force")
    say("compare", "first", "--csv", str(here)).refuses(2, "is a folder")


def test_different_questions_are_shown_apart_and_end_with_5(say: Say, store: Location) -> None:
    said = say("compare", "first", "fine")

    assert said.code == 5
    assert "2 different questions" in said.error
    assert "seed 7" in said.out
    assert "seed 8" in said.out
    assert say("compare").code == 0
    assert say("compare", "first").code == 0


def test_another_question_under_one_name_ends_with_5_and_the_difference(
    say: Say, here: Path, store: Location
) -> None:
    before = rows(store, "SELECT * FROM hx_study")

    said = say(*GOOD, "--name", "first")

    said.refuses(5, "`first` exists and is not comparable: data was aaaaaaaaaaaa, is ")
    assert rows(store, "SELECT * FROM hx_study") == before


@pytest.mark.parametrize(
    "words", [["list"], ["show", "e"], ["compare"], ["pause", "e"]], ids=" ".join
)
@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("folder", "is a folder, not a store"),
        ("random", "is not a store, or it is damaged"),
        ("foreign", "holds no Hyperion tables"),
        ("newer", "newer Hyperion"),
    ],
)
def test_a_store_that_is_none_ends_with_4(
    words: list[str], kind: str, pattern: str, say: Say, tmp_path: Path
) -> None:
    from tests.unit.test_store import bad_file

    path = tmp_path / f"{kind}.db"
    bad_file(kind, path)

    say(*words, "--store", str(path)).refuses(4, pattern)


def test_a_run_on_a_store_that_is_none_ends_with_4(say: Say, here: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.db").write_text("dear diary\n" * 100)

    say(*GOOD, "--store", str(tmp_path / "diary.db")).refuses(4, "is not a store")

    assert (tmp_path / "diary.db").read_text() == "dear diary\n" * 100


def test_a_path_that_no_system_takes_is_refused(say: Say) -> None:
    say("list", "--store", "x" * 5000).refuses(2, "File name too long; name another")


@pytest.mark.parametrize(
    "words", [["show", "e"], ["compare"], ["pause", "e"], ["trials", "e/a"]], ids=" ".join
)
def test_without_a_store_a_command_says_what_to_do(
    words: list[str], say: Say, own_home: Path
) -> None:
    say(*words).refuses(4, "No store at .*: start something with `hyperion-tui run`")

    assert not own_home.exists()


def test_a_list_of_nothing_says_what_to_do(say: Say, own_home: Path) -> None:
    said = say("list")

    assert (said.code, said.out) == (0, "")
    assert "hyperion-tui run" in said.error
    assert not own_home.exists()
    assert json.loads(say("list", "--json").out) == []


# -- help and terminals ---------------------------------------------------------------------------


def all_commands() -> list[tuple[str, ...]]:
    return [tuple(name.split()) for name in cli.COMMANDS]


@pytest.mark.parametrize("words", [(), *all_commands()], ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...], say: Say) -> None:
    said = say(*words, "--help")

    assert said.code == 0
    assert said.error == ""
    assert "example: hyperion-tui" in said.out or words in (("data", "list"), ("data", "check"))
    assert "--store" in said.out
    if words[:1] == ("data",):
        assert "example: hyperion-tui" in say("data", "--help").out


def test_examples_in_the_help_are_valid_commands(say: Say) -> None:
    parser = cli.build_parser()
    for words in [(), *all_commands()]:
        match = re.search(r"example: hyperion-tui (.*)", say(*words, "--help").out)
        if match:
            parser.parse_args(match[1].split())


def test_the_version_is_said(say: Say) -> None:
    from hyperion_tui import __version__

    assert say("--version").out == f"hyperion-tui {__version__}\n"


def test_without_a_terminal_the_app_names_the_commands(say: Say, own_home: Path) -> None:
    say().refuses(2, "The app needs a terminal, and this is none: use a command instead")

    assert not own_home.exists()


@pytest.mark.parametrize(
    ("term", "columns", "lines", "pattern"),
    [
        ("dumb", 100, 40, "TERM=dumb can't draw the app: use a command instead"),
        ("", 100, 40, "TERM= can't draw the app"),
        ("xterm", 20, 5, r"needs 60x20 .* this terminal has 20x5: enlarge it"),
        ("xterm", 59, 24, "this terminal has 59x24"),
        ("xterm", 80, 19, "this terminal has 80x19"),
    ],
)
def test_a_terminal_that_can_not_show_the_app_is_refused_in_one_line(
    term: str, columns: int, lines: int, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))

    with pytest.raises(BadInput, match=pattern):
        cli.check_terminal()

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")
    cli.check_terminal()


# -- processes ------------------------------------------------------------------------------------


def process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "hyperion_tui", *words],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_terminal_without_unicode_is_no_traceback(store: Location) -> None:
    done = process("list", PYTHONIOENCODING="ascii")

    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert "first" in done.stdout


def test_whoever_stops_reading_gets_no_traceback(store: Location) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hyperion_tui", "capabilities"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == b""


def test_a_hostile_working_directory_shadows_nothing(tmp_path: Path, store: Location) -> None:
    for name in ("engines", "simulator", "optuna"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    program = Path(sys.executable).with_name("hyperion-tui")
    if not program.exists():
        pytest.skip("not installed as a program")

    done = subprocess.run(
        [program, "list", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert {e["experiment"] for e in json.loads(done.stdout)} == {"first", "fine"}


def test_a_data_file_whose_name_is_no_text_is_refused_in_one_line(here: Path) -> None:
    name = os.fsdecode(b"\xff\x1b.csv")
    (here / name).write_bytes((here / "good.csv").read_bytes())

    done = process("run", "ridge", "--data", name, "--target", "absent")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("600", 600),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("0.5h", 1800),
        ("1D", 86400),
        (".5s", 0.5),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert options.duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "10", "1h 30m", "-1", "1e3", "5x", "0", "366d", "9" * 400]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    if text == "10":
        assert options.duration_s(text) == 10
        return
    with pytest.raises(BadInput, match="is not a duration|must be above 0"):
        options.duration_s(text)


@pytest.mark.parametrize(
    ("text", "mib"),
    [("500M", 500), ("2G", 2048), ("2GiB", 2048), ("134217728", 128), ("1.5g", 1536)],
)
def test_memory_is_read_as_people_write_it(text: str, mib: float) -> None:
    assert options.memory_mib(text) == mib


@pytest.mark.parametrize("text", ["", "0", "0G", "-1G", "lots", "1X", "9" * 400 + "T"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not an amount of memory such as 500M or 2G"):
        options.memory_mib(text)


@pytest.mark.parametrize("text", ["5", "1M", "63.9M"])
def test_a_limit_that_no_worker_could_keep_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="less than a worker needs by itself: give 64M or more"):
        options.memory_mib(text)


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are written, and no process is started."""
    monkeypatch.setattr(orders, "start_runner", lambda location, experiment_id: None)


def claim_one(store: Location) -> None:
    with opened(store) as storage:
        must_claim(storage, add_worker(store))


def test_an_order_says_how_many_trials_finish_first(
    say: Say, store: Location, unstarted: None
) -> None:
    claim_one(store)

    assert "To be paused: first/a, first/b; 1 trial in hand finishes first." in (
        say("pause", "first").error
    )
    assert "in hand" not in say("pause", "first", "--now").error


def test_frozen_trials_are_not_said_to_finish(
    say: Say, store: Location, unstarted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "runners", lambda reader, ids: {1: (77, None)})
    claim_one(store)
    say("pause", "first", "--freeze")
    with changing(store) as connection:
        connection.execute("UPDATE hx_worker SET frozen_at = 1.0")
    assert "in hand" not in say("pause", "first").error


def test_what_pauses_says_what_it_waits_for() -> None:
    study = a_study(counts=Counts(running=2, goal=9), state="pausing")

    line = state_line(an_experiment("e", study, state="pausing", runner_pid=1))

    assert line == "pausing (2 trials in hand)"


def test_nothing_promises_that_a_cancelled_study_goes_on(
    say: Say, store: Location, unstarted: None
) -> None:
    say("cancel", "first/a")

    said = say("resume", "first/a", "--trials", "99")

    said.refuses(2, "Nothing to resume: first/a is cancelled; that is final")


def test_several_experiments_are_not_waited_for(say: Say, store: Location, unstarted: None) -> None:
    said = say("resume", "*", "--wait", "--trials", "99")

    said.refuses(2, "--wait follows one experiment")
    assert json.loads(say("show", "first/a", "--json").out)["studies"][0]["trials"]["goal"] == 4


def test_a_total_that_is_not_raised_is_not_passed_over_in_silence(
    say: Say, store: Location, unstarted: None
) -> None:
    said = say("resume", "first/a", "--trials", "1")

    assert said.code == 0
    assert "note: first/a keeps its total of 4: 1 is less" in said.error


def test_a_file_without_its_function_is_told_how_to_name_it(say: Say, here: Path) -> None:
    (here / "mine.py").write_text("def objective(trial): return 1.0\n")

    say("run", "mine.py").refuses(2, "`mine.py` is a file: .*`mine.py:FUNCTION`")


def test_an_empty_list_names_the_store_that_is_empty(say: Say, tmp_path: Path) -> None:
    typo = tmp_path / "studeis.db"

    assert f"Nothing yet in {typo}." in say("list", "--store", str(typo)).error
    assert not typo.exists()


def test_the_direction_of_an_objective_is_said(say: Say, store: Location) -> None:
    with changing(store) as connection:
        connection.execute(
            "UPDATE hx_experiment SET dataset_id = NULL, split = NULL WHERE name = 'first'"
        )

    assert "larger is better, seed" in say("show", "first").out


def test_a_failed_study_says_where_its_errors_are(say: Say, store: Location) -> None:
    with changing(store) as connection:
        connection.execute("UPDATE hx_study SET failure = 'no trial completed' WHERE study_id = 1")
        connection.execute("UPDATE trials SET state = 'FAIL' WHERE study_id = 1")
        connection.execute("UPDATE hx_trial SET state = 'FAIL' WHERE study_id = 1")

    said = say("show", "first/a")

    assert "hyperion-tui trials first/a" in said.out, said.out


def test_a_full_disk_is_a_finding_of_the_doctor(
    say: Say, store: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "space: " in say("doctor").out
    full = shutil.disk_usage(store.path)._replace(free=1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)

    said = say("doctor")

    assert said.code == 1
    assert "BAD  space: 0 MiB free: free some" in said.out


@pytest.mark.parametrize("words", ["disk I/O error", "[Errno 28] No space left on device"])
def test_a_full_disk_is_called_that_whatever_the_driver_calls_it(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)

    said = str(explain(OSError(words), tmp_path / "studies.db"))

    assert said.endswith("studies.db is full: free some space and try again.")


def test_an_order_reaches_the_store_and_says_so(
    say: Say, store: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr(
        orders, "start_runner", lambda location, experiment_id: started.append(experiment_id)
    )

    paused = say("pause", "first/a")
    as_json = say("stop", "first/b", "--json")

    assert (paused.code, paused.out) == (0, "")
    assert "To be paused: first/a." in paused.error
    assert json.loads(as_json.out) == {"order": "stop", "studies": ["first/b"]}
    assert set(started) == {1}
    assert rows(store, "SELECT want FROM hx_study ORDER BY study_id") == [
        ("pause",),
        ("stop",),
        ("run",),
    ]


def test_a_store_that_another_process_holds_is_waited_for(store: Location) -> None:
    assert take_runner_lock(store.runner_lock(9)) is not None
    with changing(store) as connection:
        connection.execute("UPDATE hx_experiment SET workers = 3")

    out = io.StringIO(process("list", "--json").stdout)

    assert {e["workers"] for e in json.load(out)} == {3}
