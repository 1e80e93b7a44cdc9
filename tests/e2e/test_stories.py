"""What people come for, from one end to the other, on real data: one test a story."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.data.bundled import BUNDLED
from tests import plugged
from tests.e2e.conftest import World, wait_until
from tests.tui.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def told(world: World, *words: str) -> str:
    """What a command prints for people, on both streams."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hyperion_tui", *words, "--store", str(world.store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=True,
        cwd=world.store.parent,
    )
    return done.stdout


def test_from_a_csv_to_a_table_that_says_how_its_scores_came_to_be(
    world: World, tmp_path: Path
) -> None:
    rows = pd.read_csv(BUNDLED["bikeshare"].path)[:1500]
    rows.to_csv(tmp_path / "bikes.csv", index=False)
    rows.assign(copy=rows["bikers"] * 2.0).to_csv(tmp_path / "leak.csv", index=False)
    about = ("--target", "bikers", "--time-column", "time")

    checked = told(world, "data", "check", "leak.csv", *about)
    leaky = told(world, "run", "ridge", "--data", "leak.csv", *about, "--trials", "1")
    said = told(
        *(world, "run", "ridge", "lightgbm", "--data", "bikes.csv", *about, "--past-target"),
        *("--trials", "1", "--name", "bikes"),
    )

    assert "'copy': is almost a copy of (correlation 1.00000) the target" in checked
    assert "note: column 'copy' is almost a copy of" in leaky
    assert "; but column 'copy' is almost a copy of" in leaky
    assert "look" not in said
    assert "in time order, embargo" in said
    assert "rows held out" in said
    for word in ("ridge", "lightgbm", "mean", "last_value", "held-out", "baseline"):
        assert word in said


def test_a_line_that_drops_stops_no_work_and_the_app_shows_it_again(world: World) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "hyperion_tui", "run", "lightgbm", "--data", "diabetes"),
            *("--trials", "12", "--workers", "1", "--name", "dropped"),
            *("--store", str(world.store)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"dropped: ")
    wait_until(world.finished, "the first trial")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    terminal = Terminal(world.store)
    try:
        terminal.read_until(b"dropped", 60.0)
    finally:
        terminal.close()
    wait_until(lambda: world.state("dropped") == "done", "the work to end")

    numbers = [trial["number"] for trial in world.hyperion("trials", "dropped/lightgbm")]
    assert sorted(numbers) == list(range(12))


def test_after_a_power_cut_and_a_pause_the_total_is_exact_and_nothing_runs_twice(
    world: World,
) -> None:
    models = ("ridge", "lightgbm")
    world.hyperion(
        *("run", *models, "--data", "diabetes", "--trials", "10", "--workers", "1"),
        *("--name", "cut", "--detach"),
    )
    wait_until(lambda: world.finished() >= 3, "some trials")
    world.kill_everything()
    world.hyperion("resume", "cut")
    before = world.finished()
    wait_until(lambda: world.finished() > before or world.finished() == 20, "it to go on")
    world.hyperion("pause", "cut", check=None)
    wait_until(lambda: world.state("cut") in ("paused", "done"), "the pause")
    wait_until(lambda: not world.workers(), "no process to be left")
    if world.state("cut") == "paused":
        world.hyperion("resume", "cut")
    wait_until(lambda: world.state("cut") == "done", "the end")

    for model in models:
        trials = world.hyperion("trials", f"cut/{model}")
        assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
        assert sorted(trial["number"] for trial in trials) == list(range(10))
        params = [str(trial["params"]) for trial in trials]
        assert len(set(params)) == len(params)
    assert not world.ask("SELECT 1 FROM hx_event WHERE text LIKE '%database is locked%'")


HOSTILE = """
import os, time
from sklearn.linear_model import Ridge

class Loops(Ridge):
    def fit(self, X, y):
        while not os.path.exists("mended"):
            time.sleep(0.01)
        return super().fit(X, y)

class Eats(Ridge):
    def fit(self, X, y):
        eaten = []
        while not os.path.exists("mended"):
            eaten.append(bytearray(os.urandom(4096) * 2560))
            time.sleep(0.05)
        return super().fit(X, y)
"""


def test_a_model_that_hangs_or_eats_memory_is_ended_at_its_limit_and_harms_no_other(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = plugged.DECLARED.partition("METRIC =")[0].replace("planted.learn", "planted.hostile")
    declared = "".join(
        template.replace("shrunken_mean", name.lower())
        .replace("ShrunkenMean", name)
        .replace("MODEL =", f"{name.upper()} =")
        .replace('"by"', '"alpha"')
        for name in ("Loops", "Eats")
    )
    entries = "[hyperion.models]\nl = planted.hang:LOOPS\ne = planted.hang:EATS\n"
    plugged.install(tmp_path, entries, hang=declared, hostile=HOSTILE)
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    limits = ("--trial-time", "4s", "--trial-memory", "500M")

    document = world.hyperion(
        *("run", "ridge", "loops", "eats", "--data", "diabetes", "--trials", "2", *limits),
        *("--workers", "2", "--name", "harm"),
    )

    found = {study["model"]: study for study in document["studies"]}
    assert found["ridge"]["trials"]["complete"] == 2
    assert found["ridge"]["best"]["held_out_score"] is not None
    said = {"loops": "TimeLimit: took longer than --trial-time 4 s", "eats": "MemoryLimit: "}
    for model, why in said.items():
        assert found[model]["trials"]["failed"] == 2
        for trial in world.hyperion("trials", f"harm/{model}"):
            assert trial["error"].startswith(why)
    errors = (trial["error"] for trial in world.hyperion("trials", "harm/eats"))
    assert all(500 < float(error.split()[2]) < 1500 for error in errors)
    taken = [trial["duration_s"] for trial in world.hyperion("trials", "harm/loops")]
    assert 4 <= min(taken) < 30  # a look every half second, on a machine that may be busy

    # Retried once the cause is gone.
    (tmp_path / "mended").touch()
    assert len(world.hyperion("retry", "harm/loops")["queued"]) == 2
    wait_until(lambda: world.state("harm") == "done", "the retried trials")
    trials = world.hyperion("trials", "harm/loops")
    assert [trial["state"] for trial in trials] == ["failed"] * 2 + ["complete"] * 2


def test_tables_are_compared_only_where_they_answer_one_question_and_come_out_exact(
    world: World, tmp_path: Path
) -> None:
    rows = pd.read_csv(BUNDLED["concrete"].path)
    for version, part in {"first": rows, "second": rows[:-100]}.items():
        part.to_csv(tmp_path / f"{version}.csv", index=False)
        models = ("ridge", "lasso") if version == "first" else ("ridge",)
        world.hyperion(
            *("run", *models, "--data", f"{version}.csv", "--target", "strength_mpa"),
            *("--trials", "2", "--workers", "1", "--name", version),
        )

    world.hyperion("compare", "first", "second", check=5)
    document = world.hyperion("show", "first")
    pinned = told(world, "compare", "first", "--baseline", "ridge", "--only-changed")
    told(world, "compare", "first", "--csv", "table.csv")
    told(world, "compare", "first", "--md", "table.md")
    told(world, "trials", "first/ridge", "--csv", "trials.csv")

    assert "pinned" in pinned
    with open(tmp_path / "table.csv", newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    for study in document["studies"]:
        assert repr(study["best"]["selection_score"]) in cells
    assert (tmp_path / "table.md").read_text().count("|") > 10
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert {"number", "value", "datetime_start", "params_alpha", "state"} <= set(trials)
    best = {study["model"]: study["best"] for study in document["studies"]}
    assert trials["value"].max() == best["ridge"]["selection_score"]


def test_an_agent_on_real_prices_stands_beside_rules_without_skill(
    world: World, tmp_path: Path
) -> None:
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    pytest.importorskip("arch", reason="the package with the prices is not installed")
    from simulator.samples import load_sample

    prices = load_sample("sp500")[-520:].to_frame()[["open", "high", "low", "close", "volume"]]
    prices.rename_axis("date").to_csv(tmp_path / "index.csv")

    document = world.hyperion(
        *("run", "td3", "--data", "index.csv", "--trials", "1", "--workers", "1", "--name", "e"),
        TRADING_EPISODES="1",
    )

    names = {baseline["name"] for baseline in document["baselines"]}
    assert names == {"flat", "buy_and_hold", "random", "sign_flipped"}
    evidence = document["studies"][0]["evidence"]["trading"]
    assert len(evidence["seeds"]) == len(evidence["held_out_seeds"]) == 3
    assert "dsr_null" in document["luck"]
    assert document["verdict"]


def test_on_a_target_that_is_noise_no_model_is_crowned(world: World, tmp_path: Path) -> None:
    rows = pd.read_csv(BUNDLED["concrete"].path)
    rows["strength_mpa"] = np.random.default_rng(0).permutation(rows["strength_mpa"])
    rows.to_csv(tmp_path / "noise.csv", index=False)

    document = world.hyperion(
        *("run", "ridge", "lightgbm", "--data", "noise.csv", "--target", "strength_mpa"),
        *("--trials", "3", "--workers", "1", "--name", "noise"),
    )

    assert document["verdict"].startswith("No model beats the baseline")


def test_what_is_shipped_predicts_as_it_was_scored_and_can_learn_from_all_rows(
    world: World, tmp_path: Path
) -> None:
    source = str(BUNDLED["concrete"].path)
    world.hyperion(
        *("run", "lightgbm", "--data", "concrete", "--trials", "1", "--workers", "1"),
        *("--name", "ship"),
    )

    card = world.hyperion("export", "ship/lightgbm", "--to", str(tmp_path / "model"))
    again = world.hyperion(
        *("export", "ship/lightgbm", "--to", str(tmp_path / "all"), "--refit", "all")
    )
    predictions = world.hyperion("predict", str(tmp_path / "model"), source)["predictions"]

    scores = card["scores"]
    assert scores["held_out_again"] == pytest.approx(scores["held_out"], rel=1e-9)
    assert again["refit_on_all_rows"] is True
    assert {"sha256", "rows"} <= set(card["data"])
    assert all(card[key] for key in ("split", "versions", "members"))
    assert len(predictions) == len(pd.read_csv(source))
    assert not list((tmp_path / "model").rglob("*.pickle"))

    # Read back where something else is installed than where it was made.
    document = tmp_path / "model" / "predictor.json"
    made = json.loads(document.read_text())
    document.write_text(json.dumps(made | {"versions": made["versions"] | {"lightgbm": "3.2.1"}}))
    warned = told(world, "predict", str(tmp_path / "model"), source, "--out", "out.csv")
    assert "lightgbm" in warned
    assert "3.2.1" in warned
