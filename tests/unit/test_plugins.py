"""What another installed package adds by entry points, and that a broken one breaks nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.data.scorers import Scorer
from engines.errors import BadInput, HyperionError
from engines.plugins import HEAVY
from engines.run import metric_package
from engines.run.metric_package import MetricPackage, load_installed
from tests.plugged import DECLARED, ENTRIES, install

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    install(tmp_path)
    return tmp_path


def program(folder: Path, *words: str, code: int = 0, module: str = "hyperion_tui") -> Any:
    """A command in a fresh process that finds the package; its document, or what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", *(("-m", module) if module else ()), *words],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            "HYPERION_STORAGE": str(folder / "studies.db"),
        },
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.returncode, done.stderr)
    return (
        json.loads(done.stdout) if "--json" in words and done.stdout else done.stdout + done.stderr
    )


@pytest.mark.slow
def test_a_package_adds_a_model_a_metric_and_a_data_set_that_run_together(folder: Path) -> None:
    listed = program(folder, "data", "list", "--json")
    assert [s["rows"] for s in listed if s["name"] == "hills"] == [60]

    words = ("shrunken_mean", "--data", "hills", "--metric", "worst_error", "--trials", "2")
    document = program(folder, "run", *words, "--name", "planted", "--workers", "1", "--json")

    (study,) = document["studies"]
    assert (study["family"], study["trials"]["complete"]) == ("sklearn", 2)
    assert (document["metric"], document["direction"]) == ("worst_error@1.0", "minimize")
    assert document["data"]["target"] == "height"
    assert study["best"]["held_out_score"] > 0

    program(folder, "export", "planted/shrunken_mean", "--to", "model")
    found = program(folder, "predict", "model", "planted/h.csv", "--json")
    assert len(found["predictions"]) == 60


@pytest.mark.parametrize(
    ("version", "reason"), [("2.0", "is now planted 2.0"), (None, "is not installed")]
)
def test_another_version_of_a_metric_scores_no_study_of_this_one(
    version: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer("worst", "planted.learn:worst_error", "the largest")
    described = MetricPackage(scorer, "planted 1.0").described()
    there = {} if version is None else {"worst": (scorer, f"planted {version}")}
    monkeypatch.setattr(metric_package, "scorers", lambda: there)

    assert described["name"] == "worst@1.0"
    with pytest.raises(HyperionError, match=reason):
        load_installed(described, "regression", ())


def test_a_metric_scores_only_the_tasks_that_it_is_declared_for() -> None:
    scorer = Scorer("worst", "planted.learn:worst_error", "the largest", tasks=("regression",))
    with pytest.raises(BadInput, match="can't score classification, only regression"):
        MetricPackage(scorer, "planted 1.0").metric("classification", ("a", "b"))


def test_the_tree_has_the_model_and_its_library_is_not_imported(folder: Path) -> None:
    told = program(
        folder,
        "-c",
        "import sys\n"
        "import hyperion_tui.app\n"
        "from engines.models import catalogue\n"
        "names = [spec.name for spec in catalogue.families()['sklearn']]\n"
        "print(names[-1], 'planted.learn' in sys.modules, 'sklearn' in sys.modules)\n",
        module="",
    )
    assert told.split() == ["shrunken_mean", "False", "False"]


@pytest.mark.parametrize(
    ("entries", "files", "reason"),
    [
        ("x = planted.absent:MODEL", {}, "No module named 'planted.absent'"),
        ("x = planted.declare:ABSENT", {}, "has no attribute 'ABSENT'"),
        ("x = planted.declare:METRIC", {}, "planted.declare:METRIC is no ModelSpec"),
        ("x = planted.learn:ShrunkenMean", {}, "it imports sklearn, and a declaration"),
        ("x = planted.bad:MODEL", {"bad": "import sys; sys.exit('no')"}, "SystemExit: no"),
        ("x = planted.bad:MODEL", {"bad": "def ("}, "SyntaxError"),
        (
            "x = planted.bad:MODEL",
            {"bad": DECLARED.replace('"shrunken_mean"', '"Ridge_Regressor"')},
            "a name is in snake_case",
        ),
        (
            "x = planted.bad:MODEL",
            {"bad": DECLARED.replace('"shrunken_mean"', '"ridge_regressor"')},
            "the name is taken by ridge",
        ),
        (
            "x = planted.bad:MODEL",
            {"bad": DECLARED.replace('family="sklearn"', 'family="mine"')},
            "no family `mine`",
        ),
        (
            "x = planted.bad:MODEL",
            {"bad": DECLARED.replace('{"by": 0.1}', '{"by": 7.0}')},
            "is not inside its space",
        ),
    ],
)
def test_a_broken_entry_point_is_one_line_of_the_doctor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entries: str,
    files: dict[str, str],
    reason: str,
) -> None:
    install(tmp_path, f"[hyperion.models]\n{entries}\n", **files)
    found = added_in(tmp_path, monkeypatch)
    assert len(found) == 1
    assert found[0].startswith("entry point x of planted 1.0 (hyperion.models) is left out: ")
    assert reason in found[0]


@pytest.mark.parametrize(
    ("group", "old", "new", "reason"),
    [
        ("metrics", '"worst_error", "p', '"rmse", "p', "metric rmse: the name is taken"),
        ("metrics", "planted.learn:w", "w", 'is not "module:name"'),
        ("metrics", "maximize=False", 'tasks=("trading",)', "tasks are regression and"),
        ("datasets", '"hills", 60', '"abalone", 60', "data set abalone: the name is taken"),
        ("datasets", '"h.csv"', '"gone.csv"', "data set hills: there is no file"),
    ],
)
def test_a_metric_or_a_data_set_that_can_not_be_taken_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, old: str, new: str, reason: str
) -> None:
    assert old in DECLARED
    install(tmp_path, declare=DECLARED.replace(old, new))
    (found,) = added_in(tmp_path, monkeypatch)
    assert f"(hyperion.{group}) is left out: " in found
    assert reason in found


def added_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the doctor calls broken with a package on the path, asked in this process."""
    from engines import plugins
    from engines.data import bundled, scorers
    from engines.models import catalogue
    from hyperion_tui.commands import about

    caches = (plugins._declared, catalogue.models, scorers.scorers, bundled.data_sets)
    for name in [m for m in sys.modules if m.partition(".")[0] == "planted"]:
        monkeypatch.delitem(sys.modules, name)
    for heavy in [m for m in sys.modules if m.partition(".")[0] in HEAVY]:
        monkeypatch.delitem(sys.modules, heavy)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(plugins, "_broken", [])
    monkeypatch.setattr(plugins, "_added", {})
    try:
        for cached in caches:
            cached.cache_clear()
        return [finding for _, ok, finding in about._added() if not ok]
    finally:
        monkeypatch.undo()
        for name in [m for m in sys.modules if m.partition(".")[0] == "planted"]:
            del sys.modules[name]
        for cached in caches:
            cached.cache_clear()


def test_the_doctor_names_what_was_added_and_what_was_not(folder: Path) -> None:
    more = "\n[hyperion.models]\nbroken = planted.absent:X\n"
    install(folder, ENTRIES.replace("[hyperion.models]", more))
    told = program(folder, "doctor", code=1)
    assert "ok   added: shrunken_mean, worst_error, hills by planted 1.0" in told
    assert told.count("BAD ") == 1
