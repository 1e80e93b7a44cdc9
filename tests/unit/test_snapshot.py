"""The data of an experiment on disk: what is read is what was written, or an error says so."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from engines.data.datasets import load
from engines.data.snapshot import (
    EARLIER_FILE,
    FILE,
    REST_FILE,
    X_FILE,
    read_snapshot,
    write_snapshot,
)
from engines.data.splits import make_split, split_dataset
from engines.errors import HyperionError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    at = np.arange(40)
    lines = ["size,colour,price"] + [
        f"{'' if i % 9 == 0 else i * 0.1},{('red', 'blue', '')[i % 3]},{i**0.5}" for i in at
    ]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("ordered", [True, False])
def test_a_snapshot_comes_back_bit_by_bit(source: Path, tmp_path: Path, ordered: bool) -> None:
    dataset = load(str(source), target="price", time_column="none")
    split = make_split(dataset.rows, ordered=ordered, seed=3)

    write_snapshot(tmp_path / "made" / "here", dataset, split)
    snapshot = read_snapshot(tmp_path / "made" / "here")

    np.testing.assert_array_equal(snapshot.X, dataset.X)
    np.testing.assert_array_equal(snapshot.y, dataset.y)
    assert snapshot.categories == {1: 2}
    assert snapshot.features == (("size", None), ("colour", ("blue", "red")))
    assert snapshot.times is None
    assert snapshot.split.ordered is ordered
    assert snapshot.split.describe() == split.describe()
    assert snapshot.train_rows == min(len(fold.train) for fold in split.folds)
    for fold, other in zip(snapshot.split.folds, split.folds, strict=True):
        np.testing.assert_array_equal(fold.train, other.train)
        np.testing.assert_array_equal(fold.valid, other.valid)


def test_the_times_of_the_rows_are_kept(tmp_path: Path) -> None:
    dataset = load("bikeshare")

    write_snapshot(tmp_path / "here", dataset, split_dataset(dataset, 3))

    np.testing.assert_array_equal(read_snapshot(tmp_path / "here").times, dataset.times)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    lines = ["size,town,kind"]
    lines += [f"{i * 0.1},{i % 12},{('round', 'flat', 'oval')[i % 3]}" for i in range(60)]
    path = tmp_path / "classes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_task_classes_and_groups_come_back(classes: Path, tmp_path: Path) -> None:
    dataset = load(str(classes), target="kind", groups="town")
    split = split_dataset(dataset, seed=3)

    write_snapshot(tmp_path / "here", dataset, split)
    snapshot = read_snapshot(tmp_path / "here")

    assert (snapshot.task, snapshot.classes) == ("classification", ("flat", "oval", "round"))
    assert snapshot.groups is not None
    np.testing.assert_array_equal(snapshot.groups, dataset.groups)
    assert snapshot.split.describe() == split.describe()
    assert snapshot.split.stratified
    assert snapshot.split.grouped


def test_a_file_of_an_earlier_version_is_still_read(source: Path, tmp_path: Path) -> None:
    dataset = load(str(source), target="price")
    split = make_split(dataset.rows, ordered=False, seed=3)
    folder = tmp_path / "here"
    folder.mkdir()
    meta = {"categories": {"1": 2}, "ordered": False, "embargo": 0, "folds": len(split.folds)}
    arrays = {"X": dataset.X, "y": dataset.y, "search": split.search, "held_out": split.held_out}
    for i, fold in enumerate(split.folds):
        arrays |= {f"train{i}": fold.train, f"valid{i}": fold.valid}
    np.savez(folder / EARLIER_FILE, meta=np.array(json.dumps(meta)), **arrays)

    snapshot = read_snapshot(folder)

    np.testing.assert_array_equal(snapshot.X, dataset.X)
    np.testing.assert_array_equal(snapshot.split.folds[2].valid, split.folds[2].valid)
    assert (snapshot.task, snapshot.classes, snapshot.groups) == ("regression", (), None)
    assert snapshot.categories == {1: 2}
    assert not snapshot.split.stratified

    (folder / EARLIER_FILE).write_bytes(b"damaged")
    with pytest.raises(HyperionError, match=f"can't be read from .*{EARLIER_FILE}"):
        read_snapshot(folder)


def test_workers_share_the_pages_of_a_snapshot_and_none_can_change_it(
    source: Path, tmp_path: Path
) -> None:
    dataset = load(str(source), target="price")
    write_snapshot(tmp_path / "here", dataset, make_split(dataset.rows, ordered=False, seed=3))

    X = read_snapshot(tmp_path / "here").X

    assert isinstance(X.base, np.memmap)
    assert X.flags.c_contiguous
    assert X.flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        X[0, 0] = 1.0


def test_a_snapshot_is_the_owner_s_alone(source: Path, tmp_path: Path) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"

    write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=3))

    assert {path.name for path in folder.iterdir()} == {FILE, X_FILE, REST_FILE}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("function", ["save", "savez"])
def test_a_write_that_fails_leaves_the_old_snapshot_whole(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"
    write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=3))
    before = read_snapshot(folder).split.held_out

    def half(file, *args, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, function, half)
    with pytest.raises(OSError, match="No space left"):
        write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=4))

    np.testing.assert_array_equal(read_snapshot(folder).split.held_out, before)


def test_a_snapshot_written_again_is_the_new_one_alone(source: Path, tmp_path: Path) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / EARLIER_FILE).write_bytes(b"of another version")
    for seed in (3, 4):
        split = make_split(dataset.rows, ordered=False, seed=seed)
        write_snapshot(folder, dataset, split)

    np.testing.assert_array_equal(read_snapshot(folder).split.held_out, split.held_out)
    assert {path.name for path in folder.iterdir()} == {FILE, X_FILE, REST_FILE}


@pytest.mark.parametrize("name", [FILE, X_FILE, REST_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated", "flipped", "other"])
def test_a_damaged_snapshot_is_an_error_with_its_path(
    source: Path, tmp_path: Path, name: str, damage: str
) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"
    write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=3))
    path = folder / name
    content = path.read_bytes()
    at = content.index(b'"embargo": 0') + 11 if name == FILE else len(content) - 300
    flipped = bytes([*content[:at], content[at] ^ 1, *content[at + 1 :]])
    damaged = {"empty": b"", "text": b"hello", "truncated": content[:-20], "flipped": flipped}
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        path.write_bytes(b"{}")
    else:
        path.write_bytes(damaged[damage])

    with pytest.raises(HyperionError, match=f"can't be read from .*{FILE}.*start it again"):
        read_snapshot(folder)
