"""From what a person asked for to an experiment: what is created, and that nothing is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.data.snapshot import read_snapshot
from engines.errors import BadInput, StoreUnavailable
from engines.files import make_private_folder
from engines.models import catalogue
from engines.run import start
from engines.study.location import Location
from tests.unit.building import asking, new_store, rows


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "table.csv"
    path.write_text("size,price\n" + "".join(f"{i},{i**0.5}\n" for i in range(40)))
    return path


def test_an_experiment_is_created_from_a_request_and_nothing_runs(
    table: Path, location: Location
) -> None:
    experiment_id = start.create(
        location, start.Request(("ridge", "KNeighbors"), data="table.csv", seed=3)
    )

    with asking(location) as reader:
        experiment = reader.experiment(experiment_id)
        trials = reader.trials(experiment.studies[0].study_id)
    snapshot = read_snapshot(location.data(experiment_id))
    assert (experiment.name, experiment.state) == ("table-1", "waiting")
    assert (experiment.runner_pid, experiment.seed) == (None, 3)
    assert [s.model for s in experiment.studies] == ["ridge", "k_neighbors"]
    assert [s.counts.goal for s in experiment.studies] == [20, 20]
    assert trials == []  # the first one is made by who claims it
    assert experiment.split is not None
    assert experiment.split == snapshot.split.describe()
    assert experiment.dataset is not None
    assert len(snapshot.X) == experiment.dataset.rows == 40
    assert rows(location, "SELECT count(*) FROM hx_worker") == [(0,)]


def test_spaces_are_bound_to_the_rows_before_the_first_trial(
    table: Path, location: Location
) -> None:
    start.create(location, start.Request(("k_neighbors",), data="table.csv"))

    space = rows(location, "SELECT space FROM hx_study")[0][0]
    assert '"high": 25' in space  # 32 rows to search in, four of five parts of them to train on
    declared = catalogue.find("k_neighbors").form("regression").space
    assert declared.parameters["n_neighbors"].high == 100  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asked", "goal"),
    [({}, 20), ({"trials": 7}, 7), ({"time_s": 60.0}, None), ({"time_s": 60.0, "trials": 7}, 7)],
)
def test_the_budget_is_trials_time_or_both(
    table: Path, location: Location, asked: dict, goal: int | None
) -> None:
    start.create(location, start.Request(("ridge",), data="table.csv", **asked))

    assert rows(location, "SELECT goal FROM hx_study") == [(goal,)]


def test_a_file_whose_name_is_no_text_can_be_learned_from(table: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"odd\xff.csv")
    table.rename(tmp_path / name)
    location = new_store(tmp_path / "s.db")

    start.create(location, start.Request(("ridge",), data=name))

    with asking(location) as reader:
        (experiment,) = reader.experiments()
    assert experiment.dataset is not None
    assert experiment.dataset.name == "odd?"


def test_a_name_is_checked_before_a_store_is_made(table: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't name an experiment"):
        start.create(
            Location(tmp_path / "new" / "s.db"),
            start.Request(("ridge",), data="table.csv", name="a/b"),
        )

    assert not (tmp_path / "new").exists()


def test_data_that_can_not_be_kept_is_one_line_and_nothing_is_created(
    table: Path, location: Location
) -> None:
    make_private_folder(location.side)
    (location.side / "data").write_text("in the way")

    with pytest.raises(StoreUnavailable, match=r"^The data can't be kept in .*studies\.db\.d: "):
        start.create(location, start.Request(("ridge",), data="table.csv"))

    assert rows(location, "SELECT count(*) FROM hx_experiment") == [(0,)]


def test_a_column_that_copies_the_target_is_noted_where_every_screen_finds_it(
    table: Path, location: Location
) -> None:
    table.write_text(
        "size,half,price\n" + "".join(f"{i},{i * 7 % 5 / 2},{i * 7 % 5}\n" for i in range(40))
    )

    request = start.Request(("ridge",), data="table.csv", target="price", task="regression")
    experiment_id = start.create(location, request)

    with asking(location) as reader:
        experiment = reader.experiment(experiment_id)
    (leak,) = experiment.leaks
    assert leak.startswith("column 'half' is almost a copy of")
    assert experiment.dataset is not None
    assert f"{leak}: a leak, unless it is meant; remove it" in experiment.dataset.notices
