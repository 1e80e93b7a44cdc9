"""The best model taken home: it predicts what was scored, runs no code, and is whole or absent."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from engines import HyperparameterOptimizer
from engines.errors import BadInput, HyperionError
from engines.export import make
from engines.export.choice import find
from engines.export.predictor import Predictor
from engines.export.rows import read_new
from engines.run import settle, start
from engines.run.context import Context
from engines.run.inline import run_inline
from engines.study.endings import best_trials
from engines.study.location import Location
from engines.study.reader import Reader
from tests.unit.building import new_store

ROWS = 90


def table() -> pd.DataFrame:
    random = np.random.default_rng(5)
    size = random.normal(size=ROWS)
    colour = random.choice(["red", "blue", "green"], ROWS)
    floor = random.integers(1, 4, ROWS)
    price = 3 * size + (colour == "red") * 2.0 + floor + random.normal(scale=0.1, size=ROWS)
    size[3] = np.nan
    code = np.where(random.random(ROWS) < 0.2, "x", floor.astype(str))
    return pd.DataFrame({"size": size, "colour": colour, "code": code, "price": price})


def exported_from(location: Location, name: str, to: Path, **options: Any) -> dict[str, Any]:
    with closing(Reader(location)) as reader:
        experiment, study = find(reader, name)
    context = Context(location, experiment.experiment_id, 0)
    defaults: dict[str, Any] = {"force": False, "refit": False, "tell": lambda _: None}
    with closing(context.storage):
        return make.export(context, experiment, study, to, **{**defaults, **options})


class World:
    """A store with one experiment that has ended."""

    def __init__(self, folder: Path, frame: pd.DataFrame, **request: Any) -> None:
        self.frame = frame
        self.source = folder / "homes.csv"
        frame.to_csv(self.source, index=False)
        self.location: Location = new_store(folder / "studies.db")
        made = start.Request(data=str(self.source), target="price", name="e", **request)
        self.id = start.create(self.location, made)
        run_inline(self.location, self.id).storage.close()

    def opened(self) -> Context:
        return Context(self.location, self.id, 0)

    def export(self, name: str, to: Path, **options: Any) -> dict[str, Any]:
        return exported_from(self.location, name, to, **options)

    def held_out(self, study_id: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
        """The held-out rows as a person has them, and what the scored predictor says of them."""
        context = self.opened()
        with closing(context.storage):
            rows = context.data.split.held_out
            best = best_trials(context.storage, study_id)[0]
            return self.frame.iloc[rows], settle.predictor(context, best)(rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(
        tmp_path_factory.mktemp("world"), table(), selectors=("ridge", "xgboost"), trials=2
    )


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("out") / "model"
    world.export("e/ridge", to)
    return to


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


def predicted(folder: Path, rows: pd.DataFrame, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    rows.to_csv(path, index=False)
    return Predictor.load(folder).predict_table(read_new(path))


def seal(folder: Path, name: str) -> None:
    """Make a file of an export look as if it had been written by it."""
    document = json.loads((folder / "predictor.json").read_text())
    content = (folder / name).read_bytes()
    document["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "predictor.json").write_text(json.dumps(document))


# -- what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "study_id"), [("ridge", 1), ("xgboost", 2)])
def test_the_held_out_rows_are_predicted_as_they_were_scored(
    world: World, model: str, study_id: int, tmp_path: Path
) -> None:
    card = world.export(f"e/{model}", tmp_path / "model")
    rows, wanted = world.held_out(study_id)
    shuffled = rows.assign(more="of no use")[["price", "more", "code", "colour", "size"]]

    found, notices = predicted(tmp_path / "model", shuffled, tmp_path / "new.csv")

    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert notices == ()
    assert card["scores"]["held_out"] == pytest.approx(card["scores"]["held_out_again"], rel=1e-12)
    assert card["trained_again"] == []
    assert card["data"]["sha256"]


def test_the_ensemble_is_the_weighted_mean_of_its_members(world: World, tmp_path: Path) -> None:
    card = world.export("e/ensemble", tmp_path / "model")

    predictor = Predictor.load(tmp_path / "model")

    assert sum(m.weight for m in predictor.members) == pytest.approx(1.0)
    assert card["scores"]["held_out_again"] == pytest.approx(card["scores"]["held_out"], rel=1e-9)


def test_models_that_were_not_kept_are_trained_again_and_score_the_same(
    world: World, tmp_path: Path
) -> None:
    kept = world.location.artefacts(world.id)
    aside = kept.rename(tmp_path / "aside")
    told: list[str] = []
    try:
        card = world.export("e/xgboost", tmp_path / "model", tell=told.append)
    finally:
        aside.rename(kept)

    assert card["trained_again"] == [f"e/xgboost trial {card['members'][0]['trial']}"]
    assert "nothing is kept" in told[0]
    assert card["scores"]["held_out_again"] == card["scores"]["held_out"]


def test_refit_all_learns_from_the_held_out_rows_and_says_whose_score_is_shown(
    world: World, tmp_path: Path
) -> None:
    card = world.export("e/ridge", tmp_path / "model", refit=True)

    rows, before = world.held_out()
    after = Predictor.load(tmp_path / "model").predict(rows)
    assert not np.allclose(after, before, rtol=1e-6)
    assert card["refit_on_all_rows"]
    assert card["scores"]["held_out_is_of"] == "the predictor before the refit"
    assert card["scores"]["held_out_again"] is None
    assert "that of the predictor before" in (tmp_path / "model" / "CARD.md").read_text()
    assert len(Predictor.load(tmp_path / "model").members) == 2


def test_a_classifier_gives_labels_and_probabilities(tmp_path: Path) -> None:
    frame = table()
    frame["price"] = np.where(frame["price"] > frame["price"].median(), "dear", "cheap")
    world = World(tmp_path, frame, selectors=("decision_tree",), trials=1)
    world.export("e", tmp_path / "model")

    predictor = Predictor.load(tmp_path / "model")

    rows, wanted = world.held_out()
    np.testing.assert_allclose(predictor.predict_proba(rows), wanted, rtol=1e-9)
    assert set(predictor.predict(rows)) <= {"cheap", "dear"}


@pytest.mark.slow
def test_a_model_of_windows_knows_the_rows_before_those_in_a_file(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    steps = np.arange(160)
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=len(steps)), "x": steps % 7})
    frame["price"] = np.sin(steps / 5) + frame["x"] + np.roll(frame["x"], 1)
    world = World(tmp_path, frame, selectors=("dlinear",), trials=1)
    card = world.export("e/dlinear", tmp_path / "model")
    rows, wanted = world.held_out()

    backwards, _ = predicted(tmp_path / "model", rows.iloc[::-1], tmp_path / "new.csv")
    some, _ = predicted(tmp_path / "model", rows.iloc[[20, 3, 11]], tmp_path / "some.csv")
    untimed, notices = predicted(tmp_path / "model", rows.drop(columns="date"), tmp_path / "no.csv")

    np.testing.assert_allclose(backwards[::-1], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(some, wanted[[20, 3, 11]], rtol=1e-6)
    assert "follow the known ones" in notices[0]
    assert not np.allclose(untimed, wanted)
    assert card["scores"]["held_out_again"] == pytest.approx(card["scores"]["held_out"], rel=1e-9)


@pytest.mark.parametrize("timed", [True, False])
def test_without_held_out_rows_the_latest_ones_are_what_models_of_windows_know(
    tmp_path: Path, timed: bool
) -> None:
    pytest.importorskip("torch")
    steps = np.arange(1200)
    rows = np.column_stack([steps % 7, steps % 5]).astype(float)
    y = np.sin(steps / 5) + rows[:, 0]
    data = pd.DataFrame(rows, columns=["a", "b"])
    held = {} if timed else {"X_test": data[1100:], "y_test": y[1100:]}
    optimizer = HyperparameterOptimizer(storage=tmp_path / "studies.db", random_seed=1)
    found = optimizer.optimize_specific_models(
        ["dlinear", "ridge"],
        *(data[:900], y[:900], data[900:1100], y[900:1100]),
        **{"n_trials": 1, "ordered": True, "name": "e", **held},
    )
    assert set(found) == {"dlinear", "ridge"}
    location = Location(tmp_path / "studies.db")
    for model in found:
        card = exported_from(location, f"e/{model}", tmp_path / model)
        assert (card["scores"]["held_out"] is None) == timed
        if not timed:
            again = card["scores"]["held_out_again"]
            assert again == pytest.approx(card["scores"]["held_out"], rel=1e-6)


# -- rows that are not as they were --------------------------------------------------------------


def test_a_column_that_is_not_there_is_named(exported: Path, world: World, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no columns size, code, which the models learned from"):
        predicted(exported, world.frame[["colour"]], tmp_path / "new.csv")


def test_text_in_a_column_of_numbers_is_refused(
    exported: Path, world: World, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="column 'size' holds text; numbers were learned"):
        predicted(exported, world.frame.assign(size="large"), tmp_path / "new.csv")


def test_categories_that_were_not_learned_are_missing_and_named(
    exported: Path, world: World, tmp_path: Path
) -> None:
    strange = world.frame.assign(colour="mauve")
    empty = world.frame.assign(colour=None)

    found, notices = predicted(exported, strange, tmp_path / "new.csv")
    same, silent = predicted(exported, empty, tmp_path / "empty.csv")

    np.testing.assert_array_equal(found, same)
    assert silent == ()
    assert "column 'colour' has 1 category that the models never saw" in notices[0]
    assert "mauve" in notices[0]


def test_categories_that_look_like_numbers_by_themselves_are_known(
    exported: Path, world: World, tmp_path: Path
) -> None:
    rows = world.frame[world.frame["code"] != "x"]
    with_text, _ = predicted(exported, world.frame, tmp_path / "all.csv")

    found, notices = predicted(exported, rows, tmp_path / "new.csv")

    assert notices == ()
    np.testing.assert_array_equal(found, with_text[(world.frame["code"] != "x").to_numpy()])


# -- what can't be exported ----------------------------------------------------------------------


def test_only_an_earlier_export_is_replaced_and_only_by_force(
    world: World, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="--force"):
        world.export("e/ridge", folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="holds other things"):
        world.export("e/ridge", other, force=True)

    (folder / "models" / "9").mkdir()
    world.export("e/ridge", folder, force=True)

    assert not (folder / "models" / "9").exists()
    assert (other / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]


def test_a_full_disk_leaves_what_was_there_and_nothing_else(
    world: World, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = (folder / "predictor.json").read_bytes()
    monkeypatch.setattr("engines.export.folder.write_json", full)
    with pytest.raises(BadInput, match="No space left on device; free some space"):
        world.export("e/ridge", folder, force=True)

    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (folder / "predictor.json").read_bytes() == before


def test_a_place_that_can_not_be_written_is_refused_before_anything_is_trained(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for to in (tmp_path / "file", tmp_path / "file" / "model", tmp_path / "no" / "model"):
        with pytest.raises(BadInput, match="is no folder"):
            world.export("e/ridge", to)


def test_what_does_not_predict_the_same_is_not_exported(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "predict_encoded", lambda self, X, before: np.zeros(len(X)))

    with pytest.raises(HyperionError, match=r"off on \d+ rows"):
        world.export("e/ridge", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_names_that_mean_nothing_or_several_are_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean e/ridge"):
        world.export("e/rigde", tmp_path / "model")
    with pytest.raises(BadInput, match="name one, or e/ensemble"):
        world.export("e", tmp_path / "model")


def test_a_study_without_a_finished_trial_has_nothing_to_export(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "homes.csv")
    location = new_store(tmp_path / "studies.db")
    request = start.Request(("ridge",), data=str(tmp_path / "homes.csv"), name="e")
    context = Context(location, start.create(location, request), 0)
    with closing(Reader(location)) as reader, closing(context.storage):
        for name, why in (("e/ridge", "no finished trial"), ("e/ensemble", "has no ensemble")):
            experiment, study = find(reader, name)
            with pytest.raises(HyperionError, match=why):
                make.export(
                    context, experiment, study, tmp_path / "m", force=False, refit=False, tell=print
                )
    assert not (tmp_path / "m").exists()


def test_a_copy_of_the_data_without_names_takes_them_from_the_source(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = world.opened()
    context.data = replace(context.data, features=(), times=None)
    with closing(Reader(world.location)) as reader, closing(context.storage):
        experiment = reader.experiment(world.id)
        columns, _ = make._schema(context, experiment)
        assert [name for name, _ in columns] == ["size", "colour", "code"]
        moved = replace(experiment.dataset, sha256="0" * 64)
        with pytest.raises(HyperionError, match="is not what it was"):
            make._schema(context, replace(experiment, dataset=moved))


# -- what is read --------------------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def fuse(tmp_path: Path) -> Iterator[Path]:
    """What exists if code of a file was run."""
    yield tmp_path / "went-off"
    assert not (tmp_path / "went-off").exists()


def test_a_planted_pickle_is_refused_and_not_run(folder: Path, fuse: Path) -> None:
    name = "models/0/model.skops"
    (folder / name).write_bytes(pickle.dumps(Bomb(fuse)))
    seal(folder, name)

    with pytest.raises(BadInput, match="is no skops file"):
        Predictor.load(folder)


def test_a_skops_file_that_asks_for_other_code_is_refused_and_not_run(
    folder: Path, fuse: Path
) -> None:
    name = "models/0/model.skops"
    skops.io.dump({"model": functools.partial(os.mkdir, str(fuse))}, folder / name)
    seal(folder, name)

    with pytest.raises(BadInput, match="is refused: .*mkdir"):
        Predictor.load(folder)


def test_a_document_may_only_name_models_of_the_catalogue(folder: Path) -> None:
    name = "models/0/model.json"
    document = json.loads((folder / name).read_text())
    document["estimator"] = {
        **{"kind": "booster", "build": "subprocess:Popen", "params": {"args": "true"}},
        **{"categories": [], "rounds": 0},
    }
    (folder / name).write_text(json.dumps(document))
    seal(folder, name)

    with pytest.raises(BadInput, match="'subprocess:Popen' is no model of this version"):
        Predictor.load(folder)


def test_a_file_that_was_changed_or_is_missing_is_named(folder: Path) -> None:
    path = folder / "models" / "1" / "model.skops"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BadInput, match=r"model\.skops is not as it was written"):
        Predictor.load(folder)
    path.unlink()
    with pytest.raises(BadInput, match=r"model\.skops is missing"):
        Predictor.load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "holds no exported predictor"), ("{", "is no JSON"), ("[]", "is not what `export`")],
)
def test_a_folder_that_is_no_export_is_refused(
    content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "predictor.json").write_text(content)

    with pytest.raises(BadInput, match=message):
        Predictor.load(tmp_path)


def test_other_versions_are_told_one_line_each(folder: Path) -> None:
    path = folder / "predictor.json"
    document = json.loads(path.read_text())
    document["versions"] |= {"scikit-learn": "0.24.1", "no-such-thing": "1.0"}
    path.write_text(json.dumps(document))

    notices = Predictor.load(folder).notices

    assert len(notices) == 2
    assert notices[0].startswith("made with scikit-learn 0.24.1, here is ")
    assert "no-such-thing 1.0, here is none" in notices[1]
