"""What is kept back of the time that was asked for, so that the end comes within it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import BadInput
from engines.run import orders
from engines.run.hands import Hand
from engines.run.inline import run_inline
from engines.run.runner import GRACE_S, Runner
from engines.run.start import Request, create
from engines.run.worker import Worker
from engines.study import reserve
from engines.study.claims import _EXPERIMENT, claim
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.outlook import Held
from engines.study.prospects import seconds_to_search
from engines.study.reserve import (
    MOST,
    Scored,
    limit_with,
    search_limit_s,
    settling_now_s,
    settling_s,
)
from engines.study.storage import HyperionStorage
from tests.unit.building import (
    add_worker,
    asking,
    changing,
    experiment_plan,
    must_claim,
    new_store,
    run_job,
    study_plan,
)

RANDOM = {"ordered": False, "folds": 5, "search_rows": 800, "held_out_rows": 200}
ORDERED = {**RANDOM, "ordered": True}
ONE = Scored(0.5, 10.0)


def needed(*studies: Scored, split: dict[str, Any] | None = None, **changes: Any) -> float:
    how = {"metric": "r2", "maximize": True, "workers": 1, **changes}
    return settling_s(studies, RANDOM if split is None else split, **how)


def test_nothing_is_kept_back_before_the_first_score_or_without_a_held_out_part() -> None:
    assert needed() == 0.0
    assert settling_s([ONE], None, metric="score", maximize=True, workers=1) == 0.0


def test_each_study_takes_its_time_and_workers_share_it() -> None:
    one, forty = needed(ONE), needed(*[ONE] * 40)

    assert 0.4 < one < 2.0
    assert forty - one > 39 * reserve.STUDY_S
    assert needed(*[ONE] * 40, workers=2) < forty


def test_a_study_that_is_settled_takes_none_but_may_be_in_the_ensemble() -> None:
    settled = replace(ONE, settled=True)

    assert 0.0 < needed(settled, split=ORDERED) < needed(ONE, split=ORDERED)
    assert needed(settled, split=ORDERED) > 4.0  # its training for the ensemble


def test_more_rows_and_scores_that_sort_take_longer() -> None:
    many = {**RANDOM, "search_rows": 40_000, "held_out_rows": 10_000}

    assert needed(ONE, split=many) > needed(ONE) + 1.0
    assert needed(ONE, split=many, metric="roc_auc") > needed(ONE, split=many) + 4.0


def test_rows_in_order_need_a_training_for_each_study_and_each_member() -> None:
    others = [Scored(0.1 * n, 1.0) for n in range(8)]
    dear = Scored(0.9, 50.0)

    assert needed(dear, *others, split=ORDERED) > 2 * 50.0 / 5 * reserve.WINDOWS
    assert needed(dear, *others) < 10.0
    # Too bad to be in the ensemble: it is trained once.
    bad = replace(dear, value=-1.0)
    once = needed(bad, *others, split=ORDERED)
    assert 50.0 / 5 * reserve.WINDOWS < once < needed(dear, *others, split=ORDERED) - 15.0
    assert needed(bad, *others, split=ORDERED, maximize=False) > once + 15.0
    # However many workers there are, the longest takes as long as it takes.
    assert needed(bad, *others, split=ORDERED, workers=16) > 50.0 / 5 * reserve.WINDOWS
    # A model that takes no more rows than a window has does not take longer with all of them.
    capped = needed(replace(bad, capped=True), *others, split=ORDERED)
    assert capped == pytest.approx(once - 50.0 / 5 * (reserve.WINDOWS - 1))


@given(st.floats(0.01, 1e6), st.floats(0, 1e6))
def test_what_is_left_for_the_search_grows_with_the_limit_and_is_never_nothing(
    limit: float, settling: float
) -> None:
    left = search_limit_s(limit, settling)

    assert (1 - MOST) * limit * (1 - 1e-12) <= left <= limit
    assert search_limit_s(limit * 1.1, settling) > left


@given(st.floats(0.0, 1e6), st.floats(0, 1e6))
def test_a_limit_can_be_found_for_any_search(search: float, settling: float) -> None:
    limit = limit_with(search, settling)

    assert math.isclose(search_limit_s(limit, settling), search, rel_tol=1e-9, abs_tol=1e-9)


# -- from the store -------------------------------------------------------------------------------


@pytest.fixture(params=["file", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty store, of either kind."""
    if request.param == "file":
        return new_store(tmp_path / "studies.db")
    return locate(request.getfixturevalue("postgres_store_url"))


@pytest.fixture
def worker(location: Location, storage: HyperionStorage) -> int:
    """A worker of an experiment with three studies, rows in order and 100 s."""
    plan = {"portfolio": [], "weights": [], "expected_s": 1.0, "prior": 0.5, "rows": [80, 80]}
    studies = [study_plan(name, goal=None, plan=plan) for name in ("a", "b", "c")]
    create_or_extend(
        storage, experiment_plan(*studies, time_limit_s=100.0, split=ORDERED, workers=1)
    )
    return add_worker(location)


def finish(location: Location, storage: HyperionStorage, worker: int, seconds: float) -> None:
    """One more trial that took so long."""
    job = must_claim(storage, worker)
    run_job(storage, job, [0.5])
    with changing(location) as connection:
        connection.execute(
            "UPDATE hx_trial SET duration_s = ? WHERE trial_id = ?", (seconds, job.trial_id)
        )


def by_the_runner(location: Location) -> float:
    with changing(location) as connection:
        return settling_now_s(connection, 1)


def by_a_claim(storage: HyperionStorage) -> float:
    left = storage.database.read(
        lambda c: seconds_to_search(c, c.execute(_EXPERIMENT, {"id": 1}).one())
    )
    assert left is not None
    return 100.0 - left


def test_the_runner_and_claims_keep_back_the_same(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    kept = [by_the_runner(location)]
    for _ in range(3):
        finish(location, storage, worker, 5.0)
        kept.append(by_the_runner(location))
        assert by_a_claim(storage) == pytest.approx(kept[-1])

    assert kept[0] == 0.0
    assert kept == sorted(set(kept))  # the more studies there are to settle, the more
    assert kept[-1] == pytest.approx(
        settling_s([Scored(0.5, 5.0)] * 3, ORDERED, metric="r2", maximize=True, workers=1)
    )


def test_studies_that_will_not_be_settled_take_no_time(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    for _ in range(3):
        finish(location, storage, worker, 5.0)
    before = by_the_runner(location)

    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET want = 'cancel' WHERE model = 'a'")
    cancelled = by_the_runner(location)
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET closed_at = 'now' WHERE model = 'b'")

    assert by_the_runner(location) < cancelled < before
    assert by_a_claim(storage) == pytest.approx(by_the_runner(location))


def test_a_trial_may_not_take_what_is_kept_back(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    finish(location, storage, worker, 5.0)
    kept = by_the_runner(location)

    job = must_claim(storage, worker)

    assert kept > 2.0
    assert job.seconds_left == pytest.approx(100.0 - kept)


@pytest.fixture
def driver(location: Location, worker: int) -> Iterator[Runner]:
    """A runner whose one worker is at work."""
    driver = Runner(location, 1)
    process = SimpleNamespace(pid=4711, stdin=None, poll=lambda: None)
    driver.hands[worker] = Hand(process, worker, 1)  # type: ignore[arg-type]
    driver.begun = True
    yield driver
    driver.close()


def let_pass(driver: Runner, seconds: float) -> float:
    """The seconds that the store knows of, when so many more have gone by."""
    driver.ledger.read()
    assert driver.ledger.facts is not None
    driver.account(driver.ledger.facts, driver.accounted + seconds)
    driver.ledger.read()
    return driver.ledger.facts.time_used_s


def ended_by(driver: Runner) -> set[str | None]:
    assert driver.ledger.facts is not None
    return {study.ended_by for study in driver.ledger.facts.studies}


def test_the_search_ends_when_what_is_left_is_needed_to_settle_it(
    location: Location, storage: HyperionStorage, worker: int, driver: Runner
) -> None:
    for _ in range(3):
        finish(location, storage, worker, 5.0)
    kept = by_the_runner(location)
    assert kept > 5.0

    let_pass(driver, 100.0 - kept - 0.5)
    assert ended_by(driver) == {None}
    let_pass(driver, 0.6)
    assert ended_by(driver) == {"time limit of 100 s"}
    assert must_claim(storage, worker).kind == "closing"

    # What still trains is given a little, from then on.
    since = driver.accounted
    driver.hands[worker].trial = Held(1, 1, 0, "a", "", 0)
    driver.hands[worker].since = since - 1.0
    killed: list[object] = []
    driver.hands[worker].kill = killed.append  # type: ignore[method-assign]
    assert driver.ledger.facts is not None
    driver.end_late(driver.ledger.facts, since + GRACE_S / 2)
    assert killed == []
    driver.end_late(driver.ledger.facts, since + GRACE_S)
    assert killed == [None]


def test_time_is_told_to_the_store_more_often_when_little_is_left(driver: Runner) -> None:
    assert let_pass(driver, 0.9) == 0.0
    assert let_pass(driver, 1.1) == pytest.approx(1.1)
    assert let_pass(driver, 95.0) == pytest.approx(96.1)
    assert let_pass(driver, 0.3) == pytest.approx(96.4)
    assert let_pass(driver, 0.1) == pytest.approx(96.4)
    # When it is over there is no hurry.
    let_pass(driver, 5.0)
    assert let_pass(driver, 0.5) == pytest.approx(101.4)
    assert let_pass(driver, 1.0) == pytest.approx(102.4)


def test_time_is_over_with_the_ensemble_and_not_with_the_last_process(
    location: Location, driver: Runner
) -> None:
    assert let_pass(driver, 2.0) == pytest.approx(2.0)
    with changing(location) as connection:
        connection.execute("INSERT INTO hx_ensemble (experiment_id, made_at) VALUES (1, 'now')")

    assert let_pass(driver, 5.0) == pytest.approx(2.0)


def test_a_search_in_this_process_keeps_back_nothing_twice(
    location: Location, storage: HyperionStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(location, Request(("ridge", "lasso"), data="concrete", time_s=60.0, workers=1))
    left: list[tuple[float, float | None]] = []

    def work_once(self: Worker) -> bool:
        settling = by_the_runner(location)
        job = claim(storage, 1, self.context.worker_id)
        assert job is not None
        left.append((deadline - time.monotonic() - 3.0 - settling, job.seconds_left))
        run_job(storage, job, [0.5] * 5)
        return len(left) < 4

    monkeypatch.setattr(reserve, "STUDY_S", 5.0)
    monkeypatch.setattr(Worker, "work_once", work_once)
    monkeypatch.setattr(Worker, "begin", lambda self: None)
    monkeypatch.setattr("engines.run.inline._is_over", lambda context: True)
    deadline = time.monotonic() + 60.0
    run_inline(location, 1, deadline, lambda *_: 3.0)

    assert len(left) == 4
    for planned, told in left:
        assert told == pytest.approx(planned, abs=0.5)
    assert by_the_runner(location) > 10.0


def test_a_search_that_time_has_ended_is_not_resumed_for_its_last_second(
    location: Location, worker: int, driver: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "start_runner", lambda *_: None)
    let_pass(driver, 101.0)
    with changing(location) as connection:
        connection.execute("UPDATE hx_experiment SET time_used_s = 99.2")

    def targets() -> list[orders.Target]:
        with asking(location) as reader:
            return reader.find_studies("e")

    for budget in ({}, {"time_s": 100.0}, {"trials": 50}):
        with pytest.raises(BadInput, match=r"time of e is used up \(99 s of 100 s\)"):
            orders.resume(location, targets(), **budget)
    assert orders.resume(location, targets(), time_s=160.0).names == ("e/a", "e/b", "e/c")
    assert {study.message for _, study in targets()} == {None}
