"""Everything against one pinned study, on the same held-out rows; and tables as Markdown."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engines.analysis.compare import Group, Key, Lead, Pinned, group_comparable
from engines.analysis.export import comparison_rows, to_csv, to_markdown, trial_rows
from engines.data.confidence import difference
from engines.data.frames import from_arrays
from engines.data.scoring import find_metric
from engines.run import opened
from engines.run.inline import run_inline
from engines.run.paired import leads_over
from engines.run.start import Request, create
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Trial
from hyperion_tui.cli import main
from tests.unit.building import a_study, an_experiment, new_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """`e` with two models and their ensemble, and `other` with one on the same rows."""
    location = new_store(tmp_path_factory.mktemp("paired") / "s.db")
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(120, 3)), columns=["a", "b", "c"])
    y = 2 * X["a"] + random.normal(scale=0.5, size=120)
    data = from_arrays(X, y)
    for name, models in (("e", ("ridge", "decision_tree")), ("other", ("lasso",))):
        request = Request(selectors=models, trials=2, seed=1, name=name)
        run_inline(location, create(location, request, data)).storage.close()
    request = Request(selectors=("ridge",), trials=1, seed=1, name="apart", metric="mae")
    run_inline(location, create(location, request, data)).storage.close()
    return location


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks in this process what is asked of another one, which takes a second to start."""

    def pin(location: Location, group: Group, name: str, key: Key) -> Pinned:
        return Pinned(name, key, leads_over(location, group, key))

    monkeypatch.setattr("hyperion_tui.commands.show.pin", pin)


def asked(store: Location, *words: str) -> int:
    return main(["compare", *words, "--store", str(store.path)])


def told(store: Location, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert asked(store, *words, "--json") == 0
    return list(json.loads(capsys.readouterr().out))


def test_a_lead_is_the_difference_of_the_held_out_scores(
    store: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = told(store, capsys, "e", "--baseline", "ridge")

    score = {row["model"]: row["held_out_score"] for row in rows}
    for row in rows:
        assert row["against"] == "ridge"
        if row["model"] == "ridge":
            assert row["difference"] is None
            continue
        assert row["difference"] == pytest.approx(score[row["model"]] - score["ridge"], abs=1e-9)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    p = {row["model"]: row["p_better"] for row in rows}
    assert p["decision_tree"] > 0.5
    assert p["mean"] > 0.99


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pinned", ["mean", "ensemble", "e/ensemble", "other/lasso", "e/ridge"])
def test_a_rule_an_ensemble_or_a_study_of_another_experiment_can_be_pinned(
    store: Location, capsys: pytest.CaptureFixture[str], pinned: str
) -> None:
    rows = told(store, capsys, "e", "--baseline", pinned)
    leads = [row["difference"] for row in rows if row["model"] == "decision_tree"]
    assert all(np.isfinite(lead) for lead in leads)


@pytest.mark.usefixtures("here")
def test_what_was_said_of_the_held_out_rows_is_kept_and_computed_again_without(
    store: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    before = told(store, capsys, "e", "--baseline", "mean")
    folder = store.artefacts(1) / "held_out"
    assert sorted(path.name for path in folder.iterdir()) == ["1.npz", "2.npz", "ensemble.npz"]
    for path in folder.iterdir():
        path.write_bytes(b"damaged")

    assert opened.load(store, 1, 1, 0) is None
    after = told(store, capsys, "e", "--baseline", "mean")

    for one, again in zip(before, after, strict=True):
        assert one["difference"] == pytest.approx(again["difference"], abs=1e-6)
    with contextlib.closing(Reader(store)) as reader:
        assert [study.openings for study in reader.experiment(1).studies] == [1, 1]


@pytest.mark.usefixtures("here")
def test_the_table_names_the_pinned_study_and_what_better_means(
    store: Location, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(store, "e", "--baseline", "ridge") == 0
    table = capsys.readouterr().out
    assert "better: than ridge, on the same held-out rows" in table
    assert next(line for line in table.splitlines() if "e/ridge" in line).count("pinned") == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["e", "--baseline", "apart/ridge"], 5, "(metric differ)"),
        (["e", "apart"], 5, "(metric differ)"),
        (["e", "apart", "--baseline", "e/ridge"], 5, "nothing can be held against e/ridge"),
        (["e", "--baseline", "rigde"], 2, "No experiment or study `rigde`"),
        (["e", "--baseline", "other*"], 0, ""),
        (["e", "--baseline", "*"], 2, "--baseline * is 4 studies: name one"),
        (["e", "--csv", "-", "--md", "-"], 2, "2 forms"),
    ],
)
def test_what_can_not_be_compared_is_refused_with_the_reason(
    store: Location, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert asked(store, *words) == code
    assert message in capsys.readouterr().err


# -- the difference -----------------------------------------------------------------------------


def test_the_difference_is_positive_for_better_whichever_way_the_metric_goes() -> None:
    random = np.random.default_rng(1)
    y = random.normal(size=200)
    near, far = y + random.normal(scale=0.1, size=200), y + random.normal(size=200)

    for name in ("r2", "mae"):
        value, low, high, p = difference(find_metric(name), y, near, far, seed=1)
        assert 0 < low < value < high
        assert p < 0.001
        back = difference(find_metric(name), y, far, near, seed=1)
        assert back[:3] == pytest.approx((-value, -high, -low))
        assert back[3] == 1.0
    assert difference(find_metric("r2"), y, near, near, seed=1) == (0.0, 0.0, 0.0, 1.0)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    random, hits = np.random.default_rng(2), 0
    for seed in range(100):
        y = random.normal(size=150)
        one, two = y + random.normal(size=150), y + random.normal(scale=1.2, size=150)
        _, low, high, _ = difference(find_metric("mse"), y, one, two, seed=seed, resamples=300)
        hits += low <= 1.44 - 1.0 <= high
    assert 85 <= hits <= 100


# -- tables -------------------------------------------------------------------------------------


def test_only_changed_leaves_out_what_all_studies_share() -> None:
    e = an_experiment("a", a_study("a/ridge"), a_study("a/svr"))
    other = replace(e, name="b")
    pairs = [(e, s) for s in e.studies]

    def columns(chosen: Any) -> set[str]:
        groups = group_comparable(chosen)
        return set(comparison_rows(groups, lambda study: {}, only_changed=True)[0])

    assert "experiment" not in columns(pairs)
    assert "experiment" in columns([*pairs, (other, other.studies[0])])
    assert {"study", "model", "selection_score", "held_out_score", "gap"} <= columns(pairs)


def test_a_pinned_study_adds_four_numbers_to_each_row() -> None:
    e = an_experiment("a", a_study("a/ridge"))
    key = ("study", e.studies[0].study_id)
    pinned = Pinned("b", ("study", 99), {key: Lead(0.1, -0.1, 0.3, 0.2)})

    (row, *_) = comparison_rows(group_comparable([(e, e.studies[0])]), lambda _: {}, pinned=pinned)

    names = ("against", "difference", "difference_low", "difference_high", "p_better")
    assert [row[name] for name in names] == ["b", 0.1, -0.1, 0.3, 0.2]


def test_markdown_has_four_digits_right_aligned_and_marks_nothing_up() -> None:
    rows = [
        {"study": "a|b_c", "score": 0.123456, "empty": None, "params_lr": 0.1},
        {"study": "*<b>\n", "score": None, "empty": None, "params_lr": "x`y"},
    ]

    assert to_markdown(rows, ("study", "score", "empty")).splitlines() == [
        "| study | score | lr |",
        "| :-- | --: | :-- |",
        r"| a\|b\_c | 0.1235 | 0.1 |",
        r"| \*\<b\> |  | x\`y |",
    ]
    assert "lr" not in to_markdown(rows, ("study",), with_params=False)


def test_tables_of_markdown_go_to_files_like_csv(
    store: Location, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.md"
    assert asked(store, "e", "--md", str(path)) == 0
    assert path.read_text().count("\n") == 2 + 5
    assert asked(store, "e", "--md", str(path)) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["trials", "e/ridge", "--md", "-", "--store", str(store.path)]) == 0
    assert "| alpha |" in capsys.readouterr().out


def test_ten_thousand_trials_are_csv_in_under_a_second() -> None:
    stamp = "2026-11-23T10:00:00.123456+00:00"
    params = {f"p{i}": i + 1 / 3 for i in range(8)}
    trials = [
        Trial(n, 1, n, "complete", n / 7, params, stamp, stamp, 1.5, 1, n, None, None, None)
        for n in range(10_000)
    ]
    e = an_experiment("a", a_study("a/ridge"))

    begun = time.process_time()
    content = to_csv(trial_rows(e, e.studies[0], trials))
    seconds = time.process_time() - begun

    table = list(csv.DictReader(io.StringIO(content)))
    assert [float(row["value"]) for row in table] == [n / 7 for n in range(10_000)]
    assert seconds < 1.0
