"""States of studies and experiments: the whole truth table."""

from __future__ import annotations

import itertools

import pytest

from engines.study.states import Counts, experiment_state, study_state

RUNNING, IDLE, FRESH = (
    Counts(complete=1, running=1, goal=3),
    Counts(complete=1, goal=3),
    Counts(goal=3),
)
REACHED = Counts(complete=1, failed=1, pruned=1, goal=3)

TABLE = [
    # want, counts, closed, ended_by, failure, state
    ("run", FRESH, False, None, None, "waiting"),
    ("run", Counts(waiting=1, goal=3), False, None, None, "waiting"),
    ("run", RUNNING, False, None, None, "running"),
    ("run", Counts(running=1, goal=3), False, None, None, "running"),
    ("run", IDLE, False, None, None, "running"),
    ("run", REACHED, False, None, None, "running"),
    ("run", REACHED, True, None, None, "done"),
    ("run", IDLE, False, "time", None, "running"),
    ("run", IDLE, True, "time", None, "done"),
    ("run", IDLE, False, None, "why", "failed"),
    ("run", Counts(complete=9), False, None, None, "running"),
    ("pause", RUNNING, False, None, None, "pausing"),
    ("pause", IDLE, False, None, None, "paused"),
    ("pause", FRESH, False, None, None, "paused"),
    ("pause", REACHED, False, None, None, "paused"),
    ("pause", REACHED, True, None, None, "done"),
    ("pause", IDLE, False, "time", None, "paused"),
    ("pause", RUNNING, False, "time", None, "pausing"),
    ("stop", RUNNING, False, None, None, "pausing"),
    ("stop", IDLE, False, None, None, "pausing"),
    ("stop", IDLE, True, None, None, "stopped"),
    ("stop", REACHED, True, None, None, "done"),
    ("cancel", RUNNING, False, None, None, "pausing"),
    ("cancel", IDLE, False, None, None, "cancelled"),
    ("cancel", REACHED, False, None, None, "cancelled"),
    ("cancel", IDLE, False, None, "why", "failed"),
]


@pytest.mark.parametrize(("want", "counts", "closed", "ended_by", "failure", "state"), TABLE)
def test_a_study_s_state_follows_from_order_and_work(
    want: str,
    counts: Counts,
    closed: bool,
    ended_by: str | None,
    failure: str | None,
    state: str,
) -> None:
    derived = study_state(
        want=want, counts=counts, closed=closed, ended_by=ended_by, failure=failure
    )

    assert derived == state


def test_every_combination_has_one_of_the_known_states() -> None:
    known = {"waiting", "running", "pausing", "paused", "stopped", "cancelled", "done", "failed"}
    everything = itertools.product(
        ("run", "pause", "stop", "cancel"),
        (FRESH, IDLE, RUNNING, REACHED, Counts(complete=4, running=1, goal=3)),
        (False, True),
        (None, "time"),
        (None, "why"),
    )

    for want, counts, closed, ended_by, failure in everything:
        state = study_state(
            want=want, counts=counts, closed=closed, ended_by=ended_by, failure=failure
        )
        assert state in known
        if failure is None and want != "run" and counts.running and not closed:
            # Work is in hand: nothing has come to rest yet.
            assert state in ("running", "pausing"), (want, counts, ended_by)


@pytest.mark.parametrize(
    ("studies", "failure", "state"),
    [
        ([], None, "waiting"),
        (["waiting", "waiting"], None, "waiting"),
        (["waiting", "running"], None, "running"),
        (["waiting", "done"], None, "running"),
        (["paused", "running"], None, "running"),
        (["paused", "pausing", "done"], None, "pausing"),
        (["paused", "done"], None, "paused"),
        (["done", "stopped", "cancelled"], None, "done"),
        (["failed", "done"], None, "done"),
        (["stopped", "cancelled", "failed"], None, "stopped"),
        (["cancelled", "failed"], None, "cancelled"),
        (["failed", "failed"], None, "failed"),
        (["running"], "runner died", "failed"),
    ],
)
def test_an_experiment_s_state_is_that_of_what_still_goes_on(
    studies: list[str], failure: str | None, state: str
) -> None:
    assert experiment_state(studies, failure) == state


def test_only_a_goal_can_be_reached() -> None:
    assert REACHED.reached
    assert REACHED.finished == 3
    assert not IDLE.reached
    assert not Counts(complete=10**6).reached


@pytest.mark.parametrize(
    ("want", "frozen", "closing", "state"),
    [
        ("pause", 0, False, "pausing"),
        ("pause", 1, False, "paused"),
        ("pause", 1, True, "pausing"),
        ("pause", 2, True, "paused"),
        ("run", 1, False, "running"),
        ("stop", 1, False, "pausing"),
        ("cancel", 1, False, "pausing"),
    ],
)
def test_a_study_is_paused_when_all_that_works_on_it_stands_still(
    want: str, frozen: int, closing: bool, state: str
) -> None:
    derived = study_state(
        want=want,
        counts=RUNNING,
        closed=False,
        ended_by=None,
        failure=None,
        closing=closing,
        frozen=frozen,
    )

    assert derived == state
