"""A file that is no longer what an experiment began with is told of, and nothing else is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.data import changes
from engines.data.changes import change_since, mark_of
from engines.run import orders
from engines.run.start import Request, create
from engines.study.location import Location
from tests.unit.building import asking

ROWS = "size,price\n" + "".join(f"{n * 0.5},{n % 7}\n" for n in range(60))
OTHER = ROWS.replace("0.5,1", "9.5,1")
TOUCHED_NS = 10**18


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "towns.csv"
    path.write_text(ROWS)
    return path


def touch(file: Path) -> None:
    os.utime(file, ns=(TOUCHED_NS, TOUCHED_NS))


def fill(file: Path, content: str) -> None:
    file.write_text(content)
    touch(file)


CHANGES: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "nothing": (lambda file: None, None),
    "a newer date": (touch, None),
    "a row more": (
        lambda file: fill(file, ROWS + "1,2\n"),
        "{file} has changed: it had {old} bytes and has {new}; the experiment goes on with the "
        "copy that was made of it when it began; to learn from what it holds now, `run` it under "
        "another --name",
    ),
    "another value": (
        lambda file: fill(file, OTHER),
        "{file} has changed: it has other content, of the same size; the exp",
    ),
    "no file": (
        lambda file: file.unlink(),
        "{file} is no longer there; the experiment goes on with the copy that was made of it when "
        "it began",
    ),
    "no folder": (
        lambda file: (file.unlink(), file.parent.rmdir(), file.parent.touch())[-1],
        "{file} is no longer there; ",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_told_in_one_line_with_what_it_is(file: Path, what: str) -> None:
    change, expected = CHANGES[what]
    mark = json.loads(json.dumps(mark_of(str(file))))
    change(file)

    line = change_since(mark)

    if expected is None:
        assert line is None
    else:
        sizes = {"old": len(ROWS), "new": len(ROWS) + 4}
        assert str(line).startswith(expected.format(file=file, **sizes))
        assert "\n" not in str(line)


def test_a_file_of_the_same_size_and_date_is_not_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = mark_of(str(file))
    monkeypatch.setattr(changes, "_hash_of", lambda *_: pytest.fail("it was read"))

    assert change_since(mark) is None


def test_an_odd_name_is_shown_on_one_line(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb\x1b[2J  c.csv"
    odd.write_text(ROWS)
    mark = mark_of(str(odd))
    odd.unlink()

    assert str(change_since(mark)).startswith(f"{tmp_path}/a\\nb\\x1b[2J  c.csv is no longer")


def test_a_very_large_file_is_known_by_its_size_and_date(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_BYTES", 10)
    mark = mark_of(str(file))
    assert mark is not None
    assert (mark["sha256"], change_since(mark)) == (None, None)

    touch(file)

    assert f"{file} has changed: it was written again since; " in str(change_since(mark))


def test_on_another_machine_a_path_means_nothing(file: Path) -> None:
    mark = mark_of(str(file))
    assert mark is not None
    file.unlink()

    assert change_since({**mark, "machine": "elsewhere"}) is None
    assert change_since(None) is None


def test_what_can_not_be_looked_at_has_no_mark(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"a\xff.csv")
    odd.write_text(ROWS)

    assert mark_of(str(odd)) is None
    assert mark_of(str(tmp_path / "missing.csv")) is None


@pytest.fixture
def paused(location: Location, file: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A store with a paused experiment on the file; nobody runs it."""
    monkeypatch.setattr(orders, "start_runner", lambda *_: None)
    create(location, Request(("ridge",), data=str(file), target="price", name="e"))
    orders.give(location, targets(location), "pause")
    return location


def targets(location: Location) -> list[orders.Target]:
    with asking(location) as reader:
        return reader.find_studies("e")


def test_whoever_resumes_is_told_that_the_file_has_changed(paused: Location, file: Path) -> None:
    touch(file)
    assert orders.resume(paused, targets(paused)).notes == ()
    orders.give(paused, targets(paused), "pause")
    fill(file, OTHER)

    done = orders.resume(paused, targets(paused))

    assert done.names == ("e/ridge",)
    (note,) = done.notes
    assert note.startswith(f"{file} has changed: it has other content")


def test_a_bundled_set_has_no_file_to_change(location: Location) -> None:
    create(location, Request(("ridge",), data="concrete", name="e"))

    with asking(location) as reader:
        assert "file" not in reader.experiments()[0].facts
