"""What the best trials leave behind: whole or not at all, bounded, and trusted with care."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.run import artefacts, kept
from engines.run.artefacts import Artefacts, NotKept, Outcome
from engines.study.location import Location

FOLDS = [
    (np.array([1, 5, 6]), np.array([1.5, -2.0, 1e9])),
    (np.array([0, 2]), np.array([0.25, 1.0])),
]


class Model:
    """A predictor of a known size."""

    def __init__(self, size: int = 10, fill: int = 0) -> None:
        self.weights = np.full(size, fill, dtype=np.uint8)


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(tmp_path / "studies.db")


@pytest.fixture
def store(location: Location) -> Artefacts:
    return Artefacts(location, 7)


def keep(store: Artefacts, number: int, value: float, study: int = 1, **more: Any) -> Outcome:
    size = more.pop("size", 10)
    more.setdefault("maximize", True)
    models = more.pop("models", [Model(size), Model(size)])
    return store.keep(study, number, value, models, FOLDS, **more)


def numbers(store: Artefacts, study: int = 1) -> list[int]:
    return [entry.number for entry in store.entries(study)]


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


# -- what is kept --------------------------------------------------------------------------


def test_what_is_kept_comes_back(store: Artefacts) -> None:
    outcome = keep(
        store, 3, 0.5, models=["a", {"b": 1}], seconds=1.5, rows=(40, 50), facts={"rounds": [3]}
    )

    found = store.load(1, 3)

    assert outcome == Outcome("whole")
    assert found.models == ["a", {"b": 1}]
    assert found.why_no_models is None
    assert (found.entry.value, found.entry.seconds, found.entry.rows) == (0.5, 1.5, (40, 50))
    assert found.entry.facts == {"rounds": [3]}
    for (rows, predicted), (rows_before, before) in zip(found.folds, FOLDS, strict=True):
        np.testing.assert_array_equal(rows, rows_before)
        np.testing.assert_allclose(predicted, before, rtol=1e-6, atol=1e-6 * np.ptp(before))
        assert predicted.dtype == np.float64


def test_predictions_keep_their_digits_far_from_zero(store: Artefacts) -> None:
    far = 1.7e9 + np.array([0.0, 0.25, 3.5])
    huge = np.array([1e300, -1e300, 0.0])

    store.keep(1, 0, 0.5, [], [(np.arange(3), far), (np.arange(3), huge)], maximize=True)
    (_, far_found), (_, huge_found) = store.load(1, 0).folds

    np.testing.assert_allclose(far_found, far, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(huge_found, huge)


def test_shares_of_classes_keep_their_small_values(store: Artefacts) -> None:
    shares = np.array([[1e-12, 1 - 1e-12], [0.25, 0.75]])

    store.keep(1, 0, 0.5, [], [(np.arange(2), shares)], maximize=True)

    np.testing.assert_allclose(store.load(1, 0).folds[0][1], shares, rtol=1e-6)


def test_files_and_folders_are_the_owner_s_alone(store: Artefacts) -> None:
    before = os.umask(0)
    try:
        keep(store, 3, 0.5)
    finally:
        os.umask(before)

    made = [store.root, *store.root.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in made}
    assert len(made) == 6
    assert {m for p, m in modes.items() if p.is_dir()} == {0o700}
    assert {m for p, m in modes.items() if p.is_file()} == {0o600}


@pytest.mark.parametrize(
    ("value", "folds"),
    [
        (float("nan"), FOLDS),
        (float("inf"), FOLDS),
        (0.5, [(np.arange(2), np.array([1.0, np.nan]))]),
        (0.5, [(np.arange(3), np.array([1.0, 2.0]))]),
    ],
)
def test_what_is_no_score_and_no_prediction_is_refused(
    store: Artefacts, value: float, folds: Any
) -> None:
    with pytest.raises(ValueError, match=r"finite|for 3 rows"):
        store.keep(1, 0, value, [], folds, maximize=True)

    assert store.entries() == []
    assert files_below(store.root) <= {"1"}


# -- which trials --------------------------------------------------------------------------


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_three_of_a_study_stay(store: Artefacts, maximize: bool) -> None:
    sign = 1 if maximize else -1
    for number, value in enumerate([0.1, 0.5, 0.3]):
        assert keep(store, number, sign * value, maximize=maximize).evicted == ()

    outcome = keep(store, 3, sign * 0.4, maximize=maximize)

    assert numbers(store) == [1, 3, 2]
    (gone,) = outcome.evicted
    assert (gone.study_id, gone.number, gone.what) == (1, 0, "trial")
    assert gone.bytes > 0
    assert gone.why == "no longer among the best 3"
    assert files_below(store.root / "1") == {"1", "2", "3", *kept_files()}


def kept_files() -> set[str]:
    return {"models.pickle", "predictions.npz", "kept.json"}


def test_only_what_would_stay_is_wanted(store: Artefacts) -> None:
    for number, value in enumerate([0.1, 0.5, 0.3]):
        assert store.wants(1, -9.0, True)
        keep(store, number, value)

    assert store.wants(1, 0.11, True)
    assert not store.wants(1, 0.1, True)
    assert not store.wants(1, 0.05, True)
    assert not store.wants(1, float("nan"), True)
    assert not store.wants(2, float("nan"), True)
    assert store.wants(2, -9.0, True)


def test_a_trial_that_is_not_among_the_best_says_so(store: Artefacts) -> None:
    for number, value in enumerate([0.1, 0.5, 0.3]):
        keep(store, number, value)

    outcome = keep(store, 3, 0.0)

    assert (outcome.kept, outcome.reason) == ("nothing", "no longer among the best 3")
    assert numbers(store) == [1, 2, 0]


def test_of_equal_trials_the_earlier_ones_stay(store: Artefacts) -> None:
    for number in (4, 2, 3, 1):
        keep(store, number, 0.5)

    assert numbers(store) == [1, 2, 3]


def test_a_trial_done_again_replaces_what_it_left(store: Artefacts) -> None:
    keep(store, 3, 0.5, models=["old"])

    outcome = keep(store, 3, 0.6, models=["new"])

    assert outcome == Outcome("whole")
    assert store.load(1, 3).models == ["new"]
    assert files_below(store.root) == {"1", "3", *kept_files()}


# -- how much ------------------------------------------------------------------------------


def test_the_oldest_of_any_study_makes_room_but_never_the_best_of_one(
    location: Location,
) -> None:
    store = Artefacts(location, 7, most_bytes=250_000)
    keep(store, 0, 0.9, study=1, size=40_000)
    keep(store, 0, 0.1, study=2, size=40_000)
    keep(store, 1, 0.2, study=2, size=40_000)

    outcome = keep(store, 1, 0.5, study=1, size=40_000)

    # Number 0 of study 1 is older, and its best.
    (gone,) = outcome.evicted
    assert (gone.study_id, gone.number, gone.what) == (2, 0, "trial")
    assert gone.why == "to stay within 0 MiB for the experiment"
    assert (numbers(store, 1), numbers(store, 2)) == ([0, 1], [1])


def test_when_the_best_alone_are_too_much_their_predictions_stay(location: Location) -> None:
    store = Artefacts(location, 7, most_bytes=250_000)
    keep(store, 0, 0.5, study=1, size=40_000)
    keep(store, 0, 0.5, study=2, size=60_000)

    outcome = keep(store, 0, 0.5, study=3, size=40_000)

    (gone,) = outcome.evicted
    assert (gone.study_id, gone.what) == (2, "models")
    assert gone.bytes >= 120_000
    found = store.load(2, 0)
    assert found.models is None
    assert found.why_no_models == "the models were removed to make room"
    assert len(found.folds) == 2
    assert not found.entry.has_models
    assert sum(entry.bytes for entry in store.entries()) <= 250_000


def test_models_that_are_too_large_are_not_written_out(location: Location) -> None:
    store = Artefacts(location, 7, most_model_bytes=2 * 1024**2)

    outcome = keep(store, 0, 0.5, size=10 * 1024**2)

    assert outcome == Outcome("predictions", "the models are larger than 2 MiB")
    assert files_below(store.root) == {"1", "0", "predictions.npz", "kept.json"}
    assert store.load(1, 0).why_no_models == "the models are larger than 2 MiB"


class _Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("two\nlines")


@pytest.mark.parametrize("model", [lambda X: X, _Unpicklable()], ids=["lambda", "raises"])
def test_models_that_cannot_be_pickled_leave_the_predictions(store: Artefacts, model: Any) -> None:
    outcome = keep(store, 0, 0.5, models=[Model(), model])

    assert outcome.kept == "predictions"
    assert outcome.reason is not None
    assert outcome.reason.startswith("the models can't be kept: ")
    assert "\n" not in outcome.reason
    assert len(store.load(1, 0).folds) == 2


def test_a_full_disk_is_a_reason_and_leaves_nothing(
    store: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, 0, 0.4)

    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(kept, "_create", full)
    outcome = keep(store, 1, 0.5)

    assert outcome == Outcome("nothing", "not kept: No space left on device")
    assert files_below(store.root) == {"1", "0", *kept_files()}


def test_a_disk_that_is_nearly_full_takes_no_models(
    store: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "free_mib", lambda folder: kept.ROOM_LEFT_MIB + 1.0)

    outcome = keep(store, 0, 0.5, size=1024**2)

    assert outcome.kept == "predictions"
    assert outcome.reason == "the models are larger than what the disk has to spare, 1 MiB"


def test_a_folder_that_cannot_be_made_is_a_reason(location: Location) -> None:
    location.side.mkdir()
    (location.side / "artefacts").write_text("in the way")

    outcome = keep(Artefacts(location, 7), 0, 0.5)

    assert outcome == Outcome("nothing", "not kept: Not a directory")


# -- what is trusted -----------------------------------------------------------------------


def test_what_is_missing_is_said(store: Artefacts) -> None:
    with pytest.raises(NotKept, match="^nothing is kept of trial 3$"):
        store.load(1, 3)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped"])
@pytest.mark.parametrize("name", ["predictions.npz", "kept.json"])
def test_damaged_predictions_are_not_used(store: Artefacts, name: str, damage: str) -> None:
    keep(store, 3, 0.5)
    hurt(store.root / "1" / "3" / name, damage)

    with pytest.raises(NotKept, match="^what trial 3 left can't be used: "):
        store.load(1, 3)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped"])
def test_damaged_models_are_not_unpickled(
    store: Artefacts, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, 3, 0.5)
    hurt(store.root / "1" / "3" / "models.pickle", damage)
    monkeypatch.setattr(pickle, "load", lambda file: pytest.fail("was unpickled"))

    found = store.load(1, 3)

    assert found.models is None
    assert found.why_no_models is not None
    assert "models.pickle is not as it was written" in found.why_no_models
    assert len(found.folds) == 2


def hurt(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
        return
    if damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
        return
    path.write_bytes(b"" if damage == "empty" else content[:-3])


@pytest.mark.parametrize("which", ["trial", "study", "experiment"])
def test_nothing_is_read_from_a_folder_that_others_can_write_to(
    store: Artefacts, which: str
) -> None:
    keep(store, 3, 0.5)
    folder = store.root / "1" / "3"
    {"trial": folder, "study": folder.parent, "experiment": store.root}[which].chmod(0o770)

    with pytest.raises(NotKept, match="can be written by others"):
        store.load(1, 3)


def test_models_behind_a_link_are_not_read(store: Artefacts, tmp_path: Path) -> None:
    keep(store, 3, 0.5)
    path = store.root / "1" / "3" / "models.pickle"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    found = store.load(1, 3)

    assert found.models is None
    assert found.why_no_models is not None
    assert found.why_no_models.startswith("the models can't be read: OSError")


def test_a_study_folder_that_is_a_link_is_not_read(store: Artefacts, tmp_path: Path) -> None:
    keep(store, 3, 0.5)
    (store.root / "1").rename(tmp_path / "elsewhere")
    (store.root / "1").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NotKept, match="is not a folder"):
        store.load(1, 3)


def test_models_of_other_versions_are_not_loaded_but_their_predictions_are(
    store: Artefacts,
) -> None:
    keep(store, 3, 0.5)
    path = store.root / "1" / "3" / "kept.json"
    record = json.loads(path.read_text())
    assert "optuna" not in record["versions"]
    record["versions"]["numpy"] = "1.0"
    record["versions"]["gone"] = "2.0"
    path.write_text(json.dumps(record))

    found = store.load(1, 3)

    assert found.models is None
    assert found.why_no_models == (
        f"the models are of other versions: numpy was 1.0, is {np.__version__}; "
        "gone was 2.0, is absent"
    )
    assert len(found.folds) == 2


def test_a_library_that_came_later_changes_nothing(store: Artefacts) -> None:
    keep(store, 3, 0.5, models=["a"])
    path = store.root / "1" / "3" / "kept.json"
    record = json.loads(path.read_text())
    del record["versions"]["scipy"]
    path.write_text(json.dumps(record))

    assert store.load(1, 3).models == ["a"]


def test_predictions_alone_are_read_without_unpickling(
    store: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, 3, 0.5)
    monkeypatch.setattr(pickle, "load", lambda file: pytest.fail("was unpickled"))

    found = store.load(1, 3, with_models=False)

    assert (found.models, found.why_no_models) == (None, "not asked for")


# -- what is removed -----------------------------------------------------------------------


def test_forgetting_a_study_leaves_the_others(store: Artefacts) -> None:
    keep(store, 0, 0.5, study=1)
    keep(store, 0, 0.5, study=2)

    assert store.forget(1) > 0
    assert store.forget(1) == 0

    assert [entry.study_id for entry in store.entries()] == [2]
    assert os.listdir(store.root) == ["2"]


def test_what_dead_writers_left_goes_and_what_is_written_stays(
    store: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, 0, 0.5)
    study = store.root / "1"
    for name in (".1.aa.part", ".2.bb.part", ".3.cc.gone"):
        (study / name).mkdir()
        (study / name / "models.pickle").write_bytes(b"half")
    (store.root / ".9.dd.gone").mkdir()
    (study / "5").mkdir()
    (study / "5" / "kept.json").write_text("{}")
    writer = os.open(study / ".2.bb.part", os.O_RDONLY)
    fcntl.flock(writer, fcntl.LOCK_EX)

    keep(store, 6, 0.6)
    young = set(os.listdir(study))
    monkeypatch.setattr(artefacts, "STALE_S", -1.0)
    keep(store, 7, 0.7)
    os.close(writer)

    assert young == {".1.aa.part", ".2.bb.part", "0", "6"}
    assert set(os.listdir(study)) == {".2.bb.part", "0", "6", "7"}
    assert os.listdir(store.root) == ["1"]


def test_a_record_that_cannot_be_read_just_now_is_not_removed(
    store: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, 0, 0.5)
    with monkeypatch.context() as broken:

        def fail(folder: Path, study_id: int, number: int) -> Any:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        broken.setattr(artefacts, "read_entry", fail)
        keep(store, 1, 0.6)

    assert numbers(store) == [1, 0]


def _keep_many(path: str, worker: int, count: int) -> None:
    store = Artefacts(Location(Path(path)), 7, most_bytes=200_000)
    for i in range(count):
        number = i * 4 + worker
        # The values go up and down, differently in each process.
        value = (number * 7919 % 101) / 101
        store.keep(number % 2, number, value, [Model(9_000, worker)], FOLDS, maximize=True)


def test_many_writers_at_once_leave_the_best_of_each_study_whole(
    location: Location,
) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_keep_many, args=(str(location.path), worker, 20))
        for worker in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)

    assert [worker.exitcode for worker in workers] == [0] * 4
    store = Artefacts(location, 7)
    ranked = sorted(range(80), key=lambda n: (-(n * 7919 % 101), n))
    for study in (0, 1):
        assert numbers(store, study) == [n for n in ranked if n % 2 == study][:3]
        for entry in store.entries(study):
            assert store.load(study, entry.number).models is not None
    assert not any(name.startswith(".") for name in files_below(store.root))
