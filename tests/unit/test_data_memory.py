"""Large tables: what they take is known first, what doesn't fit is refused, samples are fair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import csv, parquet

from engines.data import memory, reading
from engines.data.datasets import load
from engines.data.memory import WORTH_TELLING, Estimate, Room, free_bytes
from engines.errors import BadInput


def table(rows: int = 3000) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "at": np.arange(rows),
            "half": random.normal(size=rows),
            "colour": np.array(["red", "green"])[np.arange(rows) % 2],
            "price": random.normal(size=rows),
        }
    )


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK_ROWS", 250)


def save(folder: Path, frame: pd.DataFrame, kind: str) -> str:
    path = folder / f"data.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False, row_group_size=700)
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_larger_than_memory_is_refused_with_the_rows_that_fit(
    tmp_path: Path, kind: str
) -> None:
    path = save(tmp_path, table(), kind)
    needed = Estimate.of(3000, 4).size

    with pytest.raises(
        BadInput,
        match=rf"data\.{kind}: 3,000 rows x 4 columns take about .* MB of memory to read; "
        r".* MB are free; draw a sample with --sample 1500, keep fewer columns, or free",
    ):
        load(path, target="price", room=Room(needed // 2))

    assert load(path, target="price", room=Room(2 * needed)).rows == 3000
    assert load(path, target="price", room=Room(None)).rows == 3000


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_large_table_is_told_of_before_it_is_read_and_a_small_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = save(tmp_path, table(), kind)
    told: list[str] = []
    load(path, target="price", room=Room(10**12, told.append))
    assert told == []

    monkeypatch.setattr(memory, "WORTH_TELLING", 1000)
    with pytest.raises(BadInput):
        load(path, target="price", room=Room(1000, told.append))
    assert len(told) == 1
    assert told[0].startswith("3,000 rows x 4 columns take about ")
    assert WORTH_TELLING > 1000


def test_the_memory_of_the_machine_is_asked_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = free_bytes()
    assert free is None or free > 10**6
    said = tmp_path / "meminfo"
    said.write_text("MemTotal: 9 kB\nMemAvailable: 7 kB\n")
    monkeypatch.setattr(memory, "MACHINE", said)
    assert free_bytes() == 7 * 1024
    with pytest.raises(BadInput, match="are free; draw a sample"):
        load(save(tmp_path, table(), "csv"), target="price")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "absent")
    assert free_bytes() is None


@pytest.mark.usefixtures("small_chunks")
def test_a_sample_is_the_same_from_csv_and_parquet_and_in_order(tmp_path: Path) -> None:
    samples = [
        load(save(tmp_path, table(), kind), target="price", sample_rows=400)
        for kind in ("csv", "parquet")
    ]

    for data in samples:
        assert data.rows == 400
        assert "a random sample of 400 of 3,000 rows" in data.notices
        at = data.X[:, 0].astype(int)
        assert (np.diff(at) > 0).all()
        np.testing.assert_array_equal(data.y, table()["price"].to_numpy()[at])
    assert samples[0].sha256 == samples[1].sha256


@pytest.mark.usefixtures("small_chunks")
def test_a_sample_is_drawn_evenly_from_the_whole_file(tmp_path: Path) -> None:
    data = load(save(tmp_path, table(), "csv"), target="price", sample_rows=900)

    per_tenth = np.histogram(data.X[:, 0], bins=10, range=(0, 3000))[0]
    assert per_tenth.min() > 60
    assert per_tenth.max() < 120


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_sample_of_as_many_rows_as_there_are_is_the_table(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, table(), kind)
    whole, sample = load(path, target="price"), load(path, target="price", sample_rows=3000)

    assert sample.sha256 == whole.sha256
    assert sample.notices == whole.notices


@pytest.mark.usefixtures("small_chunks")
def test_a_column_that_turns_to_text_late_is_text_in_the_sample_too(tmp_path: Path) -> None:
    frame = table()
    frame["code"] = [f"{i % 7}.50" if i < 1500 else f"x{i % 7}" for i in range(3000)]
    data = load(save(tmp_path, frame, "csv"), target="price", sample_rows=1000)

    assert data.features[3].categories == tuple(
        sorted([f"{i}.50" for i in range(7)] + [f"x{i}" for i in range(7)])
    )


@pytest.mark.usefixtures("small_chunks")
def test_a_bad_value_in_a_sample_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    frame = table().astype({"half": "object"})
    frame.loc[1000:1100, "half"] = "oops"
    with pytest.raises(BadInput, match=r"line 1\d\d\d: column 'half' holds numbers .* 'oops'"):
        load(save(tmp_path, frame, "csv"), target="price", sample_rows=1500)


@pytest.mark.usefixtures("small_chunks")
def test_a_ragged_row_is_refused_in_a_sample_too(tmp_path: Path) -> None:
    path = Path(save(tmp_path, table(), "csv"))
    lines = path.read_text().splitlines()
    lines[2000] = "1,2,red,4,5"
    path.write_text("\n".join(lines))
    with pytest.raises(BadInput, match="line 2001 has 5 fields and the header has 4"):
        load(str(path), target="price", sample_rows=100)


def test_a_sample_may_be_drawn_from_a_file_that_is_too_large_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("csv", "parquet"):
        path = save(tmp_path, table(), kind)
        monkeypatch.setattr(reading, "MAX_BYTES", 1000)
        with pytest.raises(BadInput, match="over the limit"):
            load(path, target="price")
        assert load(path, target="price", sample_rows=100).rows == 100
        monkeypatch.undo()


def test_a_sample_of_next_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="A sample of 5 rows is too small: take at least 20"):
        load(save(tmp_path, table(), "csv"), target="price", sample_rows=5)


LOAD = """
import json, sys
from engines.data.datasets import load
from engines.data.memory import Room
from engines.data.snapshot import read_snapshot, write_snapshot
from engines.data.splits import split_dataset
from pathlib import Path

def peak():
    # Not getrusage: its peak is that of the process that started this one, if that is larger.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

before, told = peak(), []
data = load(sys.argv[1], target="y", room=Room(None, told.append))
after = peak()
write_snapshot(Path(sys.argv[2]), data, split_dataset(data, seed=1))
kept = read_snapshot(Path(sys.argv[2]))
print(json.dumps([data.rows, len(data.features), after - before, told, data.sha256,
                  bool((kept.X[::1000] == data.X[::1000]).all()), peak() - after]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of memory")
def test_a_million_rows_of_fifty_columns_take_no_more_than_was_said(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = 1_000_000
    frame = pd.DataFrame({f"f{i}": random.normal(size=rows).round(6) for i in range(41)})
    for i in range(8):
        frame[f"i{i}"] = random.integers(0, 1000, rows)
    frame["y"] = frame["f0"] * 2 + random.normal(size=rows)
    said = Estimate.of(rows, 50).size
    hashes = set()
    for kind in ("parquet", "csv"):
        path = str(tmp_path / f"data.{kind}")
        content = pyarrow.Table.from_pandas(frame, preserve_index=False)
        # A fifth of the time that pandas takes to write a CSV file.
        (csv.write_csv if kind == "csv" else parquet.write_table)(content, path)
        done = subprocess.run(
            [sys.executable, "-c", LOAD, path, str(tmp_path / f"kept-{kind}")],
            capture_output=True,
            text=True,
            check=True,
        )
        n, columns, took, told, sha256, same, more = json.loads(done.stdout)
        assert (n, columns, same) == (rows, 49, True)
        assert told[0].startswith("1,000,000 rows x 50 columns take about ")
        # Not above what was said, nor so far below that files that fit would be refused.
        assert said / 2 < took < said
        assert more < 8 * rows * 50  # written and mapped without another copy
        hashes.add(sha256)
        Path(path).unlink()
    assert len(hashes) == 1
