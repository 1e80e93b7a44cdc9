"""The data of an experiment on disk: what is read is what was written, or an error says so."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from engines.data.datasets import load
from engines.data.snapshot import FILE, read_snapshot, write_snapshot
from engines.data.splits import make_split
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
    assert snapshot.split.ordered is ordered
    assert snapshot.split.describe() == split.describe()
    assert snapshot.train_rows == min(len(fold.train) for fold in split.folds)
    for fold, other in zip(snapshot.split.folds, split.folds, strict=True):
        np.testing.assert_array_equal(fold.train, other.train)
        np.testing.assert_array_equal(fold.valid, other.valid)


def test_a_snapshot_is_the_owner_s_alone(source: Path, tmp_path: Path) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"

    write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=3))

    assert [path.name for path in folder.iterdir()] == [FILE]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_snapshot_whole(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"
    write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=3))
    before = (folder / FILE).read_bytes()

    def half(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="No space left"):
        write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=4))

    assert (folder / FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated", "flipped", "other"])
def test_a_damaged_snapshot_is_an_error_with_its_path(
    source: Path, tmp_path: Path, damage: str
) -> None:
    dataset = load(str(source), target="price")
    folder = tmp_path / "here"
    write_snapshot(folder, dataset, make_split(dataset.rows, ordered=False, seed=3))
    path = folder / FILE
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        np.savez(path, X=np.ones(3))
    else:
        flipped = bytes([*content[:900], content[900] ^ 0xFF, *content[901:]])
        damaged = {"empty": b"", "text": b"hello", "truncated": content[:-200], "flipped": flipped}
        path.write_bytes(damaged[damage])

    with pytest.raises(HyperionError, match=f"can't be read from .*{FILE}"):
        read_snapshot(folder)
