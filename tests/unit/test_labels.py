"""Tags and notes: written by a command or the app, kept as Optuna's user attributes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from engines.errors import BadInput
from engines.study import labels
from engines.study.labels import Labels, Subject
from engines.study.reader import Reader
from engines.study.records import Experiment
from engines.study.store import open_storage
from hyperion_tui.cli import main
from tests.postgres import copy_store
from tests.tui.stores import Store, add_typical


@pytest.fixture
def store(own_home: Path) -> Iterator[Store]:
    own_home.mkdir(parents=True)
    made = Store(own_home / "studies.db")
    add_typical(made)
    yield made
    made.close()


def demo(store: Store) -> Experiment:
    with contextlib.closing(Reader(store.location)) as reader:
        return reader.experiments()[0]


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_what_a_command_writes_is_in_every_form_of_the_answer(
    store: Store, capsys: pytest.CaptureFixture[str]
):
    store.change("hx_experiment", "id = 1", split=None)
    assert main(["tag", "demo", "+good", "base"]) == 0
    assert main(["tag", "demo", "-base", "--json", "+for=Ann"]) == 0
    assert main(["tag", "demo/ridge#3", "odd"]) == 0
    assert main(["tag", "demo/xg*", "+slow"]) == 0
    assert main(["note", "demo/xgboost", "=1+1", "looks", "fine"]) == 0
    capsys.readouterr()

    shown = json.loads(answer(capsys, "show", "demo", "--json"))
    assert (shown["tags"], shown["note"]) == (["for=Ann", "good"], None)
    xgboost = next(s for s in shown["studies"] if s["model"] == "xgboost")
    assert (xgboost["tags"], xgboost["note"]) == (["slow"], "=1+1 looks fine")
    trials = json.loads(answer(capsys, "trials", "demo/ridge", "--json"))
    assert [t["number"] for t in trials if t["tags"]] == [3]

    rows = list(csv.DictReader(io.StringIO(answer(capsys, "compare", "--csv", "-"))))
    assert [(r["tags"], r["note"]) for r in rows if r["tags"]] == [("slow", "'=1+1 looks fine")]
    rows = list(csv.DictReader(io.StringIO(answer(capsys, "trials", "demo/ridge", "--csv", "-"))))
    assert [r["number"] for r in rows if r["tags"] == "odd"] == ["3"]
    assert "good" in answer(capsys, "list")
    assert "xgboost: tags slow; note: =1+1 looks fine" in answer(capsys, "show", "demo")
    assert "slow" in answer(capsys, "compare", "demo")
    assert "tags odd" in answer(capsys, "trials", "demo/ridge", "3")
    assert "for=Ann good" in answer(capsys, "tag", "demo")


def test_optuna_sees_them_and_what_optuna_writes_is_shown(store: Store):
    ridge = next(s for s in demo(store).studies if s.model == "ridge")
    labels.change_tags(store.location, [Subject(demo(store), ridge)], add=["b", "a"])
    labels.set_note(store.location, [Subject(demo(store), ridge, 3)], "odd")

    storage = open_storage(store.location)
    study = optuna.load_study(study_name="demo/ridge", storage=storage)
    assert study.user_attrs == {"tags": ["a", "b"]}
    assert study.trials[3].user_attrs == {"note": "odd"}
    study.set_user_attr("tags", "c, d")
    storage.remove_session()

    assert next(s for s in demo(store).studies if s.model == "ridge").tags == ("c", "d")


def test_the_same_name_for_something_else_is_left_alone(store: Store):
    ridge = next(s for s in demo(store).studies if s.model == "ridge")
    store.insert("study_user_attributes", study_id=ridge.study_id, key="tags", value_json="[1]")

    assert demo(store).studies[0].tags == ()
    with pytest.raises(BadInput, match="an attribute `tags` of its own"):
        labels.change_tags(store.location, [Subject(demo(store), ridge)], add=["a"])


def test_a_note_of_another_kind_is_left_alone_too(store: Store):
    ridge = next(s for s in demo(store).studies if s.model == "ridge")
    store.insert("study_user_attributes", study_id=ridge.study_id, key="note", value_json="{}")

    with pytest.raises(BadInput, match="an attribute `note` of its own"):
        labels.set_note(store.location, [Subject(demo(store), ridge)], "mine")


def test_removing_the_last_tag_or_the_note_leaves_no_attribute(store: Store):
    subject = Subject(demo(store))
    labels.change_tags(store.location, [subject], add=["a"])
    labels.set_note(store.location, [subject], "something")
    labels.change_tags(store.location, [subject], remove=["a", "never there"])
    found = labels.set_note(store.location, [subject], "  ")

    assert found == {"demo": Labels()}
    assert store.connection.execute("SELECT count(*) FROM study_user_attributes").fetchone() == (0,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tag", "demo", "a b"], "is no tag"),
        (["tag", "demo", "\x1b[31m"], "is no tag"),
        (["tag", "demo", "x" * 31], "is no tag"),
        (["tag", "demo", "+a", "-a"], "added and removed"),
        (["tag", "demo", *(f"+t{n}" for n in range(21))], "20 is the most"),
        (["tag", "nothing", "+a"], "No experiment `nothing`"),
        (["tag", "demo/ridge#99", "+a"], "no trial 99"),
        (["note", "demo", "x" * 2001], "2,000 is the most"),
        (["tag", "demo", "--jsn"], "unrecognized arguments"),
    ],
)
def test_what_can_not_be_written_is_refused_in_one_line(
    store: Store, capsys: pytest.CaptureFixture[str], words: list[str], message: str
):
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert demo(store).tags == ()


def test_a_purge_takes_them_along(store: Store, capsys: pytest.CaptureFixture[str]):
    assert main(["tag", "demo", "+a"]) == 0
    assert main(["tag", "demo/ridge#3", "+a"]) == 0
    for verb in ("cancel", "delete", "purge"):
        assert main([verb, "demo"]) == 0

    for table in ("study_user_attributes", "trial_user_attributes"):
        assert store.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.slow
def test_a_server_keeps_them_too(store: Store, postgres_url: str):
    location = copy_store(store.location, postgres_url)
    with contextlib.closing(Reader(location)) as reader:
        experiment = reader.experiments()[0]
        ridge = experiment.studies[0]
        everything = [
            Subject(experiment),
            Subject(experiment, ridge),
            Subject(experiment, ridge, 3),
        ]

        labels.change_tags(location, everything, add=["a", "b"])
        labels.change_tags(location, everything, add=["c"], remove=["a"])
        labels.set_note(location, everything, "fine")

        now = reader.experiments()[0]
        trial = reader.trial(ridge.study_id, 3).trial
        for one in (now, now.studies[0], trial, reader.trials(ridge.study_id)[3]):
            assert (one.tags, one.note) == (("b", "c"), "fine")
        assert list(reader.labelled_trials(ridge.study_id)) == [3]
        assert [t.number for t in reader.numbered(ridge.study_id, [7, 3, 99])] == [7, 3]
